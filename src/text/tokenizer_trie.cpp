#include "text/tokenizer_trie.h"

#include <algorithm>

namespace sterna {

void Trie::build(std::vector<std::pair<std::string_view, int32_t>> entries) {
    std::erase_if(entries, [](const auto& e) { return e.first.empty() || e.first.size() > kMaxKeyBytes; });
    std::sort(entries.begin(), entries.end());
    // Breadth first, so that the children of a node stand side by side. A part is the entries that share a node's path.
    struct Part {
        size_t begin, end, depth;
        uint32_t node;
    };
    nodes_.assign(1, Node{0, 0, 0, -1});
    std::vector<Part> parts{{0, entries.size(), 0, 0}};
    for (size_t i = 0; i < parts.size(); ++i) {
        Part part = parts[i];
        size_t at = part.begin;
        for (; at < part.end && entries[at].first.size() == part.depth; ++at)
            if (nodes_[part.node].value < 0) nodes_[part.node].value = entries[at].second;
        nodes_[part.node].first_child = uint32_t(nodes_.size());
        while (at < part.end) {
            uint8_t label = uint8_t(entries[at].first[part.depth]);
            size_t begin = at;
            while (at < part.end && uint8_t(entries[at].first[part.depth]) == label) ++at;
            parts.push_back({begin, at, part.depth + 1, uint32_t(nodes_.size())});
            nodes_.push_back({0, 0, label, -1});
            ++nodes_[part.node].n_children;
        }
        if (i % 65536 == 65535) {  // done with: keep the queue short
            parts.erase(parts.begin(), parts.begin() + ptrdiff_t(i) + 1);
            i = size_t(-1);
        }
    }
    nodes_.shrink_to_fit();
    for (uint32_t i = 0; i < nodes_[0].n_children; ++i) {
        uint32_t node = nodes_[0].first_child + i;
        root_children_[nodes_[node].label] = node;
    }
}

uint32_t Trie::child(uint32_t node, uint8_t label) const {
    const Node* begin = nodes_.data() + nodes_[node].first_child;
    const Node* end = begin + nodes_[node].n_children;
    const Node* at = std::lower_bound(begin, end, label, [](const Node& n, uint8_t l) { return n.label < l; });
    return at != end && at->label == label ? uint32_t(at - nodes_.data()) : 0;
}

}  // namespace sterna
