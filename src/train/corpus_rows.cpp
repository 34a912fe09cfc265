#include "train/corpus_rows.h"

#include <algorithm>
#include <cmath>

#include "engine/random.h"

namespace sterna::train {

namespace {

// Streams of the generator: what is drawn must not depend on how often something else was drawn.
enum Stream : uint32_t { kCopies = 0x434F5059, kPieces = 0x50494543, kRows = 0x524F5753 };

uint64_t epoch_seed(uint64_t seed, uint64_t epoch) {
    const auto bits =
        philox4x32({uint32_t(epoch), uint32_t(epoch >> 32), 0x45504F43, 0}, {uint32_t(seed), uint32_t(seed >> 32)});
    return uint64_t(bits[0]) << 32 | bits[1];
}

template <typename T>
void shuffle(std::vector<T>& list, uint64_t seed, uint32_t stream) {
    for (size_t i = list.size(); i > 1; --i)
        std::swap(list[i - 1], list[std::min(i - 1, size_t(uniform_at(seed, i, stream) * double(i)))]);
}

// Open rows by the space that is left in them. The newest of equal ones is filled first.
class Packer {
public:
    explicit Packer(int row_length) : row_length_(row_length), by_space_(size_t(row_length) + 1) {}

    void add(uint32_t piece, uint32_t n) {
        size_t space = n;
        while (space < by_space_.size() && by_space_[space].empty()) ++space;
        uint32_t row;
        if (space == by_space_.size()) {
            row = uint32_t(rows_.size());
            rows_.emplace_back();
            space = size_t(row_length_);
            if (++n_open_ > kMaxOpen) close_fullest();
        } else {
            row = by_space_[space].back();
            by_space_[space].pop_back();
        }
        rows_[row].push_back(piece);
        if (const size_t left = space - n; left > 0)
            by_space_[left].push_back(row);
        else
            --n_open_;
    }

    std::vector<std::vector<uint32_t>> take() { return std::move(rows_); }

private:
    static constexpr size_t kMaxOpen = 4096;  // more of them waste no less and make rows alike

    void close_fullest() {
        for (auto& rows : by_space_)
            if (!rows.empty()) {
                rows.pop_back();
                --n_open_;
                return;
            }
    }

    int row_length_;
    std::vector<std::vector<uint32_t>> by_space_, rows_;
    size_t n_open_ = 0;
};

RowPlan flatten(const std::vector<std::vector<uint32_t>>& rows) {
    RowPlan plan;
    plan.begin.push_back(0);
    for (const auto& row : rows) {
        plan.pieces.insert(plan.pieces.end(), row.begin(), row.end());
        plan.begin.push_back(plan.pieces.size());
    }
    return plan;
}

}  // namespace

RowPlan plan_epoch(const TokenCorpus& corpus, int row_length, uint64_t seed, uint64_t epoch) {
    const uint64_t key = epoch_seed(seed, epoch);
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < corpus.pieces.size(); ++i) {
        const double weight = corpus.file_weights[corpus.pieces[i].file], whole = std::floor(weight);
        // The pieces of one document are not told apart from documents here: each is drawn for itself.
        const uint32_t n = uint32_t(whole) + (uniform_at(key, i, kCopies) < weight - whole);
        order.insert(order.end(), n, i);
    }
    shuffle(order, key, kPieces);
    Packer packer(row_length);
    for (uint32_t i : order) packer.add(i, corpus.pieces[i].n_places);
    std::vector<std::vector<uint32_t>> rows = packer.take();
    shuffle(rows, key, kRows);
    return flatten(rows);
}

RowPlan plan_in_order(const TokenCorpus& corpus, int row_length) {
    Packer packer(row_length);
    for (uint32_t i = 0; i < corpus.pieces.size(); ++i) packer.add(i, corpus.pieces[i].n_places);
    return flatten(packer.take());
}

void RowBatch::clear() {
    tokens_.clear();
    targets_.clear();
    documents_.clear();
    weights_.clear();
}

void RowBatch::add_row(const TokenCorpus& corpus, const RowPlan& plan, int64_t row) {
    const size_t end = tokens_.size() + size_t(row_length_);
    int32_t document = 0;
    for (uint64_t i = plan.begin[size_t(row)]; i < plan.begin[size_t(row) + 1]; ++i, ++document) {
        const Piece& piece = corpus.pieces[plan.pieces[i]];
        for (uint64_t at = piece.begin; at < piece.begin + piece.n_places; ++at) {
            tokens_.push_back(corpus.tokens[at]);
            targets_.push_back(corpus.tokens[at + 1]);
            weights_.push_back(corpus.weights[at + 1]);
            documents_.push_back(document);
        }
    }
    // What stays empty is a document of its own that counts nothing.
    tokens_.resize(end, 0);
    targets_.resize(end, 0);
    weights_.resize(end, 0.0f);
    documents_.resize(end, document);
}

double RowBatch::weight(int first, int n) const {
    double sum = 0.0;
    for (size_t i = size_t(first) * size_t(row_length_); i < size_t(first + n) * size_t(row_length_); ++i)
        sum += double(weights_[i]);
    return sum;
}

int64_t RowBatch::n_targets() const {
    return std::count_if(weights_.begin(), weights_.end(), [](float weight) { return weight != 0.0f; });
}

Batch RowBatch::view(int first, int n) const {
    const size_t at = size_t(first) * size_t(row_length_), size = size_t(n) * size_t(row_length_);
    auto part = [&](const auto& list) { return std::span(list).subspan(at, size); };
    return {n, row_length_, part(tokens_), part(targets_), part(weights_), part(documents_)};
}

}  // namespace sterna::train
