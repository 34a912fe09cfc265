#include <algorithm>
#include <array>
#include <initializer_list>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

bool bind(Interpreter& in, std::string_view function, const Args& args, std::initializer_list<std::string_view> names,
          size_t required, const Value** found) {
    if (in.failed()) return false;
    std::fill(found, found + names.size(), nullptr);
    if (args.positional.size() > names.size()) {
        in.fail(
            fmt::format("{}() takes at most {} arguments ({} given)", function, names.size(), args.positional.size()));
        return false;
    }
    for (size_t i = 0; i < args.positional.size(); ++i) found[i] = &args.positional[i];
    for (const auto& [name, value] : args.named) {
        const auto at = std::find(names.begin(), names.end(), std::string_view(name));
        if (at == names.end() || found[at - names.begin()]) {
            in.fail(fmt::format("{}() got an unexpected argument '{}'", function, name));
            return false;
        }
        found[at - names.begin()] = &value;
    }
    for (size_t i = 0; i < required; ++i) {
        if (found[i]) continue;
        in.fail(fmt::format("{}() misses its argument '{}'", function, *(names.begin() + i)));
        return false;
    }
    return true;
}

namespace {

using Found = std::array<const Value*, 4>;

bool want_string(Interpreter& in, std::string_view function, const Value& value) {
    if (value.is(Kind::kString)) return true;
    if (in.check_defined(value)) in.fail(fmt::format("{}() takes a str, not {}", function, type_name(value)));
    return false;
}
bool want_int(Interpreter& in, std::string_view function, const Value& value) {
    if (value.is_integral()) return true;
    if (in.check_defined(value)) in.fail(fmt::format("{}() takes an int, not {}", function, type_name(value)));
    return false;
}

bool none(const Value* value) {
    return !value || value->is(Kind::kNone);
}

// --- Texts ---

template <std::string (*convert)(std::string_view)>
Value converted(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    return in.make_string(convert(f.self.text()));
}

std::string capitalize(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const bool first = at == 0;
        const uint32_t c = next_char(text, at);
        first ? append_title(out, c) : append_lower(out, c);
    }
    return out;
}

std::string title(std::string_view text) {
    std::string out;
    bool in_word = false;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        in_word ? append_lower(out, c) : append_title(out, c);
        in_word = is_upper(c) || is_lower(c);
    }
    return out;
}

std::string swapcase(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        is_upper(c) ? append_lower(out, c) : append_upper(out, c);
    }
    return out;
}

template <bool left, bool right>
Value strip_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"chars"}, 0, a.data())) return {};
    const bool blanks = none(a[0]);
    if (!blanks && !want_string(in, f.name, *a[0])) return {};
    const std::string_view chars = blanks ? std::string_view() : std::string_view(a[0]->text());
    return in.make_string(std::string(strip(f.self.text(), chars, blanks, left, right)), f.self.string().markup);
}

template <bool from_right>
Value split_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"sep", "maxsplit"}, 0, a.data())) return {};
    if (a[1] && !want_int(in, f.name, *a[1])) return {};
    const int64_t limit = a[1] && a[1]->as_int() >= 0 ? a[1]->as_int() : INT64_MAX;
    std::string_view rest = f.self.text();
    std::vector<std::string_view> parts;
    auto part = [&](std::string_view text) { parts.push_back(text); };
    int64_t done = 0;
    if (none(a[0])) {
        rest = strip(rest, "", true, !from_right, from_right);
        while (!rest.empty()) {
            if (done++ == limit) {
                part(rest);
                break;
            }
            size_t cut = 0;
            if (from_right) {
                cut = rest.size();
                while (cut > 0) {
                    const std::string_view head = strip(rest.substr(0, cut), "", true, false, true);
                    if (head.size() != cut) break;
                    --cut;
                }
                part(rest.substr(cut));
                rest = strip(rest.substr(0, cut), "", true, false, true);
            } else {
                while (cut < rest.size()) {
                    size_t next = cut;
                    if (is_space(next_char(rest, next))) break;
                    cut = next;
                }
                part(rest.substr(0, cut));
                rest = strip(rest.substr(cut), "", true, true, false);
            }
        }
    } else {
        if (!want_string(in, f.name, *a[0])) return {};
        const std::string& separator = a[0]->text();
        if (separator.empty()) return in.fail("empty separator");
        std::vector<size_t> places;
        if (from_right) {
            std::string text(rest.rbegin(), rest.rend()), reversed(separator.rbegin(), separator.rend());
            for (size_t at = find_text(text, reversed); at != std::string::npos && done < limit;
                 at = find_text(text, reversed, at + separator.size()), ++done)
                places.push_back(text.size() - at - separator.size());
            std::reverse(places.begin(), places.end());
        } else {
            for (size_t at = find_text(rest, separator); at != std::string::npos && done < limit;
                 at = find_text(rest, separator, at + separator.size()), ++done)
                places.push_back(at);
        }
        size_t start = 0;
        for (size_t place : places) {
            part(rest.substr(start, place - start));
            start = place + separator.size();
        }
        part(rest.substr(start));
    }
    if (from_right && none(a[0])) std::reverse(parts.begin(), parts.end());
    if (!in.charge(parts.size())) return {};
    std::vector<Value> items;
    for (std::string_view text : parts) items.push_back(in.make_string(std::string(text)));
    return in.make_sequence(std::move(items));
}

