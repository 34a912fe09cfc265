// Files from other addresses than the hub's: files/<hash of the address>/<name> in Sterna's own cache, with what is known
// about each in <name>.json beside it.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/sha256.h"
#include "hub/download.h"
#include "hub/hub.h"

namespace sterna {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

constexpr size_t kMaxNoteBytes = 64 << 10;

std::string short_hash(std::string_view text) {
    Sha256 hash;
    hash.update(text.data(), text.size());
    return hex_text(hash.finish()).substr(0, 16);
}

std::optional<LocalUrl> read_note(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text(kMaxNoteBytes, '\0');
    if (!file) return std::nullopt;
    file.read(text.data(), std::streamsize(text.size()));
    text.resize(size_t(std::max<std::streamsize>(0, file.gcount())));
    const OrderedJson json = OrderedJson::parse(text, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    LocalUrl out;
    if (auto at = json.find("url"); at != json.end() && at->is_string()) out.url = at->get<std::string>();
    if (auto at = json.find("etag"); at != json.end() && at->is_string()) out.etag = at->get<std::string>();
    out.path = path.string().substr(0, path.string().size() - 5);
    struct stat status;
    if (out.url.empty() || ::stat(out.path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    out.size = uint64_t(status.st_size);
    out.last_used = status.st_atime;
    return out;
}

LocalModel model_of(const LocalUrl& local) {
    LocalModel out;
    out.path = local.path;
    HubFile file;
    file.path = fs::path(local.path).filename().string();
    file.size = local.size;
    out.choice.kind = Choice::Kind::kFiles;
    out.choice.main = file.path;
    out.choice.files = {file};
    return out;
}

}  // namespace

std::string Hub::url_folder(const std::string& url) const {
    return fmt::format("{}/files/{}", settings_.own_cache, short_hash(url));
}

Result<LocalModel> Hub::find_url(const HubReference& reference) const {
    if (auto local = read_note(url_folder(reference.url) + "/" + reference.file + ".json")) return model_of(*local);
    return fail(ErrorCode::kNotFound, "{}: not here", reference.url);
}

Result<LocalModel> Hub::pull_url(const HubReference& reference) {
    const std::string& url = reference.url;
    const std::string folder = url_folder(url), path = folder + "/" + reference.file;
    HttpRequest head;
    head.url = url;
    head.head = true;
    head.token = token_for(url);
    STERNA_TRY(response, ask(head, reference.file));
    // Some servers answer GET alone.
    const bool no_head = response.failure.empty() && (response.status == 405 || response.status == 501);
    if (!response.ok() && !no_head) return std::unexpected(explain(response, reference.file, ""));
    const FileFacts facts = no_head ? FileFacts() : facts_in(response);
    STERNA_CHECK(make_folders(folder));
    STERNA_TRY(lock, FileLock::acquire(folder + "/.lock", [&] {
                   note_(fmt::format("{}: another process is fetching it; waiting", reference.file));
               }));
    if (auto local = read_note(path + ".json");
        local && !facts.etag.empty() && local->etag == facts.etag && (facts.size == 0 || local->size == facts.size))
        return model_of(*local);

    // The etag is in the name: what an earlier attempt left of another version is not gone on with.
    const std::string stem = reference.file + ".";
    const std::string incomplete = fmt::format("{}/{}{}.incomplete", folder, stem, short_hash(facts.etag));
    std::error_code error;
    std::vector<fs::path> stale;
    for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        const std::string name = at->path().filename().string();
        const bool unfinished = name.starts_with(stem) && name.ends_with(".incomplete");
        if (unfinished && (at->path() != incomplete || facts.etag.empty())) stale.push_back(at->path());
    }
    for (const fs::path& old : stale) {
        note_(fmt::format(
            "{}: {}; starting it again", reference.file,
            facts.etag.empty() ? "the server gives no ETag to go on by" : "the file has changed on the server"));
        fs::remove(old, error);
    }
    DownloadTarget target;
    target.subject = reference.file;
    target.url = url;
    target.token = head.token;
    target.incomplete = incomplete;
    target.path = path;
    target.size = facts.size;
    target.sha256 = facts.sha256;
    listener_.file_begins(reference.file, facts.size);
    STERNA_TRY(end, download(
                        http_, settings_, target, [&](uint64_t done) { listener_.file_progress(done); }, note_,
                        [&](const HttpResponse& bad) { return explain(bad, reference.file, ""); }));
    listener_.file_ends();
    if (end == DownloadEnd::kChanged)
        return fail(ErrorCode::kIo, "{}: the file has changed on the server while it was fetched; pull again",
                    reference.file);
    std::ofstream(path + ".json", std::ios::binary) << OrderedJson{{"url", url}, {"etag", facts.etag}}.dump() << "\n";
    auto local = read_note(path + ".json");
    if (!local) return fail(ErrorCode::kIo, "{}.json: cannot write", path);
    LocalModel out = model_of(*local);
    out.fetched_bytes = local->size;
    return out;
}

std::vector<LocalUrl> Hub::scan_urls() const {
    std::vector<LocalUrl> out;
    std::error_code error;
    for (auto at = fs::directory_iterator(settings_.own_cache + "/files", error);
         !error && at != fs::directory_iterator(); at.increment(error)) {
        std::error_code inner;
        for (auto file = fs::directory_iterator(at->path(), inner); !inner && file != fs::directory_iterator();
             file.increment(inner))
            if (file->path().extension() == ".json")
                if (auto local = read_note(file->path())) out.push_back(std::move(*local));
    }
    std::sort(out.begin(), out.end(), [](const LocalUrl& a, const LocalUrl& b) { return a.url < b.url; });
    return out;
}

Result<HubCache::Removal> Hub::remove_url(const std::string& url, bool dry_run) const {
    const std::string folder = url_folder(url);
    HubCache::Removal removal;
    std::error_code error;
    for (auto at = fs::directory_iterator(folder, error); !error && at != fs::directory_iterator();
         at.increment(error)) {
        std::error_code ignored;
        const uint64_t size = at->is_regular_file(ignored) ? at->file_size(ignored) : 0;
        const std::string name = at->path().filename().string();
        if (name != ".lock" && !name.ends_with(".json")) removal.files.push_back(at->path().string());
        removal.bytes += ignored ? 0 : size;
    }
    if (removal.files.empty()) return fail(ErrorCode::kNotFound, "{}: not here", url);
    if (!dry_run) fs::remove_all(folder, error);
    if (error) return fail(ErrorCode::kIo, "{}: cannot delete: {}", folder, error.message());
    return removal;
}

}  // namespace sterna
