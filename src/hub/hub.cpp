#include "hub/hub.h"

#include <algorithm>
#include <filesystem>

#include <sys/stat.h>

#include "hub/download.h"

namespace sterna {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxChanges = 2;  // of one file while it is fetched

Http::Options http_options(const HubSettings& settings) {
    Http::Options options;
    options.user_agent = settings.user_agent;
    options.allow_plain = settings.endpoint.starts_with("http://");
    options.stall_seconds = settings.stall_seconds;
    return options;
}

bool is_file_of(const std::string& path, uint64_t size) {
    struct stat status;
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
           (size == 0 || uint64_t(status.st_size) == size);
}

std::string host_of(const std::string& url) {
    auto parts = split_url(url);
    return parts ? parts->host : url;
}

std::string resolve_url(const HubSettings& settings, const std::string& repo, const std::string& commit,
                        const std::string& path) {
    return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, repo, url_encode(commit, false),
                       url_encode(path, true));
}

}  // namespace

Hub::Hub(HubSettings settings, PullListener& listener)
    : settings_(std::move(settings)),
      cache_(settings_.cache),
      listener_(listener),
      note_([this](const std::string& sentence) { listener_.note(sentence); }),
      http_(http_options(settings_)) {}

const std::string& Hub::token_for(const std::string& url) const {
    static const std::string kNone;
    auto to = split_url(url), hub = split_url(settings_.endpoint);
    return to && hub && same_origin(*to, *hub) ? settings_.token : kNone;
}

Status Hub::need_network(const std::string& subject) const {
    if (!settings_.offline) return {};
    return fail(ErrorCode::kNotFound, "{}: not here whole, and fetching is switched off (--offline or HF_HUB_OFFLINE)",
                subject);
}

// An answer that no further attempt will change, in a sentence.
Error Hub::explain(const HttpResponse& response, const std::string& subject, const std::string& repo) const {
    const std::string host = host_of(response.url);
    if (!response.failure.empty()) return {ErrorCode::kIo, fmt::format("{}: {}: {}", subject, host, response.failure)};
    const std::string code = response.header("x-error-code");
    const int status = response.status;
    const std::string answers = fmt::format("{}: {} answers {}", subject, host, status_text(status));
    const std::string tokens = settings_.endpoint + "/settings/tokens";
    if (code == "GatedRepo")
        return {ErrorCode::kNotFound,
                fmt::format("{}: its terms have to be accepted first, at {}/{}{}", answers, settings_.endpoint, repo,
                            settings_.token.empty() ? "; then set HF_TOKEN to a token from " + tokens
                                                    : " by the owner of the token from " + settings_.token_from)};
    if (code == "RevisionNotFound" || code == "EntryNotFound")
        return {ErrorCode::kNotFound,
                fmt::format("{}: there is no such {}", answers, code[0] == 'R' ? "revision" : "file")};
    if (status == 401 || status == 403) {
        if (repo.empty()) return {ErrorCode::kNotFound, answers};
        if (settings_.token.empty())
            return {
                ErrorCode::kNotFound,
                fmt::format(
                    "{}: it is private or gated, or does not exist; if you may see it, set HF_TOKEN to a token from {}",
                    answers, tokens)};
        return {ErrorCode::kNotFound,
                fmt::format("{}: the token from {} does not open it", answers, settings_.token_from)};
    }
    if (status == 404)
        return {ErrorCode::kNotFound, repo.empty() ? fmt::format("{}: {}", answers, response.url)
                                                   : fmt::format("{}: no such repository, revision or file", answers)};
    return {ErrorCode::kIo, is_worth_retrying(status) ? answers + " again and again; try later" : answers};
}

Result<HttpResponse> Hub::ask(const HttpRequest& request, const std::string& subject) {
    Retry retry(settings_, note_);
    while (true) {
        STERNA_TRY(response, http_.send(request));
        if (!retry.again(subject, response)) return response;
    }
}

