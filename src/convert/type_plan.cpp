#include "convert/type_plan.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace sterna {

namespace {

constexpr TypeTarget kTargets[] = {
    {"F32", DType::kF32, 0, "as exact as it gets"},
    {"F16", DType::kF16, 1, "half precision"},
    {"BF16", DType::kBF16, 32, "half the bits, the range of F32"},
    {"Q8_0", DType::kQ8_0, 7, "8.5 bits: hardly to be told from F16"},
    {"Q6_K", DType::kQ6_K, 18, "6.6 bits"},
    {"Q5_K_M", DType::kQ5_K, 17, "5.7 bits: Q5_K, the tensors that matter most Q6_K"},
    {"Q5_K_S", DType::kQ5_K, 16, "5.5 bits"},
    {"Q4_K_M", DType::kQ4_K, 15, "4.9 bits: Q4_K, the tensors that matter most Q6_K; the usual choice"},
    {"Q4_K_S", DType::kQ4_K, 14, "4.6 bits"},
    {"Q3_K_L", DType::kQ3_K, 13, "4.3 bits"},
    {"Q3_K_M", DType::kQ3_K, 12, "3.9 bits"},
    {"Q3_K_S", DType::kQ3_K, 11, "3.5 bits"},
    {"Q2_K", DType::kQ2_K, 10, "3.2 bits"},
    {"Q2_K_S", DType::kQ2_K, 21, "2.8 bits"},
    {"Q4_0", DType::kQ4_0, 2, "4.5 bits in blocks of 32"},
    {"Q4_1", DType::kQ4_1, 3, "5 bits in blocks of 32"},
    {"Q5_0", DType::kQ5_0, 8, "5.5 bits in blocks of 32"},
    {"Q5_1", DType::kQ5_1, 9, "6 bits in blocks of 32"},
    {"IQ4_NL", DType::kIQ4_NL, 25, "4.5 bits, uneven levels"},
    {"IQ4_XS", DType::kIQ4_XS, 30, "4.3 bits, uneven levels"},
    {"MXFP4", DType::kMXFP4, 38, "4.25 bits: every matrix in the OCP format"},
    {"MXFP4_MOE", DType::kMXFP4, 38, "the experts MXFP4, the rest Q8_0"},
    {"TQ1_0", DType::kTQ1_0, 36, "1.7 bits, for models trained with ternary weights"},
    {"TQ2_0", DType::kTQ2_0, 37, "2.1 bits, for models trained with ternary weights"},
};

constexpr struct {
    std::string_view name, meaning;
} kAliases[] = {{"Q3_K", "Q3_K_M"}, {"Q4_K", "Q4_K_M"}, {"Q5_K", "Q5_K_M"}};

// Matrices that a step multiplies by little or that steer it: they stay F32.
constexpr std::string_view kKeptWhole[] = {"_norm.weight",
                                           "ffn_gate_inp.weight",
                                           "ffn_gate_inp_shexp.weight",
                                           "position_embd.weight",
                                           "token_types.weight",
                                           "altup",
                                           "laurel",
                                           "per_layer_model_proj",
                                           "ssm_conv1d",
                                           "shortconv.conv.weight",
                                           "time_mix_first.weight",
                                           "time_mix_w0.weight",
                                           "time_mix_w1.weight",
                                           "time_mix_w2.weight",
                                           "time_mix_v0.weight",
                                           "time_mix_v1.weight",
                                           "time_mix_v2.weight",
                                           "time_mix_a0.weight",
                                           "time_mix_a1.weight",
                                           "time_mix_a2.weight",
                                           "time_mix_g1.weight",
                                           "time_mix_g2.weight",
                                           "time_mix_decay_w1.weight",
                                           "time_mix_decay_w2.weight",
                                           "time_mix_lerp_fused",
                                           "attn_rel_b.weight"};

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? char(c + 32) : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// * stands for any run of characters, ? for one.
bool matches(std::string_view pattern, std::string_view text) {
    size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
            ++p, ++t;
        } else if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

// Returns: 3 for "blk.3.attn_q.weight", -1 for tensors outside the layers.
int64_t layer_of(std::string_view name) {
    if (!name.starts_with("blk.")) return -1;
    int64_t layer = -1;
    std::from_chars(name.data() + 4, name.data() + name.size(), layer);
    return layer;
}

bool is_plain_float(DType type) {
    return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

bool has_codec(DType type) {
    const DTypeTraits* traits = dtype_traits(type);
    return traits && traits->decode && traits->encode;
}

// ---- The usual mixes. "More bits" layers are the first and last eighth and every third between.

bool more_bits(int64_t layer, int64_t n) {
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

struct Asked {
    std::string_view mix;
    DType base;
    const ModelFacts& facts;
    bool has_imatrix;

    bool is(std::string_view name) const { return mix == name; }
};

DType value_type(const Asked& ask, int64_t nth, int64_t n) {
    const bool shared = ask.facts.heads_per_kv >= 4;
    DType type = ask.base;
    if (ask.is("Q2_K"))
        type = shared ? DType::kQ4_K : DType::kQ3_K;
    else if (ask.is("Q2_K_S") && shared)
        type = DType::kQ4_K;
    else if (ask.is("Q3_K_M"))
        type = nth < 2 ? DType::kQ5_K : DType::kQ4_K;
    else if (ask.is("Q3_K_L"))
        type = DType::kQ5_K;
    else if ((ask.is("IQ4_NL") || ask.is("IQ4_XS")) && shared)
        type = DType::kQ5_K;
    else if ((ask.is("Q4_K_M") || ask.is("Q5_K_M")) && more_bits(nth, n))
        type = DType::kQ6_K;
    else if (ask.is("Q4_K_S") && nth < 4)
        type = DType::kQ5_K;
    // Eight query heads share each of these rows: a small tensor that bears much.
    if (ask.facts.eighty_layers && (type == DType::kQ3_K || type == DType::kQ4_K)) type = DType::kQ5_K;
    return ask.facts.n_experts == 8 ? DType::kQ8_0 : type;
}

DType down_type(const Asked& ask, int64_t layer, int64_t n) {
    const bool early = layer < n / 8;
    if (ask.is("Q2_K")) return DType::kQ3_K;
    if (ask.is("Q2_K_S")) return early ? DType::kQ4_K : ask.base;
    if (ask.is("Q3_K_M")) return layer < n / 16 ? DType::kQ5_K : DType::kQ4_K;
    if (ask.is("Q3_K_L")) return DType::kQ5_K;
    if (ask.is("Q4_K_M") || ask.is("Q5_K_M")) return more_bits(layer, n) ? DType::kQ6_K : ask.base;
    if (ask.is("Q4_K_S")) return early ? DType::kQ5_K : ask.base;
    if ((ask.is("IQ4_NL") || ask.is("IQ4_XS")) && early && !ask.has_imatrix) return DType::kQ5_K;
    if (ask.is("Q4_0") && early && ask.has_imatrix) return DType::kQ4_1;
    if (ask.is("Q5_0") && early && ask.has_imatrix) return DType::kQ5_1;
    return ask.base;
}

DType attention_output_type(const Asked& ask) {
    if (ask.facts.n_experts == 8) {
        for (std::string_view mix : {"Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS"})
            if (ask.is(mix)) return DType::kQ5_K;
        return ask.base;
    }
    if (ask.is("Q2_K")) return DType::kQ3_K;
    if (ask.is("Q3_K_M")) return DType::kQ4_K;
    if (ask.is("Q3_K_L")) return DType::kQ5_K;
    return ask.base;
}

// Those that make the values: alone, with q and k in one, or from a compressed state.
bool makes_values(std::string_view name) {
    return contains(name, "attn_v.weight") || contains(name, "attn_qkv.weight") || contains(name, "attn_kv_b.weight");
}

// Layers count in their order, whatever order the source has its tensors in.
struct Position {
    int64_t nth_value = 0, n_values = 0;  // among the matrices that make values
    int64_t nth_down = 0;
};

DType mixed_type(const Asked& ask, const SourceTensor& tensor, const Position& at) {
    const std::string_view name = tensor.name;
    if (name == "output.weight" || (!ask.facts.has_output && name == "token_embd.weight")) {
        if (ask.is("MXFP4_MOE")) return DType::kQ8_0;
        if (tensor.row_elements() % dtype_traits(ask.base)->block_size != 0) return DType::kQ8_0;
        return ask.base == DType::kQ8_0 ? ask.base : DType::kQ6_K;
    }
    if (ask.is("MXFP4_MOE")) return tensor.shape.size() > 2 && tensor.shape[2] > 1 ? DType::kMXFP4 : DType::kQ8_0;
    if (name == "token_embd.weight" || name == "per_layer_token_embd.weight")
        return ask.base == DType::kTQ1_0 || ask.base == DType::kTQ2_0 ? DType::kQ4_K : ask.base;
    if (makes_values(name)) return value_type(ask, at.nth_value, at.n_values);
    if (contains(name, "attn_k.weight") && ask.facts.n_experts == 8) return DType::kQ8_0;
    if (contains(name, "ffn_down")) return down_type(ask, at.nth_down, ask.facts.n_layers);
    if (contains(name, "attn_output.weight")) return attention_output_type(ask);
    return ask.base;
}

std::vector<Position> positions(std::span<const SourceTensor> tensors, const ModelFacts& facts) {
    std::vector<size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), size_t(0));
    std::ranges::stable_sort(order, {}, [&](size_t i) { return layer_of(tensors[i].name); });
    std::vector<Position> result(tensors.size());
    int64_t n_values = 0, n_down = 0;
    for (size_t i : order) {
        const std::string_view name = tensors[i].name;
        result[i].nth_value = n_values;
        result[i].nth_down = facts.n_experts > 1 ? layer_of(name) : n_down;
        n_values += makes_values(name);
        n_down += contains(name, "ffn_down") && name.ends_with("weight");
    }
    for (Position& position : result) position.n_values = n_values;
    return result;
}

}  // namespace

