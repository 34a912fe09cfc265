#include "engine/cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/sha256.h"

namespace sterna {
namespace {

std::vector<int32_t> block(int32_t first) {
    std::vector<int32_t> tokens(32);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
}

TEST(Cache, GivesZeroedAlignedPagesUpToItsLimit) {
    PageCache cache(100, 3);
    std::vector<PageId> pages;
    for (int i = 0; i < 3; ++i) {
        auto page = cache.take();
        ASSERT_TRUE(page);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(cache.data(*page)) % 64, 0u);
        for (int b = 0; b < 100; ++b) EXPECT_EQ(cache.data(*page)[b], 0);
        std::memset(cache.data(*page), 7, 100);
        pages.push_back(*page);
    }
    auto more = cache.take();
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().message, "cache: all 3 pages are in use by sessions, one more was wanted");
    cache.release(pages[1]);
    auto again = cache.take();
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, pages[1]);
    EXPECT_EQ(cache.data(*again)[50], 0);
}

TEST(Cache, CopyAndReferences) {
    PageCache cache(64, 4);
    PageId page = *cache.take();
    cache.data(page)[3] = 42;
    EXPECT_TRUE(cache.is_writable(page));
    cache.retain(page);
    EXPECT_FALSE(cache.is_writable(page));
    PageId other = *cache.copy(page);
    EXPECT_EQ(cache.data(other)[3], 42);
    cache.release(page);
    EXPECT_TRUE(cache.is_writable(page));
    EXPECT_EQ(cache.usage().referenced, 2);
}

TEST(Cache, FindsPublishedPagesByTokensAndPredecessor) {
    PageCache cache(64, 8);
    PageId first = cache.publish(*cache.take(), PageCache::kRoot, block(0));
    PageId second = cache.publish(*cache.take(), cache.serial(first), block(100));
    EXPECT_EQ(cache.find(PageCache::kRoot, block(0)), first);
    EXPECT_EQ(cache.find(cache.serial(first), block(100)), second);
    EXPECT_EQ(cache.find(PageCache::kRoot, block(100)), kNoPage);
    EXPECT_EQ(cache.find(cache.serial(second), block(100)), kNoPage);
    EXPECT_FALSE(cache.is_writable(second));
    // An equal page is merged with the one that is there.
    PageId twin = *cache.take();
    EXPECT_EQ(cache.publish(twin, PageCache::kRoot, block(0)), first);
    EXPECT_EQ(cache.references(first), 3);
}

TEST(Cache, EvictsTheLongestUnusedAndTheEndOfAChainFirst) {
    PageCache cache(64, 3);
    PageId a = cache.publish(*cache.take(), PageCache::kRoot, block(0));
    PageId b = cache.publish(*cache.take(), cache.serial(a), block(1));
    PageId c = cache.publish(*cache.take(), PageCache::kRoot, block(2));
    const uint64_t serial_a = cache.serial(a);
    cache.release(b);  // as a session does: last page first
    cache.release(a);
    cache.release(c);
    EXPECT_EQ(cache.usage().reusable, 3);
    PageId taken = *cache.take();
    EXPECT_EQ(taken, b);
    EXPECT_EQ(cache.find(serial_a, block(1)), kNoPage);
    EXPECT_EQ(cache.find(PageCache::kRoot, block(0)), a);  // now in use again
    EXPECT_EQ(*cache.take(), c);
    EXPECT_FALSE(cache.take());
    cache.release(a);
    cache.drop_unused();
    EXPECT_EQ(cache.find(PageCache::kRoot, block(0)), kNoPage);
    EXPECT_EQ(cache.usage().reusable, 0);
    EXPECT_TRUE(cache.take());
}

TEST(Cache, RandomUseKeepsItsBooks) {
    PageCache cache(64, 16);
    uint32_t x = 1;
    auto random = [&](uint32_t n) { return x = x * 1664525u + 1013904223u, (x >> 8) % n; };
    std::vector<PageId> held;
    for (int i = 0; i < 20000; ++i) {
        switch (random(5)) {
            case 0:
                if (auto page = cache.take()) held.push_back(*page);
                break;
            case 1:
                if (!held.empty()) {
                    size_t at = random(uint32_t(held.size()));
                    cache.release(held[at]);
                    held.erase(held.begin() + std::ptrdiff_t(at));
                }
                break;
            case 2:
                if (!held.empty()) {
                    PageId& page = held[random(uint32_t(held.size()))];
                    if (cache.is_writable(page)) page = cache.publish(page, random(4), block(int32_t(random(6))));
                }
                break;
            case 3:
                if (PageId page = cache.find(random(4), block(int32_t(random(6)))); page != kNoPage)
                    held.push_back(page);
                break;
            case 4:
                if (!held.empty())
                    if (auto page = cache.copy(held[random(uint32_t(held.size()))])) held.push_back(*page);
                break;
        }
        std::vector<int> references(16, 0);
        for (PageId page : held) ++references[size_t(page)];
        int referenced = 0;
        for (size_t page = 0; page < 16; ++page) referenced += references[page] > 0;
        ASSERT_EQ(cache.usage().referenced, referenced);
        for (PageId page : held) ASSERT_EQ(cache.references(page), references[size_t(page)]);
    }
}

// The examples of FIPS 180-4 and the million a's.
TEST(Sha256, KnownAnswers) {
    auto digest = [](std::string_view text) {
        Sha256 hash;
        hash.update(text.data(), text.size());
        return hex_text(hash.finish());
    };
    EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    Sha256 hash;
    for (int i = 0; i < 1000; ++i) hash.update(std::string(1000, 'a').data(), 1000);
    EXPECT_EQ(hex_text(hash.finish()), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace sterna
