#include "train/checkpoint.h"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "base/sha256.h"

namespace sterna::train {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kStateKey = "sterna.checkpoint.state", kHashKey = "sterna.checkpoint.sha256";
constexpr std::string_view kStatePrefix = "state.";

void hash_tensor(Sha256& hash, std::string_view name, Bytes bytes) {
    hash.update(name.data(), name.size());
    hash.update("\n", 1);
    hash.update(bytes);
}

Bytes bytes_of(std::span<const float> values) {
    return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

std::string state_json(const TrainingState& state, std::span<const Parameter> parameters) {
    Json json = {{"version", 1},
                 {"step", state.step},
                 {"n_steps", state.n_steps},
                 {"optimizer_steps", state.optimizer_steps},
                 {"epoch", state.epoch},
                 {"row", state.row},
                 {"n_tokens", state.n_tokens},
                 {"log_bytes", state.log_bytes},
                 {"sample_bytes", state.sample_bytes},
                 {"seconds", state.seconds},
                 {"data_digest", state.data_digest},
                 {"identity", state.identity}};
    json["ternary"] = Json::array();
    json["vectors"] = Json::array();
    for (const Parameter& parameter : parameters) {
        if (parameter.ternary) json["ternary"].push_back(parameter.name);
        if (parameter.is_vector()) json["vectors"].push_back(parameter.name);
    }
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool contains(const std::vector<std::string>& list, std::string_view name) {
    return std::ranges::find(list, name) != list.end();
}

}  // namespace

Status write_checkpoint(const std::string& path, const GgufFile& metadata, const TrainingState& state,
                        std::span<const Parameter> parameters, std::span<const Optimizer::State> optimizer) {
    GgufWriter writer;
    for (const GgufValue& value : metadata.values())
        if (!value.key.starts_with("sterna.checkpoint.")) STERNA_CHECK(writer.set_value(value));
    const std::string text = state_json(state, parameters);
    Sha256 hash;
    hash.update(text.data(), text.size());
    for (const Parameter& each : parameters) {
        const int64_t shape[] = {each.cols, each.rows};
        const size_t n_dims = each.is_vector() ? 1 : 2;
        STERNA_CHECK(writer.add_tensor(each.name, DType::kF32, std::span(shape, n_dims), bytes_of(each.value)));
        hash_tensor(hash, each.name, bytes_of(each.value));
    }
    for (const Optimizer::State& each : optimizer) {
        const std::string name = std::string(kStatePrefix) + each.name;
        const int64_t shape[] = {int64_t(each.values.size())};
        STERNA_CHECK(writer.add_tensor(name, DType::kF32, shape, bytes_of(each.values)));
        hash_tensor(hash, name, bytes_of(each.values));
    }
    STERNA_CHECK(writer.set_string(kStateKey, text));
    STERNA_CHECK(writer.set_string(kHashKey, hex_text(hash.finish())));
    STERNA_TRY(paths, writer.write(path));
    return {};
}

Result<Checkpoint> Checkpoint::open(const std::string& path) {
    Checkpoint result;
    result.path_ = path;
    STERNA_TRY(file, GgufFile::open(path));
    const auto text = file->get_string(kStateKey), wanted = file->get_string(kHashKey);
    if (!text || !wanted) return fail(ErrorCode::kBadFile, "{}: a model, expected a checkpoint of sterna train", path);
    Sha256 hash;
    hash.update(text->data(), text->size());
    for (const TensorView& tensor : file->tensors()) {
        // The writer's own alignment; tensors() hands the values out as floats where they lie.
        if (reinterpret_cast<uintptr_t>(tensor.data.data()) % alignof(float) || tensor.n_elements() <= 0)
            return fail(ErrorCode::kBadFile, "{}: {}: not where a checkpoint has it", path, tensor.name);
        hash_tensor(hash, tensor.name, tensor.data);
    }
    if (hex_text(hash.finish()) != *wanted)
        return fail(ErrorCode::kBadFile, "{}: damaged: its content is not what was written", path);
    try {
        const Json json = Json::parse(*text);
        TrainingState& state = result.state_;
        if (json.at("version").get<int>() != 1)
            return fail(ErrorCode::kUnsupported, "{}: checkpoint version {}, expected 1", path,
                        json.at("version").get<int>());
        json.at("step").get_to(state.step);
        json.at("n_steps").get_to(state.n_steps);
        json.at("optimizer_steps").get_to(state.optimizer_steps);
        json.at("epoch").get_to(state.epoch);
        json.at("row").get_to(state.row);
        json.at("n_tokens").get_to(state.n_tokens);
        json.at("log_bytes").get_to(state.log_bytes);
        json.at("sample_bytes").get_to(state.sample_bytes);
        json.at("seconds").get_to(state.seconds);
        json.at("data_digest").get_to(state.data_digest);
        json.at("identity").get_to(state.identity);
        json.at("ternary").get_to(result.ternary_);
        json.at("vectors").get_to(result.vectors_);
        if (state.step < 0 || state.row < 0 || state.optimizer_steps < 0)
            return fail(ErrorCode::kBadFile, "{}: a negative position", path);
    } catch (const std::exception& error) {
        return fail(ErrorCode::kBadFile, "{}: {}: {}", path, kStateKey, error.what());
    }
    result.file_ = std::move(file);
    return result;
}

Status Checkpoint::restore(std::span<Parameter> parameters, Optimizer& optimizer) const {
    auto read = [&](const std::string& name, std::span<float> to) -> Status {
        const TensorView* tensor = file_->find_tensor(name);
        if (!tensor || tensor->type != DType::kF32 || tensor->data.size() != to.size_bytes())
            return fail(ErrorCode::kBadFile, "{}: {}: {}, expected {} floats", path_, name,
                        tensor ? fmt::format("{} bytes", tensor->data.size()) : "absent", to.size());
        std::memcpy(to.data(), tensor->data.data(), to.size_bytes());
        return {};
    };
    for (Parameter& parameter : parameters) STERNA_CHECK(read(parameter.name, parameter.value));
    for (Optimizer::State& each : optimizer.state())
        STERNA_CHECK(read(std::string(kStatePrefix) + each.name, each.values));
    optimizer.set_steps(state_.optimizer_steps);
    return {};
}

std::vector<TrainedTensor> Checkpoint::tensors() const {
    std::vector<TrainedTensor> result;
    for (const TensorView& tensor : file_->tensors()) {
        if (tensor.name.starts_with(kStatePrefix) || tensor.type != DType::kF32) continue;
        TrainedTensor each;
        each.name = tensor.name;
        each.cols = tensor.shape[0];
        each.rows = tensor.n_elements() / tensor.shape[0];
        each.is_vector = contains(vectors_, tensor.name);
        each.ternary = contains(ternary_, tensor.name);
        // GGUF aligns tensor data to 32 bytes.
        each.values = {reinterpret_cast<const float*>(tensor.data.data()), size_t(tensor.n_elements())};
        result.push_back(std::move(each));
    }
    return result;
}

}  // namespace sterna::train
