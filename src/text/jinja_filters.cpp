// Filters on texts and single values; those on sequences are in jinja_sequence_filters.cpp.
#include "text/jinja_filters.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "text/jinja_text.h"

namespace sterna::jinja {

bool is_none(const Value* value) {
    return !value || value->is(Kind::kNone);
}

bool to_int(Interpreter& in, std::string_view function, const Value& value, int64_t& result) {
    if (!value.is_integral()) {
        if (in.check_defined(value)) in.fail(fmt::format("{}: expected an int, found {}", function, type_name(value)));
        return false;
    }
    result = value.as_int();
    return true;
}

std::string escape_html(std::string_view text) {
    std::string out;
    for (char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&#34;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

bool parse_int(std::string_view text, int64_t base, int64_t& result) {
    text = strip(text, "", true, true, true);
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    if (text.size() > 2 && text[0] == '0') {
        const char letter = static_cast<char>(text[1] | 0x20);
        const int64_t prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
        if (prefix != 0 && (base == prefix || base == 0)) {
            base = prefix;
            text.remove_prefix(text[2] == '_' ? 3 : 2);
        }
    }
    if (base == 0) base = 10;
    if (text.empty() || base < 2 || base > 36) return false;
    int64_t value = 0;
    bool digit_before = false;
    for (char c : text) {
        if (c == '_' && digit_before) {
            digit_before = false;
            continue;
        }
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 10
                          : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                                 : 99;
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_sub_overflow(value, int64_t{digit}, &value))
            return false;
        digit_before = true;
    }
    if (!digit_before || (!negative && value == INT64_MIN)) return false;
    result = negative ? value : -value;
    return true;
}

bool parse_float(std::string_view source, double& result) {
    std::string text = to_lower(strip(source, "", true, true, true));
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.erase(0, 1);
    if (text == "inf" || text == "infinity" || text == "nan") {
        result = text == "nan" ? NAN : INFINITY;
        if (negative) result = -result;
        return true;
    }
    // Into JSON's form, whose parser does not depend on the locale: no leading zeros, digits around the point.
    std::string whole, fraction, exponent;
    std::string* part = &whole;
    bool digit_before = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c >= '0' && c <= '9') {
            *part += c;
            digit_before = true;
        } else if (c == '_' && digit_before && i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9') {
            digit_before = false;
        } else if (c == '.' && part == &whole) {
            part = &fraction;
            digit_before = false;
        } else if (c == 'e' && part != &exponent && !(whole.empty() && fraction.empty())) {
            part = &exponent;
            digit_before = false;
            if (i + 1 < text.size() && (text[i + 1] == '-' || text[i + 1] == '+')) exponent += text[++i];
        } else {
            return false;
        }
    }
    if ((whole.empty() && fraction.empty()) || (part == &exponent && !digit_before)) return false;
    whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
    std::string json =
        (negative ? "-" : "") + (whole.empty() ? "0" : whole) + "." + (fraction.empty() ? "0" : fraction);
    if (!exponent.empty()) json += "e" + exponent;
    const auto number = nlohmann::json::parse(json, nullptr, false);
    if (number.is_number()) {
        result = number.get<double>();
    } else {  // well-formed, so it can only be too large
        result = negative ? -INFINITY : INFINITY;
    }
    return true;
}

namespace {

using Found = std::array<const Value*, 5>;

Value text_of(Interpreter& in, const Value& value) {
    return value.is(Kind::kString) ? value : in.make_string(in.str(value));
}

template <std::string (*convert)(std::string_view)>
Value convert_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "filter", args, {"s"}, 1, a.data())) return {};
    return in.make_string(convert(in.str(*a[0])), a[0]->is(Kind::kString) && a[0]->string().markup);
}

std::string capitalize(std::string_view text) {
    std::string out;
    size_t at = 0;
    if (!text.empty()) append_title(out, next_char(text, at));
    return out + to_lower(text.substr(at));
}

// Jinja's |title starts words elsewhere than str.title: after -, blanks and opening brackets.
std::string title(std::string_view text) {
    std::string out;
    bool start = true;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        const bool boundary = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        start && !boundary ? append_upper(out, c) : append_lower(out, c);
        start = boundary;
    }
    return out;
}

Value trim(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "trim", args, {"value", "chars"}, 1, a.data())) return {};
    const std::string text = in.str(*a[0]);
    const bool blanks = is_none(a[1]);
    const std::string chars = blanks ? "" : in.str(*a[1]);
    return in.make_string(std::string(strip(text, chars, blanks, true, true)),
                          a[0]->is(Kind::kString) && a[0]->string().markup);
}

