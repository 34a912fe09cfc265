#include "train/training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "base/mapped_file.h"
#include "convert/hf_tokenizer.h"
#include "train/base_model.h"
#include "train/checkpoint.h"
#include "train/corpus_rows.h"
#include "train/loss_plot.h"
#include "train/lora.h"
#include "train/schedule.h"
#include "train/training_data.h"
#include "train/training_log.h"
#include "train/training_samples.h"

namespace sterna::train {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLogHeader =
    "step,n_tokens,loss,held_out_loss,learning_rate,gradient_norm,seconds,tokens_per_second\n";
constexpr double kPlotSeconds = 20;

double now_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status write_text(const std::string& path, std::string_view text) {
    return write_file_atomically(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

ExportOptions export_options(const Recipe& recipe, const std::string& folder, const TrainingOptions& options) {
    ExportOptions made;
    made.types = recipe.output.gguf;
    made.folder = folder;
    made.name = recipe.name;
    made.safetensors = recipe.output.safetensors;
    made.cancel = options.cancel;
    return made;
}

Status export_adapter(const Recipe& recipe, const GgufFile& metadata, const std::vector<TrainedTensor>& tensors,
                      TrainingResult& result) {
    const std::string path = (fs::path(result.folder) / (recipe.name + "-lora.gguf")).string();
    STERNA_CHECK(write_adapter(path, metadata, recipe.name, recipe.lora.alpha, tensors));
    STERNA_TRY(file, exported_file(path, "lora"));
    result.exported.files.insert(result.exported.files.begin(), std::move(file));
    return {};
}

class Training {
public:
    Training(const Recipe& recipe, const TrainingOptions& options, ThreadPool& pool)
        : recipe_(recipe), options_(options), pool_(pool), batch_(recipe.training.row_length) {
        result_.folder = options.folder.empty() ? recipe.output.folder : options.folder;
        result_.checkpoint = in_folder("checkpoint.gguf");
        result_.log = in_folder("log.csv");
        result_.plot = in_folder("loss.svg");
        result_.tokenizer = in_folder("tokenizer.json");
    }

    Result<TrainingResult> run() {
        std::error_code problem;
        fs::create_directories(result_.folder, problem);
        if (problem) return fail(ErrorCode::kIo, "{}: cannot create: {}", result_.folder, problem.message());
        STERNA_TRY(lock, FolderLock::take(result_.folder));
        STERNA_CHECK(open_checkpoint());
        STERNA_CHECK(prepare());
        if (options_.only_tokenizer) {
            result_.finished = true;
            return result_;
        }
        STERNA_CHECK(loop());
        if (!result_.finished) return result_;
        STERNA_CHECK(export_files());
        return result_;
    }

private:
    std::string in_folder(const std::string& name) const { return (fs::path(result_.folder) / name).string(); }
    bool is_cancelled() const { return options_.cancel && options_.cancel->load(); }
    void note(const std::string& text) const {
        if (options_.on_note) options_.on_note(text);
    }

    Status open_checkpoint() {
        std::error_code problem;
        if (options_.restart || options_.only_tokenizer || !fs::exists(result_.checkpoint, problem)) return {};
        auto opened = Checkpoint::open(result_.checkpoint);
        if (!opened) return fail(opened.error().code, "{}; --restart begins anew", opened.error().message);
        // What is absent counts as empty: a newer program may know more keys.
        std::map<std::string, std::pair<std::string, std::string>> values;
        for (const auto& [key, value] : recipe_.identity) values[key].first = value;
        for (const auto& [key, value] : opened->state().identity) values[key].second = value;
        for (const auto& [key, both] : values)
            if (both.first != both.second)
                return fail(ErrorCode::kBadArgument,
                            "{}: {} is {}, in the checkpoint {} it is {}; --restart begins anew", recipe_.path, key,
                            shown(both.first), result_.checkpoint, shown(both.second));
        checkpoint_ = std::move(*opened);
        return {};
    }

    static std::string shown(const std::string& value) {
        return value.size() > 60 || value.find('\n') != value.npos ? "another text" : "\"" + value + "\"";
    }

    Status prepare() {
        const double started = now_seconds();
        STERNA_CHECK(open_base_model());
        const GgufFile* existing = checkpoint_ ? &checkpoint_->file() : base_ ? &base_->metadata.file() : nullptr;
        STERNA_TRY(data,
                   prepare_data(recipe_, existing, !options_.only_tokenizer, pool_, options_.cancel, options_.on_note));
        data_ = std::move(data);
        STERNA_TRY(config, sizes());
        if (auto json = tokenizer_json(metadata_.file()))
            STERNA_CHECK(write_text(result_.tokenizer, *json));
        else
            note(fmt::format("tokenizer.json is not written: {}", json.error().message));
        if (options_.only_tokenizer) return {};
        STERNA_CHECK(plan_length());
        STERNA_TRY(net, Net::create(config, recipe_.training.seed, pool_));
        net_ = std::move(net);
        if (base_) STERNA_CHECK(load_weights(*base_->source, net_->parameters(), pool_));
        if (recipe_.lora.rank > 0) {
            STERNA_TRY(lora, LoraSet::create(net_->parameters(), recipe_.lora.targets, recipe_.lora.rank,
                                             recipe_.lora.alpha, recipe_.training.seed, pool_));
            lora_ = std::move(lora);
        }
        optimizer_ = Optimizer::create(recipe_.training.optimizer, trained(), pool_);
        for (const Parameter& parameter : trained()) result_.n_parameters += int64_t(parameter.value.size());
        if (checkpoint_) STERNA_CHECK(restore());
        if (lora_) lora_->apply();
        plan_ = plan_epoch(data_.tokens.training, recipe_.training.row_length, recipe_.training.seed, state_.epoch);
        if (state_.row > plan_.n_rows())
            return fail(ErrorCode::kBadFile, "{}: row {} of {}", result_.checkpoint, state_.row, plan_.n_rows());
        held_out_plan_ = plan_in_order(data_.tokens.held_out, recipe_.training.row_length);
        describe(now_seconds() - started);
        return {};
    }

    Status open_base_model() {
        if (recipe_.base.empty()) return {};
        STERNA_TRY(base, open_base(recipe_.base));
        if (recipe_.lora.rank > 0 && base.net.ternary)
            return fail(ErrorCode::kUnsupported,
                        "{}: adapters beside ternary matrices are not trained; [model] base is", recipe_.base);
        if (recipe_.training.row_length > base.net.context)
            return fail(ErrorCode::kBadArgument, "{}: training.row_length is {}, the base was made for {}",
                        recipe_.path, recipe_.training.row_length, base.net.context);
        base_ = std::move(base);
        return {};
    }

    // Of the network; and what the finished files will say.
    Result<NetConfig> sizes() {
        const int n_tokens = int(data_.tokenizer.tokenizer->vocab_size());
        if (base_) {
            if (n_tokens > base_->net.vocab_size)
                return fail(ErrorCode::kBadFile, "{}: the vocabulary has {} tokens, the embedding {} rows",
                            recipe_.base, n_tokens, base_->net.vocab_size);
            STERNA_TRY(changed, changed_metadata(recipe_, base_->metadata.file()));
            metadata_ = std::move(changed);
            data_.digest += " " + base_->source->identity();
            NetConfig config = base_->net;
            config.context = recipe_.training.row_length;
            config.bf16 = recipe_.net.bf16;
            return config;
        }
        NetConfig config = recipe_.net;
        config.vocab_size = n_tokens;
        STERNA_CHECK(check_sizes(config));
        STERNA_TRY(made, model_metadata(recipe_, config, data_.tokenizer.metadata.file()));
        metadata_ = std::move(made);
        return config;
    }

    std::span<Parameter> trained() { return lora_ ? lora_->parameters() : net_->parameters(); }

    void describe(double seconds) const {
        const TokenCorpus& corpus = data_.tokens.training;
        const double filled =
            100.0 * double(corpus.n_places()) / (double(plan_.n_rows()) * double(recipe_.training.row_length));
        note(fmt::format("{:.2f} M weights{}, {} tokens in the vocabulary", double(result_.n_parameters) / 1e6,
                         lora_ ? " of adapters" : "", data_.tokenizer.tokenizer->vocab_size()));
        note(fmt::format(
            "{} documents, {:.2f} M tokens ({:.2f} bytes each), {} held out; an epoch has {} rows{}; {:.1f} s",
            corpus.n_documents, double(corpus.tokens.size()) / 1e6,
            double(corpus.n_bytes) / std::max(1.0, double(corpus.tokens.size())), data_.tokens.held_out.n_documents,
            plan_.n_rows(),
            std::ranges::all_of(corpus.file_weights, [](double weight) { return weight == 1.0; })
                ? fmt::format(", {:.1f} % filled", filled)
                : "",
            seconds));
        if (corpus.n_cut > 0)
            note(fmt::format("{} documents are longer than a row of {} tokens and are cut", corpus.n_cut,
                             recipe_.training.row_length));
        if (held_out_plan_.n_rows() == 0) note("nothing is held out, so nothing is evaluated");
        if (state_.step > 0) note(fmt::format("goes on after step {} of {}", state_.step, result_.n_steps));
    }

    Status plan_length() {
        const auto& training = recipe_.training;
        const int64_t rows = training.batch_tokens / training.row_length, tokens = rows * training.row_length;
        int64_t n = options_.n_steps > 0 ? options_.n_steps : training.steps;
        if (n == 0 && training.tokens > 0) n = (training.tokens + tokens - 1) / tokens;
        if (n == 0) {
            const RowPlan plan = plan_epoch(data_.tokens.training, training.row_length, training.seed, 0);
            n = std::max<int64_t>(1, int64_t(double(plan.n_rows()) * training.epochs / double(rows) + 0.5));
        }
        result_.n_steps = n;
        return {};
    }

    Status restore() {
        state_ = checkpoint_->state();
        if (state_.data_digest != data_.digest)
            return fail(ErrorCode::kBadArgument,
                        "{}: the data are not those of the checkpoint {}; --restart begins anew", recipe_.path,
                        result_.checkpoint);
        STERNA_CHECK(checkpoint_->restore(trained(), *optimizer_));
        if (state_.step > result_.n_steps)
            return fail(ErrorCode::kBadArgument,
                        "{}: {} steps, but the checkpoint {} has done {}; --restart begins anew", recipe_.path,
                        result_.n_steps, result_.checkpoint, state_.step);
        if (state_.n_steps != result_.n_steps)
            note(fmt::format(
                "the checkpoint was on its way to {} steps, now there are {}: the learning rate follows the "
                "new length from here on",
                state_.n_steps, result_.n_steps));
        checkpoint_.reset();
        return {};
    }

    Status loop() {
        STERNA_TRY(log, TrainingLog::open(result_.log, state_.log_bytes));
        STERNA_TRY(samples, TrainingLog::open(in_folder("samples.txt"), state_.sample_bytes));
        log_ = &log;
        samples_ = &samples;
        if (log.n_bytes() == 0) STERNA_CHECK(log.append(kLogHeader));
        started_ = last_checkpoint_ = now_seconds();
        first_step_ = state_.step;
        while (state_.step < result_.n_steps && !is_cancelled()) {
            STERNA_CHECK(one_step());
            if (is_checkpoint_due()) STERNA_CHECK(save());
        }
        result_.finished = state_.step >= result_.n_steps;
        if (state_.step > first_step_ || state_.step == 0) STERNA_CHECK(save());
        result_.step = state_.step;
        result_.n_tokens = state_.n_tokens;
        result_.seconds = seconds();
        STERNA_CHECK(plot());
        log_ = samples_ = nullptr;
        return {};
    }

    double seconds() const { return state_.seconds + (now_seconds() - started_); }

    void next_row() {
        if (state_.row == plan_.n_rows()) {
            ++state_.epoch;
            state_.row = 0;
            plan_ = plan_epoch(data_.tokens.training, recipe_.training.row_length, recipe_.training.seed, state_.epoch);
        }
        batch_.add_row(data_.tokens.training, plan_, state_.row++);
    }

    // The mean loss of `n` rows of the batch, in `parts` parts.
    Net::Loss pass(int parts, bool learn) {
        const int n = batch_.n_rows();
        const double weight = batch_.weight(0, n);
        Net::Loss loss{0, 0};
        for (int part = 0; part < parts; ++part) {
            const int begin = int(int64_t(n) * part / parts), end = int(int64_t(n) * (part + 1) / parts);
            if (begin == end) continue;
            const Batch view = batch_.view(begin, end - begin);
            const Net::Loss each =
                learn ? net_->loss_and_gradients(view, weight > 0 ? float(1.0 / weight) : 0.0f) : net_->loss(view);
            loss.sum += each.sum;
            loss.weight += each.weight;
        }
        return loss;
    }

    Status one_step() {
        const double began = now_seconds();
        const auto& training = recipe_.training;
        batch_.clear();
        for (int64_t i = 0; i < training.batch_tokens / training.row_length; ++i) next_row();
        net_->zero_gradients();
        const Net::Loss loss = pass(training.accumulation, true);
        if (lora_) lora_->collect_gradients();
        const Optimizer::Rates rates = rates_at(recipe_, state_.step, result_.n_steps);
        const double mean = loss.weight > 0 ? loss.sum / loss.weight : 0.0;
        const double norm = std::isfinite(mean) ? optimizer_->step(rates) : mean;
        if (!std::isfinite(mean) || !std::isfinite(norm))
            return fail(ErrorCode::kBadArgument, "step {}: the {} is no finite number; {}", state_.step + 1,
                        std::isfinite(mean) ? "norm of the gradients" : "loss",
                        saved_step_ >= 0 || state_.log_bytes > 0
                            ? fmt::format("the checkpoint of step {} stays, try a lower learning rate",
                                          std::max(saved_step_, first_step_))
                            : "there is no checkpoint yet, try a lower learning rate");
        if (lora_) lora_->apply();
        ++state_.step;
        const int64_t n_tokens = int64_t(batch_.n_rows()) * training.row_length;
        state_.n_tokens += n_tokens;

        TrainingProgress progress;
        progress.step = state_.step;
        progress.n_steps = result_.n_steps;
        progress.loss = result_.loss = mean;
        smooth_ = state_.step - first_step_ <= 1
                      ? mean
                      : smooth_ + (mean - smooth_) / std::min<double>(50, double(state_.step - first_step_));
        progress.smooth_loss = smooth_;
        progress.learning_rate = double(training.optimizer.muon ? rates.muon : rates.adam);
        progress.gradient_norm = norm;
        progress.n_tokens = state_.n_tokens;
        const int64_t every = recipe_.evaluation.every;
        if (every > 0 && (state_.step % every == 0 || state_.step == result_.n_steps)) {
            STERNA_CHECK(evaluate(progress));
            STERNA_CHECK(sample());
        }
        const double took = std::max(1e-9, now_seconds() - began);
        const double done = double(state_.step - first_step_), elapsed = now_seconds() - started_;
        progress.tokens_per_second = double(n_tokens) / took;
        progress.seconds_left = elapsed / done * double(result_.n_steps - state_.step);
        STERNA_CHECK(
            log_->append(fmt::format("{},{},{:.5f},{},{:.4g},{:.4g},{:.2f},{:.0f}\n", state_.step, state_.n_tokens,
                                     mean, progress.held_out_loss ? fmt::format("{:.5f}", *progress.held_out_loss) : "",
                                     progress.learning_rate, norm, seconds(), progress.tokens_per_second)));
        if (options_.on_step) options_.on_step(progress);
        if (now_seconds() - last_plot_ > kPlotSeconds) STERNA_CHECK(plot());
        return {};
    }

    Status evaluate(TrainingProgress& progress) {
        int64_t n_rows = held_out_plan_.n_rows();
        if (recipe_.evaluation.rows > 0) n_rows = std::min(n_rows, recipe_.evaluation.rows);
        if (n_rows == 0) return {};
        const auto& training = recipe_.training;
        const int64_t at_once =
            std::max<int64_t>(1, training.batch_tokens / training.row_length / training.accumulation);
        Net::Loss loss{0, 0};
        for (int64_t row = 0; row < n_rows; row += at_once) {
            batch_.clear();
            for (int64_t i = row; i < std::min(n_rows, row + at_once); ++i)
                batch_.add_row(data_.tokens.held_out, held_out_plan_, i);
            const Net::Loss part = pass(1, false);
            loss.sum += part.sum;
            loss.weight += part.weight;
        }
        if (loss.weight > 0) progress.held_out_loss = result_.held_out_loss = loss.sum / loss.weight;
        return {};
    }

    Status sample() {
        if (recipe_.evaluation.samples.empty()) return {};
        STERNA_TRY(written, write_samples(recipe_, metadata_.file(), tensors_of(net_->parameters()), pool_));
        std::string text = fmt::format("== step {}\n", state_.step);
        for (const WrittenSample& each : written) {
            text += fmt::format("-- {}\n{}\n", each.prompt, each.text);
            if (options_.on_sample) options_.on_sample(state_.step, each.prompt, each.text);
        }
        return samples_->append(text + "\n");
    }

    bool is_checkpoint_due() const {
        const auto& when = recipe_.checkpoint;
        return (when.every > 0 && state_.step % when.every == 0) ||
               (when.every_seconds > 0 && now_seconds() - last_checkpoint_ >= when.every_seconds);
    }

    Status save() {
        if (saved_step_ == state_.step) return {};
        STERNA_CHECK(log_->flush());
        TrainingState state = state_;
        state.n_steps = result_.n_steps;
        state.optimizer_steps = optimizer_->steps();
        state.log_bytes = log_->n_bytes();
        state.sample_bytes = samples_->n_bytes();
        state.seconds = seconds();
        state.data_digest = data_.digest;
        state.identity = recipe_.identity;
        const std::vector<Optimizer::State> tensors = optimizer_->state();
        STERNA_CHECK(write_checkpoint(result_.checkpoint, metadata_.file(), state, trained(), tensors));
        saved_step_ = state_.step;
        last_checkpoint_ = now_seconds();
        return {};
    }

    Status plot() {
        last_plot_ = now_seconds();
        STERNA_TRY(csv, MappedFile::open(result_.log));
        LossCurves curves = read_log({reinterpret_cast<const char*>(csv.bytes().data()), csv.bytes().size()});
        curves.title = recipe_.name;
        return write_text(result_.plot, plot_losses(curves));
    }

    Status export_files() {
        STERNA_TRY(report, export_model(metadata_.file(), tensors_of(net_->parameters()), pool_,
                                        export_options(recipe_, result_.folder, options_)));
        result_.exported = std::move(report);
        if (lora_) return export_adapter(recipe_, metadata_.file(), tensors_of(trained()), result_);
        return {};
    }

    const Recipe& recipe_;
    const TrainingOptions& options_;
    ThreadPool& pool_;
    TrainingResult result_;
    TrainingState state_;
    TrainingData data_{};
    MemoryGguf metadata_;
    std::optional<BaseModel> base_;
    std::unique_ptr<LoraSet> lora_;
    std::optional<Checkpoint> checkpoint_;
    std::unique_ptr<Net> net_;
    std::unique_ptr<Optimizer> optimizer_;
    RowPlan plan_, held_out_plan_;
    RowBatch batch_;
    TrainingLog *log_ = nullptr, *samples_ = nullptr;
    double started_ = 0, last_checkpoint_ = 0, last_plot_ = 0, smooth_ = 0;
    int64_t first_step_ = 0, saved_step_ = -1;
};

}  // namespace

Result<TrainingResult> run_training(const Recipe& recipe, const TrainingOptions& options, ThreadPool& pool) {
    return Training(recipe, options, pool).run();
}

Result<TrainingResult> export_checkpoint(const Recipe& recipe, const std::string& checkpoint,
                                         const TrainingOptions& options, ThreadPool& pool) {
    STERNA_TRY(opened, Checkpoint::open(checkpoint));
    TrainingResult result;
    result.folder = options.folder.empty() ? recipe.output.folder : options.folder;
    std::error_code problem;
    fs::create_directories(result.folder, problem);
    if (problem) return fail(ErrorCode::kIo, "{}: cannot create: {}", result.folder, problem.message());
    result.checkpoint = checkpoint;
    result.step = opened.state().step;
    result.n_steps = opened.state().n_steps;
    result.n_tokens = opened.state().n_tokens;
    result.seconds = opened.state().seconds;
    std::vector<TrainedTensor> tensors = opened.tensors();
    for (const TrainedTensor& tensor : tensors) result.n_parameters += int64_t(tensor.values.size());
    result.finished = true;
    if (recipe.lora.rank > 0) {
        STERNA_CHECK(export_adapter(recipe, opened.file(), tensors, result));
        return result;
    }
    STERNA_TRY(report,
               export_model(opened.file(), std::move(tensors), pool, export_options(recipe, result.folder, options)));
    result.exported = std::move(report);
    return result;
}

}  // namespace sterna::train
