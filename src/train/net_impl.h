// The trainer's network from inside: what a step keeps, and who computes which part of it. See net.h. A step goes layer by
// layer; within a layer, threads take tiles of kTile tokens through everything that concerns single tokens, then
// documents and heads through attention, then tiles of the gradients of matrices.
#pragma once

#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "train/attention.h"
#include "train/gemm.h"
#include "train/net.h"
#include "train/net_kernels.h"
#include "train/net_memory.h"

namespace sterna::train {

constexpr int64_t kTile = 64;             // tokens that one task takes through a layer: their rows stay in the L2 cache
constexpr int64_t kBlock = 256;           // columns of a block of WeightKind::kTQ2_0
constexpr int64_t kChunkTokens = 4096;    // a batch goes forward and back in groups of rows of at most so many tokens
constexpr int64_t kHeadFloats = 1 << 22;  // logits that exist at one time, unless kDepth tokens have more
static_assert(kDepth % kTile == 0);       // tiles are packed into blocks of kDepth tokens

// Matrices that multiply the same input, side by side; in the arrays of weights and gradients they follow one another.
struct Linear {
    int first_parameter, n_parameters;
    int64_t offset;  // of the first in these arrays
    int64_t n_in, n_out;
    bool ternary;
    float* forward;     // packed [n_in, n_out]; ternary: -1, 0, 1; null where `integers` takes its place
    uint8_t* integers;  // ternary, n_in a multiple of 256: as WeightKind::kTQ2_0 with all scales 1
    float* backward;    // packed [n_out, n_in]; ternary: times the scale; null where `integers_back` takes its place
    uint8_t* integers_back;  // as integers, rows and columns exchanged
    float* column_scale;     // [n_out], ternary only
};

// The input of a Linear, kept for its gradient as OuterProduct wants it. Ternary: int8 with a scale per token.
struct Input {
    float* panels;
    int8_t* panels_s8;
    float* scale;
};

struct Layer {
    Linear qkv, attention_output, gate_up, down;
    // Parameters; -1: there is none. The biases of keys and values follow that of queries.
    int attn_norm, attn_sub_norm, ffn_norm, ffn_sub_norm, q_norm, k_norm, q_bias;

    // Kept for the backward pass.
    float* x;         // [tokens, width] residual stream before attention
    Input qkv_input;  // normalized x
    float* qkv_out;   // [tokens, qkv], rotated
    float* heads;     // [tokens, q + k] queries and keys before their norm; null without one
    float* log_sum;   // [tokens, heads]
    float* attended;  // [tokens, heads * head_dim]
    Input output_input;
    float* x_middle;  // [tokens, width] residual stream before the feed-forward block
    Input gate_up_input;
    float* gate_up_out;  // [tokens, 2 ffn]; its gradient replaces it
    Input down_input;
};

class Transformer final : public Net {
public:
    // Ternary products by integer kernels where the width allows, or all by floats (for tests: the bits are the same).
    // Throws std::bad_alloc.
    Transformer(const NetConfig& config, ThreadPool& pool, bool integers = true);

    const NetConfig& config() const override { return config_; }
    std::span<Parameter> parameters() override { return parameters_; }
    Loss loss(const Batch& batch) override { return run(batch, false, 0); }
    Loss loss_and_gradients(const Batch& batch, float scale) override { return run(batch, true, scale); }
    void zero_gradients() override;
    void initialize(uint64_t seed);

private:
    // Part of a batch: its rows from row0 on.
    struct Chunk {
        const Batch* batch;
        int64_t first;  // token of the batch
        int64_t n_tokens;
        bool gradients;
        float scale;
    };
    // A document's part of a row, as tokens of the chunk.
    struct Document {
        int64_t first, length;
    };
    struct Tile {
        int64_t first, n;
        int index;
        float* scratch;  // [2][kTile][widest_], then a RowsOfBytes
    };
    // A tile's rows as bytes, the sums of each 16 of them, and what the integer product works in.
    struct RowsOfBytes {
        int8_t* q;
        int16_t* sums;
        float* row;        // [widest_]
        uint8_t* product;  // kernels::kMatmulScratchBytes
    };
    // Norms and biases, in the order in which their gradients of a tile lie side by side.
    struct VectorGradient {
        int parameter;
        int64_t offset;
    };

    // net.cpp
    int add_parameter(std::string name, ParameterKind kind, bool ternary, int64_t rows, int64_t cols);
    Linear make_linear(int first_parameter, int n_parameters);
    void add_layer(int index);
    void lay_out_memory();
    void lay_out_parameters();
    void lay_out_layer(Layer& layer);
    void lay_out_scratch();
    void fill_rotations();
    void pack_weights();
    void quantize_weights();
    void pack_integers(const Linear& linear, bool back) const;
    uint8_t* allocate_integers(int64_t rows, int64_t columns);
    Loss run(const Batch& batch, bool gradients, float scale);
    void find_documents(const Chunk& chunk);
    void embed(const Chunk& chunk);
    void embedding_gradient(const Chunk& chunk);

