#include "convert/calibration.h"

#include <algorithm>
#include <cmath>

#include "engine/engine.h"

namespace sterna {

namespace {

constexpr int64_t kHeldEvery = 5;   // windows
constexpr int64_t kMinGroup = 256;  // columns: one K block
constexpr int64_t kTile = 64;       // columns to either side of a task's square: 16 kB of sums

// Eight lanes; two registers where a register holds four.
using F8 = float __attribute__((vector_size(32), aligned(4)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("avx2", "default")))
#endif
// sums[i][j] += sum over rows of x[row][i] * x[row][j], for a square of n_i by n_j columns; n_j a multiple of 8.
void add_products(const float* xi, const float* xj, int64_t n_rows, int64_t n_columns, int64_t n_i, int64_t n_j, float* sums,
                  int64_t stride) {
    for (int64_t i = 0; i < n_i; ++i) {
        float* to = sums + i * stride;
        for (int64_t j = 0; j < n_j; j += 8) {
            F8 sum = {};
            for (int64_t row = 0; row < n_rows; ++row)
                sum += xi[row * n_columns + i] * *reinterpret_cast<const F8*>(xj + row * n_columns + j);
            *reinterpret_cast<F8*>(to + j) += sum;
        }
    }
}

// What one matrix has seen.
struct Seen {
    std::string name;
    int64_t expert = 0;
    std::vector<double> sums;
    double count = 0;
};

class Collector : public InputObserver {
public:
    Collector(const Model& model, ThreadPool& pool, const CalibrationOptions& options)
        : pool_(pool), options_(options) {
        const Weights& weights = model.weights();
        for (const TensorSpec& spec : model.architecture().tensors(model.config())) {
            if (auto slot = std::get_if<Linear LayerWeights::*>(&spec.slot)) {
                for (size_t i = 0; i < weights.layers.size(); ++i)
                    add((weights.layers[i].*(*slot)).weight, layer_name(spec.gguf_name, int64_t(i)), -1);
            } else if (auto experts = std::get_if<Experts LayerWeights::*>(&spec.slot)) {
                for (size_t i = 0; i < weights.layers.size(); ++i) {
                    const auto& matrices = (weights.layers[i].*(*experts)).matrices;
                    for (size_t e = 0; e < matrices.size(); ++e)
                        add(matrices[e], layer_name(spec.gguf_name, int64_t(i)), int64_t(e));
                }
            } else if (auto matrix = std::get_if<Linear Weights::*>(&spec.slot)) {
                add((weights.*(*matrix)).weight, std::string(spec.gguf_name), -1);
            } else if (auto table = std::get_if<PackedMatrix Weights::*>(&spec.slot)) {
                add(weights.*(*table), std::string(spec.gguf_name), -1);
            }
        }
        if (options.moments) choose_width();
    }

    void begin_window(int64_t window) {
        held_ = window % kHeldEvery == kHeldEvery - 1;
        last_rows_ = nullptr;
    }

    void see(const PackedMatrix& matrix, const float* rows, int64_t n_rows, int64_t n_cols) override {
        auto at = seen_.find(&matrix);
        if (at == seen_.end() || n_rows == 0) return;
        Entry& entry = at->second;
        Seen& seen = entry.seen;
        seen.sums.resize(size_t(n_cols));
        for (int64_t row = 0; row < n_rows; ++row)
            for (int64_t i = 0; i < n_cols; ++i) {
                const double x = double(rows[row * n_cols + i]);
                seen.sums[size_t(i)] += x * x;
            }
        seen.count += double(n_rows);
        if (!options_.moments || seen.expert >= 0) return;
        // Matrices that are multiplied in one go see the same rows: they share one set of moments.
        const bool same =
            rows == last_rows_ && n_rows == last_n_rows_ && last_moments_ && last_moments_->n_columns == n_cols;
        if (!entry.moments) entry.moments = same ? last_moments_ : make_moments(n_cols);
        const bool counted = same && entry.moments == last_moments_;
        last_rows_ = rows;
        last_n_rows_ = n_rows;
        last_moments_ = entry.moments;
        if (!counted) add_moments(*entry.moments, rows, n_rows);
    }

    Status finish(Calibration& calibration) {
        struct Stack {
            std::vector<float> sums, counts;
        };
        std::map<std::string, std::map<int64_t, const Seen*>> by_name;
        for (const auto& [matrix, entry] : seen_) by_name[entry.seen.name][entry.seen.expert] = &entry.seen;
        for (const auto& [name, parts] : by_name) {
            size_t n_columns = 0;
            for (const auto& [expert, seen] : parts) n_columns = std::max(n_columns, seen->sums.size());
            if (n_columns == 0) continue;  // never used
            Stack stack;
            for (const auto& [expert, seen] : parts) {
                for (size_t i = 0; i < n_columns; ++i) {
                    const float sum = i < seen->sums.size() ? float(seen->sums[i]) : 0.0f;
                    if (!std::isfinite(sum)) return fail(ErrorCode::kBadFile, "{}: its inputs are not finite", name);
                    stack.sums.push_back(sum);
                }
                stack.counts.push_back(float(seen->count));
            }
            calibration.importance.set(name, std::move(stack.sums), std::move(stack.counts));
        }
        for (auto& [matrix, entry] : seen_)
            if (entry.moments) calibration.moments[entry.seen.name] = entry.moments;
        return {};
    }

private:
    struct Entry {
        Seen seen;
        std::shared_ptr<Moments> moments;
    };

