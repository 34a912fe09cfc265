// Python's two ways to format: "%5.2f" % x and "{:>10}".format(x).
#include <algorithm>
#include <cmath>

#include "text/jinja_filters.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

constexpr int64_t kMaxPrecision = 1000;  // digits behind the point that a template may ask for

struct Spec {
    std::string fill = " ";
    char align = 0;  // < > ^ =, 0 where not given
    char sign = '-';
    bool alternate = false, zero = false;
    char group = 0;  // , or _
    int64_t width = 0, precision = -1;
    char type = 0;
};

Value too_long(Interpreter& in) {
    return in.fail(fmt::format("a string of more than {} bytes", in.limits().max_string_bytes), ErrorCode::kLimit);
}

// Digits at `at`; clamped so that nothing overflows.
int64_t read_number(std::string_view text, size_t& at) {
    int64_t value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
        value = std::min<int64_t>(value * 10 + (text[at] - '0'), int64_t{1} << 40);
    return value;
}

bool append_padded(Interpreter& in, std::string& out, std::string_view sign, std::string_view body, const Spec& spec,
                   char default_align) {
    const auto length = static_cast<int64_t>(count_chars(sign) + count_chars(body));
    const int64_t pad = std::max<int64_t>(0, spec.width - length);
    if (out.size() + static_cast<size_t>(pad) * spec.fill.size() + body.size() > in.limits().max_string_bytes) {
        too_long(in);
        return false;
    }
    char align = spec.align ? spec.align : default_align;
    std::string fill = spec.fill;
    if (spec.zero && !spec.align) {
        align = '=';
        fill = "0";
    }
    const int64_t before = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
    if (align == '=') out += sign;
    for (int64_t i = 0; i < before; ++i) out += fill;
    if (align != '=') out += sign;
    out += body;
    for (int64_t i = before; i < pad; ++i) out += fill;
    return true;
}

std::string grouped(std::string digits, char separator, size_t every) {
    for (size_t i = digits.size(); i > every;) {
        i -= every;
        digits.insert(i, 1, separator);
    }
    return digits;
}

std::string sign_of(bool negative, char mode) {
    return negative ? "-" : mode == '+' ? "+" : mode == ' ' ? " " : "";
}

bool append_int(Interpreter& in, std::string& out, int64_t value, const Spec& spec) {
    const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    std::string sign = sign_of(value < 0, spec.sign), digits;
    switch (spec.type) {
        case 'x':
            digits = fmt::format("{:x}", magnitude);
            break;
        case 'X':
            digits = fmt::format("{:X}", magnitude);
            break;
        case 'o':
            digits = fmt::format("{:o}", magnitude);
            break;
        case 'b':
            digits = fmt::format("{:b}", magnitude);
            break;
        default:
            digits = std::to_string(magnitude);
    }
    const bool decimal = spec.type == 0 || spec.type == 'd' || spec.type == 'n' || spec.type == 'i' || spec.type == 'u';
    if (spec.group) digits = grouped(std::move(digits), spec.group, decimal ? 3 : 4);
    if (spec.alternate && !decimal) sign += fmt::format("0{}", spec.type);
    if (spec.precision > static_cast<int64_t>(digits.size()))
        digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
    return append_padded(in, out, sign, digits, spec, '>');
}

bool append_real(Interpreter& in, std::string& out, double value, const Spec& spec) {
    const std::string sign = sign_of(std::signbit(value) && !std::isnan(value), spec.sign);
    const double magnitude = std::fabs(value);
    const char type = spec.type == '%' ? 'f' : spec.type;
    const auto precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    std::string body;
    if (!std::isfinite(value)) {
        body = std::isnan(value) ? "nan" : "inf";
        if (type == 'F' || type == 'E' || type == 'G') body = to_upper(body);
    } else if (type == 0) {
        body = spec.precision < 0 ? float_repr(magnitude) : fmt::format("{:.{}g}", magnitude, std::max(1, precision));
        if (spec.precision >= 0 && body.find_first_of(".e") == std::string::npos) body += ".0";
    } else if (type == 'f' || type == 'F') {
        body = fmt::format("{:.{}f}", spec.type == '%' ? magnitude * 100 : magnitude, precision);
    } else if (type == 'e' || type == 'E') {
        body = fmt::format("{:.{}e}", magnitude, precision);
    } else {
        body = fmt::format("{:.{}g}", magnitude, std::max(1, precision));
    }
    if (type == 'E' || type == 'G') body = to_upper(body);
    if (spec.group) {
        const size_t whole = std::min(body.find_first_of(".eE"), body.size());
        body = grouped(body.substr(0, whole), spec.group, 3) + body.substr(whole);
    }
    if (spec.type == '%') body += '%';
    return append_padded(in, out, sign, body, spec, '>');
}

