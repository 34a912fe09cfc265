// sterna pull: a model from a hub into the cache (docs/pull.md).
#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "hub_model.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string name, revision;
    std::vector<std::string> files;
    bool dry_run = false, offline = false, quiet = false, json = false;
};

std::string kind_of(const std::string& path) {
    switch (file_kind(path)) {
        case FileKind::kGguf:
            return gguf_type_of(path).empty() ? "gguf" : gguf_type_of(path);
        case FileKind::kGgufOther:
            return "no model";
        case FileKind::kWeights:
            return "safetensors";
        case FileKind::kPytorch:
            return "pytorch";
        case FileKind::kConfig:
            return "config";
        case FileKind::kOther:
            return "";
    }
    return "";
}

void print_listing(const std::string& name, const RepoInfo& info, const Choice* choice, bool json) {
    auto is_taken = [&](const HubFile& file) {
        return choice &&
               std::any_of(choice->files.begin(), choice->files.end(), [&](auto& f) { return f.path == file.path; });
    };
    if (json) {
        Json files = Json::array();
        for (const HubFile& file : info.files)
            files.push_back(
                {{"path", file.path}, {"size", file.size}, {"kind", kind_of(file.path)}, {"taken", is_taken(file)}});
        const Json out{{"name", name}, {"commit", info.commit}, {"gated", info.gated}, {"files", files}};
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return;
    }
    uint64_t total = 0;
    for (const HubFile& file : info.files) total += file.size;
    std::printf("%s@%s: %zu files, %s%s\n", name.c_str(), info.commit.substr(0, 7).c_str(), info.files.size(),
                human_bytes(double(total)).c_str(), info.gated ? ", gated" : "");
    for (const HubFile& file : info.files)
        std::printf("%c %-12s %10s  %s\n", is_taken(file) ? '*' : ' ', kind_of(file.path).c_str(),
                    human_bytes(double(file.size)).c_str(), file.path.c_str());
    if (choice)
        std::printf("* would be taken: %zu file%s, %s\n", choice->files.size(), choice->files.size() == 1 ? "" : "s",
                    human_bytes(double(choice->total_bytes())).c_str());
}

Result<int> dry_run(Hub& hub, const HubReference& reference, const Options& options) {
    if (reference.repo.empty())
        return fail(ErrorCode::kUnsupported, "{}: --dry-run lists a repository, this is a single file", reference.url);
    STERNA_TRY(info, hub.repo_info(reference));
    ChooseOptions wanted{reference.type, reference.file, options.files};
    auto choice = choose_files(info.files, wanted, reference.repo);
    print_listing(reference.repo, info, choice ? &*choice : nullptr, options.json);
    if (!choice) return std::unexpected(std::move(choice).error());
    return 0;
}

Result<int> pull(const Options& options) {
    STERNA_TRY(settings, hub_settings(options.offline));
    // Here nothing but a hub's name can be meant, so one without a slash is one too.
    std::string name = options.name;
    if (name.find('/') == name.npos && !name.starts_with("hf:")) name = "hf:" + name;
    STERNA_TRY(reference, parse_hub_reference(name, settings.endpoint));
    if (!options.revision.empty()) {
        STERNA_CHECK(check_revision(options.revision));
        if (!reference.revision.empty() && reference.revision != options.revision)
            return fail(ErrorCode::kBadArgument, "--revision: {} was named already", reference.revision);
        reference.revision = options.revision;
    }
    if (reference.repo.empty() && !options.files.empty())
        return fail(ErrorCode::kBadArgument, "--file: chooses from a repository, {} is a single file", reference.url);
    auto listener = make_pull_listener(options.quiet);
    Hub hub(settings, *listener);
    if (options.dry_run) return dry_run(hub, reference, options);
    STERNA_TRY(pulled, hub.pull(reference, {"", "", options.files}));
    if (pulled.fetched_bytes == 0 && !options.quiet)
        std::fprintf(stderr, "%s: already here\n", reference.name().c_str());
    if (options.json) {
        Json files = Json::array();
        for (const HubFile& file : pulled.choice.files) files.push_back({{"path", file.path}, {"size", file.size}});
        const Json out{{"name", reference.name()}, {"commit", pulled.commit}, {"type", pulled.choice.type},
                       {"path", pulled.path},      {"files", files},          {"fetched_bytes", pulled.fetched_bytes}};
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    } else {
        std::printf("%s\n", pulled.path.c_str());
    }
    return 0;
}

}  // namespace

void add_pull(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("pull", "Fetch a model from a hub");
    sub->add_option("name", options->name, "org/name[:type][@revision], or an https address")->required();
    sub->add_option("--revision", options->revision, "a branch, tag or commit");
    sub->add_option("--file", options->files, "take the files that match instead of choosing")->allow_extra_args(false);
    sub->add_flag("--dry-run", options->dry_run, "only list what there is and what would be taken");
    sub->add_flag("--offline", options->offline, "fetch nothing; fail when it is not here");
    sub->add_flag("-q,--quiet", options->quiet, "no progress");
    sub->add_flag("--json", options->json, "print one JSON object");
    sub->callback([options, &command] { command = [options] { return pull(*options); }; });
}

}  // namespace sterna
