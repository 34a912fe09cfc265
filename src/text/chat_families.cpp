#include "text/chat_families.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace sterna {

namespace {

// Most formats wrap every message the same way; the others put the system text into the first user message.
constexpr std::string_view kChatml = R"({% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %})";

constexpr std::string_view kLlama2 =
    R"({% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = '<<SYS>>\n' ~ m.content ~ '\n<</SYS>>\n\n' %}{% elif m.role == 'assistant' %} {{ m.content | trim }} {{ eos_token }}{% else %}{{ bos_token }}[INST] {{ ns.system }}{{ m.content | trim }} [/INST]{% set ns.system = '' %}{% endif %}{% endfor %})";

constexpr std::string_view kLlama3 =
    R"({{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{{ '' }}{% endif %})";

constexpr std::string_view kMistralV1 =
    R"({{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content ~ '\n\n' %}{% elif m.role == 'assistant' %} {{ m.content | trim }}{{ eos_token }}{% else %} [INST] {{ ns.system }}{{ m.content }} [/INST]{% set ns.system = '' %}{% endif %}{% endfor %})";

constexpr std::string_view kMistralV3 =
    R"({{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content ~ '\n\n' %}{% elif m.role == 'assistant' %} {{ m.content | trim }}{{ eos_token }}{% else %}[INST] {{ ns.system }}{{ m.content }}[/INST]{% set ns.system = '' %}{% endif %}{% endfor %})";

// Tekken vocabularies have no blank at the beginning of a text, so their formats have none after a tag.
constexpr std::string_view kMistralV3Tekken =
    R"({{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content ~ '\n\n' %}{% elif m.role == 'assistant' %}{{ m.content | trim }}{{ eos_token }}{% else %}[INST]{{ ns.system }}{{ m.content }}[/INST]{% set ns.system = '' %}{% endif %}{% endfor %})";

constexpr std::string_view kMistralV7 =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT] {{ m.content }}[/SYSTEM_PROMPT]{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}[INST] {{ m.content }}[/INST]{% endif %}{% endfor %})";

constexpr std::string_view kMistralV7Tekken =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]{% elif m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %})";

constexpr std::string_view kZephyr = R"({% for m in messages %}<|{{ m.role }}|>
{{ m.content }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %})";

constexpr std::string_view kGemma =
    R"({{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content | trim ~ '\n\n' %}{% else %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{% if m.role == 'user' %}{{ ns.system }}{% set ns.system = '' %}{% endif %}{{ m.content | trim }}<end_of_turn>
{% endif %}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %})";

constexpr std::string_view kPhi3 = R"({% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %})";

constexpr std::string_view kDeepseek1 =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}### Instruction:
{{ m.content }}
{% elif m.role == 'assistant' %}### Response:
{{ m.content }}
<|EOT|>
{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:
{% endif %})";

constexpr std::string_view kDeepseek2 =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}User: {{ m.content }}

{% elif m.role == 'assistant' %}Assistant: {{ m.content }}{{ eos_token }}{% else %}{{ m.content }}

{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %})";

constexpr std::string_view kDeepseek3 =
    R"({{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% elif m.role == 'assistant' %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %})";

constexpr std::string_view kVicuna =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} {% elif m.role == 'assistant' %}ASSISTANT: {{ m.content }}{{ eos_token }}{% else %}{{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %})";

constexpr std::string_view kAlpaca = R"({{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}### Instruction:
{{ m.content }}

{% elif m.role == 'assistant' %}### Response:
{{ m.content }}{{ eos_token }}

{% else %}{{ m.content }}

{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:
{% endif %})";

constexpr std::string_view kCommandR =
    R"({{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|><|{{ {'user': 'USER', 'assistant': 'CHATBOT'}.get(m.role, 'SYSTEM') }}_TOKEN|>{{ m.content | trim }}<|END_OF_TURN_TOKEN|>{% endfor %}{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %})";

constexpr std::string_view kGranite =
    R"({% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>
{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %})";

constexpr std::string_view kFalcon3 = R"({% for m in messages %}<|{{ m.role }}|>
{{ m.content }}{{ eos_token if m.role == 'assistant' }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %})";

constexpr std::string_view kOpenchat =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}<|end_of_turn|>{% else %}GPT4 Correct {{ m.role | title }}: {{ m.content }}<|end_of_turn|>{% endif %}{% endfor %}{% if add_generation_prompt %}GPT4 Correct Assistant:{% endif %})";

constexpr std::string_view kGptOss =
    R"({% for m in messages %}<|start|>{{ 'developer' if m.role == 'system' else m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ '# Instructions\n\n' ~ m.content ~ '\n\n' if m.role == 'system' else m.content }}{{ '<|return|>' if loop.last and m.role == 'assistant' else '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %})";

