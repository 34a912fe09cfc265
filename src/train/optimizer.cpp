#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "train/muon.h"
#include "train/net_kernels.h"
#include "train/net_memory.h"

namespace sterna::train {

namespace {

constexpr int64_t kPiece = 1 << 14;  // what a task takes, and what a norm adds up in float

double integer_power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

class AdamOrMuon final : public Optimizer {
public:
    AdamOrMuon(const OptimizerConfig& config, std::span<Parameter> parameters, ThreadPool& pool)
        : config_(config), pool_(pool), muon_(matrices(config, parameters), pool) {
        for (Parameter& p : parameters) {
            if (p.kind == ParameterKind::kConstant) continue;
            const int64_t n = int64_t(p.value.size());
            for (int64_t i = 0; i < n; i += kPiece) all_.push_back({&p, nullptr, nullptr, i, std::min(kPiece, n - i)});
            if (by_muon(p)) continue;
            float* mean = zeros(n);
            float* square = zeros(n);
            state_.push_back({"adam.mean." + p.name, {mean, size_t(n)}});
            state_.push_back({"adam.square." + p.name, {square, size_t(n)}});
            for (int64_t i = 0; i < n; i += kPiece) adam_.push_back({&p, mean, square, i, std::min(kPiece, n - i)});
        }
        for (size_t i = 0; i < muon_.matrices().size(); ++i)
            state_.push_back({"muon.momentum." + muon_.matrices()[i]->name, muon_.momentum(i)});
        squares_.resize(all_.size());
    }

    double step(const Rates& rates) override {
        const NetKernels& table = active_kernels();
        pool_.run(int(all_.size()), [&](int task, int) {
            const Piece& piece = all_[size_t(task)];
            const float* gradient = piece.parameter->gradient.data() + piece.offset;
            squares_[size_t(task)] = table.dot(gradient, gradient, piece.n);
        });
        double sum = 0;
        for (float square : squares_) sum += double(square);
        const double norm = std::sqrt(sum);
        if (!std::isfinite(norm)) return norm;
        float scale = 1;
        if (config_.clip_norm > 0 && norm > double(config_.clip_norm))
            scale = float(double(config_.clip_norm) / (norm + 1e-6));
        ++steps_;
        const float rate = float(double(rates.adam) / (1.0 - integer_power(double(config_.beta1), steps_)));
        const float square_scale = float(1.0 / (1.0 - integer_power(double(config_.beta2), steps_)));
        pool_.run(int(adam_.size()), [&](int task, int) {
            const Piece& p = adam_[size_t(task)];
            const bool decays = !p.parameter->is_vector();
            table.adam({.value = p.parameter->value.data() + p.offset,
                        .gradient = p.parameter->gradient.data() + p.offset,
                        .mean = p.mean + p.offset,
                        .square = p.square + p.offset,
                        .n = p.n,
                        .gradient_scale = scale,
                        .beta1 = config_.beta1,
                        .beta2 = config_.beta2,
                        .rate = rate,
                        .square_scale = square_scale,
                        .epsilon = config_.epsilon,
                        .keep = decays ? 1.0f - rates.adam * rates.weight_decay : 1.0f});
        });
        muon_.step({rates.muon, rates.weight_decay, config_.muon_momentum, scale});
        return norm;
    }

    std::vector<State> state() override { return state_; }
    int64_t steps() const override { return steps_; }
    void set_steps(int64_t steps) override { steps_ = steps; }

private:
    struct Piece {
        const Parameter* parameter;
        float *mean, *square;
        int64_t offset, n;
    };

    static std::vector<Parameter*> matrices(const OptimizerConfig& config, std::span<Parameter> parameters) {
        std::vector<Parameter*> list;
        for (Parameter& p : parameters)
            if (config.muon && p.kind == ParameterKind::kMatrix) list.push_back(&p);
        return list;
    }
    bool by_muon(const Parameter& p) const { return config_.muon && p.kind == ParameterKind::kMatrix; }
    float* zeros(int64_t n) {
        float* data = memory_.emplace_back(n).data();
        std::fill_n(data, n, 0.0f);
        return data;
    }

    OptimizerConfig config_;
    ThreadPool& pool_;
    Muon muon_;
    std::vector<Buffer<float>> memory_;
    std::vector<State> state_;
    std::vector<Piece> all_, adam_;
    std::vector<float> squares_;
    int64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Optimizer> Optimizer::create(const OptimizerConfig& config, std::span<Parameter> parameters,
                                             ThreadPool& pool) {
    return std::make_unique<AdamOrMuon>(config, parameters, pool);
}

}  // namespace sterna::train
