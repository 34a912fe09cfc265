// recipes/tavern_chat.jinja through this project's Jinja; the expected text is what jinja2 3.1 gives.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "support/testdata.h"
#include "text/chat.h"

namespace sterna {
namespace {

ChatTemplate tavern_template() {
    std::ifstream file(source_path("recipes/tavern_chat.jinja"));
    std::stringstream text;
    text << file.rdbuf();
    auto chat = ChatTemplate::from_source(text.str(), "", "<|end|>");
    EXPECT_TRUE(chat.has_value()) << chat.error().message;
    return std::move(*chat);
}

TEST(TavernTemplate, ToolsCallsAndResults) {
    ChatRenderOptions options;
    options.tools = OrderedJson::parse(R"([
        {"type": "function", "function": {"name": "give_item", "parameters": {"type": "object", "properties":
            {"item": {"type": "string"}, "count": {"type": "integer"}}}}},
        {"name": "open_door", "parameters": {"properties": {"door": {"type": "string", "enum": ["cellar", "yard"]}}}},
        {"name": "ring_bell"}])");
    const OrderedJson call = OrderedJson::parse(
        R"({"tool_calls": [{"type": "function", "function": {"name": "give_item", "arguments": {"item": "Öl", "count": 2}}}]})");
    const std::vector<ChatMessage> messages = {{"system", "S."}, {"user", "a"},      {"assistant", "", call},
                                               {"tool", "ok"},   {"assistant", "b"}, {"user", "c"}};
    const auto text = tavern_template().render(messages, options);
    ASSERT_TRUE(text.has_value()) << text.error().message;
    EXPECT_EQ(
        *text,
        "<|system|>S.\nTools: give_item(item, count); open_door(door: cellar|yard); ring_bell()<|end|><|user|>a<|end|>"
        "<|assistant|>{\"name\": \"give_item\", \"arguments\": {\"item\": \"Öl\", \"count\": "
        "2}}<|end|><|tool|>ok<|end|>"
        "<|assistant|>b<|end|><|user|>c<|end|><|assistant|>");
}

TEST(TavernTemplate, WithoutASystemPromptThereIsACharacter) {
    ChatRenderOptions options;
    options.add_generation_prompt = false;
    const auto text = tavern_template().render({{"user", "Hallo!"}}, options);
    ASSERT_TRUE(text.has_value()) << text.error().message;
    EXPECT_TRUE(text->starts_with("<|system|>You are Mara, innkeeper in the Golden Goose in Eldham.")) << *text;
    EXPECT_TRUE(text->ends_with("knows about the ring.<|end|><|user|>Hallo!<|end|>")) << *text;
}

}  // namespace
}  // namespace sterna
