#include "convert/hf_model.h"

#include <algorithm>
#include <filesystem>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/hf_changes.h"
#include "convert/hf_tokenizer.h"
#include "convert/inferred_config.h"
#include "convert/listed_checkpoint.h"
#include "convert/text_lists.h"
#include "model/model.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMostCopiedBytes = size_t(256) << 20;
constexpr size_t kNamedTensors = 3;  // in messages about many
// Buffers that old checkpoints carry along.
constexpr std::string_view kSkipped =
    "*rotary_emb.inv_freq|*rotary_emb.cos_cached|*rotary_emb.sin_cached|*rotary_pos_emb.inv_freq|*.masked_bias|*"
    "position_ids";

Result<std::string> read_text(const fs::path& path, size_t limit) {
    STERNA_TRY(file, MappedFile::open(path.string()));
    if (file.bytes().size() > limit)
        return fail(ErrorCode::kLimit, "{}: {} bytes, expected at most {}", path.string(), file.bytes().size(), limit);
    return std::string(file.bytes().begin(), file.bytes().end());
}

bool is_layer_name(std::string_view pattern) {
    return pattern.find("{}") != std::string_view::npos;
}

// The i-th part of a stack: "experts.{}.w" and 3 -> "experts.3.w", "attn.x_[rwk]" and 1 -> "attn.x_w".
std::string part_name(std::string_view pattern, int64_t i) {
    const size_t open = pattern.find('['), close = pattern.find(']');
    if (open == std::string_view::npos) return layer_name(pattern, i);
    const std::string_view letters = pattern.substr(open + 1, close - open - 1);
    return std::string(pattern.substr(0, open)) + letters[size_t(i) % letters.size()] +
           std::string(pattern.substr(close + 1));
}

// "a, b and 7 more"
std::string name_some(const std::vector<std::string>& names) {
    std::string text;
    for (size_t i = 0; i < std::min(names.size(), kNamedTensors); ++i) text += (i ? ", " : "") + printable(names[i]);
    if (names.size() > kNamedTensors) text += fmt::format(" and {} more", names.size() - kNamedTensors);
    return text;
}

std::string dims_text(std::span<const int64_t> dims) {
    std::string text = "[";
    for (int64_t extent : dims)
        text += (text.size() > 1 ? ", " : "") + (extent == kAnyDim ? "any" : std::to_string(extent));
    return text + "]";
}

// "8.0B", "494M": at least two digits.
std::string size_label(double n) {
    const char* unit = n >= 1e12 ? "T" : n >= 1e9 ? "B" : n >= 1e6 ? "M" : "K";
    const double scaled = n / (n >= 1e12 ? 1e12 : n >= 1e9 ? 1e9 : n >= 1e6 ? 1e6 : 1e3);
    return fmt::format("{:.{}f}{}", scaled, scaled < 9.5 ? 1 : 0, unit);
}

}  // namespace

struct HfModel::Impl {
    struct Made {
        HfRecipe recipe;
        std::vector<float> values;  // not empty: computed, no recipe
        const CheckpointTensor* scale_of = nullptr;
    };
    struct Scale {
        std::once_flag once;
        Result<float> value = 0.0f;
    };

    std::string path;
    fs::path folder;
    std::unique_ptr<Checkpoint> checkpoint;
    HfConfig hf;
    Config config;
    std::unique_ptr<GgufFile> metadata;
    std::vector<uint8_t> metadata_bytes;
    std::vector<std::string> notes;
    std::vector<SourceTensor> tensors;
    std::vector<Made> made;  // beside tensors
    std::unordered_map<const CheckpointTensor*, std::unique_ptr<Scale>> scales;
    TransposedMatrices transposed;
    uint64_t n_source_bytes = 0;
    bool has_tokenizer = false;

    // How the checkpoint's names differ from the table's: what stands before them, and which first part ("model.") they lack.
    std::string prefix, lacking;
    std::unordered_map<std::string_view, const TensorSpec*> gguf_names;
    std::set<const CheckpointTensor*> used;
    std::vector<std::string> missing;

