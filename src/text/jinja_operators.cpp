#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

const char* symbol(Operator op) {
    switch (op) {
        case Operator::kAdd:
            return "+";
        case Operator::kSubtract:
            return "-";
        case Operator::kMultiply:
            return "*";
        case Operator::kDivide:
            return "/";
        case Operator::kFloorDivide:
            return "//";
        case Operator::kModulo:
            return "%";
        case Operator::kPower:
            return "** or pow()";
        default:
            return "comparison";
    }
}

bool is_list_or_tuple(const Value& value) {
    return value.is(Kind::kSequence) && (value.sequence().sequence_kind == SequenceKind::kList ||
                                         value.sequence().sequence_kind == SequenceKind::kTuple);
}

}  // namespace

Value Interpreter::unsupported(Operator op, const Value& a, const Value& b) {
    if (!check_defined(a) || !check_defined(b)) return {};
    if (op == Operator::kAdd && a.is(Kind::kString))
        return fail(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
    return fail(
        fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Value Interpreter::negate(const Value& value) {
    if (value.is(Kind::kFloat)) return Value::real(-value.as_double());
    if (!value.is_integral())
        return check_defined(value) ? fail(fmt::format("bad operand type for unary -: '{}'", type_name(value)))
                                    : Value();
    return int_arithmetic(Operator::kSubtract, 0, value.as_int());
}

Value Interpreter::binary(Operator op, const Value& a, const Value& b) {
    if (failed_) return {};
    if (a.is_number() && b.is_number()) return arithmetic(op, a, b);
    if (op == Operator::kAdd && a.is(Kind::kString) && b.is(Kind::kString)) {
        const bool markup = a.string().markup || b.string().markup;
        if (a.text().size() + b.text().size() > limits_.max_string_bytes)
            return fail(fmt::format("a string of more than {} bytes", limits_.max_string_bytes), ErrorCode::kLimit);
        auto text = [&](const Value& v) { return markup && !v.string().markup ? escape_html(v.text()) : v.text(); };
        return make_string(text(a) + text(b), markup);
    }
    if (op == Operator::kAdd && is_list_or_tuple(a) && is_list_or_tuple(b) &&
        a.sequence().sequence_kind == b.sequence().sequence_kind) {
        std::vector<Value> items;
        if (!room((a.sequence().items.size() + b.sequence().items.size()) * sizeof(Value))) return {};
        items.reserve(a.sequence().items.size() + b.sequence().items.size());
        if (!iterate(a, items) || !iterate(b, items)) return {};
        return make_sequence(std::move(items), a.sequence().sequence_kind);
    }
    if (op == Operator::kMultiply && b.is_integral() && (a.is(Kind::kString) || is_list_or_tuple(a)))
        return repeat(a, b.as_int());
    if (op == Operator::kMultiply && a.is_integral() && (b.is(Kind::kString) || is_list_or_tuple(b)))
        return repeat(b, a.as_int());
    if (op == Operator::kModulo && a.is(Kind::kString)) return percent_format(a, b);
    return unsupported(op, a, b);
}

Value Interpreter::repeat(const Value& value, int64_t count) {
    const size_t times = count < 0 ? 0 : static_cast<size_t>(count);
    if (value.is(Kind::kString)) {
        const std::string& text = value.text();
        if (!text.empty() && times > limits_.max_string_bytes / text.size())
            return fail(fmt::format("a string of more than {} bytes", limits_.max_string_bytes), ErrorCode::kLimit);
        std::string out;
        out.reserve(text.size() * times);
        for (size_t i = 0; !text.empty() && i < times; ++i) out += text;
        return make_string(std::move(out), value.string().markup);
    }
    const std::vector<Value>& items = value.sequence().items;
    std::vector<Value> out;
    if (!items.empty() && times > limits_.max_steps / items.size())
        return fail(fmt::format("more than {} steps", limits_.max_steps), ErrorCode::kLimit);
    if (!charge(items.size() * times) || !room(items.size() * times * sizeof(Value))) return {};
    out.reserve(items.size() * times);
    for (size_t i = 0; !items.empty() && i < times; ++i) out.insert(out.end(), items.begin(), items.end());
    return make_sequence(std::move(out), value.sequence().sequence_kind);
}

Value Interpreter::int_arithmetic(Operator op, int64_t a, int64_t b) {
    int64_t result = 0;
    bool overflow = false;
    switch (op) {
        case Operator::kAdd:
            overflow = __builtin_add_overflow(a, b, &result);
            break;
        case Operator::kSubtract:
            overflow = __builtin_sub_overflow(a, b, &result);
            break;
        case Operator::kMultiply:
            overflow = __builtin_mul_overflow(a, b, &result);
            break;
        case Operator::kFloorDivide:
        case Operator::kModulo:
            if (b == 0) return fail("integer division or modulo by zero");
            if (b == -1) {
                overflow = op == Operator::kFloorDivide && __builtin_sub_overflow(int64_t{0}, a, &result);
            } else {
                const int64_t quotient = a / b, remainder = a % b;
                const bool adjust =
                    remainder != 0 && (remainder < 0) != (b < 0);  // Python rounds towards minus infinity
                result = op == Operator::kFloorDivide ? quotient - adjust : adjust ? remainder + b : remainder;
            }
            break;
        case Operator::kPower: {
            result = 1;
            int64_t base = a;
            for (int64_t exponent = b; exponent != 0; exponent >>= 1) {
                if (exponent & 1) overflow |= __builtin_mul_overflow(result, base, &result);
                if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) overflow = true;
            }
            break;
        }
        default:
            break;
    }
    if (overflow) return fail("an integer beyond 64 bits", ErrorCode::kUnsupported);
    return Value::integer(result);
}

Value Interpreter::arithmetic(Operator op, const Value& a, const Value& b) {
    const bool integral = a.is_integral() && b.is_integral();
    if (integral && op != Operator::kDivide && !(op == Operator::kPower && b.as_int() < 0))
        return int_arithmetic(op, a.as_int(), b.as_int());
    const double x = a.as_double(), y = b.as_double();
    switch (op) {
        case Operator::kAdd:
            return Value::real(x + y);
        case Operator::kSubtract:
            return Value::real(x - y);
        case Operator::kMultiply:
            return Value::real(x * y);
        case Operator::kDivide:
            if (y == 0) return fail(integral ? "division by zero" : "float division by zero");
            return Value::real(x / y);
        case Operator::kFloorDivide:
        case Operator::kModulo: {
            if (y == 0) return fail("float floor division or modulo by zero");
            double modulo = std::fmod(x, y);
            double quotient = (x - modulo) / y;
            if (modulo != 0 && (modulo < 0) != (y < 0)) {
                modulo += y;
                quotient -= 1;
            } else if (modulo == 0) {
                modulo = std::copysign(0.0, y);
            }
            if (op == Operator::kModulo) return Value::real(modulo);
            double floored = quotient == 0 ? std::copysign(0.0, x / y) : std::floor(quotient);
            if (quotient - floored > 0.5) floored += 1;
            return Value::real(floored);
        }
        case Operator::kPower:
            if (x == 0 && y < 0) return fail("0.0 cannot be raised to a negative power");
            if (x < 0 && std::floor(y) != y)
                return fail("a negative number raised to a fraction is complex", ErrorCode::kUnsupported);
            if (const double result = std::pow(x, y); std::isfinite(result) || !std::isfinite(x) || !std::isfinite(y))
                return Value::real(result);
            return fail("numerical result out of range");
        default:
            return {};
    }
}

bool Interpreter::contains(const Value& needle, const Value& container) {
    if (failed_) return false;
    switch (container.kind()) {
        case Kind::kUndefined:
            return false;
        case Kind::kString:
            if (!needle.is(Kind::kString)) {
                fail(fmt::format("'in <string>' requires string as left operand, not {}", type_name(needle)));
                return false;
            }
            charge((needle.text().size() + container.text().size()) / 256);
            return find_text(container.text(), needle.text()) != std::string::npos;
        case Kind::kDict:
            if (needle.is(Kind::kString)) charge(needle.text().size() / 256);
            if (needle.is(Kind::kDict) ||
                (needle.is(Kind::kSequence) && needle.sequence().sequence_kind == SequenceKind::kList))
                fail(fmt::format("unhashable type: '{}'", type_name(needle)));
            return container.dict().find(needle) != nullptr;
        case Kind::kSequence: {
            Sequence& sequence = container.sequence();
            for (size_t i = sequence.position; i < sequence.items.size() && !failed_; ++i) {
                const bool hit = equal(sequence.items[i], needle);
                if (sequence.sequence_kind == SequenceKind::kIterator) sequence.position = i + 1;
                if (hit) return true;
            }
            return false;
        }
        default:
            fail(fmt::format("argument of type '{}' is not iterable", type_name(container)));
            return false;
    }
}

Value Interpreter::compare(Operator op, const Value& a, const Value& b) {
    switch (op) {
        case Operator::kEqual:
            return Value::boolean(equal(a, b));
        case Operator::kNotEqual:
            return Value::boolean(!equal(a, b));
        case Operator::kIn:
            return Value::boolean(contains(a, b));
        case Operator::kNotIn:
            return Value::boolean(!contains(a, b));
        default:
            break;
    }
    const int sign = order(a, b);
    if (sign == kUnordered) return Value::boolean(false);
    return Value::boolean(op == Operator::kLess        ? sign < 0
                          : op == Operator::kLessEqual ? sign <= 0
                          : op == Operator::kGreater   ? sign > 0
                                                       : sign >= 0);
}

}  // namespace sterna::jinja
