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
    for_tiles(n, [&](const Tile& tile) {
        for (int64_t i = tile.first; i < tile.first + tile.n; ++i)
            rows_->rms_norm(x_out_ + weighted_[size_t(i)] * width, weight(output_norm_), config_.norm_epsilon, width,
                            final_rows_ + i * width);
    });
    for (int64_t block = 0; block < n; block += head_tokens_) {
        const int64_t n_block = std::min(head_tokens_, n - block);
        pool_.run(int((n_block + kHeadTile - 1) / kHeadTile), [&](int task, int) {
            const int64_t first = block + task * kHeadTile;
            head_tile(chunk, block, first, std::min(kHeadTile, block + n_block - first));
        });
        if (!chunk.gradients) continue;
        products_.push_back({.dy = logits_,
                             .dy_row = vocab,
                             .x = final_rows_ + block * width,
                             .q = nullptr,
                             .scale = nullptr,
                             .x_row = width,
                             .n_tokens = 0,
                             .out = gradient(output_),
                             .rows = vocab,
                             .columns = width});
        run_products(n_block);
    }
    for (int64_t i = 0; i < n; ++i) {
        const double weight_of = double(batch.weights[size_t(chunk.first + weighted_[size_t(i)])]);
        loss.sum += weight_of * double(token_loss_[i]);
        loss.weight += weight_of;
    }
    if (!chunk.gradients) return;

    norms_.assign(1, {output_norm_, 0});
    std::fill_n(norm_gradients_, (n + kTile - 1) / kTile * norm_stride_, 0.0f);
    std::fill_n(dx_, chunk.n_tokens * width, 0.0f);
    for_tiles(n, [&](const Tile& tile) {
        for (int64_t i = tile.first; i < tile.first + tile.n; ++i) {
            const int64_t at = weighted_[size_t(i)] * width;
            table_->rms_norm_backward(x_out_ + at, weight(output_norm_), dfinal_rows_ + i * width,
                                      config_.norm_epsilon, width, nullptr, dx_ + at,
                                      norm_gradient(tile, output_norm_));
        }
    });
    add_norm_gradients(n);
}

// Logits, losses and gradients of n tokens of a block: weighted tokens from `first` on.
void Transformer::head_tile(const Chunk& chunk, int64_t block, int64_t first, int64_t n) {
    const Batch& batch = *chunk.batch;
    const int64_t width = config_.width, vocab = config_.vocab_size;
    float* logits = logits_ + (first - block) * vocab;
    table_->gemm({.m = n,
                  .n = vocab,
                  .k = width,
                  .a = final_rows_ + first * width,
                  .a_row = width,
                  .a_term = 1,
                  .b = head_forward_,
                  .b_rows = width,
                  .b_columns = round_up(vocab, kPanelColumns),
                  .c = logits,
                  .c_row = vocab,
                  .add = false});
    for (int64_t i = 0; i < n; ++i) {
        const size_t at = size_t(chunk.first + weighted_[size_t(first + i)]);
        const int64_t target = batch.targets[at];
        float* row = logits + i * vocab;
        const float target_logit = row[target];
        if (!chunk.gradients) {
            token_loss_[first + i] = rows_->log_sum_exp(row, vocab) - target_logit;
            continue;
        }
        token_loss_[first + i] = rows_->softmax(row, vocab, row) - target_logit;
        row[target] -= 1.0f;
        rows_->scale(row, batch.weights[at] * chunk.scale, vocab, row);
    }
    if (!chunk.gradients) return;
    table_->gemm({.m = n,
                  .n = width,
                  .k = vocab,
                  .a = logits,
                  .a_row = vocab,
                  .a_term = 1,
                  .b = head_backward_,
                  .b_rows = vocab,
                  .b_columns = round_up(width, kPanelColumns),
                  .c = dfinal_rows_ + first * width,
                  .c_row = width,
                  .add = false});
}

}  // namespace sterna::train