std::span<const TypeTarget> type_targets() {
    return kTargets;
}

const TypeTarget* find_type_target(std::string_view name) {
    for (const auto& alias : kAliases)
        if (equal_ignoring_case(name, alias.name)) name = alias.meaning;
    for (const TypeTarget& target : kTargets)
        if (equal_ignoring_case(name, target.name)) return &target;
    return nullptr;
}

Result<const TypeTarget*> need_type_target(std::string_view name) {
    if (const TypeTarget* target = find_type_target(name)) return target;
    std::string names;
    for (const TypeTarget& target : kTargets) names += fmt::format("{}{}", names.empty() ? "" : " ", target.name);
    return fail(ErrorCode::kBadArgument, "{}: no such type; there are {}", name, names);
}

ModelFacts model_facts(std::span<const SourceTensor> tensors) {
    ModelFacts facts;
    int64_t output_width = 0, value_rows = 0, fused_rows = 0;
    for (const SourceTensor& tensor : tensors) {
        const std::string_view name = tensor.name;
        facts.n_layers = std::max(facts.n_layers, layer_of(name) + 1);
        if (name == "output.weight") facts.has_output = true;
        if (name.ends_with("ffn_gate_inp.weight") && tensor.shape.size() == 2)
            facts.n_experts = std::max(facts.n_experts, tensor.shape[1]);
        if (value_rows == 0 && name.ends_with("attn_v.weight")) value_rows = tensor.n_rows();
        if (fused_rows == 0 && name.ends_with("attn_qkv.weight")) fused_rows = tensor.n_rows();
        if (output_width == 0 && name.ends_with("attn_output.weight")) output_width = tensor.row_elements();
    }
    if (value_rows == 0 && fused_rows > output_width) value_rows = (fused_rows - output_width) / 2;
    if (value_rows > 0 && output_width > 0) facts.heads_per_kv = std::max<int64_t>(1, output_width / value_rows);
    facts.eighty_layers = facts.n_layers == 80 && facts.heads_per_kv > 1;
    return facts;
}

