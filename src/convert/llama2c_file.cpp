// Checkpoints of llama2.c. All little-endian; the names in brackets are the sizes of the header.
//
//   version 0   i32 dim, hidden, layers, heads, kv_heads, vocab (negative: a separate output matrix), seq_len; then F32:
//               embedding [vocab, dim], attention norms [layers, dim], wq [layers, dim, dim], wk and wv
//               [layers, kv_dim, dim], wo, ffn norms, w1 (gate) [layers, hidden, dim], w2 (down) [layers, dim, hidden],
//               w3 (up), final norm, two tables [seq_len, head / 2] that nobody needs, the output matrix
//   version 1   u32 0x616b3432, i32 1, the seven sizes, u8 shared output; from byte 256, F32: attention norms, ffn norms,
//               final norm, embedding, wq, wk, wv, wo, w1, w2, w3, the output matrix unless shared
//   version 2   i32 2, and after the shared byte i32 group; norms as in version 1; then each matrix of each layer as int8
//               values followed by one F32 scale per group of values
//
// The rows of wq and wk come in Meta's order (pairs side by side); they are shown in Hugging Face's (halves).
// tokenizer.bin: i32 longest piece; per token F32 score, i32 length, bytes. The number of tokens is the vocabulary's.
// Source: export.py and run.c of llama2.c, as described in its README.

#include <cstring>
#include <filesystem>
#include <limits>

#include "base/mapped_file.h"
#include "tensor/element_type.h"
#include "convert/listed_checkpoint.h"
#include "convert/llama2c_file.h"
#include "convert/readers.h"
#include "format/gguf.h"

namespace sterna {

namespace {

constexpr uint32_t kMagic = 0x616b3432;
constexpr size_t kHeaderBytes = 256;  // of versions 1 and 2
constexpr int64_t kMostLayers = 1024;
constexpr int64_t kMostExtent = int64_t(1) << 24;  // of a dimension
constexpr int64_t kMostPieceBytes = 4096;

struct Sizes {
    int64_t dim, hidden, layers, heads, kv_heads, vocab, seq_len;
    bool shared = true;
    int64_t group = 0;  // of version 2
    int version = 0;

    int64_t head() const { return dim / heads; }
    int64_t kv_dim() const { return head() * kv_heads; }
};

// Where a tensor lies, and what must be done to it.
struct Place {
    size_t at = 0;
    size_t scales_at = 0;       // of version 2
    int64_t permuted_head = 0;  // above 0: rows are permuted within heads of this many rows
    bool quantized = false;
};

class Llama2c final : public ListedCheckpoint {
public:
    Llama2c(std::string path, Bytes bytes) : path_(std::move(path)), bytes_(bytes) {}

    Status parse() {
        STERNA_CHECK(parse_sizes());
        STERNA_CHECK(sizes_.version == 0 ? lay_out_version_0() : lay_out_later());
        if (at_ != bytes_.size())
            return fail(ErrorCode::kBadFile, "{}: {} bytes, but its header describes {}", path_, bytes_.size(), at_);
        return index_names(path_);
    }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const Place& place = places_[position(tensor)];
        if (place.permuted_head == 0) {
            read_run(place, first, to);
            return {};
        }
        // Row j of a head's first half is the file's row 2j, row j of the second half 2j + 1.
        const int64_t columns = tensor.shape[1], half = place.permuted_head / 2;
        for (size_t done = 0; done < to.size();) {
            const int64_t element = first + int64_t(done), row = element / columns, column = element % columns;
            const int64_t in_head = row % place.permuted_head;
            const int64_t source = row - in_head + 2 * (in_head % half) + in_head / half;
            const size_t n = std::min(size_t(columns - column), to.size() - done);
            read_run(place, source * columns + column, to.subspan(done, n));
            done += n;
        }
        return {};
    }

    std::string config_json() const override {
        return fmt::format(
            R"({{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": {}, )"
            R"("intermediate_size": {}, "num_hidden_layers": {}, "num_attention_heads": {}, "num_key_value_heads": {}, )"
            R"("vocab_size": {}, "max_position_embeddings": {}, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, )"
            R"("hidden_act": "silu", "tie_word_embeddings": {}, "bos_token_id": 1, "eos_token_id": 2, )"
            R"("torch_dtype": "float32"}})",
            sizes_.dim, sizes_.hidden, sizes_.layers, sizes_.heads, sizes_.kv_heads, sizes_.vocab, sizes_.seq_len,
            sizes_.shared);
    }