Result<RepoInfo> Hub::repo_info(const HubReference& reference) {
    const std::string revision = reference.revision_or_default();
    const std::string subject = reference.revision.empty() ? reference.repo : reference.repo + "@" + revision;
    STERNA_CHECK(need_network(subject));
    HttpRequest request;
    request.url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint, reference.repo,
                              url_encode(revision, false));
    request.token = settings_.token;
    request.max_body = RepoLimits::kMaxJsonBytes;
    STERNA_TRY(response, ask(request, subject));
    if (!response.ok()) return std::unexpected(explain(response, subject, reference.repo));
    return parse_repo_info(response.body, subject);
}

FileFacts Hub::facts_in(const HttpResponse& response) {
    FileFacts facts;
    std::string etag = response.header("x-linked-etag");
    if (etag.empty()) etag = response.header("etag");
    facts.etag = normalize_etag(etag);
    if (is_sha256_hex(facts.etag))
        facts.sha256 = facts.etag;
    else if (is_commit_id(facts.etag))
        facts.git_sha1 = facts.etag;
    HttpResponse sized;
    sized.headers["content-length"] = response.header("x-linked-size");
    facts.size = stated_length(sized);
    if (facts.size == 0 && response.ok()) facts.size = stated_length(response);
    return facts;
}

// Fetches a file into blobs/. `etag` becomes the blob's name.
Result<uint64_t> Hub::fetch_blob(const std::string& repo, const std::string& commit, const HubFile& file,
                                 std::string& etag) {
    const std::string subject = fmt::format("{}: {}", repo, file.path);
    STERNA_CHECK(need_network(subject));
    HttpRequest head;
    head.url = resolve_url(settings_, repo, commit, file.path);
    head.token = settings_.token;
    head.head = true;
    head.follow_elsewhere = false;
    for (int change = 0;; ++change) {
        STERNA_TRY(response, ask(head, subject));
        const bool elsewhere = response.failure.empty() && response.status / 100 == 3;
        if (!response.ok() && !elsewhere) return std::unexpected(explain(response, subject, repo));
        const FileFacts facts = facts_in(response);
        etag = facts.etag.empty() ? file.etag() : facts.etag;
        if (!is_safe_etag(etag)) return fail(ErrorCode::kBadFile, "{}: the hub states no proper ETag", subject);
        const std::string blob = cache_.blob_path(repo, etag);
        const std::string lock_path = fmt::format("{}/.locks/{}/{}.lock", cache_.folder(),
                                                  fs::path(cache_.repo_folder(repo)).filename().string(), etag);
        STERNA_TRY(lock, FileLock::acquire(lock_path, [&] {
                       note_(fmt::format("{}: another process is fetching it; waiting", subject));
                   }));
        const uint64_t size = facts.size ? facts.size : file.size;
        if (is_file_of(blob, size)) return 0;
        DownloadTarget target;
        target.subject = subject;
        target.url = head.url;
        target.token = settings_.token;
        target.incomplete = blob + ".incomplete";
        target.path = blob;
        target.size = size;
        target.sha256 = facts.sha256.empty() ? file.sha256 : facts.sha256;
        target.git_sha1 = target.sha256.empty() ? (facts.git_sha1.empty() ? file.git_sha1 : facts.git_sha1) : "";
        target.may_change = change >= kMaxChanges;
        listener_.file_begins(file.path, size);
        STERNA_TRY(end, download(
                            http_, settings_, target, [&](uint64_t done) { listener_.file_progress(done); }, note_,
                            [&](const HttpResponse& bad) { return explain(bad, subject, repo); }));
        listener_.file_ends();
        if (end == DownloadEnd::kDone) {
            std::error_code error;
            return uint64_t(fs::file_size(blob, error));
        }
        note_(fmt::format("{}: the file has changed on the server; starting it again", subject));
    }
}

