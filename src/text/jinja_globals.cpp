// The functions that templates call by name, and what `loop` offers.
#include <array>

#include "text/jinja_interpreter.h"

namespace sterna::jinja {

namespace {

Value raise_exception(Interpreter& in, Function& f, const Args& args) {
    const Value* a[1];
    if (!bind(in, f.name, args, {"message"}, 1, a)) return {};
    std::string message = in.str(*a[0]);
    return in.raise(std::move(message));
}

Value range(Interpreter& in, Function& f, const Args& args) {
    const Value* a[3];
    if (!bind(in, f.name, args, {"start", "stop", "step"}, 1, a)) return {};
    for (const Value* value : a)
        if (value && !value->is_integral())
            return in.check_defined(*value)
                       ? in.fail(fmt::format("'{}' object cannot be interpreted as an integer", type_name(*value)))
                       : Value();
    const int64_t start = a[1] ? a[0]->as_int() : 0, stop = a[1] ? a[1]->as_int() : a[0]->as_int();
    const int64_t step = a[2] ? a[2]->as_int() : 1;
    if (step == 0) return in.fail("range() arg 3 must not be zero");
    uint64_t count = 0;
    if (step > 0 ? start < stop : start > stop) {
        const uint64_t span = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                       : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
        const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
        count = (span - 1) / stride + 1;
    }
    if (count > in.limits().max_items)
        return in.fail(fmt::format("range() of {} items, at most {} are allowed", count, in.limits().max_items),
                       ErrorCode::kLimit);
    if (!in.charge(count)) return {};
    std::vector<Value> items;
    items.reserve(count);
    for (uint64_t i = 0; i < count; ++i)
        items.push_back(
            Value::integer(static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step))));
    Value result = in.make_sequence(std::move(items), SequenceKind::kRange);
    if (in.failed()) return {};
    result.sequence().range[0] = start;
    result.sequence().range[1] = stop;
    result.sequence().range[2] = step;
    return result;
}

// What dict(...) and namespace(...) share: a mapping or pairs, then keywords.
bool fill(Interpreter& in, Function& f, const Args& args, Dict& dict) {
    if (args.positional.size() > 1) {
        in.fail(fmt::format("{}() takes at most 1 positional argument", f.name));
        return false;
    }
    if (!args.positional.empty()) {
        const Value& source = args.positional[0];
        if (source.is(Kind::kDict)) {
            if (!in.charge(source.dict().entries.size())) return false;
            for (const auto& [key, value] : source.dict().entries) dict.set(key, value);
        } else {
            std::vector<Value> pairs;
            if (!in.iterate(source, pairs)) return false;
            for (const Value& pair : pairs) {
                std::vector<Value> both;
                if (!in.iterate(pair, both)) return false;
                if (both.size() != 2 || !dict.set(both[0], both[1])) {
                    in.fail(fmt::format("{}() takes pairs of a key and a value", f.name));
                    return false;
                }
            }
        }
    }
    for (const auto& [name, value] : args.named) dict.set(in.make_string(name), value);
    return in.room(0);
}

Value make_dict(Interpreter& in, Function& f, const Args& args) {
    Ref<Dict> dict(new Dict(in.heap()));
    return fill(in, f, args, *dict) ? in.make_dict(std::move(dict)) : Value();
}

Value make_namespace(Interpreter& in, Function& f, const Args& args) {
    Ref<Namespace> space = in.make_namespace();
    if (!fill(in, f, args, *space->attributes)) return {};
    for (const auto& [key, unused] : space->attributes->entries)
        if (key.is(Kind::kString) && key.text().starts_with("_"))
            return in.fail(
                fmt::format("namespace() may not hold '{}': the name starts with an underscore", key.text()));
    return Value::object(Kind::kNamespace, space.get());
}

Value cycler_next(Interpreter& in, Function& f, const Args& args);

Value joiner_call(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    if (f.state++ == 0) return in.make_string({});
    return f.items[0];
}

Value joiner(Interpreter& in, Function& f, const Args& args) {
    const Value* a[1];
    if (!bind(in, f.name, args, {"sep"}, 0, a)) return {};
    Value result = in.make_builtin("joiner", joiner_call);
    if (!in.failed()) result.function().items.push_back(a[0] ? *a[0] : in.make_string(", "));
    return result;
}