    void add(const PackedMatrix& matrix, std::string name, int64_t expert) {
        if (matrix.n_rows() == 0) return;
        Entry entry;
        entry.seen.name = std::move(name);
        entry.seen.expert = expert;
        seen_.emplace(&matrix, std::move(entry));
    }

    // The widest groups whose sums fit; inputs that matrices share are counted for each of them, which is on the safe
    // side.
    void choose_width() {
        for (width_ = int64_t(1) << 20; width_ > kMinGroup; width_ /= 2) {
            uint64_t bytes = 0;
            for (const auto& [matrix, entry] : seen_)
                if (entry.seen.expert < 0)
                    bytes += uint64_t(matrix->n_cols()) * uint64_t(std::min(width_, matrix->n_cols())) * 8;
            if (bytes <= options_.max_moment_bytes) return;
        }
    }

    std::shared_ptr<Moments> make_moments(int64_t n_columns) const {
        auto moments = std::make_shared<Moments>();
        moments->n_columns = n_columns;
        moments->width = std::min(width_, n_columns);
        const size_t n = size_t(moments->n_groups() * moments->width * moments->width);
        moments->fitted.resize(n);
        moments->held.resize(n);
        return moments;
    }

    void add_moments(Moments& moments, const float* rows, int64_t n_rows) {
        std::vector<float>& to = held_ ? moments.held : moments.fitted;
        (held_ ? moments.n_held : moments.n_fitted) += double(n_rows);
        struct Task {
            int64_t group, i, j;
        };
        std::vector<Task> tasks;
        for (int64_t group = 0; group < moments.n_groups(); ++group)
            for (int64_t i = 0; i < moments.group_columns(group); i += kTile)
                for (int64_t j = 0; j <= i; j += kTile) tasks.push_back({group, i, j});
        pool_.run(int(tasks.size()), [&](int index, int) {
            const Task& task = tasks[size_t(index)];
            const int64_t n = moments.group_columns(task.group), first = task.group * moments.width;
            const float* x = rows + first;
            float* sums = to.data() + task.group * moments.width * moments.width + task.i * moments.width + task.j;
            add_products(x + task.i, x + task.j, n_rows, moments.n_columns, std::min(kTile, n - task.i),
                         std::min(kTile, n - task.j) / 8 * 8, sums, moments.width);
        });
    }

    ThreadPool& pool_;
    const CalibrationOptions& options_;
    std::map<const PackedMatrix*, Entry> seen_;
    int64_t width_ = 0;
    bool held_ = false;
    const float* last_rows_ = nullptr;
    int64_t last_n_rows_ = 0;
    std::shared_ptr<Moments> last_moments_;
};

}  // namespace

Result<Calibration> calibrate(const Model& model, const Tokenizer& tokenizer, ThreadPool& pool, std::string_view text,
                              const CalibrationOptions& options) {
    STERNA_TRY(tokens, tokenizer.encode(text));
    const int64_t n_all = int64_t(tokens.size()) / options.window;
    if (n_all == 0)
        return fail(ErrorCode::kBadArgument, "{}: {} tokens, one window of {} is the least", options.dataset,
                    tokens.size(), options.window);
    const int64_t n_windows = options.max_windows > 0 ? std::min(options.max_windows, n_all) : n_all;
    Collector collector(model, pool, options);
    EngineOptions engine_options;
    engine_options.context = options.window;
    engine_options.chunk = options.window;
    engine_options.share_prefixes = false;
    engine_options.observer = &collector;
    STERNA_TRY(engine, Engine::create(model, pool, engine_options));
    for (int64_t w = 0; w < n_windows; ++w) {
        std::vector<int32_t> window(tokens.begin() + w * options.window, tokens.begin() + (w + 1) * options.window);
        if (tokenizer.adds_bos() && tokenizer.special().bos) window[0] = *tokenizer.special().bos;
        auto session = engine->open_session();
        STERNA_CHECK(session->append(window));
        collector.begin_window(w);
        // Every position wants logits, so that the last layer and the output see all rows.
        STERNA_CHECK(engine->evaluate(*session, 0, [](size_t, int64_t, std::span<const float>) {}, options.cancel));
        if (options.progress) options.progress(w + 1, n_windows);
    }
    Calibration calibration;
    STERNA_CHECK(collector.finish(calibration));
    calibration.importance.datasets = {options.dataset};
    calibration.importance.n_chunks = n_windows;
    calibration.importance.chunk_size = options.window;
    calibration.n_tokens = n_windows * options.window;
    return calibration;
}

}  // namespace sterna
