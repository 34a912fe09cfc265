// sterna perplexity: how well a model predicts a text, and how far two models' predictions are apart (docs/perplexity.md).
// The windows and the scored half are those of llama.cpp's tool, so figures can be compared.
#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "engine/engine.h"

namespace sterna {

namespace {

struct Options {
    std::string model, file, against, kv = "f16";
    int64_t context = 512, max_chunks = -1;
    int threads = default_threads();
    bool json = false;
};

// Mean and standard error of the mean, in one pass.
struct Mean {
    int64_t n = 0;
    double sum = 0, squares = 0;

    void add(double value) {
        ++n;
        sum += value;
        squares += value * value;
    }
    double mean() const { return n ? sum / double(n) : 0; }
    double error() const {
        if (n < 2) return 0;
        double variance = squares / double(n) - mean() * mean();
        return variance > 0 ? std::sqrt(variance / double(n - 1)) : 0;
    }
};

// One model with its engine; scores windows.
struct Scorer {
    OpenModel open;
    std::unique_ptr<Engine> engine;

    static Result<Scorer> create(const std::string& path, const Options& options) {
        STERNA_TRY(open, open_model(path, options.threads));
        if (open.model->is_embedding_model())
            return fail(ErrorCode::kUnsupported, "{}: an embedding model has no next-token distribution", path);
        EngineOptions engine_options;
        engine_options.context = options.context;
        engine_options.share_prefixes = false;
        engine_options.kv_kind = options.kv == "q8_0" ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16;
        STERNA_TRY(engine, Engine::create(*open.model, *open.pool, engine_options));
        return Scorer{std::move(open), std::move(engine)};
    }

