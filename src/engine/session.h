// A conversation: its tokens, and the part of them whose KV (or recurrent state) is in the cache. Edits are cheap and
// only change what is wanted; Engine::step or Engine::evaluate does the computing. Whatever way the tokens came to be
// (appended, replaced, truncated, forked, loaded), the logits that follow are the same bits. Thread-compatible; all
// sessions of one engine belong to one thread at a time. Must not outlive its engine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/cache.h"

namespace sterna {

class Engine;

class Session {
public:
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    std::span<const int32_t> tokens() const { return tokens_; }
    int64_t size() const { return int64_t(tokens_.size()); }
    int64_t n_evaluated() const { return n_evaluated_; }  // tokens whose state is in the cache
    int64_t n_pending() const { return size() - n_evaluated_; }
    int64_t context() const;  // positions it may hold
    // Position of the next token in the conversation as a whole, counting what context shifts dropped: the key of its
    // random number.
    uint64_t stream_position() const { return n_dropped_ + uint64_t(tokens_.size()); }

    // Errors: kBadArgument for an id outside the vocabulary, kLimit when the context is too small ("prompt has 5000
    // tokens, the context holds 4096"). On error nothing changes.
    Status append(std::span<const int32_t> tokens);
    Status append(int32_t token) { return append({&token, 1}); }
    // Makes `tokens` the whole content; the evaluated part of the common prefix stays evaluated.
    Status set_tokens(std::span<const int32_t> tokens);
    // Keeps the first n tokens. Requires: 0 <= n <= size(). A model with recurrent state goes back to its last
    // checkpoint at or before n and recomputes from there.
    void truncate(int64_t n);
    // Remembers the recurrent state at n_evaluated(), so that a later truncate() to here or beyond need not recompute
    // what is before. No cost for models without recurrent state. The newest kMaxCheckpoints are kept.
    void checkpoint();
    // An independent session with the same content; full and partial pages are shared until one of the two writes.
    std::unique_ptr<Session> fork() const;
    // Drops tokens in the middle when the context is full: keeps the first n_keep and the newest half of the others.
    // What moved is computed anew at its new position: exact numerics, at the price of a prefill of half a context.
    // (Rotating cached keys instead would be cheaper and give other bits.)
    void shift(int64_t n_keep);

    // Of the last token, when everything is evaluated and the evaluation gave them to no sink; else empty.
    // Lifetime: until the session changes.
    std::span<const float> logits() const { return logits_; }

    // Tokens of the last edits that came from the cache instead of being computed; counts up.
    int64_t n_reused() const { return n_reused_; }

    static constexpr size_t kMaxCheckpoints = 4;

private:
    friend class Engine;
    friend struct SessionAccess;
    struct Checkpoint {
        int64_t position;
        std::vector<uint8_t> state;
    };

    explicit Session(Engine& engine);
    Status check(std::span<const int32_t> tokens, int64_t size_before) const;
    void drop_pages_from(size_t first);
    void rewind_to(int64_t n);  // n_evaluated_ becomes at most n
    void restore_recurrent();   // from the newest checkpoint, or the empty state: n_evaluated_ is set accordingly
    void abandon_step();        // a step with this session failed: what it wrote is undefined
    void adopt_shared_pages(int64_t limit);  // takes published pages for pending tokens before `limit`
    Status make_room(int64_t end);           // pages for positions [n_evaluated_, end), writable
    void advance(int64_t end);               // these are now evaluated; full pages are published

    Engine& engine_;
    std::vector<int32_t> tokens_;
    int64_t n_evaluated_ = 0;
    int64_t n_reused_ = 0;
    uint64_t n_dropped_ = 0;
    std::vector<PageId> pages_;  // [at least ceil(n_evaluated / kPagePositions)]
    std::vector<uint8_t*> page_data_;
    bool may_publish_ = true;              // false once its cache came from a file: others must not build on it
    std::vector<uint8_t> recurrent_;       // at n_evaluated_
    std::vector<Checkpoint> checkpoints_;  // rising position
    std::vector<float> logits_;
};

}  // namespace sterna