Result<uint64_t> Hub::pull_file(const std::string& repo, const std::string& commit, const HubFile& file) {
    const std::string name = fmt::format("{}/{}", cache_.snapshot_path(repo, commit), file.path);
    if (is_file_of(name, file.size)) return 0;
    std::string etag = file.etag();
    uint64_t fetched = 0;
    if (etag.empty() || !is_file_of(cache_.blob_path(repo, etag), file.size)) {
        STERNA_TRY(bytes, fetch_blob(repo, commit, file, etag));
        fetched = bytes;
    }
    STERNA_CHECK(cache_.link(repo, commit, file.path, etag));
    return fetched;
}

Result<LocalModel> Hub::find(const HubReference& reference, const ChooseOptions& options) const {
    if (reference.repo.empty()) return find_url(reference);
    const std::string& repo = reference.repo;
    std::vector<std::string> commits;
    if (auto commit = cache_.commit_of(repo, reference.revision_or_default())) commits.push_back(*commit);
    // With no revision named, an older snapshot may hold what the newest one lacks.
    if (reference.revision.empty()) {
        std::vector<std::pair<fs::file_time_type, std::string>> others;
        std::error_code error;
        for (auto at = fs::directory_iterator(cache_.repo_folder(repo) + "/snapshots", error);
             !error && at != fs::directory_iterator(); at.increment(error)) {
            std::error_code ignored;
            const std::string commit = at->path().filename().string();
            if (is_commit_id(commit)) others.emplace_back(at->last_write_time(ignored), commit);
        }
        std::sort(others.rbegin(), others.rend());
        for (auto& [time, commit] : others)
            if (std::find(commits.begin(), commits.end(), commit) == commits.end()) commits.push_back(commit);
    }
    std::optional<Error> first;
    for (const std::string& commit : commits) {
        auto files = cache_.snapshot_files(repo, commit);
        if (!files) continue;
        ChooseOptions wanted = options;
        if (wanted.type.empty()) wanted.type = reference.type;
        if (wanted.file.empty()) wanted.file = reference.file;
        auto choice = choose_files(*files, wanted, repo);
        if (!choice) {
            if (!first) first = std::move(choice).error();
            continue;
        }
        LocalModel out;
        out.commit = commit;
        const std::string folder = cache_.snapshot_path(repo, commit);
        out.path = choice->kind == Choice::Kind::kCheckpoint ? folder : fmt::format("{}/{}", folder, choice->main);
        out.choice = std::move(*choice);
        return out;
    }
    if (first) return std::unexpected(std::move(*first));
    return fail(ErrorCode::kNotFound, "{}: not in the cache {}", repo, cache_.folder());
}

Result<LocalModel> Hub::pull(const HubReference& reference, const ChooseOptions& options) {
    if (settings_.offline) {
        auto found = find(reference, options);
        if (found || found.error().code != ErrorCode::kNotFound) return found;
        return fail(ErrorCode::kNotFound, "{}; fetching is switched off (--offline or HF_HUB_OFFLINE)",
                    found.error().message);
    }
    if (reference.repo.empty()) return pull_url(reference);
    STERNA_TRY(info, repo_info(reference));
    ChooseOptions wanted = options;
    if (wanted.type.empty()) wanted.type = reference.type;
    if (wanted.file.empty()) wanted.file = reference.file;
    STERNA_TRY(choice, choose_files(info.files, wanted, reference.repo));
    listener_.chosen(reference.repo, info.commit, choice);
    STERNA_CHECK(cache_.prepare(reference.repo));
    LocalModel out;
    for (const HubFile& file : choice.files) {
        STERNA_TRY(bytes, pull_file(reference.repo, info.commit, file));
        out.fetched_bytes += bytes;
    }
    // Last, so that a revision never leads to a snapshot that is not there.
    STERNA_CHECK(cache_.write_ref(reference.repo, reference.revision_or_default(), info.commit));
    const std::string folder = cache_.snapshot_path(reference.repo, info.commit);
    out.path = choice.kind == Choice::Kind::kCheckpoint ? folder : fmt::format("{}/{}", folder, choice.main);
    out.commit = info.commit;
    out.choice = std::move(choice);
    return out;
}

}  // namespace sterna
