// The engine runs batch steps: it takes sessions with tokens still to be evaluated, packs some of them into one forward
// pass, and hands out logits. It owns the cache and the workspace, borrows the model and the thread pool. What a
// session gets does not depend on the others in the batch, on the chunk size, or on the order. Thread-compatible: one
// caller at a time; cancel flags may be set from any thread. The model and the pool outlive the engine.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "engine/cache.h"
#include "engine/session.h"
#include "model/model.h"

namespace sterna {

inline constexpr int64_t kPage = StateLayout::kPagePositions;  // positions of a page of the cache

using ModelId = std::array<uint8_t, 32>;

// SHA-256 over the configuration, every weight's place, type and size, and the content of the norm weights (which every
// fine-tuning changes). Cheap: reads some kilobytes. A caller that has hashed the file may give its own id instead.
ModelId model_id(const Model& model);

struct EngineOptions {
    // Positions of one session; 0: the model's trained context, at most kDefaultContext. Longrope models (phi3) choose
    // their factors by it, so that their output depends on it.
    int64_t context = 0;
    int64_t n_sequences = 1;  // the cache holds this many full contexts; any number of sessions may share it
    kernels::KvKind kv_kind = kernels::KvKind::kF16;
    int64_t chunk = 512;                        // most tokens of one step
    int64_t max_output_bytes = 64 << 20;        // logits of one step: 4 * vocab_size bytes each; at least one row
    bool share_prefixes = true;                 // look for computed pages of other sequences
    const kernels::Kernels* kernels = nullptr;  // null: kernels::active()
    std::optional<ModelId> model_id;            // of saved states; none: model_id(model)
    InputObserver* observer = nullptr;          // sees what enters each matrix; outlives the engine

    static constexpr int64_t kDefaultContext = 4096;
    static constexpr int64_t kMaxContext = 1 << 24;
};

// One session's part of a step.
struct StepItem {
    Session* session = nullptr;
    // Logits of every position >= logits_from (evaluated anew where the cache already has them); -1: of the last token
    // only. A step moves it behind the positions whose logits it has handed out.
    int64_t logits_from = -1;
    const std::atomic<bool>* cancel = nullptr;  // this item is left out from then on, with status kCancelled

    // Set by step().
    bool done = false;  // everything is evaluated; further steps leave the item alone
    Status status;      // an error of this item alone (no page left, cancelled, ...); the session stays usable
};

// Called after the forward pass, in order of items and positions. The session may be edited by the call.
// Lifetime: `logits` until the call returns.
using LogitsSink = FunctionRef<void(size_t item, int64_t position, std::span<const float> logits)>;

class Engine {
public:
    static Result<std::unique_ptr<Engine>> create(const Model& model, ThreadPool& pool,
                                                  const EngineOptions& options = {});
    ~Engine();

    std::unique_ptr<Session> open_session();

    // One forward pass of at most `chunk` tokens: first the sessions with little to do (decoding, verifying drafts),
    // then prompts in order of items, as far as they fit. Call again until every item is done. Without a sink,
    // last-token logits go to Session::logits(). Requires: no session twice; every session has a token. Errors: of the
    // whole step (cancelled through `cancel`, a failing model): nothing has changed, the step can be repeated.
    Status step(std::span<StepItem> items, const LogitsSink* sink = nullptr, const std::atomic<bool>* cancel = nullptr);

    // Steps until all of the session is evaluated; then session.logits() is set.
    Status evaluate(Session& session, const std::atomic<bool>* cancel = nullptr);
    // The same with the logits of every position from `from` on.
    Status evaluate(Session& session, int64_t from, LogitsSink sink, const std::atomic<bool>* cancel = nullptr);

    // For embedding models: the pooled vector [width] of one text. `normalize`: divided by its Euclidean length.
    Result<std::vector<float>> embed(std::span<const int32_t> tokens, bool normalize = true,
                                     const std::atomic<bool>* cancel = nullptr);

    const Model& model() const { return model_; }
    const kernels::Kernels& kernels() const { return workspace_.kernels; }
    const StateLayout& layout() const { return layout_; }
    const EngineOptions& options() const { return options_; }  // with the defaults resolved
    const ModelId& id() const { return *options_.model_id; }
    int64_t context() const { return options_.context; }
    // Whether the longrope factors for long contexts are in use; a cache made with them does not fit one made without.
    bool is_extended() const {
        const RopeConfig& rope = model_.config().rope;
        return rope.scaling == RopeScaling::kLongRope && options_.context > rope.original_context;
    }
    int64_t vocab_size() const { return model_.config().vocab_size; }
    PageCache& cache() { return cache_; }

private:
    Engine(const Model& model, ThreadPool& pool, const EngineOptions& options, StateLayout layout);
    // What one item contributes to a step: positions [begin, end), of which those from rows_from on give a row of
    // logits.
    struct Part {
        size_t item;
        Session* session;
        int64_t begin, end, rows_from;
        int64_t n_rows() const { return end > rows_from ? end - rows_from : 0; }
    };
    void prepare(StepItem& item, bool has_sink);
    void plan(std::span<StepItem> items);
    Status run(const std::atomic<bool>* cancel);
    void deliver(std::span<StepItem> items, const LogitsSink* sink);

    const Model& model_;
    EngineOptions options_;
    StateLayout layout_;
    PageCache cache_;
    Workspace workspace_;
    std::vector<Part> parts_;
    std::vector<StepToken> step_tokens_;
    std::vector<SequenceState> step_sequences_;
    std::vector<float> output_;
};

}  // namespace sterna
