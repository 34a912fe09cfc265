#include "train/base_model.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "convert/gguf_source.h"
#include "convert/hf_model.h"

namespace sterna::train {

namespace {

Result<std::unique_ptr<ModelSource>> open_source(const std::string& path) {
    std::error_code problem;
    if (!std::filesystem::is_directory(path, problem)) {
        STERNA_TRY(file, GgufSource::open(path));
        return file;
    }
    STERNA_TRY(model, HfModel::open(path));
    return model;
}

const SourceTensor* find(const ModelSource& source, std::string_view name) {
    const auto at = std::ranges::find(source.tensors(), name, &SourceTensor::name);
    return at == source.tensors().end() ? nullptr : &*at;
}

Result<NetConfig> read_sizes(const GgufFile& metadata, const ModelSource& source, const std::string& path) {
    const std::string_view architecture = metadata.get_string("general.architecture").value_or("absent");
    const bool ternary = architecture == "bitnet-b1.58";
    if (architecture != "llama" && !ternary)
        return fail(ErrorCode::kUnsupported, "{}: architecture {}; what can be trained on is llama and bitnet-b1.58",
                    path, architecture);
    auto key = [&](const char* name) { return fmt::format("{}.{}", architecture, name); };
    auto integer = [&](const char* name, int64_t otherwise) -> Result<int> {
        const int64_t value = metadata.get_int(key(name)).value_or(otherwise);
        if (value < 1 || value > (1 << 24))
            return fail(ErrorCode::kBadFile, "{}: {} is {}, expected a size", path, key(name), value);
        return int(value);
    };
    NetConfig net;
    STERNA_TRY(width, integer("embedding_length", 0));
    STERNA_TRY(layers, integer("block_count", 0));
    STERNA_TRY(heads, integer("attention.head_count", 0));
    STERNA_TRY(kv_heads, integer("attention.head_count_kv", heads));
    STERNA_TRY(head_dim, integer("attention.key_length", width / heads));
    STERNA_TRY(ffn, integer("feed_forward_length", 0));
    STERNA_TRY(context, integer("context_length", 0));
    STERNA_TRY(turning, integer("rope.dimension_count", head_dim));
    net.ternary = ternary;
    net.width = width;
    net.n_layers = layers;
    net.n_heads = heads;
    net.n_kv_heads = kv_heads;
    net.head_dim = head_dim;
    net.ffn_width = ffn;
    net.context = context;
    net.rope_base = float(metadata.get_float(key("rope.freq_base")).value_or(10000.0));
    net.norm_epsilon = float(metadata.get_float(key("attention.layer_norm_rms_epsilon")).value_or(1e-5));
    net.tied_embedding = !find(source, "output.weight");
    const SourceTensor* embedding = find(source, "token_embd.weight");
    if (!embedding) return fail(ErrorCode::kBadFile, "{}: token_embd.weight: absent", path);
    if (embedding->n_rows() > RecipeLimits{}.max_vocab)
        return fail(ErrorCode::kLimit, "{}: a vocabulary of {}, limit {}", path, embedding->n_rows(),
                    RecipeLimits{}.max_vocab);
    net.vocab_size = int(embedding->n_rows());
    if (turning != head_dim || metadata.get_string(key("rope.scaling.type")).value_or("none") != "none" ||
        find(source, "rope_freqs.weight"))
        return fail(ErrorCode::kUnsupported, "{}: positions turn in a way that training does not know", path);
    if (metadata.get_int(key("expert_count")).value_or(0) > 0)
        return fail(ErrorCode::kUnsupported, "{}: a mixture of experts; what can be trained on is dense", path);
    return net;
}

}  // namespace

Result<BaseModel> open_base(const std::string& path) {
    BaseModel base;
    STERNA_TRY(source, open_source(path));
    base.source = std::move(source);
    GgufWriter writer;
    STERNA_CHECK(base.source->write_metadata(writer));
    STERNA_TRY(metadata, MemoryGguf::from_writer(writer, path));
    base.metadata = std::move(metadata);
    STERNA_TRY(net, read_sizes(base.metadata.file(), *base.source, path));
    STERNA_CHECK(check_sizes(net));
    base.net = net;
    return base;
}

Status load_weights(const ModelSource& source, std::span<Parameter> parameters, ThreadPool& pool) {
    for (const SourceTensor& tensor : source.tensors())
        if (!tensor.name.starts_with("state.") &&  // the optimizer's, in a checkpoint
            std::ranges::find(parameters, tensor.name, &Parameter::name) == parameters.end())
            return fail(ErrorCode::kUnsupported, "{}: a tensor that the trained network has no place for", tensor.name);
    for (Parameter& parameter : parameters) {
        const SourceTensor* tensor = find(source, parameter.name);
        if (!tensor) return fail(ErrorCode::kBadFile, "{}: absent", parameter.name);
        if (tensor->row_elements() != parameter.cols || tensor->n_rows() != parameter.rows)
            return fail(ErrorCode::kBadFile, "{}: {} rows of {}, expected {} of {}", parameter.name, tensor->n_rows(),
                        tensor->row_elements(), parameter.rows, parameter.cols);
        constexpr int64_t kRows = 64;
        std::atomic<bool> failed = false;
        pool.run(int((parameter.rows + kRows - 1) / kRows), [&](int task, int) {
            const int64_t first = task * kRows, n = std::min(kRows, parameter.rows - first);
            const auto to = parameter.value.subspan(size_t(first * parameter.cols), size_t(n * parameter.cols));
            if (!source.read_rows(*tensor, first, n, to)) failed = true;
        });
        if (failed) return fail(ErrorCode::kIo, "{}: cannot be read", parameter.name);
        source.release(*tensor);
    }
    return {};
}

}  // namespace sterna::train