    Result<bool> write_tokenizer(GgufWriter& writer) const override {
        // The repository's own names: tokenizer.bin for the 32,000 pieces of Llama 2, tok512.bin for a vocabulary of 512.
        const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
        for (const std::string& name : {fmt::format("tok{}.bin", sizes_.vocab), std::string("tokenizer.bin")}) {
            const std::string candidate = (folder / name).string();
            std::error_code ignored;
            if (!std::filesystem::is_regular_file(candidate, ignored)) continue;
            STERNA_TRY(file, MappedFile::open(candidate));
            STERNA_CHECK(write_llama2c_tokenizer(candidate, file.bytes(), sizes_.vocab, writer));
            return true;
        }
        return false;
    }

    void own(MappedFile file) { file_.emplace(std::move(file)); }
    void release(const CheckpointTensor& tensor) const override {
        if (file_) file_->release(bytes_.subspan(places_[position(tensor)].at, stored_bytes(tensor)));
    }

private:
    Status parse_sizes() {
        ByteReader reader(bytes_);
        const auto magic = reader.read<uint32_t>();
        if (magic && *magic == kMagic) {
            const auto version = reader.read<int32_t>();
            if (!version || (*version != 1 && *version != 2))
                return fail(ErrorCode::kUnsupported, "{}: llama2.c version {}, expected 1 or 2", path_,
                            version.value_or(0));
            sizes_.version = *version;
        } else {
            reader = ByteReader(bytes_);
        }
        int64_t* const fields[] = {&sizes_.dim,      &sizes_.hidden, &sizes_.layers, &sizes_.heads,
                                   &sizes_.kv_heads, &sizes_.vocab,  &sizes_.seq_len};
        for (int64_t* field : fields) {
            const auto value = reader.read<int32_t>();
            if (!value) return fail(ErrorCode::kBadFile, "{}: ends in its header", path_);
            *field = *value;
        }
        if (sizes_.version == 0) {
            sizes_.shared = sizes_.vocab > 0;
            if (sizes_.vocab < 0) sizes_.vocab = -sizes_.vocab;
            at_ = reader.position();
        } else {
            const auto shared = reader.read<uint8_t>();
            const auto group = sizes_.version == 2 ? reader.read<int32_t>() : 1;
            if (!shared || !group || bytes_.size() < kHeaderBytes)
                return fail(ErrorCode::kBadFile, "{}: ends in its header", path_);
            sizes_.shared = *shared != 0;
            sizes_.group = *group;
            if (sizes_.group < 1) return fail(ErrorCode::kBadFile, "{}: groups of {} values", path_, sizes_.group);
            at_ = kHeaderBytes;
        }
        for (int64_t* field : fields) {
            if (*field < 1 || *field > kMostExtent)
                return fail(ErrorCode::kBadFile, "{}: not a llama2.c checkpoint: size {} among the seven of its header",
                            path_, *field);
        }
        if (sizes_.layers > kMostLayers)
            return fail(ErrorCode::kLimit, "{}: {} layers, at most {}", path_, sizes_.layers, kMostLayers);
        if (sizes_.dim % sizes_.heads != 0 || sizes_.heads % sizes_.kv_heads != 0 || sizes_.head() % 2 != 0)
            return fail(ErrorCode::kBadFile, "{}: {} heads of {} values, {} of them for keys", path_, sizes_.heads,
                        sizes_.dim, sizes_.kv_heads);
        return {};
    }

    // The kinds of tensors of a layer, under Hugging Face's names.
    struct Kind {
        const char* name;
        int64_t rows, columns;  // columns 0: a vector
        int64_t permuted_head;
    };

    Status add(std::string name, std::vector<int64_t> shape, int64_t permuted_head, bool quantized) {
        const int64_t n = element_count(shape);  // at most 2^48
        Place place{at_, 0, permuted_head, quantized};
        if (quantized) {
            if (n % sizes_.group != 0)
                return fail(ErrorCode::kBadFile, "{}: {} values of {} in groups of {}", path_, n, name, sizes_.group);
            place.scales_at = at_ + size_t(n);
        }
        const uint64_t size = quantized ? uint64_t(n) + uint64_t(n / sizes_.group) * 4 : uint64_t(n) * 4;
        if (size > bytes_.size() - at_)
            return fail(ErrorCode::kBadFile, "{}: ends at byte {}, within {} {}", path_, bytes_.size(), name,
                        shape_text(shape));
        CheckpointTensor tensor{std::move(name), std::move(shape), DType::kF32, {}};
        if (!quantized && permuted_head == 0) tensor.stored = bytes_.subspan(at_, size_t(size));
        at_ += size_t(size);
        tensors_.push_back(std::move(tensor));
        places_.push_back(place);
        return {};
    }