Value replace(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "replace", args, {"s", "old", "new", "count"}, 3, a.data())) return {};
    int64_t count = -1;
    if (!is_none(a[3]) && !to_int(in, "replace", *a[3], count)) return {};
    const std::string text = in.str(*a[0]), from = in.str(*a[1]), to = in.str(*a[2]);
    const auto most = count < 0 ? INT64_MAX : count;
    std::string out;
    int64_t done = 0;
    size_t at = 0;
    const size_t limit = in.limits().max_string_bytes;
    if (from.empty()) {
        while (done < most && out.size() <= limit) {
            out += to;
            ++done;
            if (at == text.size()) break;
            const size_t start = at;
            next_char(text, at);
            out += text.substr(start, at - start);
        }
    } else {
        for (size_t hit = 0;
             done < most && out.size() <= limit && (hit = find_text(text, from, at)) != std::string::npos; ++done) {
            out.append(text, at, hit - at);
            out += to;
            at = hit + from.size();
        }
    }
    out.append(text, at);
    return in.make_string(std::move(out));
}

Value default_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "default", args, {"value", "default_value", "boolean"}, 1, a.data())) return {};
    const bool missing = a[0]->is(Kind::kUndefined) || (a[2] && truth(*a[2]) && !truth(*a[0]));
    return !missing ? *a[0] : a[1] ? *a[1] : in.make_string({});
}

Value tojson(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "tojson", args, {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1, a.data())) return {};
    JsonStyle style;
    style.ensure_ascii = a[1] && truth(*a[1]);
    style.sort_keys = a[4] && truth(*a[4]);
    if (!is_none(a[2])) {
        style.indented = true;
        style.item_separator = ",";
        if (a[2]->is(Kind::kString)) {
            style.indent = a[2]->text();
        } else {
            int64_t width = 0;
            if (!to_int(in, "tojson", *a[2], width)) return {};
            style.indent.assign(static_cast<size_t>(std::clamp<int64_t>(width, 0, 4096)), ' ');
        }
    }
    if (!is_none(a[3])) {
        std::vector<Value> both;
        if (!in.iterate(*a[3], both)) return {};
        if (both.size() != 2 || !both[0].is(Kind::kString) || !both[1].is(Kind::kString))
            return in.fail("tojson: separators are two texts");
        style.item_separator = both[0].text();
        style.key_separator = both[1].text();
    }
    std::string out;
    if (!append_json(in, out, *a[0], style)) return {};
    return in.make_string(std::move(out));
}

Value indent(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "indent", args, {"s", "width", "first", "blank"}, 1, a.data())) return {};
    if (!a[0]->is(Kind::kString))
        return in.check_defined(*a[0]) ? in.fail(fmt::format("indent: expected a str, found {}", type_name(*a[0])))
                                       : Value();
    std::string indention(4, ' ');
    if (a[1] && a[1]->is(Kind::kString)) {
        indention = a[1]->text();
    } else if (a[1]) {
        int64_t width = 0;
        if (!to_int(in, "indent", *a[1], width)) return {};
        if (width > static_cast<int64_t>(in.limits().max_string_bytes))
            return in.fail("indent: width beyond the longest string", ErrorCode::kLimit);
        indention.assign(static_cast<size_t>(std::max<int64_t>(0, width)), ' ');
    }
    const bool blank = a[3] && truth(*a[3]);
    const std::string text = a[0]->text() + "\n";
    std::string out = a[2] && truth(*a[2]) ? indention : "";
    bool first = true;
    for (std::string_view line : split_lines(text)) {
        if (!first) {
            out += '\n';
            if (blank || !line.empty()) out += indention;
        }
        first = false;
        out += line;
        if (out.size() > in.limits().max_string_bytes) break;
    }
    return in.make_string(std::move(out));
}

Value int_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "int", args, {"value", "default", "base"}, 1, a.data()) || !in.check_defined(*a[0])) return {};
    const Value fallback = a[1] ? *a[1] : Value::integer(0);
    int64_t base = 10, result = 0;
    if (a[2] && !to_int(in, "int", *a[2], base)) return {};
    double real = 0;
    if (a[0]->is(Kind::kString)) {
        if (parse_int(a[0]->text(), base, result)) return Value::integer(result);
        if (!parse_float(a[0]->text(), real) || !std::isfinite(real)) return fallback;
    } else if (a[0]->is_number()) {
        if (a[0]->is_integral()) return Value::integer(a[0]->as_int());
        real = a[0]->as_double();
        if (std::isnan(real)) return fallback;
        if (std::isinf(real)) return in.fail("int: cannot convert float infinity to integer");
    } else {
        return fallback;
    }
    if (std::fabs(real) >= 9.2e18) return in.fail("an integer beyond 64 bits", ErrorCode::kUnsupported);
    return Value::integer(static_cast<int64_t>(real));
}

