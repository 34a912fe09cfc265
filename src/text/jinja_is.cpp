// The tests behind `is`.
#include <array>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

bool one(Interpreter& in, const Args& args) {
    const Value* a[1];
    return bind(in, "test", args, {"value"}, 1, a);
}

template <bool (*holds)(const Value&)>
bool plain(Interpreter& in, const Args& args) {
    return one(in, args) && holds(args.positional[0]);
}

bool is_defined(const Value& v) {
    return !v.is(Kind::kUndefined);
}
bool is_undefined(const Value& v) {
    return v.is(Kind::kUndefined);
}
bool is_none_value(const Value& v) {
    return v.is(Kind::kNone);
}
bool is_boolean(const Value& v) {
    return v.is(Kind::kBool);
}
bool is_true(const Value& v) {
    return v.is(Kind::kBool) && v.as_int() != 0;
}
bool is_false(const Value& v) {
    return v.is(Kind::kBool) && v.as_int() == 0;
}
bool is_integer(const Value& v) {
    return v.is(Kind::kInt);
}
bool is_float(const Value& v) {
    return v.is(Kind::kFloat);
}
bool is_number(const Value& v) {
    return v.is_number();
}
bool is_string(const Value& v) {
    return v.is(Kind::kString);
}
bool is_mapping(const Value& v) {
    return v.is(Kind::kDict);
}
bool is_callable(const Value& v) {
    return v.is(Kind::kFunction) || v.is(Kind::kUndefined) || v.is(Kind::kLoop);
}
bool is_escaped(const Value& v) {
    return v.is(Kind::kString) && v.string().markup;
}
bool is_iterable(const Value& v) {
    return v.is(Kind::kUndefined) || v.is(Kind::kString) || v.is(Kind::kSequence) || v.is(Kind::kDict) ||
           v.is(Kind::kLoop);
}
bool is_sequence(const Value& v) {
    if (v.is(Kind::kSequence)) {
        const SequenceKind kind = v.sequence().sequence_kind;
        return kind == SequenceKind::kList || kind == SequenceKind::kTuple || kind == SequenceKind::kRange ||
               kind == SequenceKind::kGroup;
    }
    return v.is(Kind::kUndefined) || v.is(Kind::kString) || v.is(Kind::kDict);
}

template <bool upper>
bool is_cased(Interpreter& in, const Args& args) {
    if (!one(in, args)) return false;
    const std::string text = in.str(args.positional[0]);
    bool any = false;
    for (size_t at = 0; at < text.size();) {
        const uint32_t c = next_char(text, at);
        const bool up = jinja::is_upper(c), low = jinja::is_lower(c);
        if (upper ? low : up) return false;
        any |= up || low;
    }
    return any;
}

bool remainder_is(Interpreter& in, const Args& args, int64_t divisor, int64_t wanted) {
    if (!one(in, args)) return false;
    return in.equal(in.binary(Operator::kModulo, args.positional[0], Value::integer(divisor)), Value::integer(wanted));
}
bool is_odd(Interpreter& in, const Args& args) {
    return remainder_is(in, args, 2, 1);
}
bool is_even(Interpreter& in, const Args& args) {
    return remainder_is(in, args, 2, 0);
}
bool is_divisible(Interpreter& in, const Args& args) {
    const Value* a[2];
    if (!bind(in, "divisibleby", args, {"value", "num"}, 2, a)) return false;
    return in.equal(in.binary(Operator::kModulo, *a[0], *a[1]), Value::integer(0));
}

template <Operator op>
bool compares(Interpreter& in, const Args& args) {
    const Value* a[2];
    return bind(in, "comparison", args, {"value", "other"}, 2, a) && truth(in.compare(op, *a[0], *a[1]));
}

bool is_same(Interpreter& in, const Args& args) {
    const Value* a[2];
    if (!bind(in, "sameas", args, {"value", "other"}, 2, a) || a[0]->kind() != a[1]->kind()) return false;
    if (a[0]->is_number() || a[0]->is(Kind::kString)) return in.equal(*a[0], *a[1]);
    return a[0]->identity() == a[1]->identity();
}

bool is_filter(Interpreter& in, const Args& args) {
    return one(in, args) && find_filter(in.str(args.positional[0])) != nullptr;
}
bool is_test(Interpreter& in, const Args& args) {
    return one(in, args) && find_test(in.str(args.positional[0])) != nullptr;
}

constexpr std::pair<std::string_view, Test> kTests[] = {
    {"!=", compares<Operator::kNotEqual>},
    {"<", compares<Operator::kLess>},
    {"<=", compares<Operator::kLessEqual>},
    {"==", compares<Operator::kEqual>},
    {">", compares<Operator::kGreater>},
    {">=", compares<Operator::kGreaterEqual>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", is_divisible},
    {"eq", compares<Operator::kEqual>},
    {"equalto", compares<Operator::kEqual>},
    {"escaped", plain<is_escaped>},
    {"even", is_even},
    {"false", plain<is_false>},
    {"filter", is_filter},
    {"float", plain<is_float>},
    {"ge", compares<Operator::kGreaterEqual>},
    {"greaterthan", compares<Operator::kGreater>},
    {"gt", compares<Operator::kGreater>},
    {"in", compares<Operator::kIn>},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", compares<Operator::kLessEqual>},
    {"lessthan", compares<Operator::kLess>},
    {"lower", is_cased<false>},
    {"lt", compares<Operator::kLess>},
    {"mapping", plain<is_mapping>},
    {"ne", compares<Operator::kNotEqual>},
    {"none", plain<is_none_value>},
    {"number", plain<is_number>},
    {"odd", is_odd},
    {"sameas", is_same},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", is_cased<true>},
};

}  // namespace

Test find_test(std::string_view name) {
    for (const auto& [known, test] : kTests)
        if (known == name) return test;
    return nullptr;
}

}  // namespace sterna::jinja
