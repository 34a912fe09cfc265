#include "hub/cache.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "hub/reference.h"

namespace sterna {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxRefBytes = 128;
constexpr size_t kMaxRefDepth = 4;
constexpr std::string_view kPrefix = "models--";
constexpr std::string_view kCacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n";  // bford.info/cachedir

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
    std::string out;
    while (true) {
        const size_t at = text.find(from);
        out += text.substr(0, at);
        if (at == text.npos) return out;
        out += to;
        text.remove_prefix(at + from.size());
    }
}

std::string read_ref(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(kMaxRefBytes, '\0');
    if (!file) return {};
    file.read(text.data(), std::streamsize(text.size()));
    text.resize(size_t(std::max<std::streamsize>(0, file.gcount())));
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return is_commit_id(text) ? text : std::string();
}

// refs/main, refs/refs/pr/1: each with the commit in it.
std::map<std::string, std::string> read_refs(const fs::path& folder) {
    std::map<std::string, std::string> refs;
    std::error_code error;
    for (auto at = fs::recursive_directory_iterator(folder, error); !error && at != fs::recursive_directory_iterator();
         at.increment(error)) {
        if (at.depth() > int(kMaxRefDepth)) at.disable_recursion_pending();
        std::error_code ignored;
        if (!at->is_regular_file(ignored)) continue;
        const std::string commit = read_ref(at->path());
        if (!commit.empty()) refs[at->path().lexically_relative(folder).string()] = commit;
    }
    return refs;
}

struct Entry {
    HubFile file;
    fs::path path;
    fs::path blob;  // what the link leads to (one step), or the file itself
};

// The files of a snapshot; a link whose blob is gone is left out unless `broken_too`.
std::vector<Entry> read_snapshot(const fs::path& folder, bool broken_too) {
    std::vector<Entry> entries;
    std::error_code error;
    for (auto at = fs::recursive_directory_iterator(folder, error); !error && at != fs::recursive_directory_iterator();
         at.increment(error)) {
        if (entries.size() >= RepoLimits::kMaxFiles) break;
        std::error_code status;
        const bool is_link = at->is_symlink(status);
        if (!is_link && !at->is_regular_file(status)) continue;
        if (is_link && at->is_directory(status)) continue;  // no file of ours; its content is not the snapshot's
        Entry entry;
        entry.path = at->path();
        entry.file.path = at->path().lexically_relative(folder).string();
        entry.blob =
            is_link ? (at->path().parent_path() / fs::read_symlink(at->path(), status)).lexically_normal() : at->path();
        entry.file.size = fs::file_size(at->path(), status);
        if (status) {
            if (!broken_too) continue;
            entry.file.size = 0;
        }
        if (!is_safe_relative_path(entry.file.path)) continue;
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.file.path < b.file.path; });
    return entries;
}

// Only blobs are deleted for a link, never what else it may lead to.
bool is_blob_of(const fs::path& blob, const fs::path& repo) {
    return blob.parent_path() == (repo / "blobs").lexically_normal();
}

uint64_t own_bytes(const fs::path& path) {
    struct stat status;
    return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? uint64_t(status.st_size) : 0;
}

std::vector<std::string> commits_in(const fs::path& snapshots) {
    std::vector<std::string> commits;
    std::error_code error;
    for (auto at = fs::directory_iterator(snapshots, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        std::error_code ignored;
        const std::string name = at->path().filename().string();
        if (is_commit_id(name) && at->is_directory(ignored)) commits.push_back(name);
    }
    std::sort(commits.begin(), commits.end());
    return commits;
}

void remove_empty_folders(fs::path folder, const fs::path& top) {
    std::error_code error;
    while (folder != top && folder.has_relative_path() && fs::remove(folder, error) && !error)
        folder = folder.parent_path();
}

}  // namespace

Status make_folders(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return fail(ErrorCode::kIo, "{}: cannot make the folder: {}", path, error.message());
    return {};
}

uint64_t free_bytes(const std::string& folder) {
    struct statvfs status;
    if (::statvfs(folder.c_str(), &status) != 0) return 0;
    return uint64_t(status.f_bavail) * status.f_frsize;
}

std::string HubCache::repo_folder(std::string_view repo) const {
    return fmt::format("{}/{}{}", folder_, kPrefix, replaced(repo, "/", "--"));
}

std::string HubCache::blob_path(std::string_view repo, std::string_view etag) const {
    return fmt::format("{}/blobs/{}", repo_folder(repo), etag);
}

