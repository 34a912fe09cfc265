// What the converter must know about an architecture's Hugging Face checkpoints besides the tensor table: the class names
// that mean it, and how config.json becomes GGUF metadata. Data only, and views of string literals; src/convert reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace sterna {

struct Config;

// What a converter does to the Hugging Face tensor on its way to GGUF, besides changing the type. Extents of 1 do not
// count: [channels, 1, 4] becomes "4, channels" by itself. "Rows" are those of each matrix of a stack.
enum class Change : uint8_t {
    kNone,
    kInterleaveQ,   // rows of each head go from half-split to adjacent pairs (n_heads heads)
    kInterleaveK,   // the same for n_kv_heads heads
    kPlusOne,       // norm weights are stored with 1 added (gemma)
    kStack,         // one tensor per expert; the second {} of hf_name counts them, or [abc] names each by a letter
    kFlatten,       // rows one after the other as one vector
    kTernaryScale,  // the mean magnitude goes to the `.scale` tensor, -1 0 1 stay (bitnet)
    kTranspose,     // the last two dimensions change places (GPT-2's Conv1D)
    kFirstHalf,     // of the rows: gate and up in one tensor, gate first
    kSecondHalf,
    kEvenRows,  // gate and up rows take turns (gpt-oss)
    kOddRows,
    kTransposeEven,  // the same where the tensor is stored transposed
    kTransposeOdd,
    kEvenColumns,  // of vectors side by side, [experts, 2 n]: their even values (gpt-oss biases)
    kOddColumns,
    kKeyB,      // kv_b_proj, [n_heads * (nope + value), rank]: the key rows, transposed per head: "nope, rank, heads"
    kValueB,    // its value rows: "rank, value, heads"
    kHeadsQkv,  // rows come as q, k, v of each head in turn, and go to all q, all k, all v (GPT-NeoX)
    kNegExp,    // x becomes -exp(x) (Mamba's A_log)
    // Value heads that share a key head stand side by side; here head h uses key head h mod n_key_heads, so they go from
    // [n_key_heads][heads per key head] to [heads per key head][n_key_heads] (Qwen3.5). In attn_qkv and its convolution only
    // the rows of values move.
    kTileValueRows,
    kTileValueColumns,
    kNegExpTileValues,
};

// "LlamaForCausalLM", the first of config.json's architectures.
struct HfClass {
    std::string_view name;
    std::string_view architecture = {};  // general.architecture to write; empty: the architecture's own name
    std::string_view model_type = {};    // config.json's, where it is another word than general.architecture
};

enum class HfKind : uint8_t {
    kInt,    // or a list with one per layer
    kFloat,  // or such a list
    kBool,
    kText,
    kInverseRoot,  // a number x: 1 / sqrt(x) is written (gemma's query_pre_attn_scalar)
    kIs,           // writes nothing: the value must be one of `choices`, for the forward pass knows no other
    kPeriod,       // a list of one text per layer that repeats: every how many layers comes the one named in `choices`
    kFlags,        // such a list, as bools: true where the text is one of `choices`
    kWhere,        // such a list, as integers: the value of `otherwise` where the text is one of `choices`, 0 elsewhere
};

// One row: config.json key -> GGUF key. It replaces a row of kHfCommon with the same GGUF key.
struct HfKey {
    // "num_experts|n_routed_experts": the first that is there and not null; a dot steps into an object. Empty: never there.
    std::string_view json;
    std::string_view gguf;  // "expert_count", to be read after "{architecture}."
    HfKind kind = HfKind::kInt;
    // When absent. Numbers: a product of numbers and config.json keys, "4*hidden_size" or "hidden_size/num_heads", or a sum of such. Texts and
    // bools: as they are. Empty: the GGUF key is left out.
    std::string_view otherwise = {};
    // kIs, kPeriod, kFlags, kWhere: "silu|swish". kInt of a text: "softmax=1|sigmoid=2".
    std::string_view choices = {};
    std::string_view elsewhere = {};  // kPeriod, kFlags, kWhere: what config.json calls the other layers
};

// Another name under which a tensor of the table is found, tried when the table's own is not there.
struct HfTensor {
    std::string_view gguf_name, hf_name;
    Change change = Change::kNone;
    // Null: in every layer.
    bool (*at)(const Config& config, int64_t layer) = nullptr;
};

struct HuggingFace {
    std::span<const HfClass> classes = {};  // empty: no converter for this architecture
    std::span<const HfKey> keys = {};
    std::span<const HfTensor> tensors = {};
    std::string_view skipped = {};  // tensors that may be left out: "pooler.*|cls.*", * is any text
    bool written = true;            // back as a checkpoint too: transformers has the class
};

// Rows that every architecture has. RoPE is not among them: base, scaling and rotary share have been written in too many
// ways for rows, and src/convert/hf_config.cpp reads them for all architectures alike.
inline constexpr HfKey kHfCommon[] = {
    {"num_hidden_layers|n_layer|num_layers|n_layers", "block_count"},
    {"max_position_embeddings|n_positions|n_ctx|max_sequence_length|seq_length", "context_length"},
    {"hidden_size|n_embd|d_model", "embedding_length"},
    {"intermediate_size|n_inner|ffn_hidden_size", "feed_forward_length"},
    {"num_attention_heads|n_head|num_heads", "attention.head_count"},
    {"num_key_value_heads|num_kv_heads|n_head_kv", "attention.head_count_kv"},
    {"head_dim", "attention.key_length"},
    {"head_dim", "attention.value_length"},
    {"rms_norm_eps|layernorm_epsilon", "attention.layer_norm_rms_epsilon", HfKind::kFloat},
    {"vocab_size", "vocab_size"},
    {"num_local_experts|num_experts|n_routed_experts", "expert_count"},
    {"num_experts_per_tok|num_experts_per_token|moe_k", "expert_used_count"},
    {"moe_intermediate_size", "expert_feed_forward_length"},
};

}  // namespace sterna