bool append_text(Interpreter& in, std::string& out, std::string_view text, const Spec& spec, char align) {
    if (spec.precision >= 0) text = text.substr(0, char_offset(text, static_cast<size_t>(spec.precision)));
    return append_padded(in, out, "", text, spec, align);
}

bool parse_spec(Interpreter& in, std::string_view text, Spec& spec) {
    auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    size_t at = 0;
    if (!text.empty()) {
        size_t next = 0;
        next_char(text, next);
        if (next < text.size() && is_align(text[next])) {
            spec.fill = text.substr(0, next);
            spec.align = text[next];
            at = next + 1;
        } else if (is_align(text[0])) {
            spec.align = text[0];
            at = 1;
        }
    }
    auto flag = [&](char c) { return at < text.size() && text[at] == c && ++at; };
    if (flag('+')) {
        spec.sign = '+';
    } else if (flag(' ')) {
        spec.sign = ' ';
    } else {
        flag('-');
    }
    spec.alternate = flag('#');
    spec.zero = flag('0');
    spec.width = read_number(text, at);
    if (flag(',')) spec.group = ',';
    if (flag('_')) spec.group = '_';
    if (flag('.')) spec.precision = read_number(text, at);
    if (at < text.size()) spec.type = text[at++];
    if (at < text.size() || spec.precision > kMaxPrecision) {
        in.fail(fmt::format("invalid format specifier '{}'", text.substr(0, 100)));
        return false;
    }
    return true;
}

}  // namespace

bool append_formatted(Interpreter& in, std::string& out, const Value& value, std::string_view text) {
    if (text.empty()) {
        if (append_str(out, value, in.limits().max_string_bytes)) return true;
        too_long(in);
        return false;
    }
    Spec spec;
    if (!parse_spec(in, text, spec)) return false;
    static constexpr std::string_view kIntTypes("dnxXob"), kRealTypes("eEfFgG%n");
    auto any_of = [&](std::string_view types) {
        return spec.type == 0 || types.find(spec.type) != std::string_view::npos;
    };
    if (value.is_integral() && spec.type == 'c') {
        std::string character;
        if (value.as_int() >= 0 && value.as_int() <= 0x10FFFF)
            append_char(character, static_cast<uint32_t>(value.as_int()));
        return append_padded(in, out, "", character, spec, '<');
    }
    if (value.is(Kind::kBool) && spec.type == 0)
        return append_text(in, out, value.as_int() ? "True" : "False", spec, '<');
    if (value.is_integral() && any_of(kIntTypes) && spec.precision < 0)
        return append_int(in, out, value.as_int(), spec);
    if (value.is_number() && any_of(kRealTypes)) {
        return append_real(in, out, value.as_double(), spec);
    }
    if (value.is(Kind::kString) && any_of("s") && spec.align != '=') {
        if (spec.zero && !spec.align) {
            spec.align = '<';
            spec.fill = "0";
        }
        return append_text(in, out, value.text(), spec, '<');
    }
    if (in.check_defined(value))
        in.fail(fmt::format("format '{}' does not fit a value of type {}", text.substr(0, 100), type_name(value)));
    return false;
}