    Status add_layers(const Kind& kind, bool quantized = false) {
        for (int64_t layer = 0; layer < sizes_.layers; ++layer) {
            std::vector<int64_t> shape = {kind.rows};
            if (kind.columns > 0) shape.push_back(kind.columns);
            STERNA_CHECK(add(fmt::format("model.layers.{}.{}.weight", layer, kind.name), std::move(shape),
                             kind.permuted_head, quantized));
        }
        return {};
    }

    Kind attention_norm() const { return {"input_layernorm", sizes_.dim, 0, 0}; }
    Kind ffn_norm() const { return {"post_attention_layernorm", sizes_.dim, 0, 0}; }
    std::vector<Kind> attention() const {
        return {{"self_attn.q_proj", sizes_.dim, sizes_.dim, sizes_.head()},
                {"self_attn.k_proj", sizes_.kv_dim(), sizes_.dim, sizes_.head()},
                {"self_attn.v_proj", sizes_.kv_dim(), sizes_.dim, 0},
                {"self_attn.o_proj", sizes_.dim, sizes_.dim, 0}};
    }
    std::vector<Kind> feed_forward() const {
        return {{"mlp.gate_proj", sizes_.hidden, sizes_.dim, 0},
                {"mlp.down_proj", sizes_.dim, sizes_.hidden, 0},
                {"mlp.up_proj", sizes_.hidden, sizes_.dim, 0}};
    }

    Status lay_out_version_0() {
        STERNA_CHECK(add("model.embed_tokens.weight", {sizes_.vocab, sizes_.dim}, 0, false));
        STERNA_CHECK(add_layers(attention_norm()));
        for (const Kind& kind : attention()) STERNA_CHECK(add_layers(kind));
        STERNA_CHECK(add_layers(ffn_norm()));
        for (const Kind& kind : feed_forward()) STERNA_CHECK(add_layers(kind));
        STERNA_CHECK(add("model.norm.weight", {sizes_.dim}, 0, false));
        const uint64_t tables = uint64_t(sizes_.seq_len) * uint64_t(sizes_.head() / 2) * 2 * 4;
        if (tables > bytes_.size() - at_)
            return fail(ErrorCode::kBadFile, "{}: ends at byte {}, within its rotary tables", path_, bytes_.size());
        at_ += size_t(tables);
        if (!sizes_.shared) STERNA_CHECK(add("lm_head.weight", {sizes_.vocab, sizes_.dim}, 0, false));
        return {};
    }

    Status lay_out_later() {
        const bool quantized = sizes_.version == 2;
        STERNA_CHECK(add_layers(attention_norm()));
        STERNA_CHECK(add_layers(ffn_norm()));
        STERNA_CHECK(add("model.norm.weight", {sizes_.dim}, 0, false));
        STERNA_CHECK(add("model.embed_tokens.weight", {sizes_.vocab, sizes_.dim}, 0, quantized));
        for (const Kind& kind : attention()) STERNA_CHECK(add_layers(kind, quantized));
        for (const Kind& kind : feed_forward()) STERNA_CHECK(add_layers(kind, quantized));
        if (!sizes_.shared) STERNA_CHECK(add("lm_head.weight", {sizes_.vocab, sizes_.dim}, 0, quantized));
        return {};
    }

    size_t stored_bytes(const CheckpointTensor& tensor) const {
        return size_t(tensor.n_elements()) * (places_[position(tensor)].quantized ? 1 : 4);
    }

    void read_run(const Place& place, int64_t first, std::span<float> to) const {
        if (!place.quantized) return read_elements(ElementType::kF32, bytes_.subspan(place.at), first, to);
        read_elements(ElementType::kI8, bytes_.subspan(place.at), first, to);
        for (size_t i = 0; i < to.size(); ++i) {
            const size_t group = size_t((first + int64_t(i)) / sizes_.group);
            to[i] *= load_le<float>(bytes_.data() + place.scales_at + group * 4);
        }
    }

    std::string path_;
    std::optional<MappedFile> file_;
    Bytes bytes_;
    Sizes sizes_{};
    size_t at_ = 0;
    std::vector<Place> places_;
};

