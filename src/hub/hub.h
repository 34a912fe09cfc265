// Models from a hub that speaks Hugging Face's protocol, through the cache (cache.h). For one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/cache.h"
#include "hub/choose.h"
#include "hub/http.h"
#include "hub/reference.h"
#include "hub/repo_info.h"
#include "hub/retry.h"
#include "hub/settings.h"

namespace sterna {

// Sees a pull go on.
class PullListener {
public:
    virtual ~PullListener() = default;
    virtual void note(const std::string& sentence) = 0;  // a wait, a new start
    virtual void chosen(const std::string& /*name*/, const std::string& /*commit*/, const Choice&) {}
    virtual void file_begins(const std::string& path, uint64_t size) = 0;  // size 0: unknown
    virtual void file_progress(uint64_t done) = 0;
    virtual void file_ends() = 0;
};

// A model that is here.
struct LocalModel {
    std::string path;    // of the file to open; of a checkpoint its folder
    std::string commit;  // empty for a file from another address
    Choice choice;
    uint64_t fetched_bytes = 0;
};

// A file from an address that is not the hub's.
struct LocalUrl {
    std::string url, etag, path;
    uint64_t size = 0;
    int64_t last_used = 0;
};

// What a server says about a file before it is fetched.
struct FileFacts {
    std::string etag, sha256, git_sha1;  // the latter two when the etag is one
    uint64_t size = 0;                   // 0: not said
};

class Hub {
public:
    Hub(HubSettings settings, PullListener& listener);

    const HubSettings& settings() const { return settings_; }
    const HubCache& cache() const { return cache_; }

    // What is asked for without the network; kNotFound when it is not here (whole).
    Result<LocalModel> find(const HubReference& reference, const ChooseOptions& options) const;
    // The same, fetching what is missing. Offline: find().
    Result<LocalModel> pull(const HubReference& reference, const ChooseOptions& options);
    // What the repository holds, from the hub.
    Result<RepoInfo> repo_info(const HubReference& reference);

    std::vector<LocalUrl> scan_urls() const;
    Result<HubCache::Removal> remove_url(const std::string& url, bool dry_run) const;

private:
    static FileFacts facts_in(const HttpResponse& response);
    Result<HttpResponse> ask(const HttpRequest& request, const std::string& subject);
    Result<uint64_t> pull_file(const std::string& repo, const std::string& commit, const HubFile& file);
    Result<uint64_t> fetch_blob(const std::string& repo, const std::string& commit, const HubFile& file,
                                std::string& etag);
    Result<LocalModel> pull_url(const HubReference& reference);
    Result<LocalModel> find_url(const HubReference& reference) const;
    Error explain(const HttpResponse& response, const std::string& subject, const std::string& repo) const;
    std::string url_folder(const std::string& url) const;
    const std::string& token_for(const std::string& url) const;
    Status need_network(const std::string& subject) const;

    HubSettings settings_;
    HubCache cache_;
    PullListener& listener_;
    Note note_;
    Http http_;
};

}  // namespace sterna
