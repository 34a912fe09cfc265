#include <algorithm>

#include "train/net_impl.h"

namespace sterna::train {

void Transformer::multiply_back(const Linear& linear, const Tile& tile, const float* dy, float* dx) const {
    if (linear.integers_back) {
        constexpr float kSmallest = 1e-30f;  // gradients may be tiny; the reciprocal must not overflow
        const RowsOfBytes bytes = rows_of_bytes(tile);
        const int64_t n = linear.n_out;
        float scales[kTile];
        for (int64_t i = 0; i < tile.n; ++i) {
            rows_->mul(dy + i * n, linear.column_scale, n, bytes.row);
            scales[i] = table_->quantize_row(bytes.row, n, kSmallest, bytes.q + i * n, nullptr,
                                             bytes.sums + i * (n / kPanelColumns));
        }
        multiply_integers(linear.integers_back, n, linear.n_in, tile, dx);
        for (int64_t i = 0; i < tile.n; ++i)
            rows_->scale(dx + i * linear.n_in, scales[i], linear.n_in, dx + i * linear.n_in);
        return;
    }
    gemm(rows_times(dy, linear.n_out, tile.n, linear.n_out, linear.backward, linear.n_in, dx));
}

// Packs rows of gradients for OuterProduct while they are in the cache.
void Transformer::turn(const float* rows, int64_t n, const Tile& tile, float* turned) const {
    const int64_t block = tile.first / kDepth * kDepth, row = tile.first - block;
    table_->pack_turned(rows, n, tile.n, n, kDepth * kPanelRows,
                        turned + block * round_up(n, kPanelRows) + row * kPanelRows);
}

// The rows, or a rounded copy: gradients of the residual stream stay as they are.
const float* Transformer::rounded(const float* rows, int64_t n, float* space) const {
    if (!config_.bf16) return rows;
    table_->round_bf16(rows, n, space);
    return space;
}

void Transformer::add_product(const Linear& linear, const Input& input, const float* turned, int64_t n_tokens) {
    products_.push_back({turned, input.panels, input.panels_s8, input.scale, n_tokens,
                         gradients_.data() + linear.offset, linear.n_out, linear.n_in});
}

void Transformer::run_products() {
    outer_.run(products_, config_.bf16, pool_, scratch_);
    products_.clear();
}

// A tile's own sum of the gradient of a norm or a bias; add_vector_gradients() adds the tiles up in order.
float* Transformer::vector_gradient(const Tile& tile, int parameter) const {
    for (const VectorGradient& vector : vectors_)
        if (vector.parameter == parameter) return vector_gradients_ + tile.index * vector_stride_ + vector.offset;
    return nullptr;
}

void Transformer::add_vector_gradients(int64_t n_tokens) {
    for (const VectorGradient& vector : vectors_) {
        const int64_t n = parameters_[size_t(vector.parameter)].cols;
        float* sum = gradient(vector.parameter);
        for (int64_t tile = 0; tile * kTile < n_tokens; ++tile)
            rows_->add(sum, vector_gradients_ + tile * vector_stride_ + vector.offset, n, sum);
    }
}

// Norms and biases of a layer.
std::vector<int> Transformer::vectors_of(const Layer& layer) const {
    std::vector<int> list;
    for (int norm :
         {layer.attn_norm, layer.attn_sub_norm, layer.ffn_norm, layer.ffn_sub_norm, layer.q_norm, layer.k_norm})
        if (norm >= 0) list.push_back(norm);
    for (int bias = layer.q_bias; bias >= 0 && bias < layer.q_bias + 3; ++bias) list.push_back(bias);
    return list;
}

void Transformer::backward(const Chunk& chunk) {
    const int64_t n_kv_heads = config_.n_kv_heads, n_tokens = chunk.n_tokens;
    for (size_t i = layers_.size(); i-- > 0;) {
        const Layer& layer = layers_[i];
        vectors_.clear();
        int64_t offset = 0;
        for (int vector : vectors_of(layer)) {
            vectors_.push_back({vector, offset});
            offset += round_up(parameters_[size_t(vector)].cols, 16);
        }
        std::fill_n(vector_gradients_, (n_tokens + kTile - 1) / kTile * vector_stride_, 0.0f);

        for_tiles(n_tokens, [&](const Tile& tile) { backward_rest(layer, tile); });
        add_product(layer.down, layer.down_input, down_turned_, n_tokens);
        add_product(layer.gate_up, layer.gate_up_input, gate_up_turned_, n_tokens);
        add_product(layer.attention_output, layer.output_input, output_turned_, n_tokens);
        run_products();
        pool_.run(int(int64_t(documents_.size()) * n_kv_heads), [&](int task, int worker) {
            const Document& document = documents_[size_t(task / n_kv_heads)];
            const int64_t kv_head = task % n_kv_heads, group = config_.n_heads / config_.n_kv_heads;
            float* row = dqkv_ + document.first * qkv_width_;
            attention_backward(*table_, attention_span(layer, document, kv_head, worker),
                               {.dout = dattended_ + document.first * q_width_ + kv_head * group * config_.head_dim,
                                .dq = row + kv_head * group * config_.head_dim,
                                .dk = row + q_width_ + kv_head * config_.head_dim,
                                .dv = row + q_width_ + kv_width_ + kv_head * config_.head_dim});
        });
        for_tiles(n_tokens, [&](const Tile& tile) { backward_qkv(layer, tile); });
        add_product(layer.qkv, layer.qkv_input, qkv_turned_, n_tokens);
        run_products();
        add_vector_gradients(n_tokens);
    }
}

// From the gradient of the layer's output, dx_, to those of the residual stream after attention, dx_middle_, and of what
// attention gave, dattended_.
void Transformer::backward_rest(const Layer& layer, const Tile& tile) {
    const int64_t width = config_.width, ffn = config_.ffn_width;
    const float epsilon = config_.norm_epsilon;
    float* wide = tile.scratch;                      // [tile.n, ffn]
    float* narrow = tile.scratch + kTile * widest_;  // [tile.n, width]
    float* space = tile.scratch + 2 * kTile * widest_;
    const float* dx = dx_ + tile.first * width;
    float* gates = layer.gate_up_out + tile.first * 2 * ffn;

    const float* dy = rounded(dx, tile.n * width, space);
    turn(dy, width, tile, down_turned_);
    multiply_back(layer.down, tile, dy, wide);
    for (int64_t i = 0; i < tile.n; ++i) {
        float* gate = gates + i * 2 * ffn;
        float* up = gate + ffn;
        float* dproduct = wide + i * ffn;
        if (!config_.bitnet) {
            table_->silu_mul_backward(gate, up, dproduct, ffn, gate, up);
            continue;
        }
        rows_->relu2_mul(gate, up, ffn, narrow);
        table_->rms_norm_backward(narrow, weight(layer.ffn_sub_norm), dproduct, epsilon, ffn, nullptr, dproduct,
                                  vector_gradient(tile, layer.ffn_sub_norm));
        table_->relu2_mul_backward(gate, up, dproduct, ffn, gate, up);
    }
    round_rows(gates, tile.n * 2 * ffn);
    turn(gates, 2 * ffn, tile, gate_up_turned_);
    multiply_back(layer.gate_up, tile, gates, narrow);
    float* middle = dx_middle_ + tile.first * width;
    for (int64_t i = 0; i < tile.n; ++i)
        table_->rms_norm_backward(layer.x_middle + (tile.first + i) * width, weight(layer.ffn_norm), narrow + i * width,
                                  epsilon, width, dx + i * width, middle + i * width,
                                  vector_gradient(tile, layer.ffn_norm));
    float* dattended = dattended_ + tile.first * q_width_;
    dy = rounded(middle, tile.n * width, space);
    turn(dy, width, tile, output_turned_);
    multiply_back(layer.attention_output, tile, dy, dattended);
    for (int64_t i = 0; i < tile.n && layer.attn_sub_norm >= 0; ++i) {
        float* row = dattended + i * q_width_;
        table_->rms_norm_backward(layer.attended + (tile.first + i) * q_width_, weight(layer.attn_sub_norm), row,
                                  epsilon, q_width_, nullptr, row, vector_gradient(tile, layer.attn_sub_norm));
    }
    round_rows(dattended, tile.n * q_width_);
}

// From dqkv_, rotated, and dx_middle_ to the gradient of the layer's input, dx_.
void Transformer::backward_qkv(const Layer& layer, const Tile& tile) {
    const int64_t width = config_.width, pairs = config_.head_dim / 2;
    float* dqkv = dqkv_ + tile.first * qkv_width_;
    const auto rotate = rope_halves_ ? rows_->rope_half : rows_->rope_adjacent;
    for (int64_t i = 0; i < tile.n; ++i) {
        const int64_t at = positions_[size_t(tile.first + i)] * pairs;
        rotate(dqkv + i * qkv_width_, config_.n_heads + config_.n_kv_heads, config_.head_dim, pairs, cosines_ + at,
               negative_sines_ + at);
    }
    if (layer.q_norm >= 0) backward_heads(layer, tile);
    float* dinput = tile.scratch;
    round_rows(dqkv, tile.n * qkv_width_);
    for (int part = 0; part < 3 && layer.q_bias >= 0; ++part) {
        const int64_t first = part == 0 ? 0 : q_width_ + (part - 1) * kv_width_, n = part == 0 ? q_width_ : kv_width_;
        float* sum = vector_gradient(tile, layer.q_bias + part);
        for (int64_t i = 0; i < tile.n; ++i) rows_->add(sum, dqkv + i * qkv_width_ + first, n, sum);
    }
    turn(dqkv, qkv_width_, tile, qkv_turned_);
    multiply_back(layer.qkv, tile, dqkv, dinput);
    for (int64_t i = 0; i < tile.n; ++i) {
        const int64_t at = (tile.first + i) * width;
        table_->rms_norm_backward(layer.x + at, weight(layer.attn_norm), dinput + i * width, config_.norm_epsilon,
                                  width, dx_middle_ + at, dx_ + at, vector_gradient(tile, layer.attn_norm));
    }
}

// From the gradients of normalized queries and keys to those of what the matrices gave, in place.
void Transformer::backward_heads(const Layer& layer, const Tile& tile) const {
    const int64_t dim = config_.head_dim, width = q_width_ + kv_width_;
    float* sums[] = {vector_gradient(tile, layer.q_norm), vector_gradient(tile, layer.k_norm)};
    for (int64_t i = tile.first; i < tile.first + tile.n; ++i)
        for (int64_t at = 0; at < width; at += dim) {
            const bool is_key = at >= q_width_;
            float* dy = dqkv_ + i * qkv_width_ + at;
            table_->rms_norm_backward(layer.heads + i * width + at, weight(is_key ? layer.k_norm : layer.q_norm), dy,
                                      config_.norm_epsilon, dim, nullptr, dy, sums[is_key]);
        }
}

}  // namespace sterna::train
