#include "model/model.h"

#include <algorithm>

#include "model/blocks.h"
#include "model/rope.h"
#include "model/workspace.h"

namespace sterna {

namespace {

std::string known_names() {
    std::string names;
    for (const Architecture* architecture : all_architectures()) {
        if (!names.empty()) names += ", ";
        names += architecture->name;
    }
    return names;
}

// Longrope: the long factors serve sequences that may grow past the original context.
bool is_extended(const Config& config, const SequenceState& sequence) {
    return config.rope.scaling == RopeScaling::kLongRope && sequence.max_positions > config.rope.original_context;
}

Status check_step(const Config& config, const Weights& weights, const Step& step) {
    if (step.layout.layers.size() != size_t(config.n_layers))
        return fail(ErrorCode::kBadArgument, "step: a state layout of {} layers, expected {}",
                    step.layout.layers.size(), config.n_layers);
    bool wants_output = false;
    for (const StepToken& token : step.tokens) {
        if (token.token < 0 || token.token >= config.vocab_size)
            return fail(ErrorCode::kBadArgument, "step: token {}, expected 0 to {}", token.token,
                        config.vocab_size - 1);
        if (token.sequence < 0 || size_t(token.sequence) >= step.sequences.size())
            return fail(ErrorCode::kBadArgument, "step: sequence {} of {}", token.sequence, step.sequences.size());
        size_t n_pages = step.sequences[size_t(token.sequence)].pages.size();
        if (token.position < 0 || size_t(token.position / StateLayout::kPagePositions) >= n_pages)
            return fail(ErrorCode::kBadArgument, "step: position {} outside the sequence's {} pages", token.position,
                        n_pages);
        if (!weights.position_embedding.empty() && token.position >= config.context_length)
            return fail(ErrorCode::kLimit, "step: position {}, the model knows {}", token.position,
                        config.context_length);
        wants_output = wants_output || token.wants_logits;
    }
    if (wants_output && !step.output) return fail(ErrorCode::kBadArgument, "step: no place for the output");
    return {};
}

// Positions each token may see: its predecessors and itself, or its whole text, which then must be in the step.
Status fill_ends(const Config& config, const Step& step, int64_t* end) {
    size_t n = step.tokens.size();
    for (size_t i = 0; i < n; ++i) end[i] = step.tokens[i].position + 1;
    if (config.causal) return {};
    for (size_t begin = 0; begin < n;) {
        size_t stop = begin;
        while (stop < n && step.tokens[stop].sequence == step.tokens[begin].sequence) {
            if (step.tokens[stop].position != int32_t(stop - begin))
                return fail(ErrorCode::kBadArgument,
                            "step: position {} where {} is due: this model takes a whole text in one step",
                            step.tokens[stop].position, stop - begin);
            ++stop;
        }
        for (size_t i = begin; i < stop; ++i) end[i] = int64_t(stop - begin);
        begin = stop;
    }
    return {};
}

void fill_rope(ForwardContext& c) {
    const RopeConfig& rope = c.config.rope;
    const RopeFrequencies& frequencies = c.weights.rope;
    if (rope.style == RopeStyle::kNone) return;
    int64_t pairs = rope.n_dims / 2;
    auto& b = c.buffers;
    for_rows(c, c.n_rows, 64 * pairs, [&](int64_t row, int) {
        const StepToken& token = c.step.tokens[size_t(row)];
        bool extended =
            !frequencies.extended.empty() && is_extended(c.config, c.step.sequences[size_t(token.sequence)]);
        rope_row(extended ? frequencies.extended : frequencies.global, token.position, rope.attention_factor,
                 b.cos_global + row * pairs, b.sin_global + row * pairs);
        if (!frequencies.local.empty())
            rope_row(frequencies.local, token.position, 1.0, b.cos_local + row * rope.n_dims_local / 2,
                     b.sin_local + row * rope.n_dims_local / 2);
    });
}

}  // namespace

const Architecture* find_architecture(std::string_view name) {
    for (const Architecture* architecture : all_architectures()) {
        if (architecture->name == name) return architecture;
        for (std::string_view alias : architecture->aliases)
            if (!alias.empty() && alias == name) return architecture;
    }
    return nullptr;
}

Result<ModelPlan> plan_model(const Metadata& metadata, const ModelLimits& limits) {
    auto name = metadata.get_string("general.architecture");
    if (!name) return fail(ErrorCode::kBadFile, "general.architecture: missing, expected one of {}", known_names());
    const Architecture* architecture = find_architecture(*name);
    if (!architecture)
        return fail(ErrorCode::kUnsupported, "general.architecture: \"{}\", expected one of {}", name->substr(0, 64),
                    known_names());
    STERNA_TRY(config, architecture->read_config(metadata, limits, *name));
    return ModelPlan{architecture, std::move(config)};
}

Model::~Model() = default;

Result<std::unique_ptr<Model>> Model::load(const Metadata& metadata, const TensorSource& tensors,
                                           const LoadOptions& options) {
    if (!options.pool) return fail(ErrorCode::kBadArgument, "load: no thread pool");
    STERNA_TRY(plan, plan_model(metadata, options.limits));
    std::vector<TensorSpec> table = plan.architecture->tensors(plan.config);
    STERNA_CHECK(check_tensors(plan.config, table, tensors, options.limits));
    STERNA_TRY(weights, load_weights(plan.config, table, tensors, *options.pool, options.cancel));
    std::unique_ptr<Model> model(new Model);
    model->config_ = std::move(plan.config);
    model->architecture_ = plan.architecture;
    model->weights_ = std::move(weights);
    return model;
}

int64_t Model::weight_bytes() const {
    return sterna::weight_bytes(weights_);
}

int64_t Model::output_width() const {
    return is_embedding_model() ? config_.width : config_.vocab_size;
}

Status Model::forward(Workspace& workspace, const Step& step) const {
    if (step.tokens.empty()) return {};
    STERNA_CHECK(check_step(config_, weights_, step));
    auto& buffers = *workspace.buffers;
    STERNA_CHECK(buffers.reserve(config_, int64_t(step.tokens.size()), workspace.pool.size()));
    STERNA_CHECK(fill_ends(config_, step, buffers.end));
    buffers.n_wanted = 0;
    for (size_t i = 0; i < step.tokens.size(); ++i)
        if (step.tokens[i].wants_logits) buffers.wanted[buffers.n_wanted++] = int64_t(i);
    ForwardContext context{config_,        weights_,          step,    workspace,
                           workspace.pool, workspace.kernels, buffers, int64_t(step.tokens.size())};
    fill_rope(context);
    return architecture_->forward(context);
}

void pool_rows(const kernels::Kernels& kernels, Pooling pooling, const float* rows, int64_t n_rows, int64_t width,
               float* out) {
    if (n_rows == 0) return;
    if (pooling == Pooling::kCls || pooling == Pooling::kLast) {
        const float* row = pooling == Pooling::kCls ? rows : rows + (n_rows - 1) * width;
        std::copy(row, row + width, out);
        return;
    }
    std::copy(rows, rows + width, out);
    for (int64_t row = 1; row < n_rows; ++row) kernels.add(out, rows + row * width, width, out);
    kernels.scale(out, 1.0f / float(n_rows), width, out);
}

}  // namespace sterna
