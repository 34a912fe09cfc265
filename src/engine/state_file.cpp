#include "engine/state_file.h"

#include <algorithm>
#include <cstring>

#include "base/sha256.h"

namespace sterna {

namespace {

constexpr char kMagic[8] = {'S', 'T', 'E', 'R', 'N', 'A', 'S', 'T'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kHasLogits = 1;
constexpr uint32_t kIsExtended = 2;  // Engine::is_extended()
constexpr uint32_t kKnownFlags = kHasLogits | kIsExtended;
constexpr size_t kDigestBytes = 32;

struct Header {
    uint32_t version, flags;
    ModelId model;
    uint32_t kv_kind, page_positions;
    uint64_t page_bytes, recurrent_bytes, vocab_size, n_tokens, n_evaluated, n_dropped, n_sampler_bytes;
};

template <typename T>
void append(std::vector<uint8_t>& to, const T* values, size_t n) {
    if (n == 0) return;
    const size_t at = to.size();
    to.resize(at + n * sizeof(T));
    std::memcpy(to.data() + at, values, n * sizeof(T));
}

template <typename T>
void append(std::vector<uint8_t>& to, const T& value) {
    append(to, &value, 1);
}

std::optional<Header> read_header(ByteReader& reader) {
    Header h{};
    bool complete = true;
    auto read = [&](auto& value) {
        auto got = reader.read<std::remove_reference_t<decltype(value)>>();
        complete = complete && got.has_value();
        if (got) value = *got;
    };
    read(h.version);
    read(h.flags);
    read(h.model);
    read(h.kv_kind);
    read(h.page_positions);
    for (uint64_t* value : {&h.page_bytes, &h.recurrent_bytes, &h.vocab_size, &h.n_tokens, &h.n_evaluated, &h.n_dropped,
                            &h.n_sampler_bytes})
        read(*value);
    if (!complete) return std::nullopt;
    return h;
}

const char* kv_name(uint32_t kind) {
    switch (kernels::KvKind(kind)) {
        case kernels::KvKind::kF16:
            return "f16";
        case kernels::KvKind::kQ8_0:
            return "q8_0";
        case kernels::KvKind::kF32:
            return "f32";
    }
    return "unknown";
}

// Everything that must agree with the engine before any size in the header is believed.
Status check_header(const Header& h, const Engine& engine, std::string_view name) {
    const StateLayout& layout = engine.layout();
    if (h.model != engine.id())
        return fail(ErrorCode::kBadArgument, "{}: saved with model {}, this is model {}", name,
                    hex_text(Bytes(h.model).first(8)), hex_text(Bytes(engine.id()).first(8)));
    if ((h.flags & ~kKnownFlags) != 0)
        return fail(ErrorCode::kUnsupported, "{}: flags {:#x}, known are {:#x}", name, h.flags, kKnownFlags);
    if (h.kv_kind != uint32_t(layout.kv_kind))
        return fail(ErrorCode::kBadArgument, "{}: its cache is of type {}, this session's of type {}", name,
                    kv_name(h.kv_kind), kv_name(uint32_t(layout.kv_kind)));
    if (h.page_positions != uint32_t(kPage) || h.page_bytes != uint64_t(layout.page_bytes) ||
        h.recurrent_bytes != uint64_t(layout.recurrent_bytes))
        return fail(ErrorCode::kUnsupported,
                    "{}: pages of {} positions and {} bytes with {} bytes of state, expected {}, {} and {}", name,
                    h.page_positions, h.page_bytes, h.recurrent_bytes, kPage, layout.page_bytes,
                    layout.recurrent_bytes);
    if (((h.flags & kIsExtended) != 0) != engine.is_extended())
        return fail(ErrorCode::kBadArgument,
                    "{}: saved in a context {} the {} positions of the model's training, this one is not", name,
                    engine.is_extended() ? "within" : "beyond", engine.model().config().rope.original_context);
    if (h.vocab_size != uint64_t(engine.vocab_size()))
        return fail(ErrorCode::kBadFile, "{}: a vocabulary of {} tokens, expected {}", name, h.vocab_size,
                    engine.vocab_size());
    if (h.n_tokens > uint64_t(engine.context()))
        return fail(ErrorCode::kLimit, "{}: {} tokens, the context holds {}", name, h.n_tokens, engine.context());
    if (h.n_evaluated > h.n_tokens)
        return fail(ErrorCode::kBadFile, "{}: {} tokens in the cache of {}", name, h.n_evaluated, h.n_tokens);
    if ((h.flags & kHasLogits) != 0 && (h.n_evaluated != h.n_tokens || h.n_tokens == 0))
        return fail(ErrorCode::kBadFile, "{}: logits of a last token that is not evaluated", name);
    return {};
}

}  // namespace

// The one that looks into a session besides the engine.
struct SessionAccess {
    static std::vector<uint8_t> save(const Session& session, const SamplerParams* sampler) {
        const Engine& engine = session.engine_;
        const StateLayout& layout = engine.layout();
        std::vector<uint8_t> sampler_bytes;
        if (sampler != nullptr) sampler_bytes = encode_sampler_params(*sampler);
        const size_t n_pages = size_t((session.n_evaluated_ + kPage - 1) / kPage);
        const bool has_logits = !session.logits_.empty() && session.n_pending() == 0;

        std::vector<uint8_t> out;
        out.reserve(256 + session.tokens_.size() * 4 + n_pages * size_t(layout.page_bytes) + session.recurrent_.size() +
                    session.logits_.size() * 4 + sampler_bytes.size());
        append(out, kMagic, sizeof kMagic);
        append(out, kVersion);
        append(out, (has_logits ? kHasLogits : 0) | (engine.is_extended() ? kIsExtended : 0));
        append(out, engine.id());
        append(out, uint32_t(layout.kv_kind));
        append(out, uint32_t(kPage));
        for (uint64_t value : {uint64_t(layout.page_bytes), uint64_t(layout.recurrent_bytes),
                               uint64_t(engine.vocab_size()), uint64_t(session.tokens_.size()),
                               uint64_t(session.n_evaluated_), session.n_dropped_, uint64_t(sampler_bytes.size())})
            append(out, value);
        append(out, session.tokens_.data(), session.tokens_.size());
        for (size_t i = 0; i < n_pages; ++i) append(out, session.page_data_[i], size_t(layout.page_bytes));
        append(out, session.recurrent_.data(), session.recurrent_.size());
        if (has_logits) append(out, session.logits_.data(), session.logits_.size());
        append(out, sampler_bytes.data(), sampler_bytes.size());
        Sha256 hash;
        hash.update(out);
        append(out, hash.finish());
        return out;
    }