Value split_lines_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"keepends"}, 0, a.data())) return {};
    const auto lines = split_lines(f.self.text(), a[0] && truth(*a[0]));
    if (!in.charge(lines.size())) return {};
    std::vector<Value> items;
    for (std::string_view line : lines) items.push_back(in.make_string(std::string(line)));
    return in.make_sequence(std::move(items));
}

// The part of the text that start and end (in characters) leave; `offset` is where it begins, in characters.
bool part_of(Interpreter& in, Function& f, const Value* start, const Value* end, std::string& part, int64_t& offset) {
    offset = 0;
    part = f.self.text();
    if (none(start) && none(end)) return true;
    const auto length = static_cast<int64_t>(f.self.string().length);
    if (!none(start)) {
        if (!want_int(in, f.name, *start)) return false;
        offset = start->as_int() < 0 ? std::max<int64_t>(0, start->as_int() + length) : start->as_int();
        if (offset > length) return false;
    }
    const Value cut = in.slice(f.self, start ? *start : Value::none(), end ? *end : Value::none(), Value::none());
    if (in.failed() || !cut.is(Kind::kString)) return false;
    part = cut.text();
    return true;
}

template <bool at_end>
Value starts_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"prefix", "start", "end"}, 1, a.data())) return {};
    std::string part;
    int64_t offset = 0;
    if (!part_of(in, f, a[1], a[2], part, offset)) return Value::boolean(false);
    auto matches = [&](const Value& value) {
        if (!want_string(in, f.name, value)) return false;
        return at_end ? std::string_view(part).ends_with(value.text())
                      : std::string_view(part).starts_with(value.text());
    };
    if (a[0]->is(Kind::kSequence) && a[0]->sequence().sequence_kind == SequenceKind::kTuple) {
        for (const Value& value : a[0]->sequence().items)
            if (in.charge(1) && matches(value)) return Value::boolean(true);
        return Value::boolean(false);
    }
    return Value::boolean(matches(*a[0]));
}

template <bool from_right, bool must>
Value find_method_of_text(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"sub", "start", "end"}, 1, a.data()) || !want_string(in, f.name, *a[0])) return {};
    std::string part;
    int64_t offset = 0;
    size_t at = std::string::npos;
    if (part_of(in, f, a[1], a[2], part, offset))
        at = from_right ? rfind_text(part, a[0]->text()) : find_text(part, a[0]->text());
    if (at == std::string::npos) return must ? in.fail("substring not found") : Value::integer(-1);
    return Value::integer(offset + static_cast<int64_t>(count_chars(std::string_view(part).substr(0, at))));
}

Value count_method_of_text(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"sub", "start", "end"}, 1, a.data()) || !want_string(in, f.name, *a[0])) return {};
    std::string part;
    int64_t offset = 0, count = 0;
    if (!part_of(in, f, a[1], a[2], part, offset)) return Value::integer(0);
    const std::string& sub = a[0]->text();
    if (sub.empty()) return Value::integer(static_cast<int64_t>(count_chars(part)) + 1);
    for (size_t at = find_text(part, sub); at != std::string::npos; at = find_text(part, sub, at + sub.size())) ++count;
    return Value::integer(count);
}

Value join_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    std::vector<Value> items;
    if (!bind(in, f.name, args, {"iterable"}, 1, a.data()) || !in.check_defined(*a[0]) || !in.iterate(*a[0], items))
        return {};
    std::string out;
    for (size_t i = 0; i < items.size(); ++i) {
        if (!items[i].is(Kind::kString))
            return in.fail(fmt::format("sequence item {}: expected str instance, {} found", i, type_name(items[i])));
        if (i != 0) out += f.self.text();
        out += items[i].text();
        if (out.size() > in.limits().max_string_bytes) break;
    }
    return in.make_string(std::move(out));
}