namespace {

// The value that a field such as "0", "name", "user.name" or "items[2]" means.
Value field_value(Interpreter& in, std::string_view field, const Args& args, size_t& automatic) {
    const size_t end = std::min(field.find_first_of(".["), field.size());
    const std::string_view head = field.substr(0, end);
    Value value;
    int64_t index = -1;
    if (head.empty()) index = static_cast<int64_t>(automatic++);
    if (index >= 0 || (head.find_first_not_of("0123456789") == std::string_view::npos && parse_int(head, 10, index))) {
        if (static_cast<size_t>(index) >= args.positional.size())
            return in.fail("format: replacement index out of range");
        value = args.positional[static_cast<size_t>(index)];
    } else {
        const auto at =
            std::find_if(args.named.begin(), args.named.end(), [&](const auto& named) { return named.first == head; });
        if (at == args.named.end()) return in.fail(fmt::format("format: no argument '{}'", head.substr(0, 100)));
        value = at->second;
    }
    for (size_t i = end; i < field.size() && !in.failed();) {
        if (field[i] == '[') {
            const size_t close = field.find(']', i);
            if (close == std::string_view::npos) return in.fail("format: expected ']'");
            const std::string key(field.substr(i + 1, close - i - 1));
            value = in.item(value, parse_int(key, 10, index) ? Value::integer(index) : in.make_string(key));
            i = close + 1;
        } else {
            const size_t next = std::min(field.find_first_of(".[", i + 1), field.size());
            const std::string name(field.substr(i + 1, next - i - 1));
            value =
                value.is(Kind::kDict) ? Value() : in.attribute(value, name);  // as Python: attributes are not keys here
            i = next;
        }
        if (value.is(Kind::kUndefined)) return in.fail(fmt::format("format: '{}' leads nowhere", field.substr(0, 100)));
    }
    return value;
}

}  // namespace

Value format_method(Interpreter& in, Function& function, const Args& args) {
    const std::string& format = function.self.text();
    std::string out;
    size_t automatic = 0;
    for (size_t i = 0; i < format.size() && !in.failed(); ++i) {
        const char c = format[i];
        if (c != '{' && c != '}') {
            out += c;
        } else if (i + 1 < format.size() && format[i + 1] == c) {
            out += c;
            ++i;
        } else if (c == '}') {
            return in.fail("format: single '}' in the format string");
        } else {
            size_t depth = 1, end = i + 1;
            for (; end < format.size(); ++end) {
                if (format[end] == '{') ++depth;
                if (format[end] == '}' && --depth == 0) break;
            }
            if (end >= format.size()) return in.fail("format: expected '}' before the end of the string");
            const std::string_view body = std::string_view(format).substr(i + 1, end - i - 1);
            const size_t colon = std::min(body.find(':'), body.size());
            std::string_view field = body.substr(0, colon);
            char conversion = 0;
            if (field.size() >= 2 && field[field.size() - 2] == '!') {
                conversion = field.back();
                field.remove_suffix(2);
            }
            Value value = field_value(in, field, args, automatic);
            if (in.failed()) return {};
            if (conversion == 'r' || conversion == 'a') value = in.make_string(in.repr(value));
            if (conversion == 's') value = in.make_string(in.str(value));
            std::string spec(body.substr(std::min(colon + 1, body.size())));
            for (size_t open = spec.find('{'); open != std::string::npos; open = spec.find('{')) {  // "{:{width}}"
                const size_t close = spec.find('}', open);
                if (close == std::string::npos || spec.size() > 1000) return in.fail("format: broken nested field");
                const Value nested =
                    field_value(in, std::string_view(spec).substr(open + 1, close - open - 1), args, automatic);
                std::string text = in.str(nested);
                if (in.failed() || text.find('{') != std::string::npos) return in.fail("format: broken nested field");
                spec.replace(open, close - open + 1, text);
            }
            if (!append_formatted(in, out, value, spec)) return {};
            i = end;
        }
        if (out.size() > in.limits().max_string_bytes) return too_long(in);
    }
    return in.make_string(std::move(out));
}