std::string HubCache::snapshot_path(std::string_view repo, std::string_view commit) const {
    return fmt::format("{}/snapshots/{}", repo_folder(repo), commit);
}

std::optional<std::string> HubCache::commit_of(std::string_view repo, std::string_view revision) const {
    if (is_commit_id(revision)) return std::string(revision);
    if (!check_revision(revision)) return std::nullopt;
    std::string commit = read_ref(fs::path(repo_folder(repo)) / "refs" / revision);
    if (!commit.empty()) return commit;
    // The beginning of a commit's name, as `list` shows it.
    std::optional<std::string> found;
    if (revision.size() < 7) return found;
    for (const std::string& whole : commits_in(fs::path(repo_folder(repo)) / "snapshots")) {
        if (!whole.starts_with(revision)) continue;
        if (found) return std::nullopt;
        found = whole;
    }
    return found;
}

Status HubCache::write_ref(std::string_view repo, std::string_view revision, std::string_view commit) const {
    if (revision == commit) return {};
    STERNA_CHECK(check_revision(revision));
    const fs::path path = fs::path(repo_folder(repo)) / "refs" / revision;
    if (read_ref(path) == commit) return {};
    STERNA_CHECK(make_folders(path.parent_path().string()));
    const std::string temporary = fmt::format("{}.{}.tmp", path.string(), ::getpid());
    std::ofstream file(temporary, std::ios::binary);
    file << commit;
    file.close();
    std::error_code error;
    if (file) fs::rename(temporary, path, error);
    if (!file || error) {
        std::error_code ignored;
        fs::remove(temporary, ignored);
        return fail(ErrorCode::kIo, "{}: cannot write: {}", path.string(),
                    error ? error.message() : std::strerror(errno));
    }
    return {};
}

Result<std::vector<HubFile>> HubCache::snapshot_files(std::string_view repo, std::string_view commit) const {
    std::vector<HubFile> files;
    for (Entry& entry : read_snapshot(snapshot_path(repo, commit), false)) files.push_back(std::move(entry.file));
    if (files.empty()) return fail(ErrorCode::kNotFound, "{}: not in the cache {}", repo, folder_);
    return files;
}

Status HubCache::link(std::string_view repo, std::string_view commit, std::string_view path,
                      std::string_view etag) const {
    const fs::path target = fs::path(snapshot_path(repo, commit)) / path;
    const fs::path blob = blob_path(repo, etag);
    STERNA_CHECK(make_folders(target.parent_path().string()));
    std::string relative = "../../";
    for (char c : path)
        if (c == '/') relative += "../";
    relative += "blobs/" + std::string(etag);
    const std::string temporary = fmt::format("{}.{}.tmp", target.string(), ::getpid());
    ::unlink(temporary.c_str());
    std::error_code error;
    if (::symlink(relative.c_str(), temporary.c_str()) == 0)
        fs::rename(temporary, target, error);
    else
        fs::rename(blob, target, error);
    if (error) return fail(ErrorCode::kIo, "{}: cannot name the file: {}", target.string(), error.message());
    return {};
}

Status HubCache::prepare(std::string_view repo) const {
    STERNA_CHECK(make_folders(repo_folder(repo) + "/blobs"));
    STERNA_CHECK(make_folders(repo_folder(repo) + "/snapshots"));
    STERNA_CHECK(make_folders(repo_folder(repo) + "/refs"));
    // Backup programs leave folders with this file alone. A cache without it works too.
    const std::string tag = folder_ + "/CACHEDIR.TAG";
    std::error_code error;
    if (!fs::exists(tag, error)) std::ofstream(tag, std::ios::binary) << kCacheTag;
    return {};
}