// --- strftime ---

struct Date {
    int64_t year;
    int month, day, hour, minute, second, weekday, yearday;  // month from 1, weekday from Sunday = 0, yearday from 1
};

// Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
Date date_of(int64_t time) {
    Date date{};
    int64_t days = time / 86400, seconds = time % 86400;
    if (seconds < 0) {
        seconds += 86400;
        --days;
    }
    date.hour = static_cast<int>(seconds / 3600);
    date.minute = static_cast<int>(seconds / 60 % 60);
    date.second = static_cast<int>(seconds % 60);
    date.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
    const int64_t shifted = days + 719468;
    const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    const int64_t day_of_era = shifted - era * 146097;
    const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month_index = (5 * day_of_year + 2) / 153;
    date.day = static_cast<int>(day_of_year - (153 * month_index + 2) / 5 + 1);
    date.month = static_cast<int>(month_index < 10 ? month_index + 3 : month_index - 9);
    date.year = year_of_era + era * 400 + (date.month <= 2);
    constexpr int kBefore[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const bool leap = (date.year % 4 == 0 && date.year % 100 != 0) || date.year % 400 == 0;
    date.yearday = kBefore[date.month - 1] + date.day + (leap && date.month > 2);
    return date;
}

bool append_date_part(std::string& out, char letter, bool padded, const Date& date) {
    static constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                                   "May",       "June",     "July",     "August",
                                                   "September", "October",  "November", "December"};
    static constexpr std::string_view kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                 "Thursday", "Friday", "Saturday"};
    auto number = [&](int64_t value, int width) {
        out += padded ? fmt::format("{:0{}}", value, width) : std::to_string(value);
    };
    auto several = [&](std::string_view format) {
        for (char c : format) c >= 'A' ? (void)append_date_part(out, c, true, date) : out.push_back(c);
    };
    switch (letter) {
        case 'Y':
            out += std::to_string(date.year);
            break;
        case 'y':
            number(date.year % 100, 2);
            break;
        case 'm':
            number(date.month, 2);
            break;
        case 'd':
            number(date.day, 2);
            break;
        case 'e':
            out += fmt::format("{:2}", date.day);
            break;
        case 'H':
            number(date.hour, 2);
            break;
        case 'I':
            number((date.hour + 11) % 12 + 1, 2);
            break;
        case 'M':
            number(date.minute, 2);
            break;
        case 'S':
            number(date.second, 2);
            break;
        case 'j':
            number(date.yearday, 3);
            break;
        case 'f':
            out += "000000";
            break;
        case 'p':
            out += date.hour < 12 ? "AM" : "PM";
            break;
        case 'B':
            out += kMonths[date.month - 1];
            break;
        case 'b':
        case 'h':
            out += kMonths[date.month - 1].substr(0, 3);
            break;
        case 'A':
            out += kDays[date.weekday];
            break;
        case 'a':
            out += kDays[date.weekday].substr(0, 3);
            break;
        case 'w':
            out += std::to_string(date.weekday);
            break;
        case 'u':
            out += std::to_string(date.weekday == 0 ? 7 : date.weekday);
            break;
        case 'F':
            several("Y-m-d");
            break;
        case 'T':
        case 'X':
            several("H:M:S");
            break;
        case 'R':
            several("H:M");
            break;
        case 'D':
        case 'x':
            several("m/d/y");
            break;
        case 'c':
            several("a b e H:M:S Y");
            break;
        case 'Z':
        case 'z':
            break;  // empty, as for Python's datetime without a time zone
        case '%':
            out += '%';
            break;
        case 'n':
            out += '\n';
            break;
        case 't':
            out += '\t';
            break;
        default:
            return false;
    }
    return true;
}

