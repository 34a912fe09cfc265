#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
    out += '"';
    for (size_t at = 0; at < text.size();) {
        const size_t start = at;
        const uint32_t c = next_char(text, at);
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\b':
                out += "\\b";
                break;
            case '\f':
                out += "\\f";
                break;
            default:
                if (c < 0x20) {
                    out += fmt::format("\\u{:04x}", c);
                } else if (c < 0x7F || !ensure_ascii || c == 0x7F || c >= kInvalidByte) {
                    out += text.substr(start, at - start);
                } else if (c < 0x10000) {
                    out += fmt::format("\\u{:04x}", c);
                } else {
                    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
                }
        }
    }
    out += '"';
}

std::string json_float(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
}

bool append_key(Interpreter& in, std::string& out, const Value& key, bool ensure_ascii) {
    std::string text;
    switch (key.kind()) {
        case Kind::kString:
            text = key.text();
            break;
        case Kind::kBool:
            text = key.as_int() ? "true" : "false";
            break;
        case Kind::kNone:
            text = "null";
            break;
        case Kind::kInt:
            text = std::to_string(key.as_int());
            break;
        case Kind::kFloat:
            text = json_float(key.as_double());
            break;
        default:
            in.fail(fmt::format("tojson: keys must be str, int, float, bool or None, not {}", type_name(key)));
            return false;
    }
    append_json_string(out, text, ensure_ascii);
    return true;
}

bool line_break(Interpreter& in, std::string& out, const JsonStyle& style, size_t depth) {
    if (!style.indented) return true;
    if (style.indent.size() * depth > in.limits().max_string_bytes) return false;
    out += '\n';
    for (size_t i = 0; i < depth; ++i) out += style.indent;
    return true;
}

}  // namespace

bool append_json(Interpreter& in, std::string& out, const Value& value, const JsonStyle& style, size_t depth) {
    if (!in.charge(1)) return false;
    auto too_long = [&] {
        in.fail(fmt::format("a string of more than {} bytes", in.limits().max_string_bytes), ErrorCode::kLimit);
        return false;
    };
    if (out.size() > in.limits().max_string_bytes) return too_long();
    switch (value.kind()) {
        case Kind::kNone:
            out += "null";
            return true;
        case Kind::kBool:
            out += value.as_int() ? "true" : "false";
            return true;
        case Kind::kInt:
            out += std::to_string(value.as_int());
            return true;
        case Kind::kFloat:
            out += json_float(value.as_double());
            return true;
        case Kind::kString:
            in.charge(value.text().size() / 64);
            append_json_string(out, value.text(), style.ensure_ascii);
            return true;
        case Kind::kSequence: {
            const Sequence& sequence = value.sequence();
            if (sequence.sequence_kind != SequenceKind::kList && sequence.sequence_kind != SequenceKind::kTuple &&
                sequence.sequence_kind != SequenceKind::kGroup)
                break;
            if (sequence.items.empty()) {
                out += "[]";
                return true;
            }
            out += '[';
            for (size_t i = 0; i < sequence.items.size(); ++i) {
                if (i != 0) out += style.item_separator;
                if (!line_break(in, out, style, depth + 1)) return too_long();
                if (!append_json(in, out, sequence.items[i], style, depth + 1)) return false;
            }
            if (!line_break(in, out, style, depth)) return too_long();
            out += ']';
            return true;
        }
        case Kind::kDict: {
            const auto& entries = value.dict().entries;
            if (entries.empty()) {
                out += "{}";
                return true;
            }
            std::vector<size_t> order(entries.size());
            for (size_t i = 0; i < order.size(); ++i) order[i] = i;
            if (style.sort_keys) {
                std::vector<Value> keys;
                for (const auto& [key, unused] : entries) keys.push_back(key);
                order = sorted_order(in, keys, false);
                if (in.failed()) return false;
            }
            out += '{';
            for (size_t i = 0; i < order.size(); ++i) {
                if (i != 0) out += style.item_separator;
                if (!line_break(in, out, style, depth + 1)) return too_long();
                if (!append_key(in, out, entries[order[i]].first, style.ensure_ascii)) return false;
                out += style.key_separator;
                if (!append_json(in, out, entries[order[i]].second, style, depth + 1)) return false;
            }
            if (!line_break(in, out, style, depth)) return too_long();
            out += '}';
            return true;
        }
        default:
            break;
    }
    if (value.is(Kind::kUndefined) && value.undefined()) {
        // Python says "Object of type Undefined is not JSON serializable"; which one it is helps more.
        in.check_defined(value);
    } else {
        in.fail(fmt::format("tojson: object of type {} is not JSON serializable", type_name(value)));
    }
    return false;
}

}  // namespace sterna::jinja
