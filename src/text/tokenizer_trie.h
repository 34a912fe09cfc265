// A byte trie for longest-match and all-matches look-ups of token texts. Immutable after build; share freely.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace sterna {

class Trie {
public:
    // Longer keys are left out, so that a look-up costs at most this many steps. Real tokens stay under 200 bytes.
    static constexpr size_t kMaxKeyBytes = 1024;

    Trie() { build({}); }
    // Of equal keys the one with the smallest value stays. Empty keys are left out.
    explicit Trie(std::vector<std::pair<std::string_view, int32_t>> entries) { build(std::move(entries)); }

    bool empty() const { return nodes_.size() == 1; }

    struct Match {
        size_t length;
        int32_t value;
    };
    std::optional<Match> longest(std::string_view text, size_t at) const {
        std::optional<Match> best;
        each_prefix(text, at, [&best](size_t length, int32_t value) { best = Match{length, value}; });
        return best;
    }

    // Calls found(length, value) for every key that text.substr(at) starts with, shortest first.
    template <typename Found>
    void each_prefix(std::string_view text, size_t at, Found found) const {
        if (at >= text.size()) return;
        uint32_t node = root_children_[uint8_t(text[at])];
        for (size_t length = 1; node != 0; ++length) {
            if (nodes_[node].value >= 0) found(length, nodes_[node].value);
            if (at + length >= text.size()) return;
            node = child(node, uint8_t(text[at + length]));
        }
    }

private:
    struct Node {
        uint32_t first_child;
        uint16_t n_children;
        uint8_t label;
        int32_t value;  // -1: no key ends here
    };

    void build(std::vector<std::pair<std::string_view, int32_t>> entries);
    uint32_t child(uint32_t node, uint8_t label) const;

    std::vector<Node> nodes_;
    uint32_t root_children_[256] = {};
};

}  // namespace sterna