    // net_forward.cpp
    void forward(const Chunk& chunk);
    void forward_qkv(const Layer& layer, const Tile& tile);
    void normalize_heads(const Layer& layer, const Tile& tile) const;
    void forward_rest(const Layer& layer, const Tile& tile, float* x_out);
    RowsOfBytes rows_of_bytes(const Tile& tile) const;
    void multiply_integers(const uint8_t* weights, int64_t n_in, int64_t n_out, const Tile& tile, float* out) const;
    void keep(const Input& input, const Linear& linear, const Tile& tile, float* rows) const;
    void multiply(const Linear& linear, const Input& input, const Tile& tile, const float* rows, float* out) const;
    void multiply_floats(const Linear& linear, const Tile& tile, const float* rows, float* out) const;
    AttentionSpan attention_span(const Layer& layer, const Document& document, int64_t kv_head, int worker) const;

    // net_backward.cpp
    void backward(const Chunk& chunk);
    void backward_rest(const Layer& layer, const Tile& tile);
    void backward_qkv(const Layer& layer, const Tile& tile);
    void backward_heads(const Layer& layer, const Tile& tile) const;
    std::vector<int> vectors_of(const Layer& layer) const;
    void multiply_back(const Linear& linear, const Tile& tile, const float* dy, float* dx) const;
    void gemm(const GemmArgs& args) const;
    void round_rows(float* rows, int64_t n) const;
    const float* rounded(const float* rows, int64_t n, float* space) const;
    void turn(const float* rows, int64_t n, const Tile& tile, float* turned) const;
    void add_product(const Linear& linear, const Input& input, const float* turned, int64_t n_tokens);
    void run_products();
    float* vector_gradient(const Tile& tile, int parameter) const;
    void add_vector_gradients(int64_t n_tokens);

    // net_head.cpp
    void head(const Chunk& chunk, Loss& loss);
    void head_tile(const Chunk& chunk, int64_t block, const Tile& tile);

    // Calls f(tile) for all tiles of n tokens, on all threads.
    template <typename F>
    void for_tiles(int64_t n, F f) {
        pool_.run(int((n + kTile - 1) / kTile), [&](int task, int worker) {
            const int64_t first = task * kTile;
            f(Tile{first, n - first < kTile ? n - first : kTile, task, scratch_[size_t(worker)]});
        });
    }
    const float* weight(int parameter) const { return parameters_[size_t(parameter)].value.data(); }
    float* gradient(int parameter) const { return parameters_[size_t(parameter)].gradient.data(); }
    template <typename T>
    T* allocate(int64_t n);

    NetConfig config_;
    ThreadPool& pool_;
    const bool integers_;
    const NetKernels* table_ = nullptr;       // of the current call
    const kernels::Kernels* rows_ = nullptr;  // likewise
    int64_t q_width_, kv_width_, qkv_width_, widest_, max_tokens_, head_tokens_;
    const bool rope_halves_;

    std::vector<Parameter> parameters_;
    std::vector<Layer> layers_;
    int embedding_ = -1, output_norm_ = -1, output_ = -1;
    Buffer<float> values_, gradients_;
    std::vector<Buffer<float>> floats_;  // what everything below points into
    std::vector<Buffer<int8_t>> bytes_;

    float *cosines_, *sines_, *negative_sines_;  // [context, head_dim / 2]
    float* head_forward_;                        // packed [width, vocab]
    float* head_backward_;                       // packed [vocab, width]
    float* ternary_;                             // as values_: -1, 0, 1
    float* factors_;                    // as values_: ternary values times their scales, and rounded if so asked;
                                        // values_ itself where neither applies
    std::vector<float> ternary_scale_;  // per parameter
    float* ones_;                       // [kTile][widest_ / 256], scales of the integer product's activations
    std::vector<float*> scratch_;       // per worker

    float* x_out_;             // [tokens, width] after the last layer
    float *dx_, *dx_middle_;   // [tokens, width]
    float* dattended_;         // [tokens, heads * head_dim]
    float* dqkv_;              // [tokens, qkv]
    float* vector_gradients_;  // [tiles][vector_stride_]
    int64_t vector_stride_;
    std::vector<VectorGradient> vectors_;                                                   // of the layer at work
    float *down_turned_, *gate_up_turned_, *output_turned_, *qkv_turned_, *logits_turned_;  // gradients, packed
    float* final_panels_;  // the output norm's results for a block of head_tokens_
    float* token_loss_;    // [tokens]

    std::vector<Document> documents_;
    std::vector<int32_t> positions_;  // per token of the chunk
    std::vector<int32_t> weighted_;   // tokens of the chunk that count
    std::vector<OuterProduct> products_;
    OuterProducts outer_;
};

}  // namespace sterna::train
