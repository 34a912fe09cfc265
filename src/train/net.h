// A decoder-only transformer that learns: forward pass, loss and every gradient, in float32 on the CPU.
// Two kinds: Llama-style (gated SiLU, RMS norms, RoPE, GQA; also with what Qwen 2 and 3 add) and BitNet b1.58 (sub-norms,
// squared ReLU, and matrices that are ternary in the forward pass, int8 activations per token, straight-through gradients
// to float masters; arXiv 2402.17764), or its float twin, which rounds nothing.
//
// The same batch gives the same bits with any number of threads: threads split outputs, never a sum. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"

namespace sterna::train {

struct NetConfig {
    bool bitnet = false;   // sub-norms before the output projections, squared ReLU
    bool ternary = false;  // of a bitnet network: matrices and their inputs are rounded
    int vocab_size = 0;
    int width = 0;
    int n_layers = 0;
    int n_heads = 0;
    int n_kv_heads = 0;
    int head_dim = 0;
    int ffn_width = 0;
    int context = 0;  // the longest row of a batch
    float rope_base = 10000;
    bool rope_halves = false;  // RoPE turns the halves of a head against each other, not neighbours; bitnet: always
    std::vector<double> rope_frequencies;  // angle of each pair at position 1; empty: rope_base^(-2 i / head_dim)
    double rope_growth = 1;                // cos and sin are multiplied by it (YaRN)
    // Of Llama 3.1's frequencies, which have been divided already: a tensor that finished files keep. Empty: none.
    std::vector<float> rope_divisors;
    bool qkv_bias = false;   // added to queries, keys and values (Qwen 2)
    bool head_norm = false;  // RMS norm of each head of queries and keys, before RoPE (Qwen 3)
    float norm_epsilon = 1e-5f;
    bool tied_embedding = true;  // the output matrix is the embedding
    float init_deviation = 0.02f;
    // Ternary networks: what passes back through a ternary matrix is int8 with one scale per token too (as in SwitchBack,
    // Wortsman et al. 2023), where the matrix has a multiple of 256 rows. Gradients of the matrices keep their floats.
    // Takes an eighth less time (docs/performance.md); no longer exactly the straight-through gradient.
    bool int8_gradients = false;
    bool bf16 = false;  // inputs of matrix products are rounded to bfloat16; sums and weights stay float32
};

enum class ParameterKind : uint8_t { kEmbedding, kMatrix, kNorm, kBias, kConstant };  // constants are not trained

// One tensor of weights. Views into the Net; valid as long as it lives.
struct Parameter {
    std::string name;  // as in a GGUF file: "blk.3.attn_q.weight"
    ParameterKind kind;
    bool ternary;               // ternary in the forward pass
    int64_t rows, cols;         // a vector has one row
    std::span<float> value;     // [rows, cols]
    std::span<float> gradient;  // [rows, cols], what the calls since zero_gradients() added up

    bool is_vector() const { return kind != ParameterKind::kEmbedding && kind != ParameterKind::kMatrix; }
};

// Rows of tokens, each predicted from those before it. Tokens and targets are in [0, vocab_size), targets also where their
// weight is 0.
struct Batch {
    int n_rows;
    int length;                          // tokens per row, at most NetConfig::context
    std::span<const int32_t> tokens;     // [n_rows, length]
    std::span<const int32_t> targets;    // [n_rows, length]
    std::span<const float> weights;      // [n_rows, length], what each target counts; 0 leaves it out
    std::span<const int32_t> documents;  // [n_rows, length] or empty; a token attends to its own document only, and
                                         // positions (RoPE) restart with each document; equal numbers side by side in a
                                         // row are one document
};

class Net {
public:
    // Fresh weights: normal with deviation `init_deviation`, output projections scaled by 1/sqrt(2 n_layers), norms 1.
    static Result<std::unique_ptr<Net>> create(const NetConfig& config, uint64_t seed, ThreadPool& pool);
    virtual ~Net() = default;

    virtual const NetConfig& config() const = 0;
    virtual std::span<Parameter> parameters() = 0;

    // Sum over targets of weight * -log p(target), and the sum of weights: their quotient is the mean loss in nats.
    struct Loss {
        double sum;
        double weight;
    };
    virtual Loss loss(const Batch& batch) = 0;

    // The same, and adds scale * d(sum)/d(parameter) to every gradient.
    virtual Loss loss_and_gradients(const Batch& batch, float scale) = 0;
    virtual void zero_gradients() = 0;
};

}  // namespace sterna::train