Value strftime_now(Interpreter& in, Function& f, const Args& args) {
    const Value* a[1];
    if (!bind(in, f.name, args, {"format"}, 1, a)) return {};
    if (!a[0]->is(Kind::kString)) return in.fail(fmt::format("strftime_now() takes a str, not {}", type_name(*a[0])));
    const Date date = date_of(in.now());
    const std::string& format = a[0]->text();
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
        if (format[i] != '%' || i + 1 == format.size()) {
            out.push_back(format[i]);
            continue;
        }
        const bool padded = format[++i] != '-';
        if (!padded && i + 1 < format.size()) ++i;
        if (!append_date_part(out, format[i], padded, date)) out += fmt::format("%{}", format[i]);
    }
    return in.make_string(std::move(out));
}

Value cycler(Interpreter& in, Function& f, const Args& args) {
    if (args.positional.empty() || !args.named.empty())
        return in.fail(fmt::format("{}() takes one item or more", f.name));
    Ref<Namespace> space = in.make_namespace();
    const Value items = in.make_sequence(args.positional, SequenceKind::kTuple);
    Value next = in.make_builtin("next", cycler_next, items);
    if (in.failed()) return {};
    space->attributes->set(in.make_string("next"), next);
    space->attributes->set(in.make_string("current"), args.positional[0]);
    next.function().space = space.get();
    return Value::object(Kind::kNamespace, space.get());
}

Value cycler_next(Interpreter& in, Function& f, const Args& args) {
    if (!bind(in, f.name, args, {}, 0, nullptr)) return {};
    const auto& items = f.self.sequence().items;
    const Value current = items[f.state];
    f.state = (f.state + 1) % items.size();
    f.space->attributes->set(in.make_string("current"), items[f.state]);
    return current;
}

// --- loop ---

Value loop_cycle(Interpreter& in, Function& f, const Args& args) {
    if (args.positional.empty()) return in.fail("loop.cycle() takes one item or more");
    return args.positional[f.self.loop().index0 % args.positional.size()];
}

Value loop_changed(Interpreter& in, Function& f, const Args& args) {
    Loop& loop = f.self.loop();
    bool same = loop.has_changed && loop.last_changed.size() == args.positional.size();
    for (size_t i = 0; same && i < args.positional.size(); ++i)
        same = in.equal(loop.last_changed[i], args.positional[i]);
    loop.has_changed = true;
    if (!same && loop.items) loop.last_changed = args.positional;
    return Value::boolean(!same);
}

}  // namespace

Value Interpreter::loop_attribute(const Value& value, std::string_view name) {
    const Loop& loop = value.loop();
    const auto index0 = static_cast<int64_t>(loop.index0), length = static_cast<int64_t>(loop.length);
    if (name == "index") return Value::integer(index0 + 1);
    if (name == "index0") return Value::integer(index0);
    if (name == "revindex") return Value::integer(length - index0);
    if (name == "revindex0") return Value::integer(length - index0 - 1);
    if (name == "first") return Value::boolean(index0 == 0);
    if (name == "last") return Value::boolean(index0 + 1 == length);
    if (name == "length") return Value::integer(length);
    if (name == "depth") return Value::integer(static_cast<int64_t>(loop.depth0) + 1);
    if (name == "depth0") return Value::integer(static_cast<int64_t>(loop.depth0));
    if (name == "previtem")
        return loop.items && index0 > 0 ? (*loop.items)[loop.index0 - 1] : make_undefined("there is no previous item");
    if (name == "nextitem")
        return loop.items && index0 + 1 < length ? (*loop.items)[loop.index0 + 1]
                                                 : make_undefined("there is no next item");
    if (name == "cycle") return make_builtin("cycle", loop_cycle, value);
    if (name == "changed") return make_builtin("changed", loop_changed, value);
    return make_undefined(fmt::format("'loop' has no attribute '{}'", name.substr(0, 200)));
}

void add_globals(Interpreter& in, Scope& scope) {
    static constexpr std::pair<std::string_view, Builtin> kGlobals[] = {{"raise_exception", raise_exception},
                                                                        {"strftime_now", strftime_now},
                                                                        {"range", range},
                                                                        {"dict", make_dict},
                                                                        {"namespace", make_namespace},
                                                                        {"cycler", cycler},
                                                                        {"joiner", joiner}};
    for (const auto& [name, builtin] : kGlobals) scope.set(name, in.make_builtin(name, builtin));
}

}  // namespace sterna::jinja
