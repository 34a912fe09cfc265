// What a repository of the hub holds, from the JSON that the hub answers. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sterna {

struct HubFile {
    std::string path;      // inside the repository, checked to stay there
    uint64_t size = 0;     // 0 may also be "not said"
    std::string sha256;    // of large files (LFS); else empty
    std::string git_sha1;  // git's name of the blob; empty: not said
    const std::string& etag() const { return sha256.empty() ? git_sha1 : sha256; }
};

struct RepoInfo {
    std::string commit;
    bool gated = false, is_private = false;
    std::vector<HubFile> files;  // by path
};

struct RepoLimits {
    static constexpr size_t kMaxJsonBytes = 32 << 20;
    static constexpr size_t kMaxFiles = 100'000;
    static constexpr uint64_t kMaxFileBytes = uint64_t(1) << 42;
};

// The answer to /api/models/{name}/revision/{revision}?blobs=true. `name` is for the errors.
Result<RepoInfo> parse_repo_info(std::string_view json, std::string_view name);

bool is_commit_id(std::string_view text);   // 40 hexadecimal digits
bool is_sha256_hex(std::string_view text);  // 64
// An ETag header's value without its quotes and weakness mark.
std::string normalize_etag(std::string_view header);
// Whether an etag can be the name of a file.
bool is_safe_etag(std::string_view etag);

}  // namespace sterna
