// The tiny models under tests/golden/models that give logits (tools/make_model_golden.py); bert.gguf is the one that does not.
#pragma once

namespace sterna {

inline constexpr const char* kGoldenModels[] = {
    "llama",          "llama-mixtral", "qwen",    "qwen2", "qwen3",   "qwen3moe",  "gemma3",    "phi3",
    "granite",        "bitnet",        "gemma2",  "olmo2", "smollm3", "qwen2moe",  "gpt2",      "gptneox",
    "gptneox-serial", "phi2",          "gpt-oss", "lfm2",  "qwen35",  "deepseek2", "deepseek3", "gemma4",
};

}  // namespace sterna
