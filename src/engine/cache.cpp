#include "engine/cache.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace sterna {

namespace {

constexpr std::align_val_t kAlignment{64};

// Spreads the bits of (parent, tokens); equality is checked apart, so quality only costs time.
uint64_t chain_hash(uint64_t parent, std::span<const int32_t> tokens) {
    uint64_t hash = parent * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u;
    for (int32_t token : tokens) {
        hash = (hash ^ uint32_t(token)) * 0xFF51AFD7ED558CCDu;
        hash ^= hash >> 32;
    }
    return hash;
}

}  // namespace

void PageCache::FreeChunk::operator()(uint8_t* memory) const {
    ::operator delete[](memory, kAlignment);
}

PageCache::PageCache(int64_t page_bytes, int64_t max_pages)
    : page_bytes_((page_bytes + 63) / 64 * 64),
      max_pages_(max_pages),
      pages_per_chunk_(std::clamp<int64_t>(page_bytes_ > 0 ? kChunkBytes / page_bytes_ : 1, 1, 64)) {}

PageCache::~PageCache() = default;

uint8_t* PageCache::data(PageId page) const {
    return chunks_[size_t(page / pages_per_chunk_)].get() + (page % pages_per_chunk_) * page_bytes_;
}

uint64_t PageCache::serial(PageId page) const {
    return pages_[size_t(page)].serial;
}

int32_t PageCache::references(PageId page) const {
    return pages_[size_t(page)].references;
}

bool PageCache::is_writable(PageId page) const {
    const Page& p = pages_[size_t(page)];
    return p.references == 1 && p.serial == 0;
}

void PageCache::link_newest(PageId page) {
    Page& p = pages_[size_t(page)];
    p.newer = kNoPage;
    p.older = newest_;
    if (newest_ != kNoPage) pages_[size_t(newest_)].newer = page;
    newest_ = page;
    if (oldest_ == kNoPage) oldest_ = page;
    ++n_unused_;
}

void PageCache::unlink(PageId page) {
    Page& p = pages_[size_t(page)];
    (p.newer != kNoPage ? pages_[size_t(p.newer)].older : newest_) = p.older;
    (p.older != kNoPage ? pages_[size_t(p.older)].newer : oldest_) = p.newer;
    p.newer = p.older = kNoPage;
    --n_unused_;
}

// Returns: a page in no state at all: unlinked, unindexed, unreferenced.
Result<PageId> PageCache::find_room() {
    if (!free_.empty()) {
        PageId page = free_.back();
        free_.pop_back();
        return page;
    }
    const int64_t n_pages = int64_t(pages_.size());
    if (n_pages < max_pages_) {
        if (n_pages / pages_per_chunk_ == int64_t(chunks_.size())) {
            auto* memory = static_cast<uint8_t*>(
                ::operator new[](size_t(pages_per_chunk_ * page_bytes_), kAlignment, std::nothrow));
            if (memory == nullptr && oldest_ == kNoPage)
                return fail(ErrorCode::kOutOfMemory, "cache: {} MiB more were wanted, the system has none left",
                            pages_per_chunk_ * page_bytes_ >> 20);
            if (memory != nullptr) chunks_.emplace_back(memory);
        }
        if (n_pages / pages_per_chunk_ < int64_t(chunks_.size())) {
            pages_.emplace_back();
            return PageId(n_pages);
        }
    }
    if (oldest_ == kNoPage)
        return fail(ErrorCode::kLimit, "cache: all {} pages are in use by sessions, one more was wanted", max_pages_);
    PageId page = oldest_;
    unlink(page);
    unpublish(page);
    return page;
}

Result<PageId> PageCache::take() {
    STERNA_TRY(page, find_room());
    std::memset(data(page), 0, size_t(page_bytes_));
    pages_[size_t(page)].references = 1;
    return page;
}

Result<PageId> PageCache::copy(PageId page) {
    STERNA_TRY(other, find_room());
    std::memcpy(data(other), data(page), size_t(page_bytes_));
    pages_[size_t(other)].references = 1;
    return other;
}

void PageCache::retain(PageId page) {
    Page& p = pages_[size_t(page)];
    if (p.references == 0) unlink(page);
    ++p.references;
}

void PageCache::release(PageId page) {
    Page& p = pages_[size_t(page)];
    assert(p.references > 0);
    if (--p.references > 0) return;
    if (p.serial != 0) {
        link_newest(page);
    } else {
        free_.push_back(page);
    }
}

void PageCache::unpublish(PageId page) {
    Page& p = pages_[size_t(page)];
    auto [begin, end] = index_.equal_range(p.hash);
    for (auto it = begin; it != end; ++it) {
        if (it->second != page) continue;
        index_.erase(it);
        break;
    }
    p.serial = p.parent = p.hash = 0;
    p.tokens.clear();
}

PageId PageCache::find(uint64_t parent, std::span<const int32_t> tokens) {
    auto [begin, end] = index_.equal_range(chain_hash(parent, tokens));
    for (auto it = begin; it != end; ++it) {
        const Page& p = pages_[size_t(it->second)];
        if (p.parent != parent || !std::ranges::equal(p.tokens, tokens)) continue;
        retain(it->second);
        return it->second;
    }
    return kNoPage;
}

PageId PageCache::publish(PageId page, uint64_t parent, std::span<const int32_t> tokens) {
    assert(is_writable(page));
    if (PageId known = find(parent, tokens); known != kNoPage) {
        release(page);
        return known;
    }
    Page& p = pages_[size_t(page)];
    p.parent = parent;
    p.serial = ++last_serial_;
    p.hash = chain_hash(parent, tokens);
    p.tokens.assign(tokens.begin(), tokens.end());
    index_.emplace(p.hash, page);
    return page;
}

void PageCache::drop_unused() {
    while (oldest_ != kNoPage) {
        PageId page = oldest_;
        unlink(page);
        unpublish(page);
        free_.push_back(page);
    }
}

PageCache::Usage PageCache::usage() const {
    Usage usage;
    usage.max_pages = max_pages_;
    usage.allocated = int64_t(pages_.size());
    usage.reusable = n_unused_;
    usage.referenced = usage.allocated - n_unused_ - int64_t(free_.size());
    return usage;
}

}  // namespace sterna
