// A conversation to the prompt text that a model was trained on: the template in its file, or a built-in one of its
// family. Immutable after load; share freely.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "text/jinja.h"

namespace sterna {

struct ChatMessage {
    std::string role;  // "system", "user", "assistant", "tool"
    std::string content;
    OrderedJson extra = OrderedJson::object();  // tool_calls, name, ...: merged into the message object
};

struct ChatRenderOptions {
    bool add_generation_prompt = true;
    OrderedJson tools = nullptr;
    OrderedJson variables = OrderedJson::object();  // e.g. enable_thinking
    int64_t now = 0;                                // Unix time, for templates that print the date
};

class ChatTemplate {
public:
    // tokenizer.chat_template of the metadata, else the built-in template that fits the vocabulary's special tokens and
    // the architecture, else an error that says so. bos and eos are the texts of those tokens.
    static Result<ChatTemplate> from_metadata(const Metadata& metadata, std::string_view bos, std::string_view eos);
    static Result<ChatTemplate> from_source(std::string_view source, std::string_view bos, std::string_view eos);
    // By family name: "chatml", "llama2", "llama3", "mistral", "zephyr", "gemma", "phi3", "deepseek", "vicuna",
    // "alpaca", ...
    static Result<ChatTemplate> builtin(std::string_view family, std::string_view bos, std::string_view eos);
    static std::vector<std::string_view> builtin_families();

    Result<std::string> render(const std::vector<ChatMessage>& messages, const ChatRenderOptions& options = {}) const;

    std::string_view family() const { return family_; }  // "file" when the model brought its own
    // Further texts that end an answer for this family when they appear as plain text (built-in templates only).
    const std::vector<std::string>& stop_texts() const { return stop_texts_; }

private:
    ChatTemplate(JinjaTemplate compiled, std::string family, std::string bos, std::string eos);
    JinjaTemplate template_;
    std::string family_, bos_, eos_;
    std::vector<std::string> stop_texts_;
};

}  // namespace sterna
