#include "convert/unpack.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "base/half.h"
#include "base/printable.h"
#include "convert/listed_checkpoint.h"

namespace sterna {

namespace {

using nlohmann::json;

class Unpacked final : public ListedCheckpoint {
public:
    Unpacked(std::unique_ptr<Checkpoint> packed, PackingConfig config)
        : packed_(std::move(packed)), config_(std::move(config)) {}

    // Returns: whether anything is packed.
    Result<bool> build() {
        for (const CheckpointTensor& tensor : packed_->tensors()) STERNA_CHECK(note_packed(tensor));
        if (made_at_.empty()) return false;
        for (const CheckpointTensor& tensor : packed_->tensors()) {
            if (auto at = made_at_.find(&tensor); at != made_at_.end()) {
                CheckpointTensor shown = at->second->shown;
                add(std::move(shown), nullptr, std::move(at->second));
            } else if (!is_accessory(tensor)) {
                add(tensor, &tensor, nullptr);
            }
        }
        STERNA_CHECK(index_names("the unpacked checkpoint"));
        return true;
    }

    std::unique_ptr<Checkpoint> give_back() { return std::move(packed_); }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const Source& source = sources_[position(tensor)];
        return source.plain ? packed_->read(*source.plain, first, to) : source.made->read(first, to);
    }
    void release(const CheckpointTensor& tensor) const override {
        const Source& source = sources_[position(tensor)];
        if (source.plain) return packed_->release(*source.plain);
        for (const CheckpointTensor* part : source.made->parts) packed_->release(*part);
    }
    std::string config_json() const override { return packed_->config_json(); }
    Result<bool> write_tokenizer(GgufWriter& writer) const override { return packed_->write_tokenizer(writer); }

private:
    struct Source {
        const CheckpointTensor* plain;
        std::unique_ptr<PackedTensor> made;
    };

    void add(CheckpointTensor shown, const CheckpointTensor* plain, std::unique_ptr<PackedTensor> made) {
        tensors_.push_back(std::move(shown));
        sources_.push_back({plain, std::move(made)});
    }

    Status note_packed(const CheckpointTensor& tensor) {
        const std::string_view name = tensor.name;
        auto base = [&](std::string_view suffix) { return std::string(name.substr(0, name.size() - suffix.size())); };
        if (name.ends_with(".qweight")) return note(tensor, make_gptq_or_awq(*packed_, base(".qweight"), config_));
        if (name.ends_with(".weight_packed"))
            return note(tensor, make_compressed(*packed_, base(".weight_packed"), config_));
        if (name.ends_with("_blocks") && packed_->find(base("_blocks") + "_scales"))
            return note(tensor, make_mxfp4_experts(*packed_, base("_blocks")));
        const CheckpointTensor* scale = packed_->find(tensor.name + "_scale_inv");
        if (!scale) scale = packed_->find(tensor.name + "_scale");
        if (!scale) return {};
        if (name.ends_with(".weight") && packed_->find(tensor.name + "_scale_2"))
            return note(tensor, make_nvfp4(*packed_, base(".weight")));
        if (config_.method == "bitnet") return note(tensor, make_ternary(*packed_, tensor, *scale, config_));
        const CheckpointTensor* zeros = packed_->find(tensor.name + "_zero_point");
        return note(tensor, make_scaled(*packed_, tensor, *scale, zeros, config_));
    }

    Status note(const CheckpointTensor& tensor, MadeTensor made) {
        if (!made) return std::unexpected(std::move(made).error());
        for (const CheckpointTensor* part : (*made)->parts) used_.insert(part);
        modules_.insert(module_of((*made)->shown.name));
        made_at_.emplace(&tensor, std::move(*made));
        return {};
    }

    static std::string module_of(std::string_view name) {
        return std::string(name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name);
    }

    // Parts of packed tensors, and what such modules keep for the activations of their kernels.
    bool is_accessory(const CheckpointTensor& tensor) const {
        if (used_.contains(&tensor)) return true;
        constexpr std::string_view kActivations[] = {".input_scale",  ".activation_scale", ".input_global_scale",
                                                     ".output_scale", ".input_zero_point", ".weight_scale_2"};
        for (std::string_view suffix : kActivations) {
            if (tensor.name.ends_with(suffix) &&
                modules_.contains(tensor.name.substr(0, tensor.name.size() - suffix.size())))
                return true;
        }
        // Scales of a quantized KV cache, in the attention or its projections.
        return tensor.name.ends_with(".k_scale") || tensor.name.ends_with(".v_scale");
    }