Value float_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "float", args, {"value", "default"}, 1, a.data()) || !in.check_defined(*a[0])) return {};
    double real = 0;
    if (a[0]->is_number()) return Value::real(a[0]->as_double());
    if (a[0]->is(Kind::kString) && parse_float(a[0]->text(), real)) return Value::real(real);
    return a[1] ? *a[1] : Value::real(0);
}

Value abs_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "abs", args, {"x"}, 1, a.data()) || !in.check_defined(*a[0])) return {};
    if (a[0]->is(Kind::kFloat)) return Value::real(std::fabs(a[0]->as_double()));
    if (!a[0]->is_integral()) return in.fail(fmt::format("bad operand type for abs(): '{}'", type_name(*a[0])));
    return a[0]->as_int() < 0 ? in.binary(Operator::kSubtract, Value::integer(0), *a[0])
                              : Value::integer(a[0]->as_int());
}

Value round_filter(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "round", args, {"value", "precision", "method"}, 1, a.data()) || !in.check_defined(*a[0])) return {};
    int64_t precision = 0;
    if (a[1] && !to_int(in, "round", *a[1], precision)) return {};
    const std::string method = a[2] ? in.str(*a[2]) : "common";
    if (!a[0]->is_number()) return in.fail(fmt::format("round: expected a number, found {}", type_name(*a[0])));
    if (method != "common" && method != "ceil" && method != "floor")
        return in.fail("round: method must be common, ceil or floor");
    if (precision > 300 || precision < -300) return in.fail("round: precision out of range");
    const double value = a[0]->as_double();
    if (method != "common") {
        const double scale = std::pow(10.0, static_cast<double>(precision));
        return Value::real((method == "ceil" ? std::ceil(value * scale) : std::floor(value * scale)) / scale);
    }
    if (a[0]->is_integral()) {
        if (precision >= 0) return Value::integer(a[0]->as_int());
        if (precision < -18) return Value::integer(0);
        int64_t unit = 1;
        for (int64_t i = 0; i > precision; --i) unit *= 10;
        const int64_t number = a[0]->as_int(), remainder = ((number % unit) + unit) % unit, low = number - remainder;
        const bool up = remainder * 2 > unit || (remainder * 2 == unit && (low / unit) % 2 != 0);
        return Value::integer(up ? low + unit : low);
    }
    if (!std::isfinite(value)) return *a[0];
    double rounded = value;
    if (precision >= 0) {
        parse_float(fmt::format("{:.{}f}", value, precision), rounded);
    } else {
        const double scale = std::pow(10.0, static_cast<double>(-precision));
        rounded = std::nearbyint(value / scale) * scale;
    }
    return Value::real(rounded);
}

Value string_filter(Interpreter& in, const Args& args) {
    Found a{};
    return bind(in, "string", args, {"object"}, 1, a.data()) ? text_of(in, *a[0]) : Value();
}

template <bool escaping>
Value safe(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "safe", args, {"value"}, 1, a.data())) return {};
    if (a[0]->is(Kind::kString) && a[0]->string().markup) return *a[0];
    const std::string text = in.str(*a[0]);
    return in.make_string(escaping ? escape_html(text) : text, true);
}

Value format_filter(Interpreter& in, const Args& args) {
    if (args.positional.size() > 1 && !args.named.empty())
        return in.fail("format: positional and keyword arguments at the same time");
    const Value format = text_of(in, args.positional[0]);
    if (in.failed()) return {};
    if (!args.named.empty()) {
        Ref<Dict> dict(new Dict(in.heap()));
        for (const auto& [name, value] : args.named) dict->set(in.make_string(name), value);
        return in.percent_format(format, in.make_dict(std::move(dict)));
    }
    return in.percent_format(
        format, in.make_sequence({args.positional.begin() + 1, args.positional.end()}, SequenceKind::kTuple));
}

Value wordcount(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "wordcount", args, {"s"}, 1, a.data())) return {};
    const std::string text = in.str(*a[0]);
    int64_t count = 0;
    bool in_word = false;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        const bool word = c == '_' || is_alpha(c) || is_numeric(c);
        count += word && !in_word;
        in_word = word;
    }
    return Value::integer(count);
}