    Status open(const HfModelOptions& options);
    Status find_prefix(const std::vector<TensorSpec>& table);
    std::string full_name(std::string_view name) const;
    const CheckpointTensor* find(std::string_view name) const;
    Result<std::vector<int64_t>> resolve(const TensorSpec& spec, const std::string& name, int64_t layer) const;
    Status add(const TensorSpec& spec, int64_t layer);
    Status add_found(const std::string& gguf_name, std::vector<int64_t> shape, Change change, int64_t layer,
                     std::vector<const CheckpointTensor*> parts);
    Status add_made(const TensorSpec& spec, const std::string& gguf_name, const std::vector<int64_t>& shape);
    bool has_other(const TensorSpec& spec, int64_t layer) const;
    Status check_head();
    Status check_left_over(const HfModelOptions& options, const std::vector<TensorSpec>& table);
    Result<float> scale_of(const CheckpointTensor* tensor) const;
    Status write_tokenizer_keys(GgufWriter& writer);
};

HfModel::HfModel() : impl_(std::make_unique<Impl>()) {}
HfModel::~HfModel() = default;

// The embedding is in every checkpoint; what stands before its name stands before all names of the language model.
Status HfModel::Impl::find_prefix(const std::vector<TensorSpec>& table) {
    std::vector<std::string_view> wanted;
    for (const TensorSpec& spec : table)
        if (spec.gguf_name == "token_embd.weight") wanted.push_back(spec.hf_name);
    for (const HfTensor& other : hf.architecture->hf.tensors)
        if (other.gguf_name == "token_embd.weight") wanted.push_back(other.hf_name);
    const CheckpointTensor* best = nullptr;
    for (std::string_view name : wanted) {
        // "model.", but nothing of "emb.weight"
        const std::string_view first =
            std::ranges::count(name, '.') > 1 ? name.substr(0, name.find('.') + 1) : std::string_view();
        const std::string_view rest = name.substr(first.size());
        for (const CheckpointTensor& tensor : checkpoint->tensors()) {
            const std::string_view found = tensor.name;
            if (!found.ends_with(rest)) continue;
            const std::string_view before = found.substr(0, found.size() - rest.size());
            if (!before.empty() && before.back() != '.') continue;
            if (best && best->name.size() <= found.size()) continue;
            best = &tensor;
            const bool whole = before.ends_with(first);
            lacking = whole ? "" : first;
            prefix = before.substr(0, before.size() - (whole ? first.size() : 0));
        }
    }
    if (!best)
        return fail(ErrorCode::kBadFile, "{}: no tensor {}, the embedding of {}", path,
                    wanted.empty() ? "token_embd.weight" : wanted[0], hf.class_name);
    if (best->shape.size() != 2 || best->shape[0] < 1)
        return fail(ErrorCode::kBadFile, "{}: {}: shape {}, expected [vocabulary, {}]", path, best->name,
                    dims_text(best->shape), config.width);
    config.vocab_size = best->shape[0];
    return {};
}

std::string HfModel::Impl::full_name(std::string_view name) const {
    if (!lacking.empty() && name.starts_with(lacking)) name.remove_prefix(lacking.size());
    return prefix + std::string(name);
}

const CheckpointTensor* HfModel::Impl::find(std::string_view name) const {
    if (const CheckpointTensor* tensor = checkpoint->find(full_name(name))) return tensor;
    if (name == "lm_head.weight") return checkpoint->find(name);  // outside of what is prefixed, often
    return nullptr;
}

// The GGUF shape of a table row, fastest first.
Result<std::vector<int64_t>> HfModel::Impl::resolve(const TensorSpec& spec, const std::string& name,
                                                    int64_t layer) const {
    std::vector<int64_t> shape;
    for (std::string_view dim : split_text(spec.shape, ',')) {
        while (dim.starts_with(' ')) dim.remove_prefix(1);
        const int64_t extent = resolve_dim(dim, config, layer);
        if (extent == kUnknownDim || extent == 0)
            return fail(ErrorCode::kBadFile, "{}: its shape \"{}\" has no meaning with this config.json", name,
                        spec.shape);
        shape.push_back(extent);
    }
    return shape;
}

bool HfModel::Impl::has_other(const TensorSpec& spec, int64_t layer) const {
    if (spec.unless.empty()) return false;
    const auto other = gguf_names.find(spec.unless);
    if (other == gguf_names.end()) return false;
    std::string name = std::string(other->second->hf_name);
    if (is_layer_name(name)) name = layer_name(name, layer);
    if (is_layer_name(name)) name = layer_name(name, 0);
    return find(name) != nullptr;
}

