#include "hub/repo_info.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "hub/reference.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxEtagBytes = 128;

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string string_at(const Json& object, const char* key) {
    auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

// A size that makes no sense counts as not said: the answer to the request for the file itself has the word.
uint64_t size_at(const Json& object, const char* key) {
    auto at = object.find(key);
    if (at == object.end() || !at->is_number_unsigned()) return 0;
    const uint64_t size = at->get<uint64_t>();
    return size <= RepoLimits::kMaxFileBytes ? size : 0;
}

// true, or a word such as "manual".
bool is_set(const Json& object, const char* key) {
    auto at = object.find(key);
    return at != object.end() && (at->is_string() || (at->is_boolean() && at->get<bool>()));
}

}  // namespace

bool is_commit_id(std::string_view text) {
    return text.size() == 40 && is_hex(text);
}

bool is_sha256_hex(std::string_view text) {
    return text.size() == 64 && is_hex(text);
}

std::string normalize_etag(std::string_view header) {
    if (header.starts_with("W/")) header.remove_prefix(2);
    while (!header.empty() && header.front() == '"') header.remove_prefix(1);
    while (!header.empty() && header.back() == '"') header.remove_suffix(1);
    return std::string(header);
}

bool is_safe_etag(std::string_view etag) {
    return !etag.empty() && etag.size() <= kMaxEtagBytes && etag.front() != '.' &&
           std::all_of(etag.begin(), etag.end(), [](char c) {
               return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' || c == '_' ||
                      c == '.';
           });
}

Result<RepoInfo> parse_repo_info(std::string_view json, std::string_view name) {
    if (json.size() > RepoLimits::kMaxJsonBytes)
        return fail(ErrorCode::kLimit, "{}: the hub's list of files has {} bytes, at most {} are read", name,
                    json.size(), RepoLimits::kMaxJsonBytes);
    const Json root = Json::parse(json, nullptr, false);
    if (!root.is_object())
        return fail(ErrorCode::kBadFile, "{}: the hub's answer is not the JSON of a repository", name);
    RepoInfo info;
    info.commit = string_at(root, "sha");
    if (!is_commit_id(info.commit)) return fail(ErrorCode::kBadFile, "{}: the hub's answer names no commit", name);
    info.gated = is_set(root, "gated");
    info.is_private = is_set(root, "private");
    auto siblings = root.find("siblings");
    if (siblings == root.end() || !siblings->is_array())
        return fail(ErrorCode::kBadFile, "{}: the hub's answer lists no files", name);
    if (siblings->size() > RepoLimits::kMaxFiles)
        return fail(ErrorCode::kLimit, "{}: {} files, at most {} are read", name, siblings->size(),
                    RepoLimits::kMaxFiles);
    for (const Json& entry : *siblings) {
        if (!entry.is_object()) return fail(ErrorCode::kBadFile, "{}: an entry of the hub's list is no file", name);
        HubFile file;
        file.path = string_at(entry, "rfilename");
        if (!is_safe_relative_path(file.path))
            return fail(ErrorCode::kBadFile, "{}: file {} of the hub's list has a name that leaves the folder", name,
                        info.files.size() + 1);
        file.size = size_at(entry, "size");
        file.git_sha1 = string_at(entry, "blobId");
        if (!is_commit_id(file.git_sha1)) file.git_sha1.clear();
        if (auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
            file.sha256 = string_at(*lfs, "sha256");
            if (file.sha256.starts_with("sha256:")) file.sha256.erase(0, 7);
            if (!is_sha256_hex(file.sha256))
                return fail(ErrorCode::kBadFile, "{}: {}: the hub states no proper SHA-256", name, file.path);
            if (uint64_t size = size_at(*lfs, "size")) file.size = size;
        }
        info.files.push_back(std::move(file));
    }
    std::sort(info.files.begin(), info.files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    for (size_t i = 1; i < info.files.size(); ++i) {
        const std::string &before = info.files[i - 1].path, &path = info.files[i].path;
        if (path == before) return fail(ErrorCode::kBadFile, "{}: {} is listed twice", name, path);
    }
    return info;
}

}  // namespace sterna
