// A checkpoint in safetensors files: one, or shards with or without their index.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/listed_checkpoint.h"
#include "convert/readers.h"
#include "format/safetensors.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kMaxShards = 4096;
constexpr size_t kMaxIndexBytes = size_t(256) << 20;  // the largest published ones have some 10 MB
constexpr size_t kReleasedBytes = size_t(1) << 15;    // reads of this size and more are not kept mapped
constexpr const char* kIndexName = "model.safetensors.index.json";

class SafetensorsCheckpoint : public ListedCheckpoint {
public:
    Status add(const std::string& path) {
        STERNA_TRY(file, MappedFile::open(path));
        STERNA_TRY(part, parse_safetensors(file.bytes(), path));
        for (SafetensorsTensor& tensor : part.tensors) {
            if (tensors_.size() >= kMaxCheckpointTensors)
                return fail(ErrorCode::kLimit, "{}: more than {} tensors", path, kMaxCheckpointTensors);
            tensors_.push_back({std::move(tensor.name), std::move(tensor.shape), element_exact(tensor.type),
                                element_is_stored(tensor.type) ? tensor.data : Bytes{}});
            facts_.push_back({tensor.type, tensor.data, files_.size()});
        }
        files_.push_back(std::move(file));
        return {};
    }
    Status finish(const std::string& path) { return index_names(path); }
    size_t file_of(const CheckpointTensor& tensor) const { return facts_[position(tensor)].file; }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const Fact& fact = facts_[position(tensor)];
        read_elements(fact.type, fact.data, first, to);
        // The widest tensors (an embedding of 1 GB) would be all of a conversion's memory if they were kept to their end.
        const size_t width = size_t(element_bytes(fact.type)), n_bytes = to.size() * width;
        if (n_bytes >= kReleasedBytes) files_[fact.file].release(fact.data.subspan(size_t(first) * width, n_bytes));
        return {};
    }
    void release(const CheckpointTensor& tensor) const override {
        const Fact& fact = facts_[position(tensor)];
        files_[fact.file].release(fact.data);
    }

private:
    struct Fact {
        ElementType type;
        Bytes data;
        size_t file;
    };
    std::vector<MappedFile> files_;
    std::vector<Fact> facts_;
};

struct Shards {
    std::vector<std::string> paths;
    std::map<std::string, std::string> where;  // tensor -> file name, as the index says
};

Result<Shards> read_index(const fs::path& path) {
    STERNA_TRY(file, MappedFile::open(path.string()));
    if (file.bytes().size() > kMaxIndexBytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, expected at most {}", path.string(), file.bytes().size(),
                    kMaxIndexBytes);
    const Json index = Json::parse(file.bytes().begin(), file.bytes().end(), nullptr, false);
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
        return fail(ErrorCode::kBadFile, "{}: no JSON object with a weight_map", path.string());
    Shards shards;
    std::set<std::string> names;
    for (const auto& [tensor, value] : index["weight_map"].items()) {
        const std::string name = value.is_string() ? value.get<std::string>() : std::string();
        if (name.empty() || name.find('/') != std::string::npos || name.find('\\') != std::string::npos ||
            name.find('\0') != std::string::npos || name == "..")
            return fail(ErrorCode::kBadFile, "{}: tensor '{}' is said to be in '{}', expected a file name",
                        path.string(), printable(tensor), printable(name));
        names.insert(name);
        shards.where[tensor] = name;
        if (names.size() > kMaxShards)
            return fail(ErrorCode::kLimit, "{}: more than {} shards", path.string(), kMaxShards);
    }
    if (names.empty()) return fail(ErrorCode::kBadFile, "{}: names no shard", path.string());
    for (const std::string& name : names) {
        const fs::path shard = path.parent_path() / name;
        std::error_code ignored;
        if (!fs::exists(shard, ignored))
            return fail(ErrorCode::kNotFound, "{}: missing, though {} names it", shard.string(),
                        path.filename().string());
        shards.paths.push_back(shard.string());
    }
    return shards;
}

