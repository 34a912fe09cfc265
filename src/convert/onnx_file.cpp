// Weights from an ONNX graph. Exporters keep the names of most parameters, but a matrix that a MatMul multiplies by is
// stored transposed under a number ("onnx::MatMul_123"): its name is recovered from the node's scope,
// "/model/layers.3/self_attn/q_proj/MatMul" -> "model.layers.3.self_attn.q_proj.weight", or from the modules that the
// exporter noted beside the node, and its shape turned back.
// Followed on the way from a node to its weight: Identity, Cast, Transpose, DequantizeLinear (per tensor, per axis,
// blocked); understood besides: MatMulInteger of ONNX Runtime's dynamic quantization, and MatMulNBits.
//
// MatMulNBits   B u8 [out, blocks, block * bits / 8], low bits first; scales [out * blocks]; zero points the same in
//               floats, or packed per output in whole bytes; absent: 2^(bits - 1)
// Sources: the operator documentation of ONNX and ONNX Runtime's contrib operators.

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <unordered_map>

#include "base/mapped_file.h"
#include "base/printable.h"
#include "convert/listed_checkpoint.h"
#include "convert/readers.h"
#include "convert/unpack.h"
#include "format/onnx.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxExternalFiles = size_t(1) << 16;
constexpr int kMostSteps = 16;  // from a node back to its weight

// How the values of a shown tensor come out of the file's.
struct Recipe {
    const OnnxTensor* tensor = nullptr;
    bool transposed = false;  // shown[r][c] = tensor[c][r]
    // Not null: (value - zero) * scale, with one scale for all, or one per position of `axis` (of the file's tensor),
    // or per block of positions of it.
    const OnnxTensor* scale = nullptr;
    const OnnxTensor* zero = nullptr;
    int64_t axis = 0, block = 0;
    // MatMulNBits.
    int64_t bits = 0, outputs = 0, inputs = 0;
};

float number_at(const OnnxTensor& tensor, int64_t at) {
    if (tensor.nibbles != OnnxNibbles::kNone) {
        const int nibble = (tensor.data[size_t(at / 2)] >> (at % 2 * 4)) & 15;
        return float(tensor.nibbles == OnnxNibbles::kSigned && nibble > 7 ? nibble - 16 : nibble);
    }
    float value;
    read_elements(*tensor.type, tensor.data, at, std::span(&value, 1));
    return value;
}

bool has_data(const OnnxTensor* tensor) {
    return tensor && tensor->type && tensor->data.size() == tensor->wanted_bytes();
}

// A name that a module's parameter may have: "model.norm.weight", not "onnx::MatMul_12" or "/model/Constant_3".
bool is_parameter_name(std::string_view name) {
    return !name.contains("::") && !name.contains('/') && (name.ends_with(".weight") || name.ends_with(".bias")) &&
           !name.ends_with(".MatMul.weight");
}

class OnnxCheckpoint final : public ListedCheckpoint {
public:
    OnnxCheckpoint(std::string path, MappedFile file) : path_(std::move(path)), file_(std::move(file)) {}

    Status parse() {
        STERNA_TRY(graph, parse_onnx(file_.bytes(), path_));
        graph_ = std::move(graph);
        for (OnnxTensor& tensor : graph_.tensors) {
            if (tensor.external && tensor.type) STERNA_CHECK(map_external(tensor));
            by_name_.emplace(tensor.name, &tensor);
        }
        for (const OnnxNode& node : graph_.nodes) {
            for (std::string_view output : node.outputs) made_by_.emplace(output, &node);
        }
        for (const OnnxNode& node : graph_.nodes) STERNA_CHECK(note_node(node));
        for (const OnnxTensor& tensor : graph_.tensors) {
            if (!is_parameter_name(tensor.name) || named_.contains(plain_name(tensor.name)) || !has_data(&tensor))
                continue;
            STERNA_CHECK(note(std::string(tensor.name), Recipe{.tensor = &tensor}));
        }
        strip_wrapper();
        for (auto& [name, recipe] : named_) STERNA_CHECK(show(name, recipe));
        if (tensors_.empty()) return fail(ErrorCode::kUnsupported, "{}: holds no weights", path_);
        return index_names(path_);
    }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const Recipe& recipe = recipes_[position(tensor)];
        if (!recipe.transposed && !recipe.scale && recipe.tensor->nibbles == OnnxNibbles::kNone) {
            read_elements(*recipe.tensor->type, recipe.tensor->data, first, to);
            return {};
        }
        const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
        return read_as_rectangles(columns, first, to,
                                  [&](int64_t row, int64_t n_rows, int64_t column, int64_t n_columns, float* values) {
                                      if (recipe.bits > 0) {
                                          read_packed(recipe, row, n_rows, column, n_columns, values);
                                      } else {
                                          read_plain(recipe, row, n_rows, column, n_columns, values);
                                      }
                                      return Status();
                                  });
    }

