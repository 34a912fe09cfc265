#include "text/jinja_value.h"

#include <fmt/format.h>

#include <cmath>

#include "text/jinja_syntax.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

const String& Value::string() const {
    return *static_cast<const String*>(object_.get());
}
const std::string& Value::text() const {
    return string().text;
}
Sequence& Value::sequence() const {
    return *static_cast<Sequence*>(object_.get());
}
const Dict& Value::dict() const {
    return *static_cast<const Dict*>(object_.get());
}
Namespace& Value::name_space() const {
    return *static_cast<Namespace*>(object_.get());
}
Function& Value::function() const {
    return *static_cast<Function*>(object_.get());
}
Loop& Value::loop() const {
    return *static_cast<Loop*>(object_.get());
}
const UndefinedInfo* Value::undefined() const {
    return static_cast<const UndefinedInfo*>(object_.get());
}

String::String(Heap& owner, std::string bytes, bool is_markup)
    : Object(owner, bytes.size()), text(std::move(bytes)), length(count_chars(text)), markup(is_markup) {}

uint32_t depth_of(const Value& value) {
    if (value.is(Kind::kSequence)) return value.sequence().depth;
    if (value.is(Kind::kDict)) return value.dict().depth;
    if (value.is(Kind::kFunction)) return value.function().depth;
    return 0;
}

namespace {

constexpr size_t kMaxTupleKeyBytes = 4096;  // of a dict key that is a tuple

// Equal keys have equal canonical texts: 1, 1.0 and True are one key in Python.
bool append_canonical(std::string& out, const Value& key) {
    switch (key.kind()) {
        case Kind::kUndefined:
            out += 'u';
            return true;
        case Kind::kNone:
            out += 'N';
            return true;
        case Kind::kBool:
        case Kind::kInt:
            out += 'n' + std::to_string(key.as_int());
            return true;
        case Kind::kFloat: {
            const double value = key.as_double();
            if (std::floor(value) == value && std::fabs(value) < 9e18) {
                out += 'n' + std::to_string(static_cast<int64_t>(value));
            } else {
                out += 'f' + float_repr(value);
            }
            return true;
        }
        case Kind::kString:
            out += 's' + key.text();
            return true;
        case Kind::kSequence: {
            const Sequence& sequence = key.sequence();
            if (sequence.sequence_kind != SequenceKind::kTuple) return false;
            out += 't';
            for (const Value& item : sequence.items) {
                const size_t start = out.size();
                if (out.size() > kMaxTupleKeyBytes || !append_canonical(out, item)) return false;
                out.insert(start, std::to_string(out.size() - start) + ":");
            }
            return true;
        }
        case Kind::kDict:
            return false;
        default:
            out += fmt::format("o{}", static_cast<const void*>(key.identity()));
            return true;
    }
}

constexpr size_t kLinearEntries = 8;  // up to here a dict is searched from front to back

}  // namespace

Sequence::Sequence(Heap& owner, SequenceKind kind, std::vector<Value> values)
    : Object(owner, values.capacity() * sizeof(Value)), items(std::move(values)), sequence_kind(kind), depth(1) {
    for (const Value& item : items) depth = std::max(depth, 1 + depth_of(item));
}

const Value* Dict::find(std::string_view key) const {
    if (entries.size() <= kLinearEntries) {
        for (const auto& [name, value] : entries)
            if (name.is(Kind::kString) && name.text() == key) return &value;
        return nullptr;
    }
    const auto it = index_.find("s" + std::string(key));
    return it == index_.end() ? nullptr : &entries[it->second].second;
}

const Value* Dict::find(const Value& key) const {
    if (key.is(Kind::kString)) return find(std::string_view(key.text()));
    std::string wanted, other;
    if (!append_canonical(wanted, key)) return nullptr;
    if (entries.size() <= kLinearEntries) {
        for (const auto& [name, value] : entries) {
            other.clear();
            if (!name.is(Kind::kString) && append_canonical(other, name) && other == wanted) return &value;
        }
        return nullptr;
    }
    const auto it = index_.find(wanted);
    return it == index_.end() ? nullptr : &entries[it->second].second;
}

bool Dict::set(const Value& key, Value value) {
    std::string canonical;
    if (!append_canonical(canonical, key)) return false;
    depth = std::max(depth, 1 + std::max(depth_of(value), depth_of(key)));
    if (const Value* old = find(key)) {
        *const_cast<Value*>(old) = std::move(value);
        return true;
    }
    grow(2 * sizeof(Value) + canonical.size() + 64);
    entries.emplace_back(key, std::move(value));
    if (entries.size() == kLinearEntries + 1) {
        for (size_t i = 0; i < kLinearEntries; ++i) {
            std::string text;
            append_canonical(text, entries[i].first);
            index_.emplace(std::move(text), i);
        }
    }
    if (entries.size() > kLinearEntries) index_.emplace(std::move(canonical), entries.size() - 1);
    return true;
}

void Scope::set(std::string_view name, Value value) {
    auto [it, added] = variables.insert_or_assign(name, std::move(value));
    if (added) grow(100);
}

const Value* Scope::find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->parent.get())
        if (const auto it = scope->variables.find(name); it != scope->variables.end()) return &it->second;
    return nullptr;
}

