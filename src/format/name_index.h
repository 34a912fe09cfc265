// Names to positions, for files from outside: look-up by hash, and no set of names makes building or look-up slow,
// because entries are sorted by (hash, name) instead of chained. Immutable after build(); share freely.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sterna {

class NameIndex {
public:
    // Takes name_of(i) for i in [0, n). Lifetime: the names outlive the index.
    // Returns: the position of a name that occurred before, or nothing when all differ.
    template <typename NameOf>
    std::optional<uint32_t> build(uint32_t n, NameOf name_of) {
        entries_.clear();
        entries_.reserve(n);
        for (uint32_t i = 0; i < n; ++i) entries_.push_back({hash(name_of(i)), i, name_of(i)});
        std::ranges::sort(entries_, [](const Entry& a, const Entry& b) {
            if (a.hash != b.hash) return a.hash < b.hash;
            if (a.name != b.name) return a.name < b.name;
            return a.position < b.position;
        });
        for (size_t i = 1; i < entries_.size(); ++i) {
            if (entries_[i].hash == entries_[i - 1].hash && entries_[i].name == entries_[i - 1].name)
                return entries_[i].position;
        }
        return std::nullopt;
    }

    std::optional<uint32_t> find(std::string_view name) const {
        const uint64_t wanted = hash(name);
        auto at = std::ranges::lower_bound(entries_, wanted, {}, &Entry::hash);
        if (at == entries_.end() || at->hash != wanted) return std::nullopt;
        auto last = std::ranges::upper_bound(at, entries_.end(), wanted, {}, &Entry::hash);
        at = std::ranges::lower_bound(at, last, name, {}, &Entry::name);
        if (at == last || at->name != name) return std::nullopt;
        return at->position;
    }

private:
    struct Entry {
        uint64_t hash;
        uint32_t position;
        std::string_view name;
    };

    // FNV-1a, 64 bits.
    static uint64_t hash(std::string_view name) {
        uint64_t h = 0xcbf29ce484222325u;
        for (char c : name) h = (h ^ uint8_t(c)) * 0x100000001b3u;
        return h;
    }

    std::vector<Entry> entries_;
};

}  // namespace sterna
