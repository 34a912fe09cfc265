#include "text/chat.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "support/testdata.h"

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

std::string render_family(std::string_view family) {
    const auto chat = ChatTemplate::builtin(family, "<s>", "</s>");
    if (!chat) return chat.error().message;
    const auto text = chat->render(kChat);
    return text ? *text : text.error().message;
}

TEST(Chat, BuiltinFamilies) {
    EXPECT_EQ(
        render_family("chatml"),
        "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(render_family("llama2"),
              "<s>[INST] <<SYS>>\nBe terse.\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] Bye [/INST]");
    EXPECT_EQ(render_family("llama3"),
              "<s><|start_header_id|>system<|end_header_id|>\n\nBe "
              "terse.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\nYo<|eot_id|><|start_header_id|>user<|end_header_id|>"
              "\n\nBye<|eot_id|>"
              "<|start_header_id|>assistant<|end_header_id|>\n\n");
    EXPECT_EQ(render_family("mistral"), "<s>[INST] Be terse.\n\nHi[/INST] Yo</s>[INST] Bye[/INST]");
    EXPECT_EQ(render_family("mistral-v7"),
              "<s>[SYSTEM_PROMPT] Be terse.[/SYSTEM_PROMPT][INST] Hi[/INST] Yo</s>[INST] Bye[/INST]");
    EXPECT_EQ(render_family("zephyr"),
              "<|system|>\nBe terse.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\n");
    EXPECT_EQ(render_family("gemma"),
              "<s><start_of_turn>user\nBe terse.\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n"
              "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
    EXPECT_EQ(render_family("phi3"),
              "<|system|>\nBe "
              "terse.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYo<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n");
    EXPECT_EQ(render_family("deepseek3"),
              "<s>Be terse.<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>");
    EXPECT_EQ(render_family("vicuna"), "<s>Be terse. USER: Hi ASSISTANT: Yo</s>USER: Bye ASSISTANT:");
    EXPECT_EQ(render_family("rwkv-world"),
              "<s>System: Be terse.\n\nUser: Hi\n\nAssistant: Yo\n\nUser: Bye\n\nAssistant:");
    for (std::string_view family : ChatTemplate::builtin_families()) {
        const std::string text = render_family(family);
        for (const ChatMessage& message : kChat)
            EXPECT_NE(text.find(message.content), std::string::npos) << family << ": " << text;
    }
    EXPECT_NE(render_family("klingon").find("no family 'klingon'"), std::string::npos);
}

std::vector<ChatMessage> messages_of(const OrderedJson& list) {
    std::vector<ChatMessage> messages;
    for (const auto& message : list) messages.push_back({message["role"], message["content"]});
    return messages;
}

// Against llama.cpp's built-in formats (tools/make_chat_golden.py). They leave BOS to the tokenizer, and write a fixed end token where
// ours take the vocabulary's.
TEST(Chat, BuiltinFamiliesAsInLlamaCpp) {
    const std::map<std::string, const char*> eos = {
        {"zephyr", "<|endoftext|>"}, {"deepseek2", "<｜end▁of▁sentence｜>"}, {"falcon3", ""}};
    // Where the models' own templates (Hugging Face) are with us: Llama 2 has blanks around an answer; FastChat separates Vicuna's turns
    // by blanks; gpt-oss names its channels and the developer; DeepSeek V3 has nothing after the system text.
    const std::map<std::string, bool> differs = {
        {"llama2", false}, {"vicuna", false}, {"gpt-oss", false}, {"deepseek3", true}};
    std::ifstream file(source_path("tests/golden/chat/llama_cpp.txt"));
    std::vector<OrderedJson> conversations;
    std::string line, family;
    size_t at = 0, n_equal = 0, n_different = 0;
    while (std::getline(file, line)) {
        if (line.starts_with("conversation ")) {
            conversations.push_back(OrderedJson::parse(line.substr(13)));
        } else if (line.starts_with("== ")) {
            std::istringstream(line.substr(3)) >> family;
            at = 0;
        } else if (line.starts_with('"')) {
            ASSERT_LT(at, conversations.size());
            const OrderedJson& conversation = conversations[at++];
            const auto own = eos.find(family);
            const auto chat = ChatTemplate::builtin(family, "", own == eos.end() ? "</s>" : own->second);
            ASSERT_TRUE(chat) << chat.error().message;
            const auto text = chat->render(messages_of(conversation["messages"]),
                                           {.add_generation_prompt = conversation["add_generation_prompt"]});
            ASSERT_TRUE(text) << text.error().message;
            const std::string theirs = OrderedJson::parse(line).get<std::string>();
            const bool has_system = conversation["messages"][0]["role"] == "system";
            if (const auto known = differs.find(family); known != differs.end() && *text != theirs) {
                EXPECT_TRUE(has_system || !known->second) << family << ": " << *text;
                ++n_different;
                continue;
            }
            EXPECT_EQ(*text, theirs) << family;
            ++n_equal;
        }
    }
    EXPECT_GE(n_equal, 80u);
    EXPECT_LE(n_different, 20u);
}

// Against the templates of real models of the same family: equal from the first message on, but for what a template puts before it (a
// system text of its own) or behind the end (the beginning of a thought).
TEST(Chat, BuiltinFamiliesAsInRealTemplates) {
    const auto folder = shared_testdata("chat-templates");
    if (!folder) GTEST_SKIP() << "no shared test data";
    enum Own { kNothing, kSystemText, kSystemPrefix };
    const struct {
        const char *family, *file, *behind;
        Own own;
        bool takes_system;
    } pairs[] = {
        {"phi3", "microsoft-Phi-3.5-mini-instruct", "", kNothing, true},
        {"gemma", "google-gemma-2-2b-it", "", kNothing, false},
        {"granite", "ibm-granite-granite-3.3-2B-Instruct", "", kSystemText, true},
        {"chatml", "Qwen-QwQ-32B", "<think>\n</think>", kNothing, true},
        {"deepseek3", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "<think>\n", kNothing, true},
        {"mistral-v7-tekken", "Mistral-Small-3.2-24B-Instruct-2506", "", kSystemText, true},
        {"rwkv-world", "llama-cpp-rwkv-world", "", kNothing, true},
        {"llama3", "meta-llama-Llama-3.3-70B-Instruct", "", kSystemPrefix, true},
        {"gpt-oss", "openai-gpt-oss-120b", "", kSystemText, true},
    };
    const std::vector<std::vector<ChatMessage>> conversations = {
        {{"user", "Hi"}}, {kChat[0], kChat[1]}, {kChat[1], kChat[2], kChat[3]}, kChat};
    for (const auto& pair : pairs) {
        std::ifstream file(*folder / (std::string(pair.file) + ".jinja"), std::ios::binary);
        std::ostringstream source;
        source << file.rdbuf();
        const auto real = ChatTemplate::from_source(source.str(), "<s>", "</s>");
        const auto ours = ChatTemplate::builtin(pair.family, "<s>", "</s>");
        ASSERT_TRUE(real && ours) << pair.family;
        for (const auto& messages : conversations) {
            const bool has_system = messages[0].role == "system";
            if (has_system && !pair.takes_system) continue;
            const auto theirs = real->render(messages), text = ours->render(messages);
            ASSERT_TRUE(theirs) << pair.family << ": " << theirs.error().message;
            ASSERT_TRUE(text) << pair.family << ": " << text.error().message;
            std::string wanted = *text + pair.behind;
            if (pair.own == kNothing) {
                EXPECT_EQ(wanted, *theirs) << pair.family;
                continue;
            }
            if (wanted.starts_with("<s>")) wanted.erase(0, 3);
            if (pair.own == kSystemPrefix && has_system) wanted.erase(0, wanted.find(messages[0].content));
            EXPECT_GT(wanted.size(), 10u);
            EXPECT_TRUE(theirs->ends_with(wanted)) << pair.family << ": " << wanted << "\nreal: " << *theirs;
        }
    }
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
    EXPECT_EQ(family({"[INST]", "[/INST]", "\u2581"}), "mistral-v3");
    EXPECT_EQ(family({"[INST]", "[/INST]"}), "mistral-v3-tekken");
    EXPECT_EQ(family({"[INST]", "[SYSTEM_PROMPT]"}), "mistral-v7-tekken");
    EXPECT_NE(family({"a"}).find("--chat-template FAMILY"), std::string::npos);
    metadata.name = "Llama-2 7B chat";
    EXPECT_EQ(family({"a"}), "llama2");
}

}  // namespace
}  // namespace sterna
