// Rotary position embedding: base frequencies at load, and the cosines and sines of a step's positions. In double, by
// the kernels' own functions, then rounded to float: the same bits everywhere, however positions are batched.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace sterna {

// Angle of pair i at position p is p * frequency[i]. Reads the factors that `weights` already holds.
RopeFrequencies rope_frequencies(const Config& config, const Weights& weights);

// cosine[i], sine[i] for one position, both times `factor`.
void rope_row(std::span<const double> frequencies, int64_t position, double factor, float* cosine, float* sine);

}  // namespace sterna