    static Result<LoadedSession> load(Engine& engine, Bytes bytes, std::string_view name) {
        ByteReader reader(bytes);
        auto magic = reader.read_bytes(sizeof kMagic);
        if (!magic || std::memcmp(magic->data(), kMagic, sizeof kMagic) != 0)
            return fail(ErrorCode::kBadFile, "{}: not a saved session of Sterna", name);
        auto header = read_header(reader);
        if (!header) return fail(ErrorCode::kBadFile, "{}: ends within its header, {} bytes", name, bytes.size());
        if (header->version != kVersion)
            return fail(ErrorCode::kUnsupported, "{}: version {}, expected {}", name, header->version, kVersion);
        STERNA_CHECK(check_header(*header, engine, name));
        const Header& h = *header;

        // The sizes below are bounded by check_header, but for the sampler's, which is compared with what is there.
        const uint64_t n_pages = (h.n_evaluated + uint64_t(kPage) - 1) / uint64_t(kPage);
        const uint64_t n_logits = (h.flags & kHasLogits) != 0 ? h.vocab_size : 0;
        const uint64_t fixed =
            h.n_tokens * 4 + n_pages * h.page_bytes + h.recurrent_bytes + n_logits * 4 + kDigestBytes;
        if (reader.remaining() < fixed || reader.remaining() - fixed != h.n_sampler_bytes)
            return fail(ErrorCode::kBadFile, "{}: {} bytes after the header, expected {}", name, reader.remaining(),
                        fixed);
        Sha256 hash;
        hash.update(bytes.first(bytes.size() - kDigestBytes));
        if (auto digest = hash.finish(); !std::ranges::equal(digest, bytes.last(kDigestBytes)))
            return fail(ErrorCode::kBadFile, "{}: the checksum does not match, the file is damaged", name);

        LoadedSession loaded;
        loaded.session = engine.open_session();
        Session& session = *loaded.session;
        session.may_publish_ = false;
        std::vector<int32_t> tokens(size_t(h.n_tokens));
        auto token_bytes = *reader.read_bytes(h.n_tokens * 4);
        if (!tokens.empty()) std::memcpy(tokens.data(), token_bytes.data(), token_bytes.size());
        STERNA_CHECK(session.append(tokens));
        STERNA_CHECK(session.make_room(int64_t(h.n_evaluated)));
        for (uint8_t* page : session.page_data_)
            std::memcpy(page, reader.read_bytes(h.page_bytes)->data(), size_t(h.page_bytes));
        session.n_evaluated_ = int64_t(h.n_evaluated);
        session.n_dropped_ = h.n_dropped;
        auto recurrent = *reader.read_bytes(h.recurrent_bytes);
        session.recurrent_.assign(recurrent.begin(), recurrent.end());
        session.logits_.resize(size_t(n_logits));
        auto logits = *reader.read_bytes(n_logits * 4);
        if (n_logits > 0) std::memcpy(session.logits_.data(), logits.data(), logits.size());
        if (h.n_sampler_bytes > 0) {
            STERNA_TRY(params, decode_sampler_params(*reader.read_bytes(h.n_sampler_bytes)));
            loaded.sampler = std::move(params);
        }
        return loaded;
    }
};

std::vector<uint8_t> save_session(const Session& session, const SamplerParams* sampler) {
    return SessionAccess::save(session, sampler);
}

Result<LoadedSession> load_session(Engine& engine, Bytes bytes, std::string_view name) {
    return SessionAccess::load(engine, bytes, name);
}

}  // namespace sterna