    Status score(std::span<const int32_t> window, int64_t from,
                 FunctionRef<void(int64_t, std::span<const float>)> use) {
        auto session = engine->open_session();
        STERNA_CHECK(session->append(window));
        auto sink = [&](size_t, int64_t position, std::span<const float> logits) { use(position, logits); };
        return engine->evaluate(*session, from, sink);
    }
};

struct Divergence {
    std::vector<double> kld;
    Mean mean_kld, same_top, squared_probability_change, log_ratio;
    Mean reference_nll;
};

// KL(reference || model) of one position, in nats.
double divergence(const kernels::Kernels& kernels, std::span<const float> reference, std::span<const float> model) {
    const double log_z_reference = kernels.log_sum_exp(reference.data(), int64_t(reference.size()));
    const double log_z_model = kernels.log_sum_exp(model.data(), int64_t(model.size()));
    double sum = 0;
    for (size_t i = 0; i < reference.size(); ++i) {
        double log_p = double(reference[i]) - log_z_reference;
        double log_q = double(model[i]) - log_z_model;
        if (log_p > -40)
            sum += std::exp(log_p) * (log_p - log_q);  // e^-40 of a vocabulary cannot change the tenth digit
    }
    return sum;
}

size_t top_token(std::span<const float> logits) {
    return size_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double percentile(std::vector<double>& sorted, double fraction) {
    return sorted[size_t(fraction * double(sorted.size() - 1) + 0.5)];
}

void print_result(const Options& options, const Mean& nll, Divergence* divergence, int64_t n_windows) {
    const double perplexity = std::exp(nll.mean());
    using Json = nlohmann::ordered_json;
    Json out{{"model", options.model},
             {"windows", n_windows},
             {"tokens", nll.n},
             {"perplexity", perplexity},
             {"standard_error", perplexity * nll.error()},
             {"nats_per_token", nll.mean()}};
    if (!options.json)
        std::printf("perplexity %.4f +- %.4f  (%lld tokens in %lld windows of %lld)\n", perplexity,
                    perplexity * nll.error(), static_cast<long long>(nll.n), static_cast<long long>(n_windows),
                    static_cast<long long>(options.context));
    if (divergence) {
        std::sort(divergence->kld.begin(), divergence->kld.end());
        const double median = percentile(divergence->kld, 0.5), p99 = percentile(divergence->kld, 0.99),
                     p999 = percentile(divergence->kld, 0.999), most = divergence->kld.back();
        const double rms = std::sqrt(divergence->squared_probability_change.mean());
        const double ratio = std::exp(divergence->log_ratio.mean());
        out["against"] = {{"model", options.against},
                          {"perplexity", std::exp(divergence->reference_nll.mean())},
                          {"mean_kld", divergence->mean_kld.mean()},
                          {"mean_kld_standard_error", divergence->mean_kld.error()},
                          {"median_kld", median},
                          {"p99_kld", p99},
                          {"p999_kld", p999},
                          {"max_kld", most},
                          {"same_top", divergence->same_top.mean()},
                          {"rms_probability_change", rms},
                          {"perplexity_ratio", ratio},
                          {"perplexity_ratio_standard_error", ratio * divergence->log_ratio.error()}};
        if (!options.json) {
            std::printf("against %s: perplexity %.4f, ratio %.5f +- %.5f\n", options.against.c_str(),
                        std::exp(divergence->reference_nll.mean()), ratio, ratio * divergence->log_ratio.error());
            std::printf("KL divergence: mean %.6f +- %.6f, median %.6f, 99 %% %.6f, 99.9 %% %.6f, maximum %.6f\n",
                        divergence->mean_kld.mean(), divergence->mean_kld.error(), median, p99, p999, most);
            std::printf(
                "same first choice %.3f %% +- %.3f %%, root mean square change of the true token's probability %.3f "
                "%%\n",
                divergence->same_top.mean() * 100, divergence->same_top.error() * 100, rms * 100);
        }
    }
    if (options.json) std::printf("%s\n", out.dump(2).c_str());
}

Result<int> perplexity(const Options& options) {
    STERNA_TRY(text, read_text_file(options.file));
    STERNA_TRY(model, Scorer::create(options.model, options));
    std::optional<Scorer> reference;
    if (!options.against.empty()) {
        STERNA_TRY(other, Scorer::create(options.against, options));
        reference = std::move(other);
        if (reference->engine->vocab_size() != model.engine->vocab_size())
            return fail(ErrorCode::kBadArgument, "{}: {} tokens in the vocabulary, {} has {}", options.against,
                        reference->engine->vocab_size(), options.model, model.engine->vocab_size());
    }
    const Tokenizer& tokenizer = *model.open.tokenizer;
    STERNA_TRY(tokens, tokenizer.encode(text));
    const int64_t n_windows_all = int64_t(tokens.size()) / options.context;
    if (n_windows_all == 0)
        return fail(ErrorCode::kBadArgument, "{}: {} tokens, one window of {} is the least", options.file,
                    tokens.size(), options.context);
    const int64_t n_windows = options.max_chunks > 0 ? std::min(options.max_chunks, n_windows_all) : n_windows_all;
    const int64_t from = options.context / 2;
    const kernels::Kernels& kernels = model.engine->kernels();
    const size_t vocab_size = size_t(model.engine->vocab_size());

    Mean nll;
    Divergence apart;
    std::vector<float> reference_logits;
    for (int64_t w = 0; w < n_windows; ++w) {
        std::vector<int32_t> window(tokens.begin() + w * options.context, tokens.begin() + (w + 1) * options.context);
        if (tokenizer.adds_bos() && tokenizer.special().bos) window[0] = *tokenizer.special().bos;
        if (reference) {
            reference_logits.resize(size_t(options.context - from) * vocab_size);
            STERNA_CHECK(reference->score(window, from, [&](int64_t position, std::span<const float> logits) {
                std::copy(logits.begin(), logits.end(),
                          reference_logits.begin() + (position - from) * int64_t(vocab_size));
            }));
        }
        STERNA_CHECK(model.score(window, from, [&](int64_t position, std::span<const float> logits) {
            if (position + 1 >= options.context) return;  // the last one's successor is in the next window
            const size_t next = size_t(window[size_t(position) + 1]);
            const double own = double(kernels.log_sum_exp(logits.data(), int64_t(vocab_size))) - double(logits[next]);
            nll.add(own);
            if (!reference) return;
            std::span<const float> other(reference_logits.data() + size_t(position - from) * vocab_size, vocab_size);
            const double theirs = double(kernels.log_sum_exp(other.data(), int64_t(vocab_size))) - double(other[next]);
            const double kld = divergence(kernels, other, logits);
            apart.kld.push_back(kld);
            apart.mean_kld.add(kld);
            apart.same_top.add(top_token(logits) == top_token(other) ? 1 : 0);
            apart.squared_probability_change.add((std::exp(-own) - std::exp(-theirs)) *
                                                 (std::exp(-own) - std::exp(-theirs)));
            apart.log_ratio.add(own - theirs);
            apart.reference_nll.add(theirs);
        }));
        if (!options.json) {
            std::fprintf(stderr, "\r[%lld/%lld] %.4f ", static_cast<long long>(w + 1),
                         static_cast<long long>(n_windows), std::exp(nll.mean()));
            if (w + 1 == n_windows) std::fprintf(stderr, "\n");
        }
    }
    print_result(options, nll, reference ? &apart : nullptr, n_windows);
    return 0;
}

}  // namespace

void add_perplexity(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub =
        app.add_subcommand("perplexity", "How well a model predicts a text, and how far two models are apart");
    sub->add_option("model", options->model, "a GGUF file")->required();
    sub->add_option("-f,--file", options->file, "the text")->required();
    sub->add_option("--kld-against", options->against, "a second model: print the KL divergence from it");
    sub->add_option("-c,--ctx", options->context, "tokens per window")
        ->check(CLI::Range(int64_t(8), int64_t(1) << 20))
        ->capture_default_str();
    sub->add_option("--chunks", options->max_chunks, "only the first N windows");
    sub->add_option("-t,--threads", options->threads, "threads")->check(CLI::Range(1, 1024));
    sub->add_option("--kv", options->kv, "how the cache is stored")->check(CLI::IsMember({"f16", "q8_0"}));
    sub->add_flag("--json", options->json, "print JSON");
    sub->callback([options, &command] { command = [options] { return perplexity(*options); }; });
}

}  // namespace sterna
