#include "convert/type_search.h"

#include <algorithm>
#include <cmath>
#include <queue>

namespace sterna {

namespace {

// Ascending in size. Those whose blocks do not divide a row are left out for it.
constexpr DType kCandidates[] = {DType::kQ2_K, DType::kQ3_K, DType::kIQ4_XS, DType::kQ4_0, DType::kIQ4_NL, DType::kQ4_K,
                                 DType::kQ5_0, DType::kQ5_K, DType::kQ5_1,   DType::kQ6_K, DType::kQ8_0,   DType::kF16};
constexpr int64_t kMeasuredRows = 96;  // of each matrix, spread evenly

struct Choice {
    DType type;
    uint64_t n_bytes;
    double damage;
};

// The part of a matrix's output that rounding changes, relative to the output: sum w (x - q)^2 / sum w x^2, with w the
// mean squares of the inputs where they are known. Summed over matrices it ranks them as the divergence of the model's
// predictions does, because every matrix adds its share of noise to a stream whose size the norms keep.
double damage_of(const ModelSource& source, const SourceTensor& tensor, DType type, std::span<const float> weights,
                 Status& status) {
    const DTypeTraits& traits = *dtype_traits(type);
    const int64_t n = tensor.row_elements(), n_all = tensor.n_rows(), n_rows = std::min(kMeasuredRows, n_all);
    const int64_t rows_per_expert = tensor.shape.size() > 2 ? tensor.shape[1] : n_all;
    std::vector<float> row(static_cast<size_t>(n)), decoded(static_cast<size_t>(n));
    std::vector<uint8_t> blocks(static_cast<size_t>(*dtype_bytes(type, uint64_t(n))));
    double error = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n_rows; ++i) {
        const int64_t at = i * n_all / n_rows;
        if (status = source.read_rows(tensor, at, 1, row); !status) return 0.0;
        const float* w = weights.empty() ? nullptr : weights.data() + at / rows_per_expert * n;
        traits.encode(row.data(), blocks.data(), n, w);
        traits.decode(blocks.data(), decoded.data(), n);
        for (int64_t j = 0; j < n; ++j) {
            const double e = double(decoded[size_t(j)]) - double(row[size_t(j)]), weight = w ? double(w[j]) : 1.0;
            error += weight * e * e;
            squares += weight * double(row[size_t(j)]) * double(row[size_t(j)]);
        }
    }
    return squares > 0.0 ? error / squares : 0.0;
}

// Each step up spends more bytes for less damage; only steps on the lower convex hull are worth taking.
std::vector<Choice> hull(std::vector<Choice> choices) {
    std::ranges::sort(choices, {}, [](const Choice& c) { return std::pair(c.n_bytes, c.damage); });
    std::vector<Choice> kept;
    auto slope = [](const Choice& a, const Choice& b) { return (a.damage - b.damage) / double(b.n_bytes - a.n_bytes); };
    for (const Choice& choice : choices) {
        if (!kept.empty() && choice.damage >= kept.back().damage) continue;
        while (kept.size() > 1 && slope(kept[kept.size() - 2], kept.back()) <= slope(kept.back(), choice))
            kept.pop_back();
        kept.push_back(choice);
    }
    return kept;
}

// The file type whose base most of the bytes have.
uint32_t file_type_of(const std::vector<DType>& types, std::span<const SourceTensor> tensors) {
    uint64_t best_bytes = 0;
    uint32_t best = 1;
    for (const TypeTarget& target : type_targets()) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < types.size(); ++i)
            if (types[i] == target.base && is_quantizable(tensors[i]))
                bytes += uint64_t(tensors[i].row_elements()) * uint64_t(tensors[i].n_rows());
        if (bytes > best_bytes) {
            best_bytes = bytes;
            best = target.file_type;
        }
    }
    return best;
}

}  // namespace

