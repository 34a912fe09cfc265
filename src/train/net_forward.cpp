#include <algorithm>

#include "kernels/layout.h"
#include "train/net_impl.h"

namespace sterna::train {

namespace {

constexpr float kSmallestActivation = 1e-5f;  // of a row's largest magnitude, as in BitNet's own code

}  // namespace

Transformer::RowsOfBytes Transformer::rows_of_bytes(const Tile& tile) const {
    float* bytes = tile.scratch + 2 * kTile * widest_;
    return {reinterpret_cast<int8_t*>(bytes), reinterpret_cast<int16_t*>(bytes + kTile * widest_ / 2),
            bytes + kTile * widest_ / 4 * 3, reinterpret_cast<uint8_t*>(bytes + kTile * widest_)};
}

void Transformer::gemm(const GemmArgs& args) const {
    (config_.bf16 ? table_->gemm_bf16 : table_->gemm)(args);
}

void Transformer::round_rows(float* rows, int64_t n) const {
    if (config_.bf16) table_->round_bf16(rows, n, rows);
}

// Keeps a tile's input of a linear layer; where it is ternary, the rows become the integers that it multiplies.
void Transformer::keep(const Input& input, const Linear& linear, const Tile& tile, float* rows) const {
    const int64_t n = linear.n_in, block = tile.first / kDepth * kDepth, row = tile.first - block;
    const int64_t at = block * round_up(n, kPanelColumns) + row * kPanelColumns;
    constexpr int64_t kPanel = kDepth * kPanelColumns;
    if (!linear.ternary) {
        round_rows(rows, tile.n * n);
        return table_->pack_rows(rows, n, tile.n, n, kPanel, input.panels + at);
    }
    const RowsOfBytes bytes = rows_of_bytes(tile);
    for (int64_t i = 0; i < tile.n; ++i) {
        float* x = rows + i * n;
        input.scale[tile.first + i] =
            table_->quantize_row(x, n, kSmallestActivation, bytes.q + i * n, linear.integers ? nullptr : x,
                                 linear.integers ? bytes.sums + i * (n / kPanelColumns) : nullptr);
    }
    table_->pack_rows_s8(bytes.q, n, tile.n, n, kPanel, input.panels_s8 + at);
}

void Transformer::multiply(const Linear& linear, const Input& input, const Tile& tile, const float* rows,
                           float* out) const {
    if (linear.integers) {
        multiply_integers(linear.integers, linear.n_in, linear.n_out, tile, out);
    } else {
        multiply_floats(linear, tile, rows, out);
    }
    if (!linear.ternary) return;
    // The sums are integers below 2^24 for up to 2^17 columns: exact, in whatever order.
    for (int64_t i = 0; i < tile.n; ++i)
        table_->scale_columns(out + i * linear.n_out, input.scale[tile.first + i], linear.column_scale, linear.n_out);
}

// The product of the tile's RowsOfBytes.
void Transformer::multiply_integers(const uint8_t* weights, int64_t n_in, int64_t n_out, const Tile& tile,
                                    float* out) const {
    const RowsOfBytes bytes = rows_of_bytes(tile);
    constexpr auto kKind = kernels::WeightKind::kTQ2_0;
    rows_->matmul[int(kKind)]({.weights = weights,
                               .panel_bytes = kernels::panel_bytes(kKind, n_in),
                               .panel_begin = 0,
                               .panel_end = round_up(n_out, kernels::kPanelRows) / kernels::kPanelRows,
                               .n_rows = n_out,
                               .n_cols = n_in,
                               .x = {nullptr, bytes.q, ones_, bytes.sums, n_in / kBlock, n_in / kPanelColumns},
                               .n_tokens = tile.n,
                               .out = out,
                               .out_stride = n_out,
                               .scratch = bytes.product});
}

void Transformer::multiply_floats(const Linear& linear, const Tile& tile, const float* rows, float* out) const {
    gemm(rows_times(rows, linear.n_in, tile.n, linear.n_in, linear.forward, linear.n_out, out));
}

void Transformer::forward(const Chunk& chunk) {
    const int64_t n_kv_heads = config_.n_kv_heads;
    for (size_t i = 0; i < layers_.size(); ++i) {
        const Layer& layer = layers_[i];
        float* x_out = i + 1 < layers_.size() ? layers_[i + 1].x : x_out_;
        for_tiles(chunk.n_tokens, [&](const Tile& tile) { forward_qkv(layer, tile); });
        pool_.run(int(int64_t(documents_.size()) * n_kv_heads), [&](int task, int worker) {
            const Document& document = documents_[size_t(task / n_kv_heads)];
            attention_forward(*table_, attention_span(layer, document, task % n_kv_heads, worker));
        });
        for_tiles(chunk.n_tokens, [&](const Tile& tile) { forward_rest(layer, tile, x_out); });
    }
}

void Transformer::forward_qkv(const Layer& layer, const Tile& tile) {
    const int64_t width = config_.width, pairs = config_.head_dim / 2;
    float* rows = tile.scratch;
    for (int64_t i = 0; i < tile.n; ++i)
        rows_->rms_norm(layer.x + (tile.first + i) * width, weight(layer.attn_norm), config_.norm_epsilon, width,
                        rows + i * width);
    keep(layer.qkv_input, layer.qkv, tile, rows);
    float* out = layer.qkv_out + tile.first * qkv_width_;
    multiply(layer.qkv, layer.qkv_input, tile, rows, out);
    for (int64_t i = 0; i < tile.n && layer.q_bias >= 0; ++i) {
        float* row = out + i * qkv_width_;
        rows_->add(row, weight(layer.q_bias), qkv_width_, row);
    }
    if (layer.q_norm >= 0) normalize_heads(layer, tile);
    const auto rotate = rope_halves_ ? rows_->rope_half : rows_->rope_adjacent;
    for (int64_t i = 0; i < tile.n; ++i) {
        const int64_t at = positions_[size_t(tile.first + i)] * pairs;
        rotate(out + i * qkv_width_, config_.n_heads + config_.n_kv_heads, config_.head_dim, pairs, cosines_ + at,
               sines_ + at);
    }
    round_rows(out, tile.n * qkv_width_);
}

void Transformer::normalize_heads(const Layer& layer, const Tile& tile) const {
    const int64_t dim = config_.head_dim, width = q_width_ + kv_width_;
    for (int64_t i = tile.first; i < tile.first + tile.n; ++i) {
        float* row = layer.qkv_out + i * qkv_width_;
        float* kept = layer.heads + i * width;
        std::copy_n(row, width, kept);
        for (int64_t at = 0; at < width; at += dim)
            rows_->rms_norm(kept + at, weight(at < q_width_ ? layer.q_norm : layer.k_norm), config_.norm_epsilon, dim,
                            row + at);
    }
}

AttentionSpan Transformer::attention_span(const Layer& layer, const Document& document, int64_t kv_head,
                                          int worker) const {
    const int64_t group = config_.n_heads / config_.n_kv_heads;
    const float* row = layer.qkv_out + document.first * qkv_width_;
    return {.length = document.length,
            .head_dim = config_.head_dim,
            .n_queries = group,
            .q = row + kv_head * group * config_.head_dim,
            .k = row + q_width_ + kv_head * config_.head_dim,
            .v = row + q_width_ + kv_width_ + kv_head * config_.head_dim,
            .row = qkv_width_,
            .out = layer.attended + document.first * q_width_ + kv_head * group * config_.head_dim,
            .out_row = q_width_,
            .log_sum = layer.log_sum + document.first * config_.n_heads + kv_head * group,
            .log_sum_row = config_.n_heads,
            .scratch = scratch_[size_t(worker)],
            .bf16 = config_.bf16};
}

// From what attention gave to the next layer's input.
void Transformer::forward_rest(const Layer& layer, const Tile& tile, float* x_out) {
    const int64_t width = config_.width, ffn = config_.ffn_width;
    const float epsilon = config_.norm_epsilon;

    float* rows = layer.attended + tile.first * q_width_;
    if (layer.attn_sub_norm >= 0) {
        rows = tile.scratch;
        for (int64_t i = 0; i < tile.n; ++i)
            rows_->rms_norm(layer.attended + (tile.first + i) * q_width_, weight(layer.attn_sub_norm), epsilon,
                            q_width_, rows + i * q_width_);
    }
    keep(layer.output_input, layer.attention_output, tile, rows);
    float* middle = layer.x_middle + tile.first * width;
    multiply(layer.attention_output, layer.output_input, tile, rows, middle);
    rows_->add(layer.x + tile.first * width, middle, tile.n * width, middle);

    rows = tile.scratch;
    for (int64_t i = 0; i < tile.n; ++i)
        rows_->rms_norm(middle + i * width, weight(layer.ffn_norm), epsilon, width, rows + i * width);
    keep(layer.gate_up_input, layer.gate_up, tile, rows);
    float* gates = layer.gate_up_out + tile.first * 2 * ffn;
    multiply(layer.gate_up, layer.gate_up_input, tile, rows, gates);

    for (int64_t i = 0; i < tile.n; ++i) {
        const float* gate = gates + i * 2 * ffn;
        if (!config_.bitnet) {
            rows_->silu_mul(gate, gate + ffn, ffn, rows + i * ffn);
            continue;
        }
        rows_->relu2_mul(gate, gate + ffn, ffn, rows + i * ffn);
        rows_->rms_norm(rows + i * ffn, weight(layer.ffn_sub_norm), epsilon, ffn, rows + i * ffn);
    }
    keep(layer.down_input, layer.down, tile, rows);
    float* out = x_out + tile.first * width;
    multiply(layer.down, layer.down_input, tile, rows, out);
    rows_->add(middle, out, tile.n * width, out);
}

}  // namespace sterna::train
