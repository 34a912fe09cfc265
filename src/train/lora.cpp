#include "train/lora.h"

#include <algorithm>
#include <cmath>

#include "engine/random.h"
#include "train/net_kernels.h"

namespace sterna::train {

namespace {

constexpr int64_t kRows = 32, kColumns = 256;  // of one task
constexpr uint32_t kStream = 0x4C4F5241;

int tasks(int64_t n, int64_t each) {
    return int((n + each - 1) / each);
}

}  // namespace

Result<std::unique_ptr<LoraSet>> LoraSet::create(std::span<Parameter> network, const std::vector<std::string>& targets,
                                                 int rank, double alpha, uint64_t seed, ThreadPool& pool) {
    std::unique_ptr<LoraSet> set(new LoraSet(rank, float(alpha / rank), pool));
    auto is_target = [](const Parameter& parameter, const std::string& target) {
        return parameter.kind == ParameterKind::kMatrix && parameter.name.find(target) != std::string::npos;
    };
    for (const std::string& target : targets)
        if (target.empty() || std::ranges::none_of(network, [&](const Parameter& p) { return is_target(p, target); }))
            return fail(ErrorCode::kBadArgument, "lora.targets: no matrix of the base has \"{}\" in its name", target);
    for (Parameter& matrix : network) {
        if (std::ranges::none_of(targets, [&](const std::string& target) { return is_target(matrix, target); }))
            continue;
        auto adapter = std::make_unique<Adapter>();
        adapter->matrix = &matrix;
        adapter->base.assign(matrix.value.begin(), matrix.value.end());
        adapter->a.resize(size_t(rank * matrix.cols));
        adapter->b.resize(size_t(rank * matrix.rows));
        adapter->a_gradient.resize(adapter->a.size());
        adapter->b_gradient.resize(adapter->b.size());
        const double bound = 1.0 / std::sqrt(double(matrix.cols));
        const uint64_t begin = uint64_t(set->adapters_.size()) << 32;
        for (size_t i = 0; i < adapter->a.size(); ++i)
            adapter->a[i] = float((2.0 * uniform_at(seed, begin + i, kStream) - 1.0) * bound);
        set->parameters_.push_back({matrix.name + ".lora_a", ParameterKind::kMatrix, false, rank, matrix.cols,
                                    adapter->a, adapter->a_gradient});
        set->parameters_.push_back({matrix.name + ".lora_b", ParameterKind::kMatrix, false, matrix.rows, rank,
                                    adapter->b, adapter->b_gradient});
        set->adapters_.push_back(std::move(adapter));
    }
    return set;
}

// The terms of one weight are added as LoraAdapter does it, so that merging gives what was trained, bit for bit.
void LoraSet::apply() {
    for (const auto& adapter : adapters_) {
        const int64_t n_in = adapter->matrix->cols, n_out = adapter->matrix->rows;
        pool_.run(tasks(n_out, kRows), [&](int task, int) {
            const int64_t end = std::min(n_out, (task + 1) * kRows);
            for (int64_t row = task * kRows; row < end; ++row) {
                float* to = adapter->matrix->value.data() + row * n_in;
                std::copy_n(adapter->base.data() + row * n_in, n_in, to);
                for (int64_t k = 0; k < rank_; ++k) {
                    const float factor = adapter->b[size_t(row * rank_ + k)] * scale_;
                    const float* a = adapter->a.data() + k * n_in;
                    for (int64_t i = 0; i < n_in; ++i) to[i] += factor * a[i];
                }
            }
        });
    }
}

void LoraSet::collect_gradients() {
    const NetKernels& kernels = active_kernels();
    for (const auto& adapter : adapters_) {
        const int64_t n_in = adapter->matrix->cols, n_out = adapter->matrix->rows;
        const float* dw = adapter->matrix->gradient.data();
        pool_.run(tasks(n_out, kRows), [&](int task, int) {
            const int64_t end = std::min(n_out, (task + 1) * kRows);
            for (int64_t row = task * kRows; row < end; ++row)
                for (int64_t k = 0; k < rank_; ++k)
                    adapter->b_gradient[size_t(row * rank_ + k)] =
                        scale_ * kernels.dot(dw + row * n_in, adapter->a.data() + k * n_in, n_in);
        });
        std::ranges::fill(adapter->a_gradient, 0.0f);
        pool_.run(tasks(n_in, kColumns), [&](int task, int) {
            const int64_t first = task * kColumns, n = std::min(kColumns, n_in - first);
            for (int64_t row = 0; row < n_out; ++row) {
                const float* from = dw + row * n_in + first;
                for (int64_t k = 0; k < rank_; ++k) {
                    const float factor = scale_ * adapter->b[size_t(row * rank_ + k)];
                    float* to = adapter->a_gradient.data() + k * n_in + first;
                    for (int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
                }
            }
        });
    }
}

Status write_adapter(const std::string& path, const GgufFile& metadata, const std::string& name, double alpha,
                     const std::vector<TrainedTensor>& tensors) {
    GgufWriter writer;
    STERNA_CHECK(
        writer.set_string("general.architecture", metadata.get_string("general.architecture").value_or("llama")));
    STERNA_CHECK(writer.set_string("general.type", "adapter"));
    STERNA_CHECK(writer.set_string("general.name", name));
    STERNA_CHECK(writer.set_string("adapter.type", "lora"));
    STERNA_CHECK(writer.set_f32("adapter.lora.alpha", float(alpha)));
    for (std::string_view key : {"general.author", "general.license", "general.description", "sterna.training.recipe"})
        if (const GgufValue* value = metadata.find_value(key)) STERNA_CHECK(writer.set_value(*value));
    for (const TrainedTensor& each : tensors) {
        const int64_t shape[] = {each.cols, each.rows};
        STERNA_CHECK(
            writer.add_tensor(each.name, DType::kF32, shape,
                              {reinterpret_cast<const uint8_t*>(each.values.data()), each.values.size_bytes()}));
    }
    STERNA_TRY(paths, writer.write(path));
    return {};
}

}  // namespace sterna::train
