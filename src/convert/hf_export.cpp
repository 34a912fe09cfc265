#include "convert/hf_export.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "convert/hf_changes.h"
#include "convert/hf_config.h"
#include "convert/hf_join.h"
#include "convert/hf_tokenizer.h"
#include "format/safetensors.h"
#include "model/model.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kDecodedAtOnce = int64_t(1) << 18;  // values decoded at a time, and rounded up to a row

struct Target {
    ElementType element;
    DType type;
    std::string_view torch_name;
};

Result<Target> target_of(std::string_view type) {
    const DTypeTraits* traits = dtype_by_name(type);
    if (traits && traits->type == DType::kF32) return Target{ElementType::kF32, DType::kF32, "float32"};
    if (traits && traits->type == DType::kF16) return Target{ElementType::kF16, DType::kF16, "float16"};
    if (traits && traits->type == DType::kBF16) return Target{ElementType::kBF16, DType::kBF16, "bfloat16"};
    return fail(ErrorCode::kBadArgument, "--type {}: safetensors are written as f32, f16 or bf16", type);
}

int64_t row_length(const TensorView& tensor) {
    return tensor.shape[0];
}
int64_t rows_of(const TensorView& tensor) {
    return tensor.n_elements() / tensor.shape[0];
}

void decode_rows(const TensorView& tensor, int64_t first, int64_t n, std::span<float> to) {
    const DTypeTraits* traits = dtype_traits(tensor.type);
    const size_t row_bytes = size_t(row_length(tensor) / traits->block_size * traits->block_bytes);
    traits->decode(tensor.data.data() + size_t(first) * row_bytes, to.data(), n * row_length(tensor));
}

// One tensor of the result: rows of a GGUF tensor, maybe with a value added or multiplied.
struct Recipe {
    const TensorView* from;
    Change change;
    int64_t first_row, n_rows;  // of the GGUF tensor
    float scale;
};

void change_values(const Recipe& recipe, std::span<float> values) {
    if (recipe.change == Change::kPlusOne)
        for (float& value : values) value -= 1.0f;
    if (recipe.change == Change::kNegExp)
        for (float& value : values) value = std::log(-value);
    if (recipe.change == Change::kTernaryScale)
        for (float& value : values) value *= recipe.scale;
}

using RowSink = FunctionRef<Status(std::span<const float>)>;

Status produce_rows(const Recipe& recipe, RowSink sink) {
    const int64_t columns = row_length(*recipe.from), step = std::max<int64_t>(1, kDecodedAtOnce / columns);
    std::vector<float> chunk;
    for (int64_t row = 0; row < recipe.n_rows; row += step) {
        const int64_t n = std::min(step, recipe.n_rows - row);
        chunk.resize(size_t(n * columns));
        decode_rows(*recipe.from, recipe.first_row + row, n, chunk);
        change_values(recipe, chunk);
        STERNA_CHECK(sink(chunk));
    }
    return {};
}

// A depthwise convolution, [channels, 1, kernel] in a checkpoint: GGUF drops the extent of 1.
bool is_convolution(std::string_view hf_name) {
    return hf_name.ends_with("conv1d.weight") || hf_name.ends_with("conv.conv.weight");
}

class Exporter {
public:
    Exporter(const GgufFile& file, const std::string& source, Target target, const std::atomic<bool>* cancel)
        : file_(file), source_(source), target_(target), cancel_(cancel) {}

    Status plan() {
        STERNA_TRY(plan, plan_model(file_, {}));
        config_ = std::move(plan.config);
        architecture_ = plan.architecture;
        if (architecture_->hf.classes.empty() || !architecture_->hf.written)
            return fail(ErrorCode::kUnsupported, "{}: architecture {} cannot be written as a Hugging Face checkpoint",
                        source_, config_.architecture);
        const std::vector<TensorSpec> table = architecture_->tensors(config_);
        STERNA_CHECK(check_tensors(config_, table, file_, {}));
        for (const TensorSpec& spec : table)
            if (spec.gguf_name.find("{}") == std::string_view::npos) STERNA_CHECK(add(spec, -1));
        for (int64_t layer = 0; layer < config_.n_layers; ++layer)
            for (const TensorSpec& spec : table)
                if (spec.gguf_name.find("{}") != std::string_view::npos && spec.applies(config_, layer))
                    STERNA_CHECK(add(spec, layer));
        for (const auto& [name, joined] : joined_) STERNA_CHECK(add_joined(name, joined));
        return {};
    }

