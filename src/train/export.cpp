#include "train/export.h"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/sha256.h"
#include "convert/hf_export.h"
#include "convert/model_writer.h"
#include "convert/type_plan.h"
#include "tensor/dtype.h"
#include "train/net_kernels.h"

namespace sterna::train {

namespace {

namespace fs = std::filesystem;

constexpr float kLeastScale = 1e-5f;

bool is_ternary_type(DType type) {
    return type == DType::kTQ1_0 || type == DType::kTQ2_0;
}

Result<TypePlan> plan_of(const TrainedModel& model, const std::string& name) {
    STERNA_TRY(target, need_type_target(name));
    PlanOptions options;
    if (is_ternary_type(target->base)) {
        options.pure = true;
        options.embedding_type = options.output_type = DType::kQ8_0;
    }
    return plan_types(model.tensors(), *target, options);
}

Status set_facts(const Recipe& recipe, GgufWriter& writer) {
    STERNA_CHECK(writer.set_string("general.name", recipe.name));
    const std::pair<const char*, const std::string&> facts[] = {{"general.author", recipe.output.author},
                                                                {"general.license", recipe.output.license},
                                                                {"general.description", recipe.output.description}};
    for (const auto& [key, value] : facts)
        if (!value.empty()) STERNA_CHECK(writer.set_string(key, value));
    if (recipe.output.temperature) STERNA_CHECK(writer.set_f32("general.sampling.temp", *recipe.output.temperature));
    STERNA_CHECK(writer.set_string("sterna.training.recipe", recipe.text));
    if (!recipe.tokenizer.chat_template.empty())
        STERNA_CHECK(writer.set_string("tokenizer.chat_template", recipe.tokenizer.chat_template));
    return {};
}

// transformers' BitNet with trained floats rounds them as the training did, if it is told so.
Status set_online_rounding(const std::string& path) {
    STERNA_TRY(mapped, MappedFile::open(path));
    auto json = nlohmann::ordered_json::parse(mapped.bytes().begin(), mapped.bytes().end(), nullptr, false);
    if (json.is_discarded()) return fail(ErrorCode::kBadFile, "{}: no JSON", path);
    json["quantization_config"] = {
        {"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}, {"quantization_mode", "online"}};
    const std::string text = json.dump(2) + "\n";
    return write_file_atomically(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace

Result<MemoryGguf> MemoryGguf::from_writer(const GgufWriter& writer, std::string name) {
    MemoryGguf result;
    STERNA_TRY(bytes, writer.to_bytes());
    result.bytes_ = std::make_unique<std::vector<uint8_t>>(std::move(bytes));
    STERNA_TRY(file, GgufFile::from_bytes(*result.bytes_, std::move(name)));
    result.file_ = std::move(file);
    return result;
}

Result<MemoryGguf> model_metadata(const Recipe& recipe, const NetConfig& net, const GgufFile& tokenizer) {
    GgufWriter writer;
    const std::string architecture = net.bitnet ? "bitnet-b1.58" : "llama";
    STERNA_CHECK(writer.set_string("general.architecture", architecture));
    STERNA_CHECK(writer.set_string("general.type", "model"));
    STERNA_CHECK(set_facts(recipe, writer));
    if (net.bitnet && !net.ternary) STERNA_CHECK(writer.set_bool(std::string(kFloatMatricesKey), true));
    auto count = [&](const char* key, int64_t value) {
        return writer.set_u32(fmt::format("{}.{}", architecture, key), uint32_t(value));
    };
    STERNA_CHECK(count("block_count", net.n_layers));
    STERNA_CHECK(count("context_length", net.context));
    STERNA_CHECK(count("embedding_length", net.width));
    STERNA_CHECK(count("feed_forward_length", net.ffn_width));
    STERNA_CHECK(count("attention.head_count", net.n_heads));
    STERNA_CHECK(count("attention.head_count_kv", net.n_kv_heads));
    STERNA_CHECK(count("attention.key_length", net.head_dim));
    STERNA_CHECK(count("attention.value_length", net.head_dim));
    STERNA_CHECK(count("rope.dimension_count", net.head_dim));
    STERNA_CHECK(count("vocab_size", net.vocab_size));
    STERNA_CHECK(writer.set_f32(architecture + ".rope.freq_base", net.rope_base));
    STERNA_CHECK(writer.set_f32(architecture + ".attention.layer_norm_rms_epsilon", net.norm_epsilon));
    for (const GgufValue& value : tokenizer.values())
        if (value.key.starts_with("tokenizer.") || value.key.starts_with("sterna.tokenizer."))
            if (value.key != "tokenizer.chat_template" || recipe.tokenizer.chat_template.empty())
                STERNA_CHECK(writer.set_value(value));
    return MemoryGguf::from_writer(writer, recipe.name);
}

Result<MemoryGguf> changed_metadata(const Recipe& recipe, const GgufFile& base) {
    GgufWriter writer;
    for (const GgufValue& value : base.values()) STERNA_CHECK(writer.set_value(value));
    STERNA_CHECK(set_facts(recipe, writer));
    return MemoryGguf::from_writer(writer, recipe.name);
}

Result<ExportedFile> exported_file(std::string path, std::string type) {
    STERNA_TRY(file, MappedFile::open(path));
    Sha256 hash;
    hash.update(file.bytes());
    return ExportedFile{std::move(path), std::move(type), hex_text(hash.finish()), file.bytes().size()};
}

std::vector<TrainedTensor> tensors_of(std::span<const Parameter> parameters) {
    std::vector<TrainedTensor> tensors;
    for (const Parameter& each : parameters)
        tensors.push_back({each.name, each.rows, each.cols, each.is_vector(), each.ternary, each.value});
    return tensors;
}

float ternary_scale(const TrainedTensor& tensor) {
    double sum = 0.0;
    for (int64_t row = 0; row < tensor.rows; ++row)
        sum += double(active_kernels().sum_abs(tensor.values.data() + row * tensor.cols, tensor.cols));
    return std::max(float(sum / double(tensor.values.size())), kLeastScale);
}

void ternary_values(std::span<const float> values, float scale, std::span<float> to) {
    active_kernels().ternarize(values.data(), 1.0f / scale, int64_t(values.size()), to.data());
    for (float& value : to.first(values.size())) value *= scale;
}

TrainedModel::TrainedModel(const GgufFile& metadata, std::vector<TrainedTensor> tensors, bool masters)
    : metadata_(metadata), trained_(std::move(tensors)) {
    for (TrainedTensor& tensor : trained_) {
        SourceTensor source;
        source.name = tensor.name;
        source.shape =
            tensor.is_vector ? std::vector<int64_t>{tensor.cols} : std::vector<int64_t>{tensor.cols, tensor.rows};
        tensor.ternary = tensor.ternary && !masters;
        if (!tensor.ternary)
            source.stored = {reinterpret_cast<const uint8_t*>(tensor.values.data()), tensor.values.size_bytes()};
        sources_.push_back(std::move(source));
        scales_.push_back(tensor.ternary ? ternary_scale(tensor) : 0.0f);
    }
}

Status TrainedModel::write_metadata(GgufWriter& writer) const {
    for (const GgufValue& value : metadata_.values())
        if (!value.key.starts_with("sterna.checkpoint.")) STERNA_CHECK(writer.set_value(value));
    return {};
}

Status TrainedModel::read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const {
    const size_t at = size_t(&tensor - sources_.data());
    const TrainedTensor& from = trained_[at];
    const std::span<const float> rows = from.values.subspan(size_t(first * from.cols), size_t(n * from.cols));
    if (from.ternary)
        ternary_values(rows, scales_[at], to);
    else
        std::ranges::copy(rows, to.begin());
    return {};
}

uint64_t TrainedModel::source_bytes() const {
    uint64_t n = 0;
    for (const TrainedTensor& tensor : trained_) n += tensor.values.size_bytes();
    return n;
}

Result<ExportReport> export_model(const GgufFile& metadata, std::vector<TrainedTensor> tensors, ThreadPool& pool,
                                  const ExportOptions& options) {
    ExportReport report;
    const TrainedModel model(metadata, tensors);
    for (const std::string& type : options.types) {
        STERNA_TRY(plan, plan_of(model, type));
        if (plan.n_fallback > 0)
            report.notes.push_back(
                fmt::format("{}: {} matrices are too narrow for their type and get another", type, plan.n_fallback));
        WriteOptions write;
        write.cancel = options.cancel;
        write.resume = false;
        const std::string path = (fs::path(options.folder) / fmt::format("{}-{}.gguf", options.name, type)).string();
        STERNA_TRY(written, write_model(model, plan, path, pool, write));
        STERNA_TRY(file, exported_file(path, type));
        report.files.push_back(std::move(file));
    }
    if (options.safetensors.empty()) return report;
    const bool ternary = std::ranges::any_of(tensors, &TrainedTensor::ternary);
    const TrainedModel masters(metadata, std::move(tensors), true);
    GgufWriter writer;
    STERNA_CHECK(masters.write_metadata(writer));
    for (const SourceTensor& tensor : masters.tensors())
        STERNA_CHECK(writer.add_tensor(tensor.name, DType::kF32, tensor.shape, tensor.stored));
    STERNA_TRY(memory, MemoryGguf::from_writer(writer, options.name));
    const std::string folder = (fs::path(options.folder) / options.safetensors).string();
    STERNA_TRY(exported, export_to_safetensors(memory.file(), options.name, folder, "f32", options.cancel));
    if (ternary) STERNA_CHECK(set_online_rounding((fs::path(folder) / "config.json").string()));
    for (const std::string& path : exported.paths) {
        STERNA_TRY(file, exported_file(path, "safetensors"));
        report.files.push_back(std::move(file));
    }
    report.notes.insert(report.notes.end(), exported.notes.begin(), exported.notes.end());
    return report;
}

Result<MemoryGguf> model_in_memory(const GgufFile& metadata, std::vector<TrainedTensor> tensors) {
    const bool ternary = std::ranges::any_of(tensors, &TrainedTensor::ternary);
    const TrainedModel model(metadata, std::move(tensors));
    STERNA_TRY(plan, plan_of(model, ternary ? "tq2_0" : "f16"));
    GgufWriter writer;
    STERNA_CHECK(model.write_metadata(writer));
    for (size_t i = 0; i < plan.types.size(); ++i) {
        const SourceTensor& tensor = model.tensors()[i];
        const DType type = plan.types[i];
        const GgufWriter::Producer produce = [&, type](GgufWriter::Sink sink) -> Status {
            std::vector<float> values(size_t(tensor.n_rows() * tensor.row_elements()));
            STERNA_CHECK(model.read_rows(tensor, 0, tensor.n_rows(), values));
            std::vector<uint8_t> bytes(size_t(*dtype_bytes(type, values.size())));
            dtype_traits(type)->encode(values.data(), bytes.data(), int64_t(values.size()), nullptr);
            return sink(bytes);
        };
        STERNA_CHECK(writer.add_tensor(tensor.name, type, tensor.shape, produce));
    }
    return MemoryGguf::from_writer(writer, "a sample's model");
}

}  // namespace sterna::train