private:
    // ---- Where the bytes are.

    Status map_external(OnnxTensor& tensor) {
        const fs::path location(tensor.location);
        // By its letters only: hubs link the files of a folder to a store elsewhere.
        bool leaves = location.empty() || location.is_absolute() || tensor.location.contains('\\') ||
                      tensor.location.contains('\0');
        for (const fs::path& part : location) leaves = leaves || part == "..";
        if (leaves)
            return fail(ErrorCode::kBadFile, "{}: tensor {}: external data in '{}', outside the folder", path_,
                        printable(tensor.name), printable(tensor.location));
        const std::string path = (fs::path(path_).parent_path() / location).string();
        auto at = external_.find(path);
        if (at == external_.end()) {
            if (external_.size() >= kMaxExternalFiles)
                return fail(ErrorCode::kLimit, "{}: more than {} external files", path_, kMaxExternalFiles);
            STERNA_TRY(file, MappedFile::open(path));
            at = external_.emplace(path, std::move(file)).first;
        }
        const Bytes bytes = at->second.bytes();
        const uint64_t wanted = tensor.wanted_bytes();
        if (tensor.offset > bytes.size() || wanted > bytes.size() - tensor.offset ||
            (tensor.length != 0 && tensor.length != wanted))
            return fail(ErrorCode::kBadFile, "{}: tensor {} {}: {} bytes at byte {} of {}, which has {}", path_,
                        printable(tensor.name), shape_text(tensor.shape), tensor.length ? tensor.length : wanted,
                        tensor.offset, printable(tensor.location), bytes.size());
        tensor.data = bytes.subspan(size_t(tensor.offset), size_t(wanted));
        return {};
    }

    const OnnxTensor* tensor_named(std::string_view name) const {
        const auto at = by_name_.find(name);
        return at != by_name_.end() && has_data(at->second) ? at->second : nullptr;
    }

    // ---- What the nodes say.

    // Back from a value to the weight it comes from. Returns: nothing when it comes from elsewhere.
    std::optional<Recipe> follow(std::string_view value) const {
        Recipe recipe;
        for (int step = 0; step < kMostSteps; ++step) {
            if (const OnnxTensor* tensor = tensor_named(value)) {
                recipe.tensor = tensor;
                return recipe;
            }
            const auto at = made_by_.find(value);
            if (at == made_by_.end() || at->second->inputs.empty()) return std::nullopt;
            const OnnxNode& node = *at->second;
            if (node.op == "Transpose") {
                const std::vector<int64_t>* order = node.integers("perm");
                if (order && *order != std::vector<int64_t>{1, 0}) return std::nullopt;
                recipe.transposed = !recipe.transposed;
            } else if (node.op == "DequantizeLinear" && !recipe.scale && node.inputs.size() >= 2) {
                recipe.scale = tensor_named(node.inputs[1]);
                recipe.zero = node.inputs.size() > 2 ? tensor_named(node.inputs[2]) : nullptr;
                recipe.axis = node.integer("axis", 1);
                recipe.block = node.integer("block_size", 0);
                if (!recipe.scale) return std::nullopt;
            } else if (node.op != "Identity" && node.op != "Cast") {
                return std::nullopt;
            }
            value = node.inputs[0];
        }
        return std::nullopt;
    }

    Status note_node(const OnnxNode& node) {
        if (node.inputs.size() < 2) return {};
        if (node.op == "MatMulNBits") return note_packed(node);
        if (node.op == "MatMul" || node.op == "Gemm") {
            std::optional<Recipe> recipe = follow(node.inputs[1]);
            if (!recipe || recipe->tensor->shape.size() != 2) return {};
            if (node.op == "Gemm" && node.integer("transB", 0) != 0) recipe->transposed = !recipe->transposed;
            return note_matrix(node, *recipe);
        }
        if (node.op == "MatMulInteger") {
            // X_quantized, X_scale and X_zero_point are the names that ONNX Runtime gives.
            constexpr std::string_view kEnd = "_quantized";
            Recipe recipe{.tensor = tensor_named(node.inputs[1])};
            if (!recipe.tensor || recipe.tensor->shape.size() != 2 || !recipe.tensor->name.ends_with(kEnd)) return {};
            const std::string base(recipe.tensor->name.substr(0, recipe.tensor->name.size() - kEnd.size()));
            recipe.scale = tensor_named(base + "_scale");
            recipe.zero = node.inputs.size() > 3 ? tensor_named(node.inputs[3]) : nullptr;
            recipe.axis = 1;
            if (!recipe.scale)
                return fail(ErrorCode::kUnsupported, "{}: {}: quantized without {}_scale", path_,
                            printable(recipe.tensor->name), printable(base));
            return note_matrix(node, recipe);
        }
        if (node.op == "Gather") {
            const std::optional<Recipe> recipe = follow(node.inputs[0]);
            if (!recipe || recipe->tensor->shape.size() != 2 || !is_float(*recipe)) return {};
            const std::string own = parameter_of(recipe->tensor->name);
            if (!own.empty()) return note(own, *recipe);
            const std::string scope = scope_name(node);
            if (scope.contains("embed") || scope.contains("wte")) return note(scope + ".weight", *recipe);
        }
        return {};
    }

    static bool is_float(const Recipe& recipe) {
        const ElementType type = *recipe.tensor->type;
        return recipe.scale || type == ElementType::kF32 || type == ElementType::kF16 || type == ElementType::kBF16 ||
               type == ElementType::kF64;
    }

    // The parameter that an initializer was made from; empty when its name does not say.
    static std::string parameter_of(std::string_view name) {
        for (std::string_view end : {"_quantized", "_transposed"}) {
            if (name.ends_with(end)) name.remove_suffix(end.size());
        }
        return is_parameter_name(name) ? std::string(name) : std::string();
    }

    // recipe: the matrix as multiplied by, [in, out], unless a transposition leads to it.
    Status note_matrix(const OnnxNode& node, Recipe recipe) {
        if (!is_float(recipe)) return {};
        // Under its own name a parameter has its own shape, too: [out, in], or a Conv1D's [in, out].
        const std::string own = parameter_of(recipe.tensor->name);
        if (!own.empty() && !recipe.tensor->name.ends_with("_transposed")) {
            recipe.transposed = false;
            return note(own, recipe);
        }
        const std::string scope = own.empty() ? scope_name(node) : own.substr(0, own.size() - 7);
        if (scope.empty() || scope.contains("rotary")) return {};
        recipe.transposed = !recipe.transposed;
        return note(scope + ".weight", recipe);
    }

    Status note_packed(const OnnxNode& node) {
        Recipe recipe{.tensor = tensor_named(node.inputs[1])};
        const std::string scope = scope_name(node);
        auto broken = [&](std::string_view what) {
            return fail(ErrorCode::kUnsupported, "{}: MatMulNBits {}: {}", path_, printable(node.name), what);
        };
        if (!recipe.tensor || scope.empty() || node.inputs.size() < 3) return broken("without weights or a scope");
        recipe.scale = tensor_named(node.inputs[2]);
        recipe.zero = node.inputs.size() > 3 && !node.inputs[3].empty() ? tensor_named(node.inputs[3]) : nullptr;
        recipe.bits = node.integer("bits", 4);
        recipe.outputs = node.integer("N", 0);
        recipe.inputs = node.integer("K", 0);
        recipe.block = node.integer("block_size", 0);
        constexpr int64_t kMost = int64_t(1) << 31;
        if (recipe.bits != 4 && recipe.bits != 8 && recipe.bits != 2) return broken("neither 2, 4 nor 8 bits");
        if (recipe.outputs < 1 || recipe.outputs > kMost || recipe.inputs < 1 || recipe.inputs > kMost ||
            recipe.block < 16 || recipe.block > kMost || recipe.block % 8 != 0)
            return broken("its sizes make no matrix");
        if (node.inputs.size() > 4 && !node.inputs[4].empty()) return broken("inputs out of order are not read");
        const int64_t blocks = blocks_of(recipe);
        // Both factors are below 2^32, and a file has no 2^62 bytes.
        const uint64_t n_blocks = uint64_t(recipe.outputs) * uint64_t(blocks);
        const uint64_t block_bytes = uint64_t(recipe.block * recipe.bits / 8), size = recipe.tensor->data.size();
        if (recipe.tensor->type != ElementType::kU8 || recipe.tensor->nibbles != OnnxNibbles::kNone ||
            size % n_blocks != 0 || size / n_blocks != block_bytes || !recipe.scale ||
            uint64_t(element_count(recipe.scale->shape)) != n_blocks)
            return broken("its weights or scales are of another size");
        if (recipe.zero) {
            const bool bytes = recipe.zero->type == ElementType::kU8;
            const int64_t wanted = recipe.outputs * (bytes ? (blocks * recipe.bits + 7) / 8 : blocks);
            if (element_count(recipe.zero->shape) != wanted) return broken("its zero points are of another size");
        }
        return note(scope + ".weight", recipe);
    }

    // The innermost module around an operation: "['', 'model', 'model.lm_head', 'linear_14']" -> "model.lm_head".
    static std::string innermost_module(std::string_view scopes) {
        const size_t own = scopes.rfind(", '");
        if (own == scopes.npos || own < 2 || scopes[own - 1] != '\'') return {};
        const size_t start = scopes.rfind('\'', own - 2);
        if (start == scopes.npos) return {};
        return std::string(scopes.substr(start + 1, own - start - 2));
    }

    // "/model/layers.3/self_attn/q_proj/MatMul" -> "model.layers.3.self_attn.q_proj"
    static std::string scope_name(const OnnxNode& node) {
        if (!node.module_scopes.empty()) return innermost_module(node.module_scopes);
        std::string_view name = node.name;
        const size_t end = name.rfind('/');
        if (end == name.npos || end == 0) return {};
        name = name.substr(0, end);
        if (name.starts_with('/')) name.remove_prefix(1);
        std::string scope(name);
        std::ranges::replace(scope, '/', '.');
        return scope;
    }

    // The names of ONNX Runtime's builder, in Hugging Face's words.
    static std::string plain_name(std::string_view from) {
        std::string name(from);
        auto replace = [&](std::string_view what, std::string_view by) {
            if (const size_t at = name.find(what); at != name.npos) name.replace(at, what.size(), by);
        };
        if (name.starts_with("model.layers.")) {
            replace(".attn.", ".self_attn.");
            if (name.ends_with(".final_norm_layernorm.weight")) name = "model.norm.weight";
        }
        replace(".Add.bias", ".bias");
        return name;
    }

    Status note(const std::string& name, const Recipe& recipe) {
        const auto [at, added] = named_.emplace(plain_name(name), recipe);
        if (!added && at->second.tensor != recipe.tensor)
            return fail(ErrorCode::kUnsupported, "{}: two weights for {}: {} and {}", path_, printable(name),
                        printable(at->second.tensor->name), printable(recipe.tensor->name));
        return {};
    }

    // A module around the model puts its name before all others: "wrapped.model.layers.0..." -> "model.layers.0...".
    void strip_wrapper() {
        std::string prefix;
        for (const auto& [name, recipe] : named_) {
            for (std::string_view start : {"model.layers.0.", "transformer.h.0.", "gpt_neox.layers.0."}) {
                if (const size_t at = name.find(start); at != name.npos && at > 0) prefix = name.substr(0, at);
            }
        }
        if (prefix.empty() || prefix.back() != '.') return;
        std::map<std::string, Recipe> stripped;
        for (const auto& [name, recipe] : named_)
            stripped.emplace(name.starts_with(prefix) ? name.substr(prefix.size()) : name, recipe);
        named_ = std::move(stripped);
    }

    // ---- What is shown.

    static int64_t blocks_of(const Recipe& recipe) { return (recipe.inputs + recipe.block - 1) / recipe.block; }

    Status show(const std::string& name, Recipe& recipe) {
        CheckpointTensor shown{name, recipe.tensor->shape, element_exact(*recipe.tensor->type), {}};
        if (recipe.bits > 0) {
            shown.shape = {recipe.outputs, recipe.inputs};
            shown.exact = packed_exact(recipe);
        } else {
            if (recipe.transposed) std::swap(shown.shape[0], shown.shape[1]);
            if (recipe.scale) {
                shown.exact = DType::kF32;
                STERNA_CHECK(check_scales(name, recipe));
            } else if (!recipe.transposed && element_is_stored(*recipe.tensor->type)) {
                shown.stored = recipe.tensor->data;
            }
        }
        tensors_.push_back(std::move(shown));
        recipes_.push_back(recipe);
        return {};
    }

    Status check_scales(const std::string& name, Recipe& recipe) const {
        const std::vector<int64_t>& shape = recipe.tensor->shape;
        const int64_t n = element_count(recipe.scale->shape);
        if (recipe.axis < 0) recipe.axis += int64_t(shape.size());
        int64_t wanted = 1;
        if (n != 1) {
            if (recipe.axis < 0 || recipe.axis > 1 || shape.size() != 2 || recipe.block < 0) wanted = -1;
            if (wanted > 0 && recipe.block > 0) {
                const int64_t along = (shape[size_t(recipe.axis)] + recipe.block - 1) / recipe.block;
                wanted = along * shape[size_t(1 - recipe.axis)];
            } else if (wanted > 0) {
                wanted = shape[size_t(recipe.axis)];
            }
        }
        if (n != wanted || (recipe.zero && element_count(recipe.zero->shape) != n))
            return fail(ErrorCode::kBadFile, "{}: {} {} with scales {} along dimension {}", path_, printable(name),
                        shape_text(shape), shape_text(recipe.scale->shape), recipe.axis);
        if (n == 1) recipe.axis = -1;
        return {};
    }

    // Blocks of 32, scales that are halves, and the middle as zero point: GGUF has that.
    static DType packed_exact(const Recipe& recipe) {
        if (recipe.block % 32 != 0 || recipe.inputs % 32 != 0 || recipe.bits == 2) return DType::kF32;
        const int64_t blocks = blocks_of(recipe);
        for (int64_t at = 0; at < recipe.outputs * blocks; ++at) {
            if (!is_half(number_at(*recipe.scale, at))) return DType::kF32;
            if (packed_zero(recipe, at / blocks, at % blocks) != float(1 << (recipe.bits - 1))) return DType::kF32;
        }
        return recipe.bits == 4 ? DType::kQ4_0 : DType::kQ8_0;
    }

    static uint32_t bits_at(const uint8_t* bytes, int64_t index, int64_t bits) {
        return uint32_t(bytes[index * bits / 8] >> (index * bits % 8)) & ((1u << bits) - 1);
    }

    static float packed_zero(const Recipe& recipe, int64_t output, int64_t block) {
        if (!recipe.zero) return float(1 << (recipe.bits - 1));
        const int64_t blocks = blocks_of(recipe);
        if (*recipe.zero->type != ElementType::kU8) return number_at(*recipe.zero, output * blocks + block);
        const int64_t row_bytes = (blocks * recipe.bits + 7) / 8;
        return float(bits_at(recipe.zero->data.data() + output * row_bytes, block, recipe.bits));
    }

    static void read_packed(const Recipe& recipe, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns,
                            float* to) {
        const int64_t blocks = blocks_of(recipe), block_bytes = recipe.block * recipe.bits / 8;
        for (int64_t r = row; r < row + n_rows; ++r) {
            for (int64_t c = column; c < column + n_columns;) {
                const int64_t block = c / recipe.block, end = std::min((block + 1) * recipe.block, column + n_columns);
                const uint8_t* bytes = recipe.tensor->data.data() + (r * blocks + block) * block_bytes;
                const float scale = number_at(*recipe.scale, r * blocks + block), zero = packed_zero(recipe, r, block);
                for (; c < end; ++c)
                    *to++ = (float(bits_at(bytes, c - block * recipe.block, recipe.bits)) - zero) * scale;
            }
        }
    }

    static void read_plain(const Recipe& recipe, int64_t row, int64_t n_rows, int64_t column, int64_t n_columns,
                           float* to) {
        const std::vector<int64_t>& shape = recipe.tensor->shape;
        const int64_t width = shape.empty() ? 1 : shape.back();
        // In the order of the file: a transposed column is a run there.
        const int64_t outer = recipe.transposed ? n_columns : n_rows, inner = recipe.transposed ? n_rows : n_columns;
        const int64_t outer_at = recipe.transposed ? column : row, inner_at = recipe.transposed ? row : column;
        std::vector<float> run(static_cast<size_t>(inner));
        for (int64_t a = 0; a < outer; ++a) {
            const int64_t at = (outer_at + a) * width + inner_at;
            if (recipe.tensor->nibbles == OnnxNibbles::kNone) {
                read_elements(*recipe.tensor->type, recipe.tensor->data, at, run);
            } else {
                for (int64_t b = 0; b < inner; ++b) run[size_t(b)] = number_at(*recipe.tensor, at + b);
            }
            for (int64_t b = 0; b < inner; ++b) {
                float value = run[size_t(b)];
                if (recipe.scale) {
                    const int64_t index = scale_index(recipe, outer_at + a, inner_at + b);
                    if (recipe.zero) value -= number_at(*recipe.zero, index);
                    value *= number_at(*recipe.scale, index);
                }
                to[recipe.transposed ? b * n_columns + a : a * n_columns + b] = value;
            }
        }
    }

    static int64_t scale_index(const Recipe& recipe, int64_t row, int64_t column) {
        if (recipe.axis < 0) return 0;
        const std::vector<int64_t>& shape = recipe.tensor->shape;
        if (recipe.block == 0) return recipe.axis == 0 ? row : column;
        if (recipe.axis == 0) return row / recipe.block * shape[1] + column;
        return row * ((shape[1] + recipe.block - 1) / recipe.block) + column / recipe.block;
    }

    std::string path_;
    MappedFile file_;
    std::map<std::string, MappedFile> external_;
    OnnxGraph graph_;
    std::unordered_map<std::string_view, const OnnxTensor*> by_name_;
    std::unordered_map<std::string_view, const OnnxNode*> made_by_;
    std::map<std::string, Recipe> named_;
    std::vector<Recipe> recipes_;
};

// The decoder among the files of a folder.
Result<std::string> model_in(const std::string& folder) {
    std::error_code problem;
    for (const char* name : {"model.onnx", "decoder_model.onnx", "decoder_model_merged.onnx"}) {
        const fs::path path = fs::path(folder) / name;
        if (fs::exists(path, problem)) return path.string();
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder, problem)) {
        if (entry.path().extension() == ".onnx") found.push_back(entry.path().string());
    }
    if (found.size() != 1)
        return fail(ErrorCode::kBadArgument, "{}: {} ONNX files, none called model.onnx: name the one to read", folder,
                    found.size());
    return found[0];
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_onnx(const std::string& path) {
    std::error_code problem;
    std::string model = path;
    if (fs::is_directory(path, problem)) {
        STERNA_TRY(found, model_in(path));
        model = std::move(found);
    }
    STERNA_TRY(file, MappedFile::open(model));
    auto checkpoint = std::make_unique<OnnxCheckpoint>(model, std::move(file));
    STERNA_CHECK(checkpoint->parse());
    return checkpoint;
}

}  // namespace sterna