    std::unique_ptr<Checkpoint> packed_;
    PackingConfig config_;
    std::vector<Source> sources_;
    std::unordered_map<const CheckpointTensor*, std::unique_ptr<PackedTensor>> made_at_;
    std::unordered_set<const CheckpointTensor*> used_;
    std::unordered_set<std::string> modules_;
};

std::string text_at(const json& object, const char* key) {
    return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string();
}

int64_t integer_at(const json& object, const char* key) {
    return object.contains(key) && object[key].is_number_integer() ? object[key].get<int64_t>() : 0;
}

Result<PackingConfig> read_packing_config(std::string_view config_json) {
    PackingConfig packing;
    const json config = json::parse(config_json, nullptr, /*allow_exceptions=*/false);
    if (!config.is_object() || !config.contains("quantization_config") || !config["quantization_config"].is_object())
        return packing;
    const json& quantization = config["quantization_config"];
    packing.method = text_at(quantization, "quant_method");
    // What the names and shapes of tensors do not show in time: their values would be read wrongly.
    constexpr std::array kNotRead = {"bitsandbytes", "hqq",   "aqlm", "quip",    "eetq",   "vptq",    "spqr",
                                     "higgs",        "quark", "fpq",  "torchao", "quanto", "fp_quant"};
    if (std::ranges::find(kNotRead, packing.method) != kNotRead.end())
        return fail(ErrorCode::kUnsupported, "config.json: quantized by {}, which is not read; take the original model",
                    packing.method);
    const std::string awq_version = text_at(quantization, "version");
    if (packing.method == "awq" && !awq_version.empty() && awq_version != "gemm" && awq_version != "GEMM")
        return fail(ErrorCode::kUnsupported, "config.json: AWQ in the layout '{}', expected gemm",
                    printable(awq_version));
    if (packing.method == "gptq" || packing.method.empty())
        packing.zeros_minus_one = text_at(quantization, "checkpoint_format") != "gptq_v2";
    if (packing.method == "auto-round" || packing.method == "intel/auto-round")
        packing.zeros_minus_one = text_at(quantization, "packing_format").contains("gptq");
    packing.group_size = std::max(integer_at(quantization, "group_size"), int64_t(0));
    if (quantization.contains("weight_block_size")) {
        const json& block = quantization["weight_block_size"];
        if (block.is_array() && block.size() == 2 && block[0].is_number_integer() && block[1].is_number_integer()) {
            packing.block_rows = block[0].get<int64_t>();
            packing.block_columns = block[1].get<int64_t>();
        }
    }
    // Transformers has two classes: BitLinear divides its output by the scale, AutoBitLinear multiplies.
    if (packing.method == "bitnet") packing.divide_by_scale = text_at(quantization, "linear_class") != "autobitlinear";
    return packing;
}

}  // namespace

Status read_as_rectangles(int64_t columns, int64_t first, std::span<float> to,
                          const std::function<Status(int64_t, int64_t, int64_t, int64_t, float*)>& rect) {
    for (size_t done = 0; done < to.size();) {
        const int64_t at = first + int64_t(done), left = int64_t(to.size() - done);
        const int64_t row = at / columns, column = at % columns;
        const bool whole = column == 0 && left >= columns;
        const int64_t n_rows = whole ? std::min(kTileRows, left / columns) : 1;
        const int64_t n_columns = whole ? columns : std::min(left, columns - column);
        STERNA_CHECK(rect(row, n_rows, column, n_columns, to.data() + done));
        done += size_t(n_rows * n_columns);
    }
    return {};
}

Result<bool> all_values(const Checkpoint& checkpoint, const CheckpointTensor& tensor,
                        const std::function<bool(float)>& holds) {
    std::vector<float> part(4096);
    const int64_t n = tensor.n_elements();
    for (int64_t at = 0; at < n; at += int64_t(part.size())) {
        const std::span<float> values(part.data(), size_t(std::min(n - at, int64_t(part.size()))));
        STERNA_CHECK(checkpoint.read(tensor, at, values));
        if (!std::ranges::all_of(values, holds)) return false;
    }
    return true;
}

bool is_half(float value) {
    return std::isfinite(value) && half_to_float(float_to_half(value)) == value;
}

bool is_power_of_two(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return (bits & 0x807fffff) == 0 && value >= 0x1p-100f && value <= 0x1p100f;
}

Result<std::vector<int64_t>> read_integers(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
    constexpr int64_t kMost = int64_t(1) << 24;
    const int64_t n = tensor.n_elements();
    if (n > kMost) return fail(ErrorCode::kLimit, "{}: {} values, at most {}", tensor.name, n, kMost);
    std::vector<int64_t> values(static_cast<size_t>(n));
    auto load = [&]<typename T>(T) {
        for (size_t i = 0; i < values.size(); ++i) values[i] = load_le<T>(tensor.stored.data() + i * sizeof(T));
    };
    const auto size = dtype_bytes(tensor.exact, uint64_t(n));
    const bool stored = size && tensor.stored.size() == *size;
    if (stored && tensor.exact == DType::kI64) {
        load(int64_t());
    } else if (stored && tensor.exact == DType::kI32) {
        load(int32_t());
    } else if (tensor.exact == DType::kI8 || tensor.exact == DType::kI16 || tensor.exact == DType::kF16) {
        std::vector<float> floats(values.size());
        STERNA_CHECK(checkpoint.read(tensor, 0, floats));
        for (size_t i = 0; i < values.size(); ++i) {
            if (!(std::fabs(floats[i]) <= 65536.0f)) return fail(ErrorCode::kBadFile, "{}: not integers", tensor.name);
            values[i] = int64_t(floats[i]);
        }
    } else {
        return fail(ErrorCode::kBadFile, "{}: not integers", tensor.name);
    }
    return values;
}

Result<std::unique_ptr<Checkpoint>> unpack_checkpoint(std::unique_ptr<Checkpoint> packed,
                                                      std::string_view config_json) {
    STERNA_TRY(config, read_packing_config(config_json));
    auto unpacked = std::make_unique<Unpacked>(std::move(packed), std::move(config));
    STERNA_TRY(anything, unpacked->build());
    if (!anything) return unpacked->give_back();
    return unpacked;
}

}  // namespace sterna