constexpr std::string_view kRwkvWorld =
    R"({{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}System: {{ m.content | trim }}

{% elif m.role == 'user' %}User: {{ m.content | trim }}

{% else %}Assistant: {{ m.content | trim }}

{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %})";

constexpr ChatFamily kFamilies[] = {
    {"chatml", kChatml, {"<|im_end|>"}},
    {"llama2", kLlama2, {}},
    {"llama3", kLlama3, {"<|eot_id|>"}},
    {"mistral", kMistralV3, {}},
    {"mistral-v1", kMistralV1, {}},
    {"mistral-v3", kMistralV3, {}},
    {"mistral-v3-tekken", kMistralV3Tekken, {}},
    {"mistral-v7", kMistralV7, {}},
    {"mistral-v7-tekken", kMistralV7Tekken, {}},
    {"zephyr", kZephyr, {"<|user|>", "<|system|>"}},
    {"tinyllama", kZephyr, {"<|user|>", "<|system|>"}},
    {"smollm", kChatml, {"<|im_end|>"}},
    {"gemma", kGemma, {"<end_of_turn>"}},
    {"phi3", kPhi3, {"<|end|>"}},
    {"deepseek", kDeepseek1, {"<|EOT|>"}},
    {"deepseek2", kDeepseek2, {"\n\nUser:"}},
    {"deepseek3", kDeepseek3, {"<｜User｜>"}},
    {"vicuna", kVicuna, {"USER:"}},
    {"alpaca", kAlpaca, {"### Instruction:"}},
    {"command-r", kCommandR, {"<|END_OF_TURN_TOKEN|>"}},
    {"granite", kGranite, {"<|end_of_text|>", "<|start_of_role|>"}},
    {"falcon3", kFalcon3, {"<|user|>", "<|system|>"}},
    {"openchat", kOpenchat, {"<|end_of_turn|>"}},
    {"gpt-oss", kGptOss, {"<|return|>", "<|call|>"}},
    {"rwkv-world", kRwkvWorld, {"\n\nUser:"}},
};

}  // namespace

std::span<const ChatFamily> chat_families() {
    return kFamilies;
}

std::string_view guess_chat_family(std::span<const std::string_view> tokens, std::string_view architecture,
                                   std::string_view name) {
    // The most telling token decides; the order matters where families share tokens.
    struct Sign {
        std::string_view token, family;
    };
    static constexpr Sign kSigns[] = {
        {"<|im_start|>", "chatml"},
        {"<|start_header_id|>", "llama3"},
        {"<|eot_id|>", "llama3"},
        {"<start_of_turn>", "gemma"},
        {"[SYSTEM_PROMPT]", "mistral-v7"},
        {"[INST]", "mistral-v3"},
        {"<|START_OF_TURN_TOKEN|>", "command-r"},
        {"<|start_of_role|>", "granite"},
        {"<｜User｜>", "deepseek3"},
        {"<|channel|>", "gpt-oss"},
        {"<|end|>", "phi3"},
        {"<|end_of_turn|>", "openchat"},
        {"<|EOT|>", "deepseek"},
        {"<|user|>", "zephyr"},
    };
    constexpr size_t kNone = std::size(kSigns);
    size_t best = kNone;
    for (std::string_view token : tokens)
        for (size_t i = 0; i < best; ++i)
            if (token == kSigns[i].token) best = i;
    std::string lower(name.substr(0, 1000));
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    auto named = [&](std::string_view part) { return lower.find(part) != std::string::npos; };
    if (best != kNone) {
        // SentencePiece vocabularies have the blank as a piece, Tekken's have bytes.
        if (kSigns[best].family.starts_with("mistral") && std::ranges::find(tokens, "\u2581") == tokens.end())
            return kSigns[best].family == "mistral-v7" ? "mistral-v7-tekken" : "mistral-v3-tekken";
        if (kSigns[best].family == "zephyr" && (named("falcon3") || named("falcon-3"))) return "falcon3";
        return kSigns[best].family;
    }
    if (architecture.starts_with("rwkv")) return "rwkv-world";
    if (architecture == "deepseek2") return "deepseek2";
    static constexpr Sign kNames[] = {{"vicuna", "vicuna"},      {"alpaca", "alpaca"},     {"openchat", "openchat"},
                                      {"tinyllama", "zephyr"},   {"zephyr", "zephyr"},     {"mistral", "mistral-v1"},
                                      {"mixtral", "mistral-v1"}, {"llama-2", "llama2"},    {"llama 2", "llama2"},
                                      {"llama2", "llama2"},      {"deepseek", "deepseek2"}};
    for (const Sign& sign : kNames)
        if (named(sign.token)) return sign.family;
    return {};
}

}  // namespace sterna