// "model-00002-of-00005.safetensors": its stem "model", and 5.
struct ShardName {
    std::string stem;
    size_t n = 0;
};
std::optional<ShardName> shard_name(const std::string& name) {
    constexpr std::string_view kEnd = ".safetensors";
    constexpr size_t kDigits = 5, kTail = 1 + kDigits + 4 + kDigits;  // "-00002-of-00005"
    if (!name.ends_with(kEnd) || name.size() < kEnd.size() + kTail) return std::nullopt;
    const std::string tail = name.substr(name.size() - kEnd.size() - kTail, kTail);
    size_t n = 0;
    for (size_t i = 0; i < kTail; ++i) {
        const bool digit_wanted = (i >= 1 && i <= kDigits) || i >= 10;
        if (digit_wanted ? tail[i] < '0' || tail[i] > '9' : tail[i] != "-     -of-"[i]) return std::nullopt;
        if (i >= 10) n = n * 10 + size_t(tail[i] - '0');
    }
    return ShardName{name.substr(0, name.size() - kEnd.size() - kTail), n};
}

Result<Shards> all_shards_of(const fs::path& folder, const ShardName& name) {
    if (name.n < 1 || name.n > kMaxShards)
        return fail(ErrorCode::kBadFile, "{}: {} shards, expected 1 to {}", (folder / name.stem).string(), name.n,
                    kMaxShards);
    Shards shards;
    for (size_t i = 1; i <= name.n; ++i) {
        const fs::path path = folder / fmt::format("{}-{:05}-of-{:05}.safetensors", name.stem, i, name.n);
        std::error_code ignored;
        if (!fs::exists(path, ignored))
            return fail(ErrorCode::kNotFound, "{}: missing, expected {} shards", path.string(), name.n);
        shards.paths.push_back(path.string());
    }
    return shards;
}

Result<Shards> find_shards(const fs::path& path) {
    std::error_code problem;
    if (!fs::is_directory(path, problem)) {
        const fs::path folder = path.parent_path();
        if (path.filename() == kIndexName || path.string().ends_with(".safetensors.index.json"))
            return read_index(path);
        const auto name = shard_name(path.filename().string());
        if (!name) return Shards{{path.string()}, {}};
        if (fs::exists(folder / kIndexName, problem)) return read_index(folder / kIndexName);
        return all_shards_of(folder, *name);
    }
    if (fs::exists(path / kIndexName, problem)) return read_index(path / kIndexName);
    if (fs::exists(path / "model.safetensors", problem)) return Shards{{(path / "model.safetensors").string()}, {}};
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(path, problem))
        if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
    std::ranges::sort(found);
    if (found.empty()) return fail(ErrorCode::kNotFound, "{}: holds no .safetensors file", path.string());
    if (const auto name = shard_name(found[0].filename().string())) return all_shards_of(path, *name);
    if (found.size() > 1)
        return fail(ErrorCode::kBadArgument, "{}: {} .safetensors files and no index; name the one that is meant",
                    path.string(), found.size());
    return Shards{{found[0].string()}, {}};
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_safetensors(const std::string& path) {
    STERNA_TRY(shards, find_shards(path));
    auto checkpoint = std::make_unique<SafetensorsCheckpoint>();
    for (const std::string& shard : shards.paths) STERNA_CHECK(checkpoint->add(shard));
    STERNA_CHECK(checkpoint->finish(path));
    for (const auto& [tensor, name] : shards.where) {
        const CheckpointTensor* found = checkpoint->find(tensor);
        if (!found || fs::path(shards.paths[checkpoint->file_of(*found)]).filename() != name)
            return fail(ErrorCode::kBadFile, "{}: the index says that tensor '{}' is in {}, which does not hold it",
                        path, printable(tensor), name);
    }
    if (checkpoint->tensors().empty()) return fail(ErrorCode::kBadFile, "{}: holds no tensors", path);
    return checkpoint;
}

}  // namespace sterna