Status HfModel::Impl::add(const TensorSpec& spec, int64_t layer) {
    const std::string name = layer >= 0 ? layer_name(spec.gguf_name, layer) : std::string(spec.gguf_name);
    if (spec.gguf_name == "output.weight" && hf.tied == HfConfig::Tied::kYes) return {};
    struct Candidate {
        std::string_view hf_name;
        Change change;
    };
    std::vector<Candidate> candidates;
    if (!spec.hf_name.empty()) candidates.push_back({spec.hf_name, spec.change});
    for (const HfTensor& other : hf.architecture->hf.tensors)
        if (other.gguf_name == spec.gguf_name && (layer < 0 || !other.at || other.at(config, layer)))
            candidates.push_back({other.hf_name, other.change});
    for (const Candidate& candidate : candidates) {
        const std::string hf_name = layer >= 0 ? layer_name(candidate.hf_name, layer) : std::string(candidate.hf_name);
        const bool stacked = candidate.change == Change::kStack;
        if (!find(stacked ? part_name(hf_name, 0) : hf_name)) continue;
        STERNA_TRY(shape, resolve(spec, name, layer));
        std::vector<const CheckpointTensor*> parts;
        for (int64_t i = 0; i < (stacked ? shape.back() : 1); ++i) {
            const std::string part = stacked ? part_name(hf_name, i) : hf_name;
            const CheckpointTensor* tensor = find(part);
            if (!tensor) {
                missing.push_back(full_name(part));
                continue;
            }
            parts.push_back(tensor);
        }
        if (!missing.empty()) return {};
        return add_found(name, std::move(shape), candidate.change, layer, std::move(parts));
    }
    if (candidates.empty()) {
        STERNA_TRY(shape, resolve(spec, name, layer));
        return add_made(spec, name, shape);
    }
    if (spec.required && !has_other(spec, layer)) {
        std::string hf_name =
            layer >= 0 ? layer_name(candidates[0].hf_name, layer) : std::string(candidates[0].hf_name);
        missing.push_back(full_name(candidates[0].change == Change::kStack ? part_name(hf_name, 0) : hf_name));
    }
    return {};
}

Status HfModel::Impl::add_found(const std::string& gguf_name, std::vector<int64_t> shape, Change change, int64_t layer,
                                std::vector<const CheckpointTensor*> parts) {
    const std::vector<int64_t> wanted = part_shape(change, shape);
    for (const CheckpointTensor* part : parts) {
        if (change == Change::kFlatten ? part->n_elements() != shape[0] : !shape_fits(wanted, part->shape))
            return fail(ErrorCode::kBadFile, "{}: shape {}, expected {}", part->name, dims_text(part->shape),
                        dims_text(wanted));
        used.insert(part);
        n_source_bytes += dtype_bytes(part->exact, uint64_t(part->n_elements())).value_or(0);
    }
    int64_t known = 1;
    for (int64_t extent : shape) known *= extent == kAnyDim ? 1 : extent;
    for (int64_t& extent : shape)
        if (extent == kAnyDim) extent = parts[0]->n_elements() / known;
    const CheckpointTensor& first = *parts[0];
    if (change == Change::kKeyB || change == Change::kValueB) {
        // The part's rows are n_heads times (nope + value).
        const int64_t rank = change == Change::kKeyB ? shape[1] : shape[0], heads = shape[2];
        const int64_t own = change == Change::kKeyB ? shape[0] : shape[1];
        if (first.n_elements() % (rank * heads) || first.n_elements() / rank / heads <= own)
            return fail(ErrorCode::kBadFile, "{}: shape {}, expected {} heads of more than {} rows", first.name,
                        dims_text(first.shape), heads, own);
    }
    SourceTensor tensor;
    tensor.name = gguf_name;
    tensor.shape = shape;
    const bool same = std::ranges::all_of(parts, [&](const auto* part) { return part->exact == first.exact; });
    const DTypeTraits* traits = dtype_traits(first.exact);
    const bool is_float = traits && traits->decode;
    const bool whole = change == Change::kNone && parts.size() == 1;
    tensor.exact = first.exact;
    // A sum or a power has more digits than its source; blocks are only kept whole.
    if (!same || !is_float || change == Change::kPlusOne || change == Change::kNegExp ||
        change == Change::kNegExpTileValues || (traits->block_size > 1 && !whole))
        tensor.exact = DType::kF32;
    // What is copied stays mapped until it is written; a very large tensor is read row by row instead, to the same bytes.
    // gpt-oss: the blocks lie along what becomes a row, and values that came from such blocks fit into them again.
    const bool transposes =
        change == Change::kTranspose || change == Change::kTransposeEven || change == Change::kTransposeOdd;
    if (transposes && first.exact == DType::kMXFP4 && shape[0] % 32 == 0) tensor.exact = DType::kMXFP4;
    if (whole && is_float && first.stored.size() <= kMostCopiedBytes) tensor.stored = first.stored;
    tensors.push_back(std::move(tensor));
    Made entry;
    entry.recipe = {change, std::move(parts), std::move(shape), layer, &config, &transposed};
    if (change == Change::kTernaryScale) scales.try_emplace(&first, std::make_unique<Scale>());
    made.push_back(std::move(entry));
    return {};
}

