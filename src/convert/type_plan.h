// Which storage type every tensor of a model gets: the usual mixes by name ("q4_k_m"), plain types, and overrides. The
// rules of the named mixes are those of llama.cpp's quantizer, so that a name means the same everywhere;
// tests/unit/quantize holds them to what that quantizer chose. Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "convert/model_source.h"
#include "tensor/dtype.h"

namespace sterna {

// A name after --type.
struct TypeTarget {
    std::string_view name;   // "Q4_K_M"
    DType base;              // the type of most matrices
    uint32_t file_type;      // general.file_type
    std::string_view about;  // a few words for --help
};

std::span<const TypeTarget> type_targets();
const TypeTarget* find_type_target(std::string_view name);  // case-insensitive; "Q4_K" means Q4_K_M, ...; null: no such
// The same with an error that lists the names.
Result<const TypeTarget*> need_type_target(std::string_view name);

// What the rules ask about a model; all of it shows in its tensors.
struct ModelFacts {
    int64_t n_layers = 0;
    int64_t n_experts = 0;       // 0: dense
    int64_t heads_per_kv = 1;    // query heads that share one key-value head
    bool has_output = false;     // an output matrix of its own: the token embedding is not the output
    bool eighty_layers = false;  // a 70B: 80 layers and shared key-value heads
};

ModelFacts model_facts(std::span<const SourceTensor> tensors);

struct TypeOverride {
    std::string pattern;  // of the tensor's name, with * and ?: "blk.*.ffn_down.weight"
    DType type;
};

struct PlanOptions {
    bool has_imatrix = false;  // some mixes protect a layer less, or more, when there is one
    bool pure = false;         // the base type everywhere that may be quantized, no mix
    std::optional<DType> output_type, embedding_type;
    std::vector<TypeOverride> overrides;  // the first that fits wins
};

struct TypePlan {
    uint32_t file_type = 0;
    std::vector<DType> types;      // one per source tensor, in their order
    int64_t n_fallback = 0;        // matrices whose width ruled out the type that they should have had
    uint64_t n_bytes = 0;          // of all tensors
    double bits_per_weight = 0.0;  // over all tensors
};

// Vectors, norms, routers and the like, which stay as they are (or become F32).
bool is_quantizable(const SourceTensor& tensor);

// The type that takes the place of one whose blocks do not divide rows of n elements.
DType fitting_type(DType type, int64_t n);

Result<TypePlan> plan_types(std::span<const SourceTensor> tensors, const TypeTarget& target,
                            const PlanOptions& options = {});

// Fills n_bytes and bits_per_weight from the types.
void measure_plan(std::span<const SourceTensor> tensors, TypePlan& plan);

}  // namespace sterna
