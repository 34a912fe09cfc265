#include "text/chat.h"

#include <gtest/gtest.h>

namespace sterna {
namespace {

class FakeMetadata : public Metadata {
public:
    std::string chat_template, architecture, name;
    std::vector<std::string_view> tokens;

    bool has(std::string_view key) const override { return get_string(key).has_value(); }
    std::optional<int64_t> get_int(std::string_view) const override { return {}; }
    std::optional<double> get_float(std::string_view) const override { return {}; }
    std::optional<bool> get_bool(std::string_view) const override { return {}; }
    std::optional<std::string_view> get_string(std::string_view key) const override {
        if (key == "tokenizer.chat_template" && !chat_template.empty()) return chat_template;
        if (key == "general.architecture") return architecture;
        if (key == "general.name") return name;
        return {};
    }
    std::optional<std::vector<int64_t>> get_ints(std::string_view) const override { return {}; }
    std::optional<std::vector<double>> get_floats(std::string_view) const override { return {}; }
    std::optional<std::vector<std::string_view>> get_strings(std::string_view) const override { return tokens; }
};

const std::vector<ChatMessage> kChat = {{"system", "Be terse."}, {"user", "Hi"}, {"assistant", "Yo"}, {"user", "Bye"}};

std::string render(std::string_view family) {
    const auto chat = ChatTemplate::builtin(family, "<s>", "</s>");
    if (!chat) return chat.error().message;
    const auto text = chat->render(kChat);
    return text ? *text : text.error().message;
}

TEST(Chat, BuiltinFamilies) {
    EXPECT_EQ(
        render("chatml"),
        "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(render("llama2"), "<s>[INST] <<SYS>>\nBe terse.\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] Bye [/INST]");
    EXPECT_EQ(render("llama3"),
              "<s><|start_header_id|>system<|end_header_id|>\n\nBe "
              "terse.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|><|start_header_id|>user<|end_header_id|>"
              "\n\nBye<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n");
    EXPECT_EQ(render("mistral"), "<s>[INST] Be terse.\n\nHi[/INST] Yo</s>[INST] Bye[/INST]");
    EXPECT_EQ(render("mistral-v7"), "<s>[SYSTEM_PROMPT]Be terse.[/SYSTEM_PROMPT][INST]Hi[/INST]Yo</s>[INST]Bye[/INST]");
    EXPECT_EQ(render("zephyr"),
              "<|system|>\nBe terse.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\n");
    EXPECT_EQ(render("gemma"),
              "<s><start_of_turn>user\nBe terse.\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n"
              "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
    EXPECT_EQ(render("phi3"),
              "<|system|>\nBe "
              "terse.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYo<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n");
    EXPECT_EQ(render("deepseek3"),
              "<s>Be terse.<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>");
    EXPECT_EQ(render("vicuna"), "<s>Be terse. USER: Hi ASSISTANT: Yo</s>USER: Bye ASSISTANT:");
    EXPECT_EQ(render("rwkv-world"), "System: Be terse.\n\nUser: Hi\n\nAssistant: Yo\n\nUser: Bye\n\nAssistant:");
    for (std::string_view family : ChatTemplate::builtin_families()) {
        const std::string text = render(family);
        for (const ChatMessage& message : kChat)
            EXPECT_NE(text.find(message.content), std::string::npos) << family << ": " << text;
    }
    EXPECT_NE(render("klingon").find("no family 'klingon'"), std::string::npos);
}

TEST(Chat, ChoosesFromMetadata) {
    FakeMetadata metadata;
    metadata.chat_template =
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{{ "
        "messages[0].content }}";
    const auto own = ChatTemplate::from_metadata(metadata, "", "");
    ASSERT_TRUE(own.has_value());
    EXPECT_EQ(own->family(), "file");
    EXPECT_EQ(own->render(kChat).error().message, "System role not supported");
    EXPECT_EQ(own->render({{"user", "Hi"}}).value_or(""), "Hi");
    metadata.chat_template.clear();
    auto family = [&](std::vector<std::string_view> tokens) {
        metadata.tokens = std::move(tokens);
        const auto chat = ChatTemplate::from_metadata(metadata, "<s>", "</s>");
        return chat ? std::string(chat->family()) : chat.error().message;
    };
    EXPECT_EQ(family({"a", "<|im_start|>"}), "chatml");
    EXPECT_EQ(family({"<|eot_id|>", "b"}), "llama3");
    EXPECT_EQ(family({"<start_of_turn>"}), "gemma");
    EXPECT_EQ(family({"[INST]", "[/INST]"}), "mistral-v3");
    EXPECT_NE(family({"a"}).find("--chat-template FAMILY"), std::string::npos);
    metadata.name = "Llama-2 7B chat";
    EXPECT_EQ(family({"a"}), "llama2");
}

}  // namespace
}  // namespace sterna