// Tensors that no checkpoint has.
Status HfModel::Impl::add_made(const TensorSpec& spec, const std::string& gguf_name,
                               const std::vector<int64_t>& shape) {
    Made entry;
    if (spec.gguf_name == "rope_freqs.weight") entry.values = hf.rope_factors;
    if (spec.gguf_name == "rope_factors_long.weight") entry.values = hf.rope_factors_long;
    if (spec.gguf_name == "rope_factors_short.weight") entry.values = hf.rope_factors_short;
    if (std::holds_alternative<ScaleSlot>(spec.slot)) {
        const std::string matrix = gguf_name.substr(0, gguf_name.rfind('.')) + ".weight";
        for (size_t i = 0; i < tensors.size(); ++i)
            if (tensors[i].name == matrix && made[i].recipe.change == Change::kTernaryScale)
                entry.scale_of = made[i].recipe.parts[0];
        if (entry.scale_of) entry.values = {0.0f};
    }
    if (entry.values.empty()) {
        if (spec.required) return fail(ErrorCode::kUnsupported, "{}: the converter cannot make it", gguf_name);
        return {};
    }
    if (shape.size() != 1 || shape[0] != int64_t(entry.values.size()))
        return fail(ErrorCode::kBadFile, "{}: {} values in config.json, expected {}", gguf_name, entry.values.size(),
                    dims_text(shape));
    tensors.push_back({gguf_name, shape, DType::kF32, {}});
    made.push_back(std::move(entry));
    return {};
}

// An output matrix that equals the embedding, or is one by config.json, is not written.
Status HfModel::Impl::check_head() {
    const CheckpointTensor* head = find("lm_head.weight");
    if (head && hf.tied == HfConfig::Tied::kYes) used.insert(head);
    if (!head && hf.tied == HfConfig::Tied::kNo && gguf_names.contains("output.weight") &&
        gguf_names["output.weight"]->hf_name == "lm_head.weight" && !gguf_names["output.weight"]->required)
        return fail(ErrorCode::kBadFile,
                    "{}: no tensor lm_head.weight, though config.json says that it is not tied to "
                    "the embedding",
                    path);
    return {};
}