    const SafetensorsWriter& writer() const { return writer_; }

    Result<std::string> config_json(std::vector<std::string>& notes) const {
        HfConfigFacts facts;
        facts.vocab_size = config_.vocab_size;
        if (const TensorView* types = file_.find_tensor("token_types.weight")) facts.n_token_types = types->shape[1];
        facts.tied = !file_.find_tensor("output.weight");
        facts.attention_bias = file_.find_tensor("blk.0.attn_q.bias") != nullptr;
        facts.ffn_bias = file_.find_tensor("blk.0.ffn_up.bias") != nullptr;
        for (int64_t layer = 0; layer < config_.n_layers; ++layer)
            if (file_.find_tensor(layer_name("blk.{}.attn_k.weight", layer)) &&
                !file_.find_tensor(layer_name("blk.{}.attn_v.weight", layer)))
                facts.keys_are_values = true;
        facts.dtype = target_.torch_name;
        facts.rope_factors = floats("rope_freqs.weight");
        facts.rope_factors_long = floats("rope_factors_long.weight");
        facts.rope_factors_short = floats("rope_factors_short.weight");
        return write_hf_config(file_, facts, notes);
    }

private:
    std::vector<float> floats(const char* name) const {
        const TensorView* tensor = file_.find_tensor(name);
        if (!tensor) return {};
        std::vector<float> values(size_t(tensor->n_elements()));
        dtype_traits(tensor->type)->decode(tensor->data.data(), values.data(), tensor->n_elements());
        return values;
    }

    Status add(const TensorSpec& spec, int64_t layer) {
        if (spec.hf_name.empty()) return {};
        const std::string name = layer >= 0 ? layer_name(spec.gguf_name, layer) : std::string(spec.gguf_name);
        const TensorView* tensor = file_.find_tensor(name);
        if (!tensor) return {};
        const std::string hf_name = layer >= 0 ? layer_name(spec.hf_name, layer) : std::string(spec.hf_name);
        std::vector<int64_t> shape(tensor->shape.begin(), tensor->shape.begin() + tensor->n_dims);
        std::ranges::reverse(shape);
        // A matrix of one row is a vector in GGUF.
        const bool is_row = shape.size() == 1 && std::holds_alternative<Linear LayerWeights::*>(spec.slot);
        if (is_row) shape.insert(shape.begin(), 1);
        if (is_joined(spec.change)) {
            Joined& joined = joined_[hf_name];
            joined.parts.push_back({tensor, spec.change, is_row});
            joined.layer = layer;
            return {};
        }
        if (is_convolution(hf_name)) shape.insert(shape.begin() + 1, 1);
        Recipe recipe{tensor, spec.change, 0, rows_of(*tensor), 1.0f};
        switch (spec.change) {
            case Change::kTernaryScale: {
                const std::vector<float> scale = floats((name.substr(0, name.rfind('.')) + ".scale").c_str());
                if (!scale.empty()) recipe.scale = scale[0];
                break;
            }
            case Change::kStack: {
                const int64_t n = shape[0];
                shape.erase(shape.begin());
                recipe.n_rows /= n;
                for (int64_t i = 0; i < n; ++i) {
                    recipe.first_row = i * recipe.n_rows;
                    STERNA_CHECK(add_rows(layer_name(hf_name, i), shape, recipe));
                }
                return {};
            }
            default:
                break;
        }
        return add_rows(hf_name, std::move(shape), recipe);
    }

    // A tensor of the checkpoint that several, or turned ones, are put together to.
    struct Joined {
        std::vector<HfPart> parts;
        int64_t layer = -1;
    };

    Status add_joined(const std::string& name, const Joined& joined) {
        std::vector<int64_t> shape = joined_shape(joined.parts);
        if (shape.empty())
            return fail(ErrorCode::kBadFile, "{}: {}: {} tensors do not make {}", source_, joined.parts[0].tensor->name,
                        joined.parts.size(), name);
        if (is_convolution(name)) shape.insert(shape.begin() + 1, 1);
        return writer_.add(name, target_.element, std::move(shape),
                           [this, joined](SafetensorsWriter::Sink sink) -> Status {
                               const auto produce = [&](RowSink rows) {
                                   return join_parts(joined.parts, config_, joined.layer, rows);
                               };
                               STERNA_CHECK(encoded(*joined.parts[0].tensor, sink, produce));
                               for (const HfPart& part : joined.parts) file_.release(*part.tensor);
                               return {};
                           });
    }

