#include "format/sentencepiece.h"

#include <cmath>

#include "format/protobuf_wire.h"

namespace sterna {

namespace {

bool as_bool(const WireField& field, bool& to) {
    if (field.type != WireType::kVarint) return false;
    to = field.value != 0;
    return true;
}
// int32 fields: negative ones are written as 64 bits.
bool as_id(const WireField& field, int64_t& to) {
    if (field.type != WireType::kVarint) return false;
    to = field.integer() < 0 ? -1 : field.integer();
    return true;
}

bool read_piece(Bytes bytes, SentencePieceModel::Piece& piece) {
    WireReader reader(bytes);
    bool ok = true;
    for (WireField field; ok && reader.next(field);) {
        if (field.number == 1) {
            ok = field.type == WireType::kBytes;
            piece.text = field.text();
        } else if (field.number == 2) {
            ok = field.is_float() && std::isfinite(field.as_float());
            piece.score = field.as_float();
        } else if (field.number == 3) {
            ok = field.type == WireType::kVarint && field.value >= 1 && field.value <= 6;
            piece.type = int(field.value);
        }
    }
    return ok && !reader.failed();
}

bool read_trainer(Bytes bytes, SentencePieceModel& model) {
    WireReader reader(bytes);
    bool ok = true;
    for (WireField field; ok && reader.next(field);) {
        switch (field.number) {
            case 3:
                ok = field.type == WireType::kVarint && field.value >= 1 && field.value <= 4;
                if (ok) model.kind = SentencePieceModel::Kind(field.value);
                break;
            case 24:
                ok = as_bool(field, model.whitespace_as_suffix);
                break;
            case 35:
                ok = as_bool(field, model.byte_fallback);
                break;
            case 40:
                ok = as_id(field, model.unknown);
                break;
            case 41:
                ok = as_id(field, model.bos);
                break;
            case 42:
                ok = as_id(field, model.eos);
                break;
            case 43:
                ok = as_id(field, model.padding);
                break;
            default:
                break;
        }
    }
    return ok && !reader.failed();
}

bool read_normalizer(Bytes bytes, SentencePieceModel& model) {
    WireReader reader(bytes);
    bool ok = true;
    for (WireField field; ok && reader.next(field);) {
        switch (field.number) {
            case 2:
                ok = field.type == WireType::kBytes;
                model.charsmap = field.bytes;
                break;
            case 3:
                ok = as_bool(field, model.add_dummy_prefix);
                break;
            case 4:
                ok = as_bool(field, model.remove_extra_whitespaces);
                break;
            case 5:
                ok = as_bool(field, model.escape_whitespaces);
                break;
            default:
                break;
        }
    }
    return ok && !reader.failed();
}

}  // namespace

Result<SentencePieceModel> read_sentencepiece(Bytes bytes, std::string_view name, const SentencePieceLimits& limits) {
    SentencePieceModel model;
    WireReader reader(bytes);
    for (WireField field; reader.next(field);) {
        if (field.number > 3) continue;
        if (field.type != WireType::kBytes)
            return fail(ErrorCode::kBadFile, "{}: field {} is a number, expected a SentencePiece model", name,
                        field.number);
        if (field.number == 1) {
            if (model.pieces.size() >= limits.max_pieces)
                return fail(ErrorCode::kLimit, "{}: more than {} pieces", name, limits.max_pieces);
            SentencePieceModel::Piece piece;
            if (!read_piece(field.bytes, piece))
                return fail(ErrorCode::kBadFile, "{}: piece {} is broken", name, model.pieces.size());
            if (piece.text.size() > limits.max_piece_bytes)
                return fail(ErrorCode::kLimit, "{}: piece {} has {} bytes, limit {}", name, model.pieces.size(),
                            piece.text.size(), limits.max_piece_bytes);
            model.pieces.push_back(piece);
        } else if (field.number == 2 ? !read_trainer(field.bytes, model) : !read_normalizer(field.bytes, model)) {
            return fail(ErrorCode::kBadFile, "{}: the {} is broken", name,
                        field.number == 2 ? "trainer_spec" : "normalizer_spec");
        }
    }
    if (reader.failed())
        return fail(ErrorCode::kBadFile, "{}: no SentencePiece model from byte {} on", name, reader.position());
    if (model.pieces.empty()) return fail(ErrorCode::kBadFile, "{}: no pieces, expected a SentencePiece model", name);
    if (model.charsmap.size() > limits.max_charsmap_bytes)
        return fail(ErrorCode::kLimit, "{}: character map of {} bytes, limit {}", name, model.charsmap.size(),
                    limits.max_charsmap_bytes);
    return model;
}

}  // namespace sterna