bool is_quantizable(const SourceTensor& tensor) {
    if (!tensor.name.ends_with("weight") || !has_codec(tensor.exact)) return false;
    // ggml's count of dimensions: trailing ones do not count.
    size_t n_dims = tensor.shape.size();
    while (n_dims > 1 && tensor.shape[n_dims - 1] == 1) --n_dims;
    if (n_dims < 2) return false;
    return std::ranges::none_of(kKeptWhole, [&](std::string_view part) { return contains(tensor.name, part); });
}

DType fitting_type(DType type, int64_t n) {
    auto fits = [n](DType t) { return n % dtype_traits(t)->block_size == 0; };
    if (fits(type)) return type;
    DType instead = DType::kF16;
    switch (type) {
        case DType::kQ4_K:
            instead = DType::kQ5_0;
            break;
        case DType::kQ5_K:
            instead = DType::kQ5_1;
            break;
        case DType::kQ6_K:
            instead = DType::kQ8_0;
            break;
        case DType::kQ2_K:
        case DType::kQ3_K:
        case DType::kTQ1_0:
        case DType::kTQ2_0:
            instead = DType::kQ4_0;
            break;
        case DType::kIQ4_XS:
            instead = DType::kIQ4_NL;
            break;
        default:
            break;
    }
    return fits(instead) ? instead : DType::kF16;
}