Status HfModel::Impl::check_left_over(const HfModelOptions& options, const std::vector<TensorSpec>& table) {
    if (!missing.empty())
        return fail(ErrorCode::kBadFile, "{}: {} tensors are missing: {}", path, missing.size(), name_some(missing));
    // Layers beyond the last are prediction heads (DeepSeek's MTP); "model.layers." is where they would be.
    std::string layers;
    for (const TensorSpec& spec : table)
        if (layers.empty() && spec.hf_name.find("{}") != std::string_view::npos)
            layers = full_name(spec.hf_name.substr(0, spec.hf_name.find("{}")));
    std::vector<std::string> unknown;
    size_t others = 0, beyond = 0;
    for (const CheckpointTensor& tensor : checkpoint->tensors()) {
        if (used.contains(&tensor)) continue;
        bool skipped = false;
        for (std::string_view list : {kSkipped, hf.architecture->hf.skipped})
            for (std::string_view pattern : split_text(list, '|'))
                skipped = skipped || matches_pattern(pattern, tensor.name);
        if (skipped) continue;
        if (!layers.empty() && tensor.name.starts_with(layers) &&
            std::strtoll(tensor.name.c_str() + layers.size(), nullptr, 10) >= config.n_layers) {
            ++beyond;
        } else if (!prefix.empty() && !tensor.name.starts_with(prefix)) {
            ++others;
        } else {
            unknown.push_back(tensor.name);
        }
    }
    if (beyond > 0)
        notes.push_back(
            fmt::format("{} tensors of layers beyond the last one ({}) are left out", beyond, config.n_layers));
    if (others > 0) notes.push_back(fmt::format("{} tensors outside of the language model are left out", others));
    if (unknown.empty()) return {};
    if (!options.allow_extra)
        return fail(ErrorCode::kUnsupported, "{}: {} tensors that {} does not know: {}", path, unknown.size(),
                    hf.class_name, name_some(unknown));
    notes.push_back(fmt::format("{} unknown tensors are left out: {}", unknown.size(), name_some(unknown)));
    return {};
}

Status HfModel::Impl::write_tokenizer_keys(GgufWriter& writer) {
    STERNA_TRY(own, checkpoint->write_tokenizer(writer));
    has_tokenizer = own;
    if (own) return {};
    constexpr const char* kFiles[] = {"tokenizer.json",     "tokenizer.model",          "vocab.txt",  "vocab.json",
                                      "tokenizer.tiktoken", "rwkv_vocab_v20230424.txt", "tekken.json"};
    std::error_code problem;
    bool any = std::ranges::any_of(kFiles, [&](const char* name) { return fs::exists(folder / name, problem); });
    for (const auto& entry : fs::directory_iterator(folder, problem))
        any = any || entry.path().extension() == ".tiktoken";
    if (!any) {
        notes.push_back(fmt::format(
            "{}: no tokenizer beside the weights: the result can take token numbers only, no text", folder.string()));
        return {};
    }
    has_tokenizer = true;
    return write_tokenizer(folder.string(), config.vocab_size, writer, notes);
}

Status HfModel::Impl::open(const HfModelOptions& options) {
    std::error_code problem;
    folder = fs::is_directory(path, problem) ? fs::path(path) : fs::path(path).parent_path();
    if (folder.empty()) folder = ".";  // a file's name alone
    STERNA_TRY(opened, open_checkpoint(path));
    std::string config_text = opened->config_json();
    const std::string where = (folder / "config.json").string();
    if (config_text.empty()) {
        if (fs::exists(where, problem)) {
            STERNA_TRY(text, read_text(where, size_t(16) << 20));
            config_text = std::move(text);
        } else {
            config_text = inferred_config(*opened);
        }
        if (config_text.empty())
            return fail(ErrorCode::kNotFound, "{}: missing, and without it a checkpoint is only numbers", where);
    }
    STERNA_TRY(unpacked, unpack_checkpoint(std::move(opened), config_text));
    checkpoint = std::move(unpacked);
    auto optional_text = [&](const char* name) -> std::string {
        if (!fs::exists(folder / name, problem)) return {};
        return read_text(folder / name, size_t(1) << 20).value_or(std::string());
    };
    const std::string generation = optional_text("generation_config.json");
    const std::string pooling = optional_text("1_Pooling/config.json");
    GgufWriter writer;
    STERNA_TRY(read, read_hf_config({config_text, generation, pooling}, where, writer));
    hf = std::move(read);
    notes = std::move(hf.notes);
    std::string name = options.name;
    if (name.empty()) name = fs::weakly_canonical(folder, problem).filename().string();
    STERNA_CHECK(writer.set_string("general.name", name));

    // What was written is read again, by the same code that will read the result.
    STERNA_TRY(bytes, writer.to_bytes());
    STERNA_TRY(parsed, GgufFile::from_bytes(bytes, where));
    auto plan = plan_model(*parsed, {});
    if (!plan) return fail(plan.error().code, "{}: {}", where, plan.error().message);
    config = std::move(plan->config);
    std::vector<TensorSpec> table = hf.architecture->tensors(config);
    for (const TensorSpec& spec : table) gguf_names[spec.gguf_name] = &spec;
    STERNA_CHECK(find_prefix(table));
    STERNA_CHECK(check_head());
    for (const TensorSpec& spec : table)
        if (!is_layer_name(spec.gguf_name)) STERNA_CHECK(add(spec, -1));
    for (int64_t layer = 0; layer < config.n_layers; ++layer)
        for (const TensorSpec& spec : table)
            if (is_layer_name(spec.gguf_name) && spec.applies(config, layer)) STERNA_CHECK(add(spec, layer));
    STERNA_CHECK(check_left_over(options, table));
    gguf_names.clear();

    STERNA_CHECK(writer.set_u32(hf.name + ".vocab_size", uint32_t(config.vocab_size)));
    double n_parameters = 0;
    for (const SourceTensor& tensor : tensors) n_parameters += double(tensor.row_elements() * tensor.n_rows());
    if (config.n_experts == 0) STERNA_CHECK(writer.set_string("general.size_label", size_label(n_parameters)));
    STERNA_CHECK(write_tokenizer_keys(writer));
    STERNA_TRY(all, writer.to_bytes());
    metadata_bytes = std::move(all);
    STERNA_TRY(final_keys, GgufFile::from_bytes(metadata_bytes, where));
    metadata = std::move(final_keys);
    return {};
}