// What a token of the file is called in GGUF.
std::string piece_name(std::string_view piece, int64_t id, bool raw_bytes) {
    if (raw_bytes && id >= 3 && id < 259) return fmt::format("<0x{:02X}>", id - 3);
    // The export puts line breaks around the two control tokens.
    if (id == 1 && piece == "\n<s>\n") return "<s>";
    if (id == 2 && piece == "\n</s>\n") return "</s>";
    std::string name;
    for (char c : piece) {
        if (c == ' ') {
            name += "\u2581";
        } else {
            name += c;
        }
    }
    return name;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> parse_llama2c(const std::string& path, Bytes bytes) {
    auto checkpoint = std::make_unique<Llama2c>(path, bytes);
    STERNA_CHECK(checkpoint->parse());
    return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> open_llama2c(const std::string& path) {
    STERNA_TRY(file, MappedFile::open(path));
    auto checkpoint = std::make_unique<Llama2c>(path, file.bytes());
    checkpoint->own(std::move(file));
    STERNA_CHECK(checkpoint->parse());
    return checkpoint;
}

Status write_llama2c_tokenizer(const std::string& path, Bytes bytes, int64_t n_tokens, GgufWriter& writer) {
    ByteReader reader(bytes);
    if (!reader.skip(4)) return fail(ErrorCode::kBadFile, "{}: ends in its header", path);
    if (n_tokens < 3 || uint64_t(n_tokens) > reader.remaining() / 8)
        return fail(ErrorCode::kBadFile, "{}: {} bytes, too few for {} tokens", path, bytes.size(), n_tokens);
    std::vector<std::string> names;
    std::vector<double> scores;
    std::vector<int64_t> types;
    bool raw_bytes = false;  // an older export spelled byte tokens as the byte itself
    for (int64_t id = 0; id < n_tokens; ++id) {
        const auto score = reader.read<float>();
        const auto size = reader.read<int32_t>();
        if (!score || !size) return fail(ErrorCode::kBadFile, "{}: ends before token {} of {}", path, id, n_tokens);
        if (*size < 0 || *size > kMostPieceBytes)
            return fail(ErrorCode::kBadFile, "{}: token {} of {} bytes, expected 0 to {}", path, id, *size,
                        kMostPieceBytes);
        const auto piece = reader.read_text(uint64_t(*size));
        if (!piece) return fail(ErrorCode::kBadFile, "{}: ends within token {} of {}", path, id, n_tokens);
        if (id == 3) raw_bytes = *piece == std::string_view("\0", 1);
        names.push_back(piece_name(*piece, id, raw_bytes));
        scores.push_back(double(*score));
        const bool is_byte = id >= 3 && id < 259 && names.back().size() == 6 && names.back().starts_with("<0x");
        types.push_back(id == 0 ? 2 : id < 3 ? 3 : is_byte ? 6 : 1);  // unknown, control, byte, normal
    }
    if (reader.remaining() != 0)
        return fail(ErrorCode::kBadFile, "{}: {} bytes after its {} tokens: not this model's tokenizer", path,
                    reader.remaining(), n_tokens);
    const std::vector<std::string_view> views(names.begin(), names.end());
    STERNA_CHECK(writer.set_string("tokenizer.ggml.model", "llama"));
    STERNA_CHECK(writer.set_string("tokenizer.ggml.pre", "default"));
    STERNA_CHECK(writer.set_strings("tokenizer.ggml.tokens", views));
    STERNA_CHECK(writer.set_floats("tokenizer.ggml.scores", GgufType::kF32, scores));
    STERNA_CHECK(writer.set_ints("tokenizer.ggml.token_type", GgufType::kI32, types));
    STERNA_CHECK(writer.set_u32("tokenizer.ggml.unknown_token_id", 0));
    STERNA_CHECK(writer.set_u32("tokenizer.ggml.bos_token_id", 1));
    STERNA_CHECK(writer.set_u32("tokenizer.ggml.eos_token_id", 2));
    // These models were trained on stories with a begin token between them: it ends the answer too.
    STERNA_CHECK(writer.set_u32("tokenizer.ggml.eot_token_id", 1));
    STERNA_CHECK(writer.set_bool("tokenizer.ggml.add_bos_token", true));
    STERNA_CHECK(writer.set_bool("tokenizer.ggml.add_eos_token", false));
    return writer.set_bool("tokenizer.ggml.add_space_prefix", true);
}

}  // namespace sterna