Result<TypePlan> plan_types(std::span<const SourceTensor> tensors, const TypeTarget& target,
                            const PlanOptions& options) {
    const ModelFacts facts = model_facts(tensors);
    const std::vector<Position> at = positions(tensors, facts);
    const Asked ask = {target.name, target.base, facts, options.has_imatrix};
    for (const TypeOverride& rule : options.overrides) {
        const bool used = std::ranges::any_of(
            tensors, [&](const SourceTensor& tensor) { return matches(rule.pattern, tensor.name); });
        if (!used) return fail(ErrorCode::kBadArgument, "{}: no tensor has such a name", rule.pattern);
        if (!has_codec(rule.type))
            return fail(ErrorCode::kBadArgument, "{}: {} is no type for weights", rule.pattern,
                        dtype_name_of_number(uint32_t(rule.type)));
    }
    TypePlan plan;
    plan.file_type = target.file_type;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const SourceTensor& tensor = tensors[i];
        if (!is_quantizable(tensor)) {
            plan.types.push_back(is_plain_float(tensor.exact) ? DType::kF32 : tensor.exact);
            continue;
        }
        DType wish = target.base;
        if (!options.pure && !is_plain_float(target.base)) wish = mixed_type(ask, tensor, at[i]);
        if (options.output_type && tensor.name == "output.weight") wish = *options.output_type;
        if (options.embedding_type && tensor.name == "token_embd.weight") wish = *options.embedding_type;
        for (const TypeOverride& rule : options.overrides) {
            if (!matches(rule.pattern, tensor.name)) continue;
            wish = rule.type;
            break;
        }
        plan.types.push_back(fitting_type(wish, tensor.row_elements()));
        plan.n_fallback += plan.types.back() != wish;
    }
    measure_plan(tensors, plan);
    return plan;
}

void measure_plan(std::span<const SourceTensor> tensors, TypePlan& plan) {
    uint64_t n_elements = 0;
    plan.n_bytes = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
        const uint64_t n = uint64_t(tensors[i].row_elements()) * uint64_t(tensors[i].n_rows());
        plan.n_bytes += dtype_bytes(plan.types[i], n).value_or(0);
        n_elements += n;
    }
    plan.bits_per_weight = n_elements ? double(plan.n_bytes) * 8.0 / double(n_elements) : 0.0;
}

}  // namespace sterna
