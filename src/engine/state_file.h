// A session as bytes, and back: a conversation goes on elsewhere or later, bit for bit as if it had never stopped.
//
//   "STERNAST" | u32 version | u32 flags | model id [32] | layout: u32 kv_kind, u32 page_positions, u64 page_bytes, u64
//   recurrent_bytes | u64 vocab_size | u64 n_tokens | u64 n_evaluated | u64 n_dropped | u64 n_sampler_bytes | tokens
//   i32[n_tokens] | pages [ceil(n_evaluated / page_positions)][page_bytes] | recurrent [recurrent_bytes] | logits
//   f32[vocab_size] (flag 1) | sampler parameters [n_sampler_bytes] | SHA-256 of all that is before [32]
//
// Flags: 1 logits of the last token are there, 2 longrope factors for long contexts. All little-endian. Loading
// believes nothing: sizes are checked before use, and a loaded cache never serves other sessions (the checksum finds
// accidents, not forgers). A file of another model, layout or version is refused with a sentence. Thread-compatible, as
// the session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace sterna {

// Where an application keeps it: write_file_atomically(path, bytes).
std::vector<uint8_t> save_session(const Session& session, const SamplerParams* sampler = nullptr);

struct LoadedSession {
    std::unique_ptr<Session> session;
    std::optional<SamplerParams> sampler;
};

// `name` is for messages: a path.
Result<LoadedSession> load_session(Engine& engine, Bytes bytes, std::string_view name = "state");

}  // namespace sterna
