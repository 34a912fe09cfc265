// sterna list and sterna rm: what pull and run have put into the cache (docs/pull.md).
#include <algorithm>
#include <ctime>
#include <memory>
#include <set>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "hub/converted.h"
#include "hub_model.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;

struct Row {
    std::string name, types, revision;
    uint64_t bytes = 0;
    int64_t last_used = 0;
    Json json;
};

std::string date(int64_t seconds) {
    std::time_t time = std::time_t(seconds);
    std::tm parts;
    char text[32];
    if (seconds <= 0 || !localtime_r(&time, &parts) || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts) == 0)
        return "-";
    return text;
}

// What of a model a snapshot holds: "Q4_K_M, Q8_0" or "safetensors".
std::vector<std::string> types_of(const std::vector<HubFile>& files) {
    std::set<std::string> types;
    for (const HubFile& file : files) {
        const FileKind kind = file_kind(file.path);
        if (kind == FileKind::kGguf) types.insert(gguf_type_of(file.path).empty() ? "gguf" : gguf_type_of(file.path));
        if (kind == FileKind::kWeights) types.insert("safetensors");
        if (kind == FileKind::kPytorch) types.insert("pytorch");
    }
    return {types.begin(), types.end()};
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}

Row row_of(const HubCache& cache, const HubCache::Repo& repo, const HubCache::Revision& revision) {
    Row row;
    row.name = repo.name;
    row.types = joined(types_of(revision.files));
    row.revision = revision.commit.substr(0, 7);
    if (!revision.refs.empty()) row.revision += " (" + joined(revision.refs) + ")";
    row.last_used = repo.last_used;
    Json files = Json::array();
    for (const HubFile& file : revision.files) {
        row.bytes += file.size;
        files.push_back({{"path", file.path}, {"size", file.size}});
    }
    row.json = {{"name", row.name},
                {"kind", "hub"},
                {"types", types_of(revision.files)},
                {"commit", revision.commit},
                {"refs", revision.refs},
                {"path", cache.snapshot_path(repo.name, revision.commit)},
                {"size", row.bytes},
                {"last_used", row.last_used},
                {"files", files}};
    return row;
}

std::vector<Row> rows(const Hub& hub) {
    std::vector<Row> out;
    for (const HubCache::Repo& repo : hub.cache().scan())
        for (const HubCache::Revision& revision : repo.revisions) out.push_back(row_of(hub.cache(), repo, revision));
    for (const ConvertedModel& model : scan_converted(hub.settings())) {
        Row row{model.repo, model.type + " (converted)", model.commit.substr(0, 7), model.size, model.last_used, {}};
        row.json = {{"name", model.repo},          {"kind", "converted"}, {"types", Json::array({model.type})},
                    {"commit", model.commit},      {"path", model.path},  {"size", model.size},
                    {"last_used", model.last_used}};
        out.push_back(std::move(row));
    }
    for (const LocalUrl& file : hub.scan_urls()) {
        Row row{file.url, gguf_type_of(file.path), "-", file.size, file.last_used, {}};
        row.json = {{"name", file.url},
                    {"kind", "url"},
                    {"path", file.path},
                    {"size", file.size},
                    {"last_used", file.last_used}};
        out.push_back(std::move(row));
    }
    return out;
}

Result<int> list(bool json) {
    STERNA_TRY(settings, hub_settings(true));
    auto listener = make_pull_listener(true);
    const Hub hub(settings, *listener);
    const std::vector<Row> all = rows(hub);
    if (json) {
        Json out = Json::array();
        for (const Row& row : all) out.push_back(row.json);
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return 0;
    }
    if (all.empty()) {
        std::fprintf(stderr, "no models in %s; sterna pull org/name fetches one\n", settings.cache.c_str());
        return 0;
    }
    size_t name_width = 4, type_width = 5, revision_width = 8;
    for (const Row& row : all) {
        name_width = std::max(name_width, row.name.size());
        type_width = std::max(type_width, row.types.size());
        revision_width = std::max(revision_width, row.revision.size());
    }
    auto print = [&](const std::string& name, const std::string& types, const std::string& size,
                     const std::string& revision, const std::string& used) {
        std::printf("%-*s  %-*s  %10s  %-*s  %s\n", int(name_width), name.c_str(), int(type_width), types.c_str(),
                    size.c_str(), int(revision_width), revision.c_str(), used.c_str());
    };
    print("NAME", "TYPES", "SIZE", "REVISION", "LAST USED");
    for (const Row& row : all)
        print(row.name, row.types, human_bytes(double(row.bytes)), row.revision, date(row.last_used));
    return 0;
}

Result<HubCache::Removal> remove_one(const Hub& hub, const std::string& name, bool dry_run) {
    const std::string full = name.find('/') == name.npos && !name.starts_with("hf:") ? "hf:" + name : name;
    STERNA_TRY(reference, parse_hub_reference(full, hub.settings().endpoint));
    if (reference.repo.empty()) return hub.remove_url(reference.url, dry_run);
    auto which = [&](std::string_view path) {
        if (!reference.file.empty()) return path == reference.file;
        return reference.type.empty() || (file_kind(path) == FileKind::kGguf && type_matches(path, reference.type));
    };
    std::string commit;
    if (!reference.revision.empty()) {
        if (auto found = hub.cache().commit_of(reference.repo, reference.revision)) commit = *found;
    }
    auto removal = hub.cache().remove(reference.repo, reference.revision, which, dry_run);
    HubCache::Removal converted;
    if (reference.file.empty() && (reference.revision.empty() || !commit.empty()))
        converted = remove_converted(hub.settings(), reference.repo, commit, reference.type, dry_run);
    if (!removal && (removal.error().code != ErrorCode::kNotFound || converted.files.empty())) return removal;
    if (!removal) return converted;
    removal->bytes += converted.bytes;
    removal->files.insert(removal->files.end(), converted.files.begin(), converted.files.end());
    return removal;
}

Result<int> remove(const std::vector<std::string>& names, bool dry_run) {
    STERNA_TRY(settings, hub_settings(true));
    auto listener = make_pull_listener(true);
    const Hub hub(settings, *listener);
    for (const std::string& name : names) {
        STERNA_TRY(removal, remove_one(hub, name, dry_run));
        if (dry_run)
            for (const std::string& file : removal.files) std::printf("%s\n", file.c_str());
        std::printf("%s: %s %s, %zu file%s\n", name.c_str(), dry_run ? "would free" : "freed",
                    human_bytes(double(removal.bytes)).c_str(), removal.files.size(),
                    removal.files.size() == 1 ? "" : "s");
    }
    return 0;
}

}  // namespace

void add_list(CLI::App& app, Command& command) {
    auto json = std::make_shared<bool>(false);
    CLI::App* sub = app.add_subcommand("list", "The models that are here");
    sub->add_flag("--json", *json, "print one JSON array");
    sub->callback([json, &command] { command = [json] { return list(*json); }; });
}

void add_rm(CLI::App& app, Command& command) {
    struct Options {
        std::vector<std::string> names;
        bool dry_run = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("rm", "Delete models that pull or run has fetched");
    sub->add_option("name", options->names, "org/name[:type][@revision], or an address")->required();
    sub->add_flag("--dry-run", options->dry_run, "only say what would go");
    sub->callback([options, &command] { command = [options] { return remove(options->names, options->dry_run); }; });
}

}  // namespace sterna