Result<TypePlan> search_types(const ModelSource& source, ThreadPool& pool, const TypeSearchOptions& options) {
    const auto tensors = source.tensors();
    // What the rules leave alone, and what the caller has decided, comes from an ordinary plan.
    STERNA_TRY(plan, plan_types(tensors, *find_type_target("F16"), options.rules));
    PlanOptions unruled = options.rules;
    unruled.overrides.clear();
    unruled.output_type.reset();
    unruled.embedding_type.reset();
    STERNA_TRY(bare, plan_types(tensors, *find_type_target("F16"), unruled));
    const ModelFacts facts = model_facts(tensors);

    std::vector<std::vector<Choice>> choices(tensors.size());
    struct Task {
        size_t tensor, choice;
    };
    std::vector<Task> tasks;
    uint64_t n_bytes = options.n_beside;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const uint64_t n = uint64_t(tensors[i].row_elements()) * uint64_t(tensors[i].n_rows());
        if (!is_quantizable(tensors[i]) || plan.types[i] != bare.types[i]) {
            n_bytes += *dtype_bytes(plan.types[i], n);
            continue;
        }
        for (DType type : kCandidates)
            if (tensors[i].row_elements() % dtype_traits(type)->block_size == 0) {
                choices[i].push_back({type, *dtype_bytes(type, n), 0.0});
                tasks.push_back({i, choices[i].size() - 1});
            }
    }
    std::vector<Status> status(tasks.size());
    pool.run(int(tasks.size()), [&](int index, int) {
        if (options.cancel && options.cancel->load(std::memory_order_relaxed)) return;
        const Task& task = tasks[size_t(index)];
        const SourceTensor& tensor = tensors[task.tensor];
        std::span<const float> weights;
        if (options.importance) weights = options.importance->find(tensor.name);
        Choice& choice = choices[task.tensor][task.choice];
        choice.damage = damage_of(source, tensor, choice.type, weights, status[size_t(index)]);
        // The output's noise goes into the logits undamped; the embedding alone touches each token once.
        const bool is_output =
            tensor.name == "output.weight" || (!facts.has_output && tensor.name == "token_embd.weight");
        if (is_output) choice.damage *= double(std::max<int64_t>(1, facts.n_layers)) / 2.0;
    });
    if (options.cancel && options.cancel->load()) return fail(ErrorCode::kCancelled, "the search for types: stopped");
    for (const Status& each : status) STERNA_CHECK(each);

    struct Step {
        double gain;  // damage saved per byte
        size_t tensor, to;
        bool operator<(const Step& other) const { return gain < other.gain; }
    };
    std::priority_queue<Step> steps;
    auto offer = [&](size_t i, size_t from) {
        if (from + 1 >= choices[i].size()) return;
        const Choice &a = choices[i][from], &b = choices[i][from + 1];
        steps.push({(a.damage - b.damage) / double(b.n_bytes - a.n_bytes), i, from + 1});
    };
    for (size_t i = 0; i < tensors.size(); ++i) {
        if (choices[i].empty()) continue;
        choices[i] = hull(std::move(choices[i]));
        plan.types[i] = choices[i][0].type;
        n_bytes += choices[i][0].n_bytes;
        offer(i, 0);
    }
    if (n_bytes > options.n_bytes)
        return fail(ErrorCode::kLimit, "{} bytes: the smallest types take {}", options.n_bytes, n_bytes);
    while (!steps.empty()) {
        const Step step = steps.top();
        steps.pop();
        const Choice &from = choices[step.tensor][step.to - 1], &to = choices[step.tensor][step.to];
        if (n_bytes + (to.n_bytes - from.n_bytes) > options.n_bytes) continue;  // a smaller one may still fit
        n_bytes += to.n_bytes - from.n_bytes;
        plan.types[step.tensor] = to.type;
        offer(step.tensor, step.to);
    }
    plan.file_type = file_type_of(plan.types, tensors);
    plan.n_fallback = 0;
    measure_plan(tensors, plan);
    return plan;
}

}  // namespace sterna
