// The greedy pair merging that byte-level and SentencePiece BPE share: again and again the pair of lowest rank, of
// equal ones the leftmost. A heap over a linked list: n log n for n symbols; short words, by far the most, by plain
// search. Thread-compatible.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sterna {

constexpr uint32_t kNoMerge = UINT32_MAX;

// What two neighbours become.
struct Merge {
    uint32_t rank = kNoMerge;
    TokenId token = -1;
};

struct MergeSymbol {
    uint32_t begin;  // in the word
    TokenId token;   // -1: the vocabulary does not have it
    uint32_t next = 0, previous = 0;
    Merge merge;  // with the next one
};

class Merger {
public:
    void clear() { symbols_.clear(); }
    void add(uint32_t begin, TokenId token) { symbols_.push_back({begin, token, 0, 0, {}}); }

    // Merges the symbols added since clear(). find(left, right, end) is the Merge of two symbols, whose bytes are
    // [left.begin, end). Calls done(symbol, end) for what is left, in order.
    template <typename Find, typename Done>
    void run(uint32_t word_end, Find find, Done done) {
        uint32_t n = uint32_t(symbols_.size());
        if (n == 0) return;
        for (uint32_t i = 0; i < n; ++i) {
            symbols_[i].next = i + 1 < n ? i + 1 : kNone;
            symbols_[i].previous = i > 0 ? i - 1 : kNone;
        }
        auto refresh = [&](uint32_t i) {
            MergeSymbol& s = symbols_[i];
            s.merge = s.next == kNone ? Merge{} : find(s, symbols_[s.next], end_of(s.next, word_end));
            return s.merge.rank;
        };
        for (uint32_t i = 0; i + 1 < n; ++i) refresh(i);
        if (n <= kShortWord) {
            search(refresh);
        } else {
            use_heap(refresh);
        }
        for (uint32_t i = 0; i != kNone; i = symbols_[i].next) done(symbols_[i], end_of(i, word_end));
    }

private:
    static constexpr uint32_t kNone = UINT32_MAX;
    static constexpr uint32_t kShortWord = 24;

    uint32_t end_of(uint32_t i, uint32_t word_end) const {
        return symbols_[i].next == kNone ? word_end : symbols_[symbols_[i].next].begin;
    }

    // Joins i with its right neighbour.
    void join(uint32_t i) {
        MergeSymbol& left = symbols_[i];
        MergeSymbol& right = symbols_[left.next];
        left.token = left.merge.token;
        left.next = right.next;
        right.merge = {};
        if (left.next != kNone) symbols_[left.next].previous = i;
    }

    template <typename Refresh>
    void search(Refresh refresh) {
        for (;;) {
            uint32_t best = kNone, rank = kNoMerge;
            for (uint32_t i = 0; i != kNone; i = symbols_[i].next)
                if (symbols_[i].merge.rank < rank) rank = symbols_[best = i].merge.rank;
            if (best == kNone) return;
            join(best);
            refresh(best);
            if (symbols_[best].previous != kNone) refresh(symbols_[best].previous);
        }
    }

    template <typename Refresh>
    void use_heap(Refresh refresh) {
        // rank << 32 | position; an entry is stale when the symbol's merge has another rank by now.
        heap_.clear();
        for (uint32_t i = 0; i < symbols_.size(); ++i)
            if (symbols_[i].merge.rank != kNoMerge) heap_.push_back(uint64_t(symbols_[i].merge.rank) << 32 | i);
        std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
        auto push = [&](uint32_t i) {
            uint32_t rank = refresh(i);
            if (rank == kNoMerge) return;
            heap_.push_back(uint64_t(rank) << 32 | i);
            std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
        };
        while (!heap_.empty()) {
            uint64_t top = heap_.front();
            std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
            heap_.pop_back();
            uint32_t i = uint32_t(top);
            if (symbols_[i].merge.rank != top >> 32) continue;
            join(i);
            push(i);
            if (symbols_[i].previous != kNone) push(symbols_[i].previous);
        }
    }

    std::vector<MergeSymbol> symbols_;
    std::vector<uint64_t> heap_;
};

// Words that one call has already encoded: direct mapped, remembers where the word stood in the text and its ids in the
// output.
class WordCache {
public:
    explicit WordCache(size_t text_bytes) : slots_(text_bytes < 2048 ? 0 : kSlots) {}

    // Appends the ids of text[begin, end) if they are known.
    bool replay(std::string_view text, size_t begin, size_t end, std::vector<TokenId>& out) {
        if (!fits(begin, end)) return false;
        const Slot& slot = slots_[place(text, begin, end)];
        if (slot.n_bytes != end - begin || std::memcmp(&text[slot.begin], &text[begin], end - begin) != 0) return false;
        // Grown first: the ids come from the same vector.
        size_t at = out.size();
        out.resize(at + slot.n_ids);
        std::copy_n(out.begin() + slot.ids, slot.n_ids, out.begin() + ptrdiff_t(at));
        return true;
    }
    void remember(std::string_view text, size_t begin, size_t end, size_t first_id, size_t end_id) {
        if (!fits(begin, end)) return;
        slots_[place(text, begin, end)] = {uint32_t(begin), uint32_t(first_id), uint16_t(end - begin),
                                           uint16_t(end_id - first_id)};
    }

private:
    struct Slot {
        uint32_t begin = 0, ids = 0;
        uint16_t n_bytes = 0, n_ids = 0;
    };
    static constexpr size_t kSlots = 4096, kMaxBytes = 64;

    bool fits(size_t begin, size_t end) const { return !slots_.empty() && end - begin <= kMaxBytes; }
    static size_t place(std::string_view text, size_t begin, size_t end) {
        uint64_t hash = end - begin;
        for (size_t i = begin; i < end; ++i) hash = (hash ^ uint8_t(text[i])) * 0x100000001B3;
        return (hash ^ hash >> 29) % kSlots;
    }

    std::vector<Slot> slots_;
};

}  // namespace sterna