Value replace_method(Interpreter& in, Function& f, const Args& args) {
    Args all;
    all.positional.push_back(f.self);
    for (const Value& value : args.positional) {
        if (all.positional.size() < 3 && !want_string(in, f.name, value)) return {};
        all.positional.push_back(value);
    }
    all.named = args.named;
    return find_filter("replace")(in, all);
}

template <bool (*holds)(uint32_t)>
Value all_chars(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    const std::string& text = f.self.text();
    for (size_t at = 0; at < text.size();)
        if (!holds(next_char(text, at))) return Value::boolean(false);
    return Value::boolean(!text.empty());
}
bool is_alnum(uint32_t c) {
    return is_alpha(c) || is_numeric(c);
}
bool is_ascii(uint32_t c) {
    return c < 0x80;
}

template <bool upper>
Value cased(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    Args subject;
    subject.positional.push_back(f.self);
    return Value::boolean(find_test(upper ? "upper" : "lower")(in, subject));
}

template <int side>  // -1: text to the left, 0: in the middle, 1: to the right
Value justify(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"width", "fillchar"}, 1, a.data()) || !want_int(in, f.name, *a[0])) return {};
    if (a[1] && (!want_string(in, f.name, *a[1]) || a[1]->string().length != 1))
        return in.fail("the fill character must be exactly one character long");
    const std::string fill = a[1] ? a[1]->text() : " ";
    const auto length = static_cast<int64_t>(f.self.string().length);
    const int64_t width = a[0]->as_int(), pad = width > length ? width - length : 0;
    if (static_cast<uint64_t>(pad) > in.limits().max_string_bytes / fill.size())
        return in.fail(fmt::format("a string of more than {} bytes", in.limits().max_string_bytes), ErrorCode::kLimit);
    const int64_t left = side < 0 ? 0 : side > 0 ? pad : pad / 2 + (pad & width & 1);
    std::string out;
    for (int64_t i = 0; i < left; ++i) out += fill;
    out += f.self.text();
    for (int64_t i = left; i < pad; ++i) out += fill;
    return in.make_string(std::move(out));
}

Value zfill(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"width"}, 1, a.data()) || !want_int(in, f.name, *a[0])) return {};
    const auto length = static_cast<int64_t>(f.self.string().length);
    const int64_t pad = std::max<int64_t>(0, a[0]->as_int() - length);
    if (static_cast<uint64_t>(pad) > in.limits().max_string_bytes)
        return in.fail(fmt::format("a string of more than {} bytes", in.limits().max_string_bytes), ErrorCode::kLimit);
    std::string out = f.self.text();
    const bool sign = !out.empty() && (out[0] == '-' || out[0] == '+');
    out.insert(sign ? 1 : 0, static_cast<size_t>(pad), '0');
    return in.make_string(std::move(out));
}

template <bool suffix>
Value remove_affix(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"affix"}, 1, a.data()) || !want_string(in, f.name, *a[0])) return {};
    std::string_view text = f.self.text();
    const std::string& affix = a[0]->text();
    if (suffix && text.ends_with(affix)) text.remove_suffix(affix.size());
    if (!suffix && text.starts_with(affix)) text.remove_prefix(affix.size());
    return in.make_string(std::string(text));
}

template <bool from_right>
Value partition(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"sep"}, 1, a.data()) || !want_string(in, f.name, *a[0])) return {};
    const std::string &text = f.self.text(), &separator = a[0]->text();
    if (separator.empty()) return in.fail("empty separator");
    const size_t at = from_right ? rfind_text(text, separator) : find_text(text, separator);
    std::vector<Value> parts;
    if (at == std::string::npos) {
        parts = {in.make_string(from_right ? "" : text), in.make_string({}), in.make_string(from_right ? text : "")};
    } else {
        parts = {in.make_string(text.substr(0, at)), *a[0], in.make_string(text.substr(at + separator.size()))};
    }
    return in.make_sequence(std::move(parts), SequenceKind::kTuple);
}

// --- Containers ---

template <SequenceKind kind>
Value view(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    std::vector<Value> items;
    if (!in.charge(f.self.dict().entries.size())) return {};
    for (const auto& [key, value] : f.self.dict().entries) {
        if (kind == SequenceKind::kItems) {
            items.push_back(in.make_sequence({key, value}, SequenceKind::kTuple));
        } else {
            items.push_back(kind == SequenceKind::kKeys ? key : value);
        }
    }
    return in.make_sequence(std::move(items), kind);
}

