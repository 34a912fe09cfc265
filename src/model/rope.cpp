#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/kernels.h"

namespace sterna {

namespace {

// YaRN (Peng et al. 2023, section 3.2): pairs that turn often within the original context keep their frequency, slow
// ones are interpolated, those between are mixed linearly. Returns the share that keeps its frequency.
double yarn_kept_share(const RopeConfig& rope, int64_t pair) {
    auto pair_of_turns = [&](double turns) {
        double wavelengths = double(rope.original_context) / (turns * 2.0 * std::numbers::pi);
        return double(rope.n_dims) * kernels::log_f64(wavelengths) / (2.0 * kernels::log_f64(rope.theta));
    };
    double low = pair_of_turns(rope.beta_fast), high = pair_of_turns(rope.beta_slow);
    if (rope.rounded_ramp) low = std::floor(low), high = std::ceil(high);
    low = std::max(0.0, low);
    high = std::min(double(rope.n_dims - 1), high);
    double ramp = (double(pair) - low) / std::max(0.001, high - low);
    return (1.0 - std::clamp(ramp, 0.0, 1.0)) * rope.extrapolation_factor;
}

std::vector<double> frequencies(const RopeConfig& rope, int64_t n_dims, double theta, bool scaled,
                                const std::vector<float>& divisors) {
    std::vector<double> result(size_t(n_dims / 2));
    for (int64_t pair = 0; pair < n_dims / 2; ++pair) {
        double frequency = kernels::pow_f64(theta, -2.0 * double(pair) / double(n_dims));
        if (!divisors.empty()) frequency /= double(divisors[size_t(pair)]);
        if (scaled && rope.scaling == RopeScaling::kLinear) frequency /= rope.factor;
        if (scaled && rope.scaling == RopeScaling::kYarn) {
            double kept = yarn_kept_share(rope, pair);
            frequency = frequency / rope.factor * (1.0 - kept) + frequency * kept;
        }
        result[size_t(pair)] = frequency;
    }
    return result;
}

}  // namespace

RopeFrequencies rope_frequencies(const Config& config, const Weights& weights) {
    RopeFrequencies result;
    const RopeConfig& rope = config.rope;
    if (rope.style == RopeStyle::kNone) return result;
    bool has_short = !weights.rope_factors_short.empty();
    result.global =
        frequencies(rope, rope.n_dims, rope.theta, true, has_short ? weights.rope_factors_short : weights.rope_factors);
    if (rope.theta_local > 0.0) result.local = frequencies(rope, rope.n_dims_local, rope.theta_local, false, {});
    if (!weights.rope_factors_long.empty())
        result.extended = frequencies(rope, rope.n_dims, rope.theta, true, weights.rope_factors_long);
    return result;
}

void rope_row(std::span<const double> frequencies, int64_t position, double factor, float* cosine, float* sine) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
        double angle = double(position) * frequencies[i];
        cosine[i] = float(kernels::cos_f64(angle) * factor);
        sine[i] = float(kernels::sin_f64(angle) * factor);
    }
}

}  // namespace sterna
