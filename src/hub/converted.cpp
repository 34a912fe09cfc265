#include "hub/converted.h"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>

#include "hub/reference.h"
#include "hub/repo_info.h"

namespace sterna {

namespace fs = std::filesystem;

namespace {

constexpr size_t kCommitDigits = 40;
constexpr std::string_view kEnding = ".gguf";

std::string type_in_capitals(std::string_view type) {
    std::string out(type);
    for (char& c : out) c = c == '-' ? '_' : c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c;
    return out;
}

// models--org--name, as the hub's cache spells it
std::string folder_name(const HubSettings& settings, std::string_view repo) {
    return fs::path(HubCache(settings.cache).repo_folder(repo)).filename().string();
}

}  // namespace

std::string converted_path(const HubSettings& settings, std::string_view repo, std::string_view commit,
                           std::string_view type) {
    return fmt::format("{}/converted/{}/{}-{}{}", settings.own_cache, folder_name(settings, repo), commit,
                       type_in_capitals(type), kEnding);
}

std::vector<ConvertedModel> scan_converted(const HubSettings& settings) {
    std::vector<ConvertedModel> out;
    std::error_code error;
    for (auto at = fs::directory_iterator(settings.own_cache + "/converted", error);
         !error && at != fs::directory_iterator(); at.increment(error)) {
        ConvertedModel model;
        const std::string folder = at->path().filename().string();
        if (!folder.starts_with("models--")) continue;
        model.repo = folder.substr(8);
        if (const size_t dashes = model.repo.find("--"); dashes != model.repo.npos)
            model.repo.replace(dashes, 2, 1, '/');
        if (!check_repo_name(model.repo)) continue;
        std::error_code inner;
        for (auto file = fs::directory_iterator(at->path(), inner); !inner && file != fs::directory_iterator();
             file.increment(inner)) {
            const std::string name = file->path().filename().string();
            struct stat status;
            if (name.size() <= kCommitDigits + 1 + kEnding.size() || !name.ends_with(kEnding) ||
                name[kCommitDigits] != '-' || !is_commit_id(name.substr(0, kCommitDigits)) ||
                ::stat(file->path().c_str(), &status) != 0)
                continue;
            model.commit = name.substr(0, kCommitDigits);
            model.type = name.substr(kCommitDigits + 1, name.size() - kCommitDigits - 1 - kEnding.size());
            model.path = file->path().string();
            model.size = uint64_t(status.st_size);
            model.last_used = status.st_atime;
            out.push_back(model);
        }
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return out;
}

HubCache::Removal remove_converted(const HubSettings& settings, std::string_view repo, std::string_view commit,
                                   std::string_view type, bool dry_run) {
    HubCache::Removal removal;
    const std::string wanted = type_in_capitals(type);
    for (const ConvertedModel& model : scan_converted(settings)) {
        if (model.repo != repo || (!commit.empty() && model.commit != commit) ||
            (!wanted.empty() && model.type != wanted))
            continue;
        std::error_code error;
        if (!dry_run && (!fs::remove(model.path, error) || error)) continue;
        removal.bytes += model.size;
        removal.files.push_back(fmt::format("{}@{} converted to {}", repo, model.commit.substr(0, 7), model.type));
        if (!dry_run) fs::remove(fs::path(model.path).parent_path(), error);  // when it is empty now
    }
    if (!commit.empty() || !type.empty()) return removal;
    // All of it: also what an interrupted conversion left.
    const fs::path folder = fs::path(settings.own_cache) / "converted" / folder_name(settings, repo);
    std::error_code error;
    for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        std::error_code ignored;
        const bool counted = dry_run && at->path().extension() == kEnding;
        if (!counted && at->is_regular_file(ignored)) removal.bytes += at->file_size(ignored);
    }
    if (!dry_run) fs::remove_all(folder, error);
    return removal;
}

}  // namespace sterna