Value get_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"key", "default"}, 1, a.data())) return {};
    const Value* value = f.self.dict().find(*a[0]);
    return value ? *value : a[1] ? *a[1] : Value::none();
}

Value copy_method(Interpreter& in, Function& f, const Args& args) {
    return bind(in, f.name, args, {}, 0, nullptr) ? f.self : Value();
}

Value index_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"value"}, 1, a.data())) return {};
    const auto& items = f.self.sequence().items;
    for (size_t i = 0; i < items.size() && !in.failed(); ++i)
        if (in.equal(items[i], *a[0])) return Value::integer(static_cast<int64_t>(i));
    return in.fail(fmt::format("{} is not in list", in.repr(*a[0]).substr(0, 200)));
}

Value count_method(Interpreter& in, Function& f, const Args& args) {
    Found a{};
    if (!bind(in, f.name, args, {"value"}, 1, a.data())) return {};
    int64_t count = 0;
    for (const Value& item : f.self.sequence().items) count += in.equal(item, *a[0]);
    return Value::integer(count);
}

struct Method {
    std::string_view name;
    Builtin call;
};

constexpr Method kTextMethods[] = {
    {"upper", converted<to_upper>},
    {"lower", converted<to_lower>},
    {"casefold", converted<to_lower>},
    {"capitalize", converted<capitalize>},
    {"title", converted<title>},
    {"swapcase", converted<swapcase>},
    {"strip", strip_method<true, true>},
    {"lstrip", strip_method<true, false>},
    {"rstrip", strip_method<false, true>},
    {"split", split_method<false>},
    {"rsplit", split_method<true>},
    {"splitlines", split_lines_method},
    {"startswith", starts_method<false>},
    {"endswith", starts_method<true>},
    {"find", find_method_of_text<false, false>},
    {"rfind", find_method_of_text<true, false>},
    {"index", find_method_of_text<false, true>},
    {"rindex", find_method_of_text<true, true>},
    {"count", count_method_of_text},
    {"join", join_method},
    {"replace", replace_method},
    {"format", format_method},
    {"isalpha", all_chars<is_alpha>},
    {"isdigit", all_chars<is_digit>},
    {"isdecimal", all_chars<is_decimal>},
    {"isnumeric", all_chars<is_numeric>},
    {"isalnum", all_chars<is_alnum>},
    {"isspace", all_chars<is_space>},
    {"isascii", all_chars<is_ascii>},
    {"isupper", cased<true>},
    {"islower", cased<false>},
    {"ljust", justify<-1>},
    {"center", justify<0>},
    {"rjust", justify<1>},
    {"zfill", zfill},
    {"removeprefix", remove_affix<false>},
    {"removesuffix", remove_affix<true>},
    {"partition", partition<false>},
    {"rpartition", partition<true>},
};
constexpr Method kDictMethods[] = {
    {"items", view<SequenceKind::kItems>},
    {"keys", view<SequenceKind::kKeys>},
    {"values", view<SequenceKind::kValues>},
    {"get", get_method},
    {"copy", copy_method},
};
constexpr Method kListMethods[] = {{"index", index_method}, {"count", count_method}, {"copy", copy_method}};

}  // namespace

Builtin find_method(const Value& value, std::string_view name) {
    auto search = [&](const auto& methods) -> Builtin {
        for (const Method& method : methods)
            if (method.name == name) return method.call;
        return nullptr;
    };
    if (value.is(Kind::kString)) return search(kTextMethods);
    if (value.is(Kind::kDict)) return search(kDictMethods);
    if (value.is(Kind::kSequence)) {
        const SequenceKind kind = value.sequence().sequence_kind;
        const bool list = kind == SequenceKind::kList;
        if (list || ((kind == SequenceKind::kTuple || kind == SequenceKind::kRange || kind == SequenceKind::kGroup) &&
                     name != "copy"))
            return search(kListMethods);
    }
    return nullptr;
}

bool is_mutating_method(const Value& value, std::string_view name) {
    static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                                 "insert", "sort",  "extend", "remove"};
    static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
    if (value.is(Kind::kDict)) return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
    return value.is(Kind::kSequence) && value.sequence().sequence_kind == SequenceKind::kList &&
           std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
}

}  // namespace sterna::jinja
