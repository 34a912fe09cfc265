#include "engine/engine.h"

#include <algorithm>
#include <cmath>

namespace sterna {

namespace {

constexpr int64_t kMaxSequences = 1 << 16;
// A session with at most this much to do goes before prompts: decodes, drafts to verify, the ends of prompts.
constexpr int64_t kSmallWork = 32;

bool is_set(const std::atomic<bool>* flag) {
    return flag != nullptr && flag->load(std::memory_order_relaxed);
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const Model& model, ThreadPool& pool, const EngineOptions& wanted) {
    EngineOptions options = wanted;
    const Config& config = model.config();
    if (options.context == 0) {
        options.context = config.context_length > 0 ? std::min(config.context_length, EngineOptions::kDefaultContext)
                                                    : EngineOptions::kDefaultContext;
    }
    if (options.context < 1 || options.context > EngineOptions::kMaxContext)
        return fail(ErrorCode::kLimit, "context: {} positions, expected 1 to {}", options.context,
                    EngineOptions::kMaxContext);
    if (!model.weights().position_embedding.empty() && options.context > config.context_length)
        return fail(ErrorCode::kLimit, "context: {} positions, the model has learned {} and cannot go beyond",
                    options.context, config.context_length);
    if (options.n_sequences < 1 || options.n_sequences > kMaxSequences)
        return fail(ErrorCode::kBadArgument, "sequences: {}, expected 1 to {}", options.n_sequences, kMaxSequences);
    if (options.chunk < 1) return fail(ErrorCode::kBadArgument, "chunk: {} tokens, expected at least 1", options.chunk);
    // One page more for each sequence: the copy of a shared partial page.
    const int64_t n_pages = options.n_sequences * ((options.context + kPage - 1) / kPage + 1);
    if (n_pages > INT32_MAX)
        return fail(ErrorCode::kLimit, "cache: {} sequences of {} positions, the limit is {} pages of {} positions",
                    options.n_sequences, options.context, INT32_MAX, kPage);
    if (options.kernels == nullptr) options.kernels = &kernels::active();
    if (!options.model_id) options.model_id = sterna::model_id(model);
    if (!config.causal) options.share_prefixes = false;
    StateLayout layout = StateLayout::make(config, options.kv_kind);
    options.kv_kind = layout.kv_kind;
    return std::unique_ptr<Engine>(new Engine(model, pool, options, std::move(layout)));
}

Engine::Engine(const Model& model, ThreadPool& pool, const EngineOptions& options, StateLayout layout)
    : model_(model),
      options_(options),
      layout_(std::move(layout)),
      cache_(layout_.page_bytes, options.n_sequences * ((options.context + kPage - 1) / kPage + 1)),
      workspace_(pool, *options.kernels) {
    workspace_.observer = options.observer;
}

Engine::~Engine() = default;

std::unique_ptr<Session> Engine::open_session() {
    return std::unique_ptr<Session>(new Session(*this));
}

// Brings the session to where the step may begin: what must give logits is not evaluated yet, what others have computed
// is taken over.
void Engine::prepare(StepItem& item, bool has_sink) {
    item.status = {};
    if (item.done) return;
    Session& session = *item.session;
    if (session.size() == 0) {
        item.status = fail(ErrorCode::kBadArgument,
                           "session: no tokens, expected at least one (a begin token for an empty text)");
        return;
    }
    if (is_set(item.cancel)) {
        item.status = fail(ErrorCode::kCancelled, "session: cancelled after {} of {} tokens", session.n_evaluated(),
                           session.size());
        return;
    }
    const int64_t last = session.size() - 1;
    const bool has_logits = !has_sink && item.logits_from < 0 && !session.logits_.empty();
    if (session.n_pending() == 0 && (has_logits || item.logits_from > last)) {
        item.done = true;
        return;
    }
    const int64_t rows_from = item.logits_from < 0 ? last : item.logits_from;
    session.rewind_to(rows_from);
    session.adopt_shared_pages(std::min(rows_from, last));
}

void Engine::plan(std::span<StepItem> items) {
    parts_.clear();
    int64_t tokens_left = options_.chunk;
    int64_t rows_left = std::max<int64_t>(1, options_.max_output_bytes / (4 * std::max<int64_t>(1, vocab_size())));
    for (bool small_work : {true, false}) {
        for (size_t i = 0; i < items.size(); ++i) {
            StepItem& item = items[i];
            if (item.done || !item.status) continue;
            Session& session = *item.session;
            if ((session.n_pending() <= kSmallWork) != small_work) continue;
            const int64_t begin = session.n_evaluated();
            const int64_t rows_from = item.logits_from < 0 ? session.size() - 1 : item.logits_from;
            int64_t end = std::min(session.size(), begin + tokens_left);
            end = std::min(end, std::max(rows_from, begin) + rows_left);
            if (end <= begin) continue;
            if (Status room = session.make_room(end); !room) {
                item.status = std::move(room);
                continue;
            }
            parts_.push_back({i, &session, begin, end, std::max(rows_from, begin)});
            tokens_left -= end - begin;
            rows_left -= parts_.back().n_rows();
        }
    }
    std::ranges::sort(parts_, {}, &Part::item);
}

Status Engine::run(const std::atomic<bool>* cancel) {
    step_tokens_.clear();
    step_sequences_.clear();
    int64_t n_rows = 0;
    for (const Part& part : parts_) {
        const Session& session = *part.session;
        for (int64_t p = part.begin; p < part.end; ++p)
            step_tokens_.push_back(
                {session.tokens_[size_t(p)], int32_t(p), int32_t(step_sequences_.size()), p >= part.rows_from});
        n_rows += part.n_rows();
        step_sequences_.push_back(
            {.pages = part.session->page_data_,
             .recurrent = part.session->recurrent_.empty() ? nullptr : part.session->recurrent_.data(),
             .max_positions = options_.context});
    }
    const size_t n_values = size_t(n_rows * model_.output_width());
    if (output_.size() < n_values) output_.resize(n_values);
    Step step{.tokens = step_tokens_,
              .sequences = step_sequences_,
              .layout = layout_,
              .output = output_.data(),
              .cancel = cancel};
    Status status = model_.forward(workspace_, step);
    if (!status) {
        for (const Part& part : parts_) part.session->abandon_step();
    } else {
        for (const Part& part : parts_) part.session->advance(part.end);
    }
    return status;
}

void Engine::deliver(std::span<StepItem> items, const LogitsSink* sink) {
    const size_t width = size_t(model_.output_width());
    for (const Part& part : parts_) {
        StepItem& item = items[part.item];
        item.done = part.session->n_pending() == 0;
        if (item.logits_from >= 0) item.logits_from = std::max(item.logits_from, part.end);
    }
    const float* row = output_.data();
    for (const Part& part : parts_) {
        for (int64_t p = part.rows_from; p < part.end; ++p, row += width) {
            if (sink != nullptr) {
                (*sink)(part.item, p, {row, width});
            } else if (p + 1 == part.session->size()) {
                part.session->logits_.assign(row, row + width);
            }
        }
    }
}

Status Engine::step(std::span<StepItem> items, const LogitsSink* sink, const std::atomic<bool>* cancel) {
    if (model_.is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: an embedding model, it gives vectors and no tokens",
                    model_.config().architecture);
    if (is_set(cancel)) return fail(ErrorCode::kCancelled, "step: cancelled");
    for (StepItem& item : items) prepare(item, sink != nullptr);
    plan(items);
    if (parts_.empty()) return {};
    // One item alone can be stopped inside the pass by its own flag.
    StepItem& first = items[parts_.front().item];
    const bool own_flag = parts_.size() == 1 && cancel == nullptr && first.cancel != nullptr;
    Status status = run(own_flag ? first.cancel : cancel);
    if (status) {
        deliver(items, sink);
    } else if (own_flag && status.error().code == ErrorCode::kCancelled) {
        first.status = std::move(status);
        return {};
    }
    return status;
}

Status Engine::evaluate(Session& session, const std::atomic<bool>* cancel) {
    StepItem item{.session = &session, .cancel = nullptr, .status = {}};
    while (!item.done) {
        STERNA_CHECK(step({&item, 1}, nullptr, cancel));
        STERNA_CHECK(std::move(item.status));
    }
    return {};
}

Status Engine::evaluate(Session& session, int64_t from, LogitsSink sink, const std::atomic<bool>* cancel) {
    if (from < 0 || from >= session.size())
        return fail(ErrorCode::kBadArgument, "logits: wanted from position {}, the session has {} tokens", from,
                    session.size());
    StepItem item{.session = &session, .logits_from = from, .cancel = nullptr, .status = {}};
    while (!item.done) {
        STERNA_CHECK(step({&item, 1}, &sink, cancel));
        STERNA_CHECK(std::move(item.status));
    }
    return {};
}

Result<std::vector<float>> Engine::embed(std::span<const int32_t> tokens, bool normalize,
                                         const std::atomic<bool>* cancel) {
    if (!model_.is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: not an embedding model", model_.config().architecture);
    if (tokens.empty()) return fail(ErrorCode::kBadArgument, "embedding: no tokens, expected at least one");
    auto session = open_session();
    STERNA_CHECK(session->append(tokens));
    STERNA_CHECK(session->make_room(session->size()));
    const int64_t n = session->size();
    // Every token sees every other, so the text is one step whatever the chunk size.
    parts_.assign(1, {0, session.get(), 0, n, 0});
    STERNA_CHECK(run(cancel));

    const int64_t width = model_.output_width();
    std::vector<float> vector(size_t(width), 0.0f);
    pool_rows(workspace_.kernels, model_.config().pooling, output_.data(), n, width, vector.data());
    if (normalize) {
        double sum = 0.0;
        for (float value : vector) sum += double(value) * double(value);
        const double length = std::sqrt(sum);  // exact to the last bit by IEEE 754
        if (length > 0.0)
            for (float& value : vector) value = float(double(value) / length);
    }
    return vector;
}

}  // namespace sterna