    Status add_rows(const std::string& name, std::vector<int64_t> shape, const Recipe& recipe) {
        return writer_.add(name, target_.element, std::move(shape), [this, recipe](SafetensorsWriter::Sink sink) {
            return encoded(*recipe.from, sink, [&](RowSink rows) { return produce_rows(recipe, rows); });
        });
    }

    Status encoded(const TensorView& tensor, SafetensorsWriter::Sink sink, FunctionRef<Status(RowSink)> produce) const {
        std::vector<uint8_t> bytes;
        auto encode = [&](std::span<const float> values) -> Status {
            if (cancel_ && cancel_->load(std::memory_order_relaxed))
                return fail(ErrorCode::kCancelled, "{}: cancelled", source_);
            bytes.resize(size_t(*dtype_bytes(target_.type, values.size())));
            dtype_traits(target_.type)->encode(values.data(), bytes.data(), int64_t(values.size()), nullptr);
            return sink(bytes);
        };
        Status done = produce(encode);
        file_.release(tensor);
        return done;
    }

    const GgufFile& file_;
    const std::string& source_;
    Target target_;
    const std::atomic<bool>* cancel_;
    Config config_;
    const Architecture* architecture_ = nullptr;
    SafetensorsWriter writer_;
    std::map<std::string, Joined> joined_;  // by the checkpoint's name
};

Status write_text(const fs::path& path, const std::string& text, HfExport& result) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
    STERNA_CHECK(write_file_atomically(path.string(), {bytes, text.size()}));
    result.paths.push_back(path.string());
    return {};
}

std::string tokenizer_config(const Metadata& metadata) {
    Json out = {{"tokenizer_class", "PreTrainedTokenizerFast"}};
    const auto tokens = metadata.get_strings("tokenizer.ggml.tokens");
    constexpr std::pair<const char*, const char*> kIds[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                                                            {"eos_token", "tokenizer.ggml.eos_token_id"},
                                                            {"unk_token", "tokenizer.ggml.unknown_token_id"},
                                                            {"pad_token", "tokenizer.ggml.padding_token_id"}};
    for (const auto& [json, gguf] : kIds) {
        const auto id = metadata.get_int(gguf);
        if (tokens && id && *id >= 0 && size_t(*id) < tokens->size()) out[json] = std::string((*tokens)[size_t(*id)]);
    }
    for (const char* flag : {"add_bos_token", "add_eos_token"})
        if (const auto value = metadata.get_bool(std::string("tokenizer.ggml.") + flag)) out[flag] = *value;
    if (const auto text = metadata.get_string("tokenizer.chat_template")) out["chat_template"] = std::string(*text);
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<HfExport> export_to_safetensors(const GgufFile& file, const std::string& source, const std::string& folder,
                                       std::string_view type, const std::atomic<bool>* cancel) {
    STERNA_TRY(target, target_of(type));
    Exporter exporter(file, source, target, cancel);
    STERNA_CHECK(exporter.plan());
    HfExport result;
    STERNA_TRY(config, exporter.config_json(result.notes));
    std::error_code problem;
    fs::create_directories(folder, problem);
    if (problem) return fail(ErrorCode::kIo, "{}: cannot create: {}", folder, problem.message());
    const fs::path to = folder;
    STERNA_CHECK(exporter.writer().write((to / "model.safetensors").string()));
    result.paths.push_back((to / "model.safetensors").string());
    STERNA_CHECK(write_text(to / "config.json", config, result));
    if (!file.has("tokenizer.ggml.tokens")) {
        result.notes.push_back(fmt::format("{}: has no tokenizer, so none is written", source));
        return result;
    }
    auto tokenizer = tokenizer_json(file);
    if (!tokenizer) {
        result.notes.push_back(fmt::format("tokenizer.json is not written: {}", tokenizer.error().message));
        return result;
    }
    STERNA_CHECK(write_text(to / "tokenizer.json", *tokenizer, result));
    STERNA_CHECK(write_text(to / "tokenizer_config.json", tokenizer_config(file), result));
    return result;
}

}  // namespace sterna
