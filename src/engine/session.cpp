#include "engine/session.h"

#include <algorithm>
#include <cassert>

#include "engine/engine.h"

namespace sterna {

namespace {

size_t pages_for(int64_t n_positions) {
    return size_t((n_positions + kPage - 1) / kPage);
}
}  // namespace

Session::Session(Engine& engine) : engine_(engine), recurrent_(size_t(engine.layout().recurrent_bytes), uint8_t(0)) {}

Session::~Session() {
    drop_pages_from(0);
}

int64_t Session::context() const {
    return engine_.context();
}

Status Session::check(std::span<const int32_t> tokens, int64_t size_before) const {
    const int64_t vocab_size = engine_.vocab_size();
    for (int32_t token : tokens)
        if (token < 0 || token >= vocab_size)
            return fail(ErrorCode::kBadArgument, "token {}: the vocabulary has ids 0 to {}", token, vocab_size - 1);
    const uint64_t wanted = uint64_t(size_before) + tokens.size();
    if (wanted > uint64_t(context())) {
        if (size_before == 0)
            return fail(ErrorCode::kLimit, "prompt has {} tokens, the context holds {}", wanted, context());
        return fail(ErrorCode::kLimit, "session: {} tokens and {} more were wanted, the context holds {}", size_before,
                    tokens.size(), context());
    }
    return {};
}

Status Session::append(std::span<const int32_t> tokens) {
    STERNA_CHECK(check(tokens, size()));
    if (!tokens.empty()) logits_.clear();
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    return {};
}

Status Session::set_tokens(std::span<const int32_t> tokens) {
    STERNA_CHECK(check(tokens, 0));
    auto common = std::ranges::mismatch(tokens_, tokens).in1 - tokens_.begin();
    truncate(common);
    n_dropped_ = 0;
    return append(tokens.subspan(size_t(common)));
}

void Session::truncate(int64_t n) {
    assert(n >= 0 && n <= size());
    if (n == size()) return;
    logits_.clear();
    tokens_.resize(size_t(n));
    rewind_to(n);
}

void Session::rewind_to(int64_t n) {
    if (n >= n_evaluated_) return;
    logits_.clear();
    n_evaluated_ = n;
    while (!checkpoints_.empty() && checkpoints_.back().position > n) checkpoints_.pop_back();
    restore_recurrent();
    drop_pages_from(pages_for(n_evaluated_));
}

void Session::restore_recurrent() {
    if (recurrent_.empty()) return;
    if (checkpoints_.empty()) {
        std::ranges::fill(recurrent_, uint8_t(0));
        n_evaluated_ = 0;
    } else {
        recurrent_ = checkpoints_.back().state;
        n_evaluated_ = checkpoints_.back().position;
    }
}

void Session::abandon_step() {
    restore_recurrent();
    drop_pages_from(pages_for(n_evaluated_));
}

void Session::drop_pages_from(size_t first) {
    for (size_t i = pages_.size(); i > first; --i) engine_.cache().release(pages_[i - 1]);
    pages_.resize(std::min(pages_.size(), first));
    page_data_.resize(pages_.size());
}

void Session::checkpoint() {
    if (recurrent_.empty()) return;
    if (!checkpoints_.empty() && checkpoints_.back().position == n_evaluated_) return;
    if (checkpoints_.size() == kMaxCheckpoints) checkpoints_.erase(checkpoints_.begin());
    checkpoints_.push_back({n_evaluated_, recurrent_});
}

std::unique_ptr<Session> Session::fork() const {
    auto other = std::unique_ptr<Session>(new Session(engine_));
    for (PageId page : pages_) engine_.cache().retain(page);
    other->tokens_ = tokens_;
    other->n_evaluated_ = n_evaluated_;
    other->n_dropped_ = n_dropped_;
    other->pages_ = pages_;
    other->page_data_ = page_data_;
    other->may_publish_ = may_publish_;
    other->recurrent_ = recurrent_;
    other->checkpoints_ = checkpoints_;
    other->logits_ = logits_;
    return other;
}

void Session::shift(int64_t n_keep) {
    n_keep = std::clamp<int64_t>(n_keep, 0, size());
    const int64_t n_drop = (size() - n_keep + 1) / 2;
    if (n_drop == 0) return;
    std::vector<int32_t> moved(tokens_.begin() + n_keep + n_drop, tokens_.end());
    truncate(n_keep);
    tokens_.insert(tokens_.end(), moved.begin(), moved.end());
    n_dropped_ += uint64_t(n_drop);
}

// Pages that end before `limit` are looked up one after the other from the last full page that this session has.
void Session::adopt_shared_pages(int64_t limit) {
    if (!engine_.options().share_prefixes || !recurrent_.empty()) return;
    PageCache& cache = engine_.cache();
    size_t block = size_t(n_evaluated_ / kPage);
    uint64_t parent = block == 0 ? PageCache::kRoot : cache.serial(pages_[block - 1]);
    if (block > 0 && parent == 0) return;
    while (int64_t(block + 1) * kPage <= limit) {
        auto tokens = std::span<const int32_t>(tokens_).subspan(block * size_t(kPage), size_t(kPage));
        PageId page = cache.find(parent, tokens);
        if (page == kNoPage) return;
        drop_pages_from(block);
        pages_.push_back(page);
        page_data_.push_back(cache.data(page));
        parent = cache.serial(page);
        ++block;
        n_reused_ += int64_t(block) * kPage - n_evaluated_;
        n_evaluated_ = int64_t(block) * kPage;
    }
}

Status Session::make_room(int64_t end) {
    PageCache& cache = engine_.cache();
    const size_t first_written = size_t(n_evaluated_ / kPage);
    if (first_written < pages_.size() && !cache.is_writable(pages_[first_written])) {
        PageId shared = pages_[first_written];
        auto copied = cache.copy(shared);
        if (copied) {
            cache.release(shared);
            pages_[first_written] = *copied;
            page_data_[first_written] = cache.data(*copied);
        } else if (cache.references(shared) == 1) {
            cache.unpublish(shared);  // no memory for a copy, and nobody else holds it
        } else {
            return std::unexpected(std::move(copied).error());
        }
    }
    while (pages_.size() < pages_for(end)) {
        auto page = cache.take();
        if (!page) {
            drop_pages_from(pages_for(n_evaluated_));
            return std::unexpected(std::move(page).error());
        }
        pages_.push_back(*page);
        page_data_.push_back(cache.data(*page));
    }
    return {};
}

void Session::advance(int64_t end) {
    PageCache& cache = engine_.cache();
    const size_t first = size_t(n_evaluated_ / kPage);
    n_evaluated_ = end;
    if (!engine_.options().share_prefixes || !may_publish_ || !recurrent_.empty()) return;
    for (size_t block = first; int64_t(block + 1) * kPage <= end; ++block) {
        const uint64_t parent = block == 0 ? PageCache::kRoot : cache.serial(pages_[block - 1]);
        if (block > 0 && parent == 0) return;
        if (!cache.is_writable(pages_[block])) continue;
        auto tokens = std::span<const int32_t>(tokens_).subspan(block * size_t(kPage), size_t(kPage));
        pages_[block] = cache.publish(pages_[block], parent, tokens);
        page_data_[block] = cache.data(pages_[block]);
    }
}

}  // namespace sterna
