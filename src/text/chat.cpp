#include "text/chat.h"

#include <algorithm>

#include "text/chat_families.h"

namespace sterna {

ChatTemplate::ChatTemplate(JinjaTemplate compiled, std::string family, std::string bos, std::string eos)
    : template_(std::move(compiled)), family_(std::move(family)), bos_(std::move(bos)), eos_(std::move(eos)) {}

Result<ChatTemplate> ChatTemplate::from_source(std::string_view source, std::string_view bos, std::string_view eos) {
    auto compiled = JinjaTemplate::compile(source);
    if (!compiled) return fail(compiled.error().code, "chat template: {}", compiled.error().message);
    return ChatTemplate(std::move(*compiled), "file", std::string(bos), std::string(eos));
}

Result<ChatTemplate> ChatTemplate::builtin(std::string_view family, std::string_view bos, std::string_view eos) {
    const std::span<const ChatFamily> families = chat_families();
    const auto found =
        std::find_if(families.begin(), families.end(), [&](const ChatFamily& f) { return f.name == family; });
    if (found == families.end()) {
        std::string known;
        for (const ChatFamily& f : families) known += (known.empty() ? "" : ", ") + std::string(f.name);
        return fail(ErrorCode::kNotFound, "chat template: no family '{}'; there are {}", family.substr(0, 100), known);
    }
    STERNA_TRY(result, from_source(found->source, bos, eos));
    result.family_ = found->name;
    for (std::string_view text : found->stop_texts)
        if (!text.empty()) result.stop_texts_.emplace_back(text);
    return result;
}

std::vector<std::string_view> ChatTemplate::builtin_families() {
    std::vector<std::string_view> names;
    for (const ChatFamily& family : chat_families()) names.push_back(family.name);
    return names;
}

Result<ChatTemplate> ChatTemplate::from_metadata(const Metadata& metadata, std::string_view bos, std::string_view eos) {
    if (const auto source = metadata.get_string("tokenizer.chat_template"); source && !source->empty())
        return from_source(*source, bos, eos);
    const std::vector<std::string_view> tokens =
        metadata.get_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>());
    const std::string_view family = guess_chat_family(tokens, metadata.get_string("general.architecture").value_or(""),
                                                      metadata.get_string("general.name").value_or(""));
    if (family.empty())
        return fail(ErrorCode::kNotFound,
                    "chat template: the model brings none and its vocabulary fits no known family; choose one with "
                    "--chat-template FAMILY, or --raw to continue the text without one");
    return builtin(family, bos, eos);
}

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                         const ChatRenderOptions& options) const {
    // As transformers' apply_chat_template passes them: tools and documents are None when there are none.
    OrderedJson variables = {{"messages", OrderedJson::array()},
                             {"tools", options.tools},
                             {"documents", nullptr},
                             {"add_generation_prompt", options.add_generation_prompt},
                             {"bos_token", bos_},
                             {"eos_token", eos_}};
    for (const ChatMessage& message : messages) {
        OrderedJson object = {{"role", message.role}, {"content", message.content}};
        if (message.extra.is_object()) object.update(message.extra);
        variables["messages"].push_back(std::move(object));
    }
    if (options.variables.is_object()) variables.update(options.variables);
    return template_.render(variables, options.now);
}

}  // namespace sterna
