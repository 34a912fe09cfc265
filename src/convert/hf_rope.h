// Rotary position embeddings in config.json: rope_theta, rope_scaling (until transformers 4), rope_parameters (since 5),
// partial rotary factors under their several names. Private to convert/. Functions without state.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "convert/hf_config.h"

namespace sterna {

// Sets the {architecture}.rope.* keys and result's factors and notes. Returns: the keys that it set, without the
// architecture's name.
Result<std::vector<std::string>> write_hf_rope(const nlohmann::json& config, const std::string& where, HfConfig& result,
                                               GgufWriter& writer);

}  // namespace sterna
