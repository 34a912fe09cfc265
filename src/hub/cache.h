// The cache that Hugging Face's Python packages keep, in their layout:
//
//     models--org--name/refs/main                  the commit that a branch or tag had when it was last asked for
//     models--org--name/blobs/<etag>               the files
//     models--org--name/snapshots/<commit>/<path>  relative links to them
//     .locks/models--org--name/<etag>.lock         held by who downloads
//
// Other processes work in it at the same time: names appear by rename, links by rename. Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "hub/repo_info.h"

namespace sterna {

class HubCache {
public:
    explicit HubCache(std::string folder) : folder_(std::move(folder)) {}

    const std::string& folder() const { return folder_; }
    std::string repo_folder(std::string_view repo) const;
    std::string blob_path(std::string_view repo, std::string_view etag) const;
    std::string snapshot_path(std::string_view repo, std::string_view commit) const;

    // The commit of a revision: itself, or what refs/ says.
    std::optional<std::string> commit_of(std::string_view repo, std::string_view revision) const;
    Status write_ref(std::string_view repo, std::string_view revision, std::string_view commit) const;

    // The files of a snapshot whose blobs are there, with their sizes, by path.
    Result<std::vector<HubFile>> snapshot_files(std::string_view repo, std::string_view commit) const;
    // Makes the snapshot's name for a blob. Where the file system has no links, the blob itself moves there.
    Status link(std::string_view repo, std::string_view commit, std::string_view path, std::string_view etag) const;
    // The folders that a download needs.
    Status prepare(std::string_view repo) const;

    struct Revision {
        std::string commit;
        std::vector<std::string> refs;
        std::vector<HubFile> files;
    };
    struct Repo {
        std::string name, folder;
        std::vector<Revision> revisions;
        uint64_t bytes = 0;     // on disk, each blob once
        int64_t last_used = 0;  // seconds since 1970; 0: unknown
    };
    // Every model in the cache, by name. What is damaged is left out.
    std::vector<Repo> scan() const;

    struct Removal {
        uint64_t bytes = 0;
        std::vector<std::string> files;  // "org/name@0123456 path"
    };
    // Deletes the files of a repository that `which` says (their blobs too, unless another name leads to them), then what
    // has become empty. An empty `revision` means all.
    Result<Removal> remove(std::string_view repo, std::string_view revision,
                           const std::function<bool(std::string_view path)>& which, bool dry_run) const;

private:
    std::string folder_;
};

// The lock of one file. Waits for another process; `waiting` is called once before. Where the file system has no locks,
// it is free at once.
class FileLock {
public:
    static Result<FileLock> acquire(const std::string& path, const std::function<void()>& waiting);
    FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileLock& operator=(FileLock&&) = delete;
    ~FileLock();

private:
    explicit FileLock(int fd) : fd_(fd) {}
    int fd_;
};

Status make_folders(const std::string& path);
// Bytes that may still be written in the folder's file system; 0: unknown.
uint64_t free_bytes(const std::string& folder);

}  // namespace sterna