const char* type_name(const Value& value) {
    switch (value.kind()) {
        case Kind::kUndefined:
            return "Undefined";
        case Kind::kNone:
            return "NoneType";
        case Kind::kBool:
            return "bool";
        case Kind::kInt:
            return "int";
        case Kind::kFloat:
            return "float";
        case Kind::kString:
            return value.string().markup ? "Markup" : "str";
        case Kind::kDict:
            return "dict";
        case Kind::kNamespace:
            return "Namespace";
        case Kind::kFunction:
            return value.function().macro ? "Macro" : "function";
        case Kind::kLoop:
            return "LoopContext";
        case Kind::kSequence:
            switch (value.sequence().sequence_kind) {
                case SequenceKind::kList:
                    return "list";
                case SequenceKind::kTuple:
                    return "tuple";
                case SequenceKind::kRange:
                    return "range";
                case SequenceKind::kKeys:
                    return "dict_keys";
                case SequenceKind::kValues:
                    return "dict_values";
                case SequenceKind::kItems:
                    return "dict_items";
                case SequenceKind::kIterator:
                    return "generator";
                case SequenceKind::kGroup:
                    return "_GroupTuple";
            }
    }
    return "object";
}

bool truth(const Value& value) {
    switch (value.kind()) {
        case Kind::kUndefined:
        case Kind::kNone:
            return false;
        case Kind::kBool:
        case Kind::kInt:
            return value.as_int() != 0;
        case Kind::kFloat:
            return value.as_double() != 0;
        case Kind::kString:
            return !value.text().empty();
        case Kind::kDict:
            return !value.dict().entries.empty();
        case Kind::kSequence:
            return value.sequence().sequence_kind == SequenceKind::kIterator || !value.sequence().items.empty();
        case Kind::kLoop:
            return value.loop().length != 0;
        default:
            return true;
    }
}

std::string float_repr(double value) {
    if (std::isnan(value)) return "nan";
    std::string text = fmt::format("{}", value);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
}

void append_string_repr(std::string& out, std::string_view text) {
    const bool doubled = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
    const char quote = doubled ? '"' : '\'';
    out += quote;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        if (c == static_cast<uint32_t>(quote) || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c >= kInvalidByte) {
            out += fmt::format("\\x{:02x}", c - kInvalidByte);
        } else if (is_printable(c)) {
            append_char(out, c);
        } else if (c < 0x100) {
            out += fmt::format("\\x{:02x}", c);
        } else if (c < 0x10000) {
            out += fmt::format("\\u{:04x}", c);
        } else {
            out += fmt::format("\\U{:08x}", c);
        }
    }
    out += quote;
}

bool append_str(std::string& out, const Value& value, size_t limit) {
    if (value.is(Kind::kUndefined)) return true;
    if (!value.is(Kind::kString)) return append_repr(out, value, limit);
    if (out.size() + value.text().size() > limit) return false;
    out += value.text();
    return true;
}

namespace {

constexpr int kMaxReprDepth = 200;  // namespaces may contain themselves

bool append_dict(std::string& out, const Dict& dict, size_t limit, int depth) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : dict.entries) {
        if (!std::exchange(first, false)) out += ", ";
        if (!append_repr(out, key, limit, depth + 1)) return false;
        out += ": ";
        if (!append_repr(out, item, limit, depth + 1)) return false;
    }
    out += '}';
    return out.size() <= limit;
}

bool append_sequence(std::string& out, const Sequence& sequence, size_t limit, int depth) {
    std::string_view open = "[", close = "]";
    switch (sequence.sequence_kind) {
        case SequenceKind::kTuple:
        case SequenceKind::kGroup:
            open = "(";
            close = sequence.items.size() == 1 ? ",)" : ")";
            break;
        case SequenceKind::kKeys:
            open = "dict_keys([";
            close = "])";
            break;
        case SequenceKind::kValues:
            open = "dict_values([";
            close = "])";
            break;
        case SequenceKind::kItems:
            open = "dict_items([";
            close = "])";
            break;
        case SequenceKind::kRange:
            out += fmt::format("range({}, {}", sequence.range[0], sequence.range[1]);
            if (sequence.range[2] != 1) out += fmt::format(", {}", sequence.range[2]);
            out += ')';
            return true;
        case SequenceKind::kIterator:
            out += "<generator object>";
            return true;
        case SequenceKind::kList:
            break;
    }
    out += open;
    for (size_t i = 0; i < sequence.items.size(); ++i) {
        if (i != 0) out += ", ";
        if (!append_repr(out, sequence.items[i], limit, depth + 1)) return false;
    }
    out += close;
    return out.size() <= limit;
}

}  // namespace

bool append_repr(std::string& out, const Value& value, size_t limit, int depth) {
    if (depth > kMaxReprDepth || out.size() > limit) return false;
    switch (value.kind()) {
        case Kind::kUndefined:
            out += "Undefined";
            break;
        case Kind::kNone:
            out += "None";
            break;
        case Kind::kBool:
            out += value.as_int() ? "True" : "False";
            break;
        case Kind::kInt:
            out += std::to_string(value.as_int());
            break;
        case Kind::kFloat:
            out += float_repr(value.as_double());
            break;
        case Kind::kString:
            if (out.size() + value.text().size() > limit) return false;
            if (value.string().markup) out += "Markup(";
            append_string_repr(out, value.text());
            if (value.string().markup) out += ")";
            break;
        case Kind::kDict:
            return append_dict(out, value.dict(), limit, depth);
        case Kind::kSequence:
            return append_sequence(out, value.sequence(), limit, depth);
        case Kind::kNamespace:
            out += "<Namespace ";
            if (!append_dict(out, *value.name_space().attributes, limit, depth)) return false;
            out += ">";
            break;
        case Kind::kFunction:
            if (value.function().macro) {
                out += "<Macro ";
                append_string_repr(out, value.function().name);
                out += ">";
            } else {
                out += fmt::format("<function {}>", value.function().name);
            }
            break;
        case Kind::kLoop:
            out += fmt::format("<LoopContext {}/{}>", value.loop().index0 + 1, value.loop().length);
            break;
    }
    return out.size() <= limit;
}

}  // namespace sterna::jinja
