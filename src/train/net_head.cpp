// The output norm, the output matrix and the loss. Only tokens that count get logits, and only those of a block of tokens
// exist at one time.
#include <algorithm>
#include <cstring>

#include "train/net_impl.h"

namespace sterna::train {

void Transformer::head(const Chunk& chunk, Loss& loss) {
    const Batch& batch = *chunk.batch;
    const int64_t width = config_.width, vocab = config_.vocab_size;
    weighted_.clear();
    for (int64_t t = 0; t < chunk.n_tokens; ++t)
        if (batch.weights[size_t(chunk.first + t)] != 0) weighted_.push_back(int32_t(t));
    const int64_t n = int64_t(weighted_.size());
    if (chunk.gradients) {
        vectors_.assign(1, {output_norm_, 0});
        std::fill_n(vector_gradients_, (n + kTile - 1) / kTile * vector_stride_, 0.0f);
        std::fill_n(dx_, chunk.n_tokens * width, 0.0f);
    }
    for (int64_t block = 0; block < n; block += head_tokens_) {
        const int64_t n_block = std::min(head_tokens_, n - block);
        for_tiles(n_block, [&](const Tile& tile) { head_tile(chunk, block, tile); });
        if (!chunk.gradients) continue;
        products_.push_back(
            {logits_turned_, final_panels_, nullptr, nullptr, n_block, gradient(output_), vocab, width});
        run_products();
    }
    for (int64_t i = 0; i < n; ++i) {
        const double weight_of = double(batch.weights[size_t(chunk.first + weighted_[size_t(i)])]);
        loss.sum += weight_of * double(token_loss_[i]);
        loss.weight += weight_of;
    }
    if (chunk.gradients) add_vector_gradients(n);
}

// The output norm, logits, losses and gradients of some weighted tokens: the tile counts from the `block`-th on.
void Transformer::head_tile(const Chunk& chunk, int64_t block, const Tile& tile) {
    const Batch& batch = *chunk.batch;
    const int64_t width = config_.width, vocab = config_.vocab_size;
    const int32_t* tokens = weighted_.data() + block + tile.first;
    float* token_loss = token_loss_ + block + tile.first;
    float* rows = tile.scratch;
    float* drows = rows + kTile * width;
    float* logits = drows + kTile * width;
    for (int64_t i = 0; i < tile.n; ++i)
        rows_->rms_norm(x_out_ + tokens[i] * width, weight(output_norm_), config_.norm_epsilon, width,
                        rows + i * width);
    round_rows(rows, tile.n * width);
    gemm(rows_times(rows, width, tile.n, width, head_forward_, vocab, logits));
    for (int64_t i = 0; i < tile.n; ++i) {
        const size_t at = size_t(chunk.first + tokens[i]);
        const int64_t target = batch.targets[at];
        float* row = logits + i * vocab;
        const float target_logit = row[target];
        if (!chunk.gradients) {
            token_loss[i] = rows_->log_sum_exp(row, vocab) - target_logit;
            continue;
        }
        token_loss[i] = rows_->softmax(row, vocab, row) - target_logit;
        row[target] -= 1.0f;
        rows_->scale(row, batch.weights[at] * chunk.scale, vocab, row);
    }
    if (!chunk.gradients) return;
    const int64_t depth_block = tile.first / kDepth * kDepth;
    table_->pack_rows(
        rows, width, tile.n, width, kDepth * kPanelColumns,
        final_panels_ + depth_block * round_up(width, kPanelColumns) + (tile.first - depth_block) * kPanelColumns);
    round_rows(logits, tile.n * vocab);
    turn(logits, vocab, tile, logits_turned_);
    gemm(rows_times(logits, vocab, tile.n, vocab, head_backward_, width, drows));
    const Tile of_chunk = {block + tile.first, tile.n, int((block + tile.first) / kTile), tile.scratch};
    for (int64_t i = 0; i < tile.n; ++i) {
        const int64_t at = tokens[i] * width;
        table_->rms_norm_backward(x_out_ + at, weight(output_norm_), drows + i * width, config_.norm_epsilon, width,
                                  nullptr, dx_ + at, vector_gradient(of_chunk, output_norm_));
    }
}

}  // namespace sterna::train
