// Documents put into rows of one length, in an order that is a pure function of (seed, epoch): nothing of it has to be saved
// to go on in the middle. Thread-compatible.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/corpus_tokens.h"
#include "train/net.h"

namespace sterna::train {

// Which pieces stand in which row: row r has pieces[begin[r] .. begin[r + 1]).
struct RowPlan {
    std::vector<uint32_t> pieces;
    std::vector<uint64_t> begin;

    int64_t n_rows() const { return int64_t(begin.size()) - 1; }
};

// Best fit among the rows that are open: a piece goes where the least space is left over. Every piece is there, as often as
// its file's weight says (the fraction by chance), in a random order of rows.
RowPlan plan_epoch(const TokenCorpus& corpus, int row_length, uint64_t seed, uint64_t epoch);
// Every piece once, in order.
RowPlan plan_in_order(const TokenCorpus& corpus, int row_length);

// The memory of a batch.
class RowBatch {
public:
    explicit RowBatch(int row_length) : row_length_(row_length) {}
    void clear();
    void add_row(const TokenCorpus& corpus, const RowPlan& plan, int64_t row);
    int n_rows() const { return int(tokens_.size() / size_t(row_length_)); }
    double weight(int first, int n) const;  // of all targets, in order
    int64_t n_targets() const;              // that count
    // Rows [first, first + n). Lifetime: until the next change.
    Batch view(int first, int n) const;

private:
    int row_length_;
    std::vector<int32_t> tokens_, targets_, documents_;
    std::vector<float> weights_;
};

}  // namespace sterna::train