Value truncate(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "truncate", args, {"s", "length", "killwords", "end", "leeway"}, 1, a.data())) return {};
    const Value text = text_of(in, *a[0]);
    int64_t length = 255, leeway = 5;
    if (in.failed() || (a[1] && !to_int(in, "truncate", *a[1], length)) ||
        (!is_none(a[4]) && !to_int(in, "truncate", *a[4], leeway)))
        return {};
    const Value end = a[3] ? text_of(in, *a[3]) : in.make_string("...");
    if (in.failed()) return {};
    const auto end_length = static_cast<int64_t>(end.string().length);
    if (length < end_length || leeway < 0) return in.fail("truncate: the length is too small");
    if (length > INT32_MAX || leeway > INT32_MAX || static_cast<int64_t>(text.string().length) <= length + leeway)
        return text;
    std::string cut = in.slice(text, Value::none(), Value::integer(length - end_length), Value::none()).text();
    if (!(a[2] && truth(*a[2]))) cut = cut.substr(0, std::min(cut.rfind(' '), cut.size()));
    return in.make_string(cut + end.text());
}

Value center(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "center", args, {"value", "width"}, 1, a.data())) return {};
    const Value text = text_of(in, *a[0]);
    const Value method = in.attribute(text, "center");
    if (in.failed()) return {};
    Args width;
    width.positional.push_back(a[1] ? *a[1] : Value::integer(80));
    return in.call(method, width);
}

Value urlencode(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "urlencode", args, {"value"}, 1, a.data())) return {};
    auto quote = [&](const Value& value, bool query) {
        std::string out;
        for (char c : in.str(value)) {
            const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                               c == '.' || c == '-' || c == '~' || (c == '/' && !query);
            if (plain) {
                out += c;
            } else if (c == ' ' && query) {
                out += '+';
            } else {
                out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
            }
        }
        return out;
    };
    if (!a[0]->is(Kind::kDict) && !a[0]->is(Kind::kSequence)) return in.make_string(quote(*a[0], false));
    std::string out;
    std::vector<Value> pairs;
    if (a[0]->is(Kind::kDict)) {
        for (const auto& [key, value] : a[0]->dict().entries)
            out += (out.empty() ? "" : "&") + quote(key, true) + "=" + quote(value, true);
    } else if (in.iterate(*a[0], pairs)) {
        for (const Value& pair : pairs) {
            std::vector<Value> both;
            if (!in.iterate(pair, both)) return {};
            if (both.size() != 2) return in.fail("urlencode: expected pairs of a key and a value");
            out += (out.empty() ? "" : "&") + quote(both[0], true) + "=" + quote(both[1], true);
        }
    }
    return in.make_string(std::move(out));
}

Value striptags(Interpreter& in, const Args& args) {
    Found a{};
    if (!bind(in, "striptags", args, {"value"}, 1, a.data())) return {};
    const std::string text = in.str(*a[0]);
    std::string bare, out;
    for (size_t at = 0; at < text.size();) {
        const size_t open = text.find('<', at);
        const size_t close =
            open == std::string::npos ? open : text.find(text.compare(open, 4, "<!--") == 0 ? "-->" : ">", open);
        if (close == std::string::npos) {
            bare.append(text, at);
            break;
        }
        bare.append(text, at, open - at);
        at = close + (text.compare(open, 4, "<!--") == 0 ? 3 : 1);
    }
    bool blank = false;  // runs of blanks become one
    for (size_t at = 0; at < bare.size();) {
        const size_t start = at;
        if (is_space(next_char(bare, at))) {
            blank = !out.empty();
            continue;
        }
        if (std::exchange(blank, false)) out += ' ';
        out.append(bare, start, at - start);
    }
    return in.make_string(std::move(out));
}

constexpr NamedFilter kTextFilters[] = {
    {"abs", abs_filter},
    {"capitalize", convert_filter<capitalize>},
    {"center", center},
    {"d", default_filter},
    {"default", default_filter},
    {"e", safe<true>},
    {"escape", safe<true>},
    {"float", float_filter},
    {"forceescape", safe<true>},
    {"format", format_filter},
    {"indent", indent},
    {"int", int_filter},
    {"lower", convert_filter<to_lower>},
    {"replace", replace},
    {"round", round_filter},
    {"safe", safe<false>},
    {"string", string_filter},
    {"striptags", striptags},
    {"title", convert_filter<title>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", convert_filter<to_upper>},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
};

}  // namespace

Filter find_filter(std::string_view name) {
    for (const NamedFilter& filter : kTextFilters)
        if (filter.name == name) return filter.apply;
    return find_sequence_filter(name);
}

}  // namespace sterna::jinja