namespace {

bool append_percent(Interpreter& in, std::string& out, const Value& value, Spec spec) {
    char type = spec.type;
    switch (type) {
        case 's':
        case 'r':
        case 'a':
            return append_text(in, out, type == 's' ? in.str(value) : in.repr(value), spec, '>') && !in.failed();
        case 'c': {
            std::string character;
            if (value.is(Kind::kString) && value.string().length == 1) {
                character = value.text();
            } else if (value.is_integral() && value.as_int() >= 0 && value.as_int() <= 0x10FFFF) {
                append_char(character, static_cast<uint32_t>(value.as_int()));
            } else {
                in.fail("%c requires an int or a char");
                return false;
            }
            return append_padded(in, out, "", character, spec, '>');
        }
        case 'd':
        case 'i':
        case 'u':
        case 'x':
        case 'X':
        case 'o': {
            if (!in.check_defined(value)) return false;
            const bool decimal = type == 'd' || type == 'i' || type == 'u';
            if (!value.is_integral() && !(decimal && value.is(Kind::kFloat) && std::fabs(value.as_double()) < 9.2e18)) {
                in.fail(fmt::format("%{} format: a number is required, not {}", type, type_name(value)));
                return false;
            }
            return append_int(in, out, value.is_integral() ? value.as_int() : static_cast<int64_t>(value.as_double()),
                              spec);
        }
        case 'e':
        case 'E':
        case 'f':
        case 'F':
        case 'g':
        case 'G': {
            if (!in.check_defined(value)) return false;
            if (!value.is_number()) {
                in.fail(fmt::format("must be real number, not {}", type_name(value)));
                return false;
            }
            return append_real(in, out, value.as_double(), spec);
        }
        default:
            in.fail(fmt::format("unsupported format character '{}'", type));
            return false;
    }
}

}  // namespace

Value Interpreter::percent_format(const Value& format_value, const Value& arguments) {
    if (!check_defined(format_value) || failed_) return {};
    const std::string& format = format_value.text();
    const bool tuple = arguments.is(Kind::kSequence) && (arguments.sequence().sequence_kind == SequenceKind::kTuple ||
                                                         arguments.sequence().sequence_kind == SequenceKind::kGroup);
    const bool mapping = arguments.is(Kind::kDict);
    std::vector<Value> values;
    if (tuple) {
        values = arguments.sequence().items;
    } else {
        values.push_back(arguments);
    }
    size_t used = 0;
    bool by_name = false;
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
        if (format[i] != '%') {
            out += format[i];
            continue;
        }
        Spec spec;
        Value value;
        bool named = false;
        ++i;
        if (i < format.size() && format[i] == '(') {
            const size_t close = format.find(')', i);
            if (close == std::string::npos) return fail("incomplete format key");
            if (!mapping) return fail("format requires a mapping");
            const Value* found = arguments.dict().find(std::string_view(format).substr(i + 1, close - i - 1));
            if (!found)
                return fail(fmt::format("'{}' is not among the values to format",
                                        format.substr(i + 1, std::min<size_t>(100, close - i - 1))));
            value = *found;
            named = by_name = true;
            i = close + 1;
        }
        for (; i < format.size(); ++i) {
            const char c = format[i];
            if (c == '-') {
                spec.align = '<';
            } else if (c == '0') {
                spec.zero = true;
            } else if (c == '+' || (c == ' ' && spec.sign != '+')) {
                spec.sign = c;
            } else if (c == '#') {
                spec.alternate = true;
            } else if (c != ' ') {
                break;
            }
        }
        auto star = [&](int64_t& number) {
            if (i >= format.size() || format[i] != '*') {
                number = read_number(format, i);
                return true;
            }
            ++i;
            if (used >= values.size() || !values[used].is_integral()) return !fail("* wants int").is(Kind::kUndefined);
            number = std::min<int64_t>(values[used++].as_int(), int64_t{1} << 40);
            return true;
        };
        if (!star(spec.width)) return {};
        if (i < format.size() && format[i] == '.') {
            ++i;
            if (!star(spec.precision)) return {};
        }
        while (i < format.size() && (format[i] == 'h' || format[i] == 'l' || format[i] == 'L')) ++i;
        if (i >= format.size()) return fail("incomplete format");
        if (format[i] == '%') {
            out += '%';
            continue;
        }
        spec.type = format[i];
        const bool numeric = spec.type != 's' && spec.type != 'r' && spec.type != 'a' && spec.type != 'c';
        if (!numeric) spec.zero = false;
        if (numeric && spec.precision > kMaxPrecision) return fail("format: precision out of range");
        if (!named) {
            if (used >= values.size()) return fail("not enough arguments for format string");
            value = values[used++];
        }
        if (!append_percent(*this, out, value, spec)) return {};
        if (out.size() > limits_.max_string_bytes) return too_long(*this);
    }
    if (used < values.size() && !mapping && !by_name)
        return fail("not all arguments converted during string formatting");
    return make_string(std::move(out), format_value.string().markup);
}

}  // namespace sterna::jinja