std::vector<HubCache::Repo> HubCache::scan() const {
    std::vector<Repo> repos;
    std::error_code error;
    for (auto at = fs::directory_iterator(folder_, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        const std::string name = at->path().filename().string();
        if (!name.starts_with(kPrefix)) continue;
        Repo repo;
        repo.name = replaced(std::string_view(name).substr(kPrefix.size()), "--", "/");
        repo.folder = at->path().string();
        if (!check_repo_name(repo.name)) continue;
        const auto refs = read_refs(at->path() / "refs");
        std::set<std::string> counted;
        for (const std::string& commit : commits_in(at->path() / "snapshots")) {
            Revision revision;
            revision.commit = commit;
            for (auto& [ref, ref_commit] : refs)
                if (ref_commit == commit) revision.refs.push_back(ref);
            for (Entry& entry : read_snapshot(at->path() / "snapshots" / commit, false)) {
                struct stat status;
                if (::stat(entry.path.c_str(), &status) == 0)
                    repo.last_used = std::max<int64_t>(repo.last_used, status.st_atime);
                if (counted.insert(entry.blob.string()).second) repo.bytes += entry.file.size;
                revision.files.push_back(std::move(entry.file));
            }
            if (!revision.files.empty()) repo.revisions.push_back(std::move(revision));
        }
        if (!repo.revisions.empty()) repos.push_back(std::move(repo));
    }
    std::sort(repos.begin(), repos.end(), [](const Repo& a, const Repo& b) { return a.name < b.name; });
    return repos;
}

Result<HubCache::Removal> HubCache::remove(std::string_view repo, std::string_view revision,
                                           const std::function<bool(std::string_view path)>& which,
                                           bool dry_run) const {
    const fs::path folder = fs::path(repo_folder(repo)).lexically_normal(), snapshots = folder / "snapshots";
    std::optional<std::string> only;
    if (!revision.empty()) {
        only = commit_of(repo, revision);
        if (!only) return fail(ErrorCode::kNotFound, "{}: revision {} is not in the cache", repo, revision);
    }
    Removal removal;
    std::map<fs::path, size_t> names;  // of each blob
    std::vector<Entry> doomed;
    std::map<std::string, size_t> left;  // files that stay, by commit
    for (const std::string& commit : commits_in(snapshots)) {
        left[commit] = 0;
        for (Entry& entry : read_snapshot(snapshots / commit, true)) {
            names[entry.blob]++;
            if ((!only || *only == commit) && which(entry.file.path)) {
                removal.files.push_back(fmt::format("{}@{} {}", repo, commit.substr(0, 7), entry.file.path));
                doomed.push_back(std::move(entry));
            } else {
                left[commit]++;
            }
        }
    }
    const bool all = std::all_of(left.begin(), left.end(), [](auto& item) { return item.second == 0; });
    if (doomed.empty() && !(all && fs::exists(folder)))
        return fail(ErrorCode::kNotFound, "{}: nothing of it is in the cache {}", repo, folder_);
    std::error_code error;
    for (const Entry& entry : doomed) {
        const bool is_link = entry.blob != entry.path;
        const bool last = --names[entry.blob] == 0 && (!is_link || is_blob_of(entry.blob, folder));
        if (last) removal.bytes += own_bytes(entry.blob);
        if (dry_run) continue;
        fs::remove(entry.path, error);
        if (error) return fail(ErrorCode::kIo, "{}: cannot delete: {}", entry.path.string(), error.message());
        if (last && is_link) fs::remove(entry.blob, error);
        remove_empty_folders(entry.path.parent_path(), snapshots);
    }
    if (all) {  // nothing is left but unfinished downloads
        for (auto at = fs::directory_iterator(folder / "blobs", error); !error && at != fs::directory_iterator();
             at.increment(error))
            if (dry_run ? !names.contains(at->path().lexically_normal()) : true) removal.bytes += own_bytes(at->path());
        if (!dry_run) {
            fs::remove_all(folder, error);
            if (error) return fail(ErrorCode::kIo, "{}: cannot delete: {}", folder.string(), error.message());
            fs::remove_all(fs::path(folder_) / ".locks" / folder.filename(), error);
        }
        return removal;
    }
    if (dry_run) return removal;
    for (auto& [ref, commit] : read_refs(folder / "refs"))
        if (auto at = left.find(commit); at != left.end() && at->second == 0) fs::remove(folder / "refs" / ref, error);
    return removal;
}

FileLock::~FileLock() {
    if (fd_ >= 0) ::close(fd_);
}

Result<FileLock> FileLock::acquire(const std::string& path, const std::function<void()>& waiting) {
    STERNA_CHECK(make_folders(fs::path(path).parent_path().string()));
    bool told = false;
    while (true) {
        const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) return fail(ErrorCode::kIo, "{}: cannot open: {}", path, std::strerror(errno));
        FileLock lock(fd);
        int status = ::flock(fd, LOCK_EX | LOCK_NB);
        if (status != 0 && errno == EWOULDBLOCK) {
            if (!std::exchange(told, true)) waiting();
            do status = ::flock(fd, LOCK_EX);
            while (status != 0 && errno == EINTR);
        }
        if (status != 0) return lock;
        // Who held it before may have deleted the file: then others lock another file of this name.
        struct stat ours, named;
        if (::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
            ours.st_dev == named.st_dev)
            return lock;
    }
}

}  // namespace sterna
