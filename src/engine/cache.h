// The memory of the KV cache: pages of StateLayout::kPagePositions positions over all layers, reference-counted, and an
// index by which a sequence finds pages that another one has already computed. A page's content is opaque here. Because
// KV is the same bits however it was computed (docs/numerics.md), a page may serve every sequence that starts with the
// same tokens. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace sterna {

using PageId = int32_t;
constexpr PageId kNoPage = -1;

// A page is in one of these states:
//   free                     no reference, not in the index
//   private                  one or more references, not in the index
//   published                in the index: full, never written again; with references, or without (then the next to be
//   evicted
//                            when memory is short, least recently used first)
class PageCache {
public:
    // Memory is taken in chunks of about kChunkBytes as it is needed, up to max_pages pages.
    PageCache(int64_t page_bytes, int64_t max_pages);
    ~PageCache();
    PageCache(const PageCache&) = delete;
    PageCache& operator=(const PageCache&) = delete;

    // Returns: a zeroed private page with one reference: a free one, else a new one, else the longest unused published
    // one. Errors: kLimit when all max_pages pages are referenced, kOutOfMemory.
    Result<PageId> take();
    // The same with the content of `page`.
    Result<PageId> copy(PageId page);
    void retain(PageId page);
    // Sequences release their last page first, so that the end of an unused chain is evicted before its beginning.
    void release(PageId page);

    // Whether the holder of one reference may write: nobody else holds it and the index does not offer it.
    bool is_writable(PageId page) const;
    int32_t references(PageId page) const;
    // Takes the page out of the index (when a holder must write and there is no memory for a copy).
    void unpublish(PageId page);

    // Lifetime: as long as the page is referenced; never moves. 64-byte aligned.
    uint8_t* data(PageId page) const;
    int64_t page_bytes() const { return page_bytes_; }

    // The index: a published page is known by the serial number of the published page before it and its own tokens.
    // Serials are never used twice, and tokens are compared, so a hash collision cannot return a wrong page.
    static constexpr uint64_t kRoot = 0;  // "the page before" of a first page
    uint64_t serial(PageId page) const;   // 0: not published
    // Returns: the page with a new reference, or kNoPage.
    PageId find(uint64_t parent, std::span<const int32_t> tokens);
    // Puts a full private page into the index. When an equal page is there already, the caller's reference moves to
    // that one. Returns: the page that the caller now holds.
    PageId publish(PageId page, uint64_t parent, std::span<const int32_t> tokens);
    // Forgets all unreferenced published pages.
    void drop_unused();

    struct Usage {
        int64_t max_pages = 0, allocated = 0, referenced = 0, reusable = 0;
    };
    Usage usage() const;

    static constexpr int64_t kChunkBytes = 16 << 20;

private:
    struct Page {
        int32_t references = 0;
        uint64_t serial = 0;  // 0: not in the index
        uint64_t parent = 0;
        uint64_t hash = 0;
        std::vector<int32_t> tokens;
        PageId newer = kNoPage, older = kNoPage;  // among unreferenced published pages
    };
    struct FreeChunk {
        void operator()(uint8_t* memory) const;
    };

    void link_newest(PageId page);
    void unlink(PageId page);
    Result<PageId> find_room();

    int64_t page_bytes_, max_pages_, pages_per_chunk_;
    std::vector<std::unique_ptr<uint8_t, FreeChunk>> chunks_;
    std::vector<Page> pages_;
    std::vector<PageId> free_;
    PageId newest_ = kNoPage, oldest_ = kNoPage;
    int64_t n_unused_ = 0;
    uint64_t last_serial_ = kRoot;
    std::unordered_multimap<uint64_t, PageId> index_;
};

}  // namespace sterna
