// Causal attention within one document, forward and backward, for the query heads that share one key-value head. The
// probabilities are not kept: the backward pass computes them again from the scores and their log-sum-exp. Stateless.
#pragma once

#include <cstdint>

#include "train/net_kernels.h"

namespace sterna::train {

// Pointers are to the document's first token. Keys, values and queries (all rotated) lie in rows of `row` floats.
struct AttentionSpan {
    int64_t length;
    int64_t head_dim;
    int64_t n_queries;  // query heads; head i is at q + i * head_dim, out + i * head_dim, log_sum + i
    const float *q, *k, *v;
    int64_t row;
    float* out;
    int64_t out_row;
    float* log_sum;
    int64_t log_sum_row;
    float* scratch;  // attention_floats(length, head_dim)
    bool bf16;       // probabilities and their gradients are rounded as well; q, k, v and dout come rounded
};
int64_t attention_floats(int64_t length, int64_t head_dim);

void attention_forward(const NetKernels& table, const AttentionSpan& span);

// From out's gradient to those of q, k and v, which are overwritten; they lie as q, k and v do.
struct AttentionGradients {
    const float* dout;  // as out
    float *dq, *dk, *dv;
};
void attention_backward(const NetKernels& table, const AttentionSpan& span, const AttentionGradients& gradients);

}  // namespace sterna::train
