#include "hub_model.h"

#include <cstdio>
#include <filesystem>

#include "common.h"
#include "convert.h"
#include "convert/type_plan.h"
#include "hub/converted.h"
#include "progress.h"

namespace sterna {

namespace {

constexpr std::string_view kDefaultConvertType = "Q4_K_M";

class Listener : public PullListener {
public:
    explicit Listener(bool quiet) : quiet_(quiet) {}

    void note(const std::string& sentence) override {
        if (quiet_) return;
        line_.reset();  // ends what is drawn
        std::fprintf(stderr, "sterna: %s\n", sentence.c_str());
    }

    void chosen(const std::string& name, const std::string& commit, const Choice& choice) override {
        if (quiet_) return;
        std::string what = choice.kind == Choice::Kind::kCheckpoint ? "checkpoint" : choice.type;
        if (!what.empty()) what += ", ";
        std::fprintf(stderr, "%s@%s: %s%zu file%s, %s\n", name.c_str(), commit.substr(0, 7).c_str(), what.c_str(),
                     choice.files.size(), choice.files.size() == 1 ? "" : "s",
                     human_bytes(double(choice.total_bytes())).c_str());
    }

    void file_begins(const std::string& path, uint64_t size) override {
        label_ = path;
        size_ = size;
        line_.reset();
    }

    void file_progress(uint64_t done) override {
        if (!line_) {
            line_ = std::make_unique<ProgressLine>(label_, size_, quiet_);
            line_->start_at(done);
        }
        line_->update(done);
    }

    void file_ends() override {
        if (line_) line_->finish();
        line_.reset();
    }

private:
    bool quiet_;
    std::string label_;
    uint64_t size_ = 0;
    std::unique_ptr<ProgressLine> line_;
};

bool is_path(const std::string& model) {
    std::error_code error;
    return std::filesystem::exists(model, error) || !looks_like_hub_reference(model);
}

// What to open of a model that is here. `may_convert`: a checkpoint is turned into a GGUF file when there is none yet.
Result<std::string> file_of(const HubSettings& settings, const HubReference& reference, const LocalModel& local,
                            bool may_convert) {
    if (local.choice.kind != Choice::Kind::kCheckpoint) return local.path;
    STERNA_TRY(target, need_type_target(reference.type.empty() ? kDefaultConvertType : reference.type));
    const std::string path = converted_path(settings, reference.repo, local.commit, target->name);
    std::error_code error;
    if (std::filesystem::exists(path, error)) return path;
    if (!may_convert)
        return fail(ErrorCode::kUnsupported,
                    "{}: a checkpoint, which sterna run {} converts; or: sterna convert {} -o FILE.gguf",
                    reference.repo, reference.repo, local.path);
    STERNA_TRY(lock, FileLock::acquire(path + ".lock", [&] {
                   std::fprintf(stderr, "sterna: %s: another process is converting it; waiting\n",
                                reference.repo.c_str());
               }));
    if (std::filesystem::exists(path, error)) return path;
    std::fprintf(stderr, "%s: a checkpoint; converting it to %s, once\n", reference.repo.c_str(),
                 std::string(target->name).c_str());
    ConvertOptions options;
    options.type = target->name;
    options.name = reference.repo.substr(reference.repo.rfind('/') + 1);
    auto report = convert_to_gguf(local.path, path, options);
    if (!report) return fail(report.error().code, "{}: {}", reference.repo, report.error().message);
    return path;
}

}  // namespace

std::unique_ptr<PullListener> make_pull_listener(bool quiet) {
    return std::make_unique<Listener>(quiet);
}

Result<HubSettings> hub_settings(bool offline) {
    STERNA_TRY(settings, HubSettings::from_environment());
    settings.user_agent = "sterna/" STERNA_VERSION;
    settings.offline = settings.offline || offline;
    return settings;
}

Result<std::string> find_model(const std::string& model) {
    if (is_path(model)) return model;
    STERNA_TRY(settings, hub_settings(true));
    STERNA_TRY(reference, parse_hub_reference(model, settings.endpoint));
    auto listener = make_pull_listener(true);
    Hub hub(settings, *listener);
    auto local = hub.find(reference, {});
    if (!local && local.error().code == ErrorCode::kNotFound)
        return fail(ErrorCode::kNotFound, "{}; sterna pull {} fetches it", local.error().message, model);
    if (!local) return std::unexpected(std::move(local).error());
    return file_of(settings, reference, *local, false);
}

Result<std::string> fetch_model(const std::string& model, bool offline) {
    if (is_path(model)) return model;
    STERNA_TRY(settings, hub_settings(offline));
    STERNA_TRY(reference, parse_hub_reference(model, settings.endpoint));
    auto listener = make_pull_listener(false);
    Hub hub(settings, *listener);
    if (auto here = hub.find(reference, {})) return file_of(settings, reference, *here, true);
    STERNA_TRY(pulled, hub.pull(reference, {}));
    return file_of(settings, reference, pulled, true);
}

}  // namespace sterna