Result<std::unique_ptr<HfModel>> HfModel::open(const std::string& path, const HfModelOptions& options) {
    std::unique_ptr<HfModel> model(new HfModel);
    model->impl_->path = path;
    STERNA_CHECK(model->impl_->open(options));
    return model;
}

const Architecture& HfModel::architecture() const {
    return *impl_->hf.architecture;
}
const std::vector<std::string>& HfModel::notes() const {
    return impl_->notes;
}
bool HfModel::has_tokenizer() const {
    return impl_->has_tokenizer;
}
std::span<const SourceTensor> HfModel::tensors() const {
    return impl_->tensors;
}
uint64_t HfModel::source_bytes() const {
    return impl_->n_source_bytes;
}

Status HfModel::write_metadata(GgufWriter& writer) const {
    for (const GgufValue& value : impl_->metadata->values()) STERNA_CHECK(writer.set_value(value));
    return {};
}

// Computed when it is first asked for; other threads wait.
Result<float> HfModel::Impl::scale_of(const CheckpointTensor* tensor) const {
    Scale& scale = *scales.at(tensor);
    std::call_once(scale.once, [&] { scale.value = ternary_scale(*checkpoint, *tensor); });
    return scale.value;
}

Status HfModel::read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const {
    const Impl::Made& made = impl_->made[size_t(&tensor - impl_->tensors.data())];
    to = to.first(size_t(n * tensor.row_elements()));
    if (made.scale_of) {
        STERNA_TRY(scale, impl_->scale_of(made.scale_of));
        to[0] = scale;
        return {};
    }
    if (!made.values.empty()) {
        std::ranges::copy(made.values, to.begin());
        return {};
    }
    STERNA_CHECK(make_rows(*impl_->checkpoint, made.recipe, first, n, to));
    if (made.recipe.change == Change::kTernaryScale) {
        STERNA_TRY(scale, impl_->scale_of(made.recipe.parts[0]));
        make_ternary_values(to, scale);
    }
    return {};
}

void HfModel::release(const SourceTensor& tensor) const {
    for (const CheckpointTensor* part : impl_->made[size_t(&tensor - impl_->tensors.data())].recipe.parts)
        impl_->checkpoint->release(*part);
}

// Every file that may matter, by name, size and time of change.
std::string HfModel::identity() const {
    std::vector<std::string> facts;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(impl_->folder, problem)) {
        const std::string extension = entry.path().extension().string();
        constexpr std::string_view kKinds =
            "|.safetensors|.bin|.pt|.pth|.onnx|.onnx_data|.data|.json|.model|.txt|.jinja|";
        if (extension.empty() || kKinds.find("|" + extension + "|") == std::string_view::npos) continue;
        facts.push_back(fmt::format("{}:{}:{}", entry.path().string(), fs::file_size(entry.path(), problem),
                                    fs::last_write_time(entry.path(), problem).time_since_epoch().count()));
    }
    std::ranges::sort(facts);
    return impl_->path + "\n" + join_text(facts, "\n");
}

}  // namespace sterna
