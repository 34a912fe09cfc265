#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

Value Interpreter::eval(const Expr& expr) {
    if (!charge(1)) return {};
    Deeper deeper(*this);
    if (failed_) return {};
    switch (expr.kind) {
        case ExprKind::kNone:
        case ExprKind::kNothing:
            return Value::none();
        case ExprKind::kBool:
            return Value::boolean(expr.integer != 0);
        case ExprKind::kInt:
            return Value::integer(expr.integer);
        case ExprKind::kFloat:
            return Value::real(expr.real);
        case ExprKind::kText:
            return make_string(expr.text);
        case ExprKind::kName:
            return eval_name(expr);
        case ExprKind::kNamespaceRef:
        case ExprKind::kSlice:
            return fail("a slice stands outside of a subscript");
        case ExprKind::kBlockValue:
            return block_value_;
        case ExprKind::kAttribute: {
            const Value base = eval(*expr.kids[0]);
            line_ = expr.line;
            return attribute(base, expr.text, &expr);
        }
        case ExprKind::kItem:
            return eval_item(expr);
        case ExprKind::kCall:
            return eval_call(expr);
        case ExprKind::kFilter:
        case ExprKind::kTest: {
            Args args;
            args.positional.push_back(eval(*expr.kids[0]));
            if (!eval_args(expr, args)) return {};
            line_ = expr.line;
            if (expr.kind == ExprKind::kFilter) return filter(expr.text, args);
            return Value::boolean(test(expr.text, args));
        }
        case ExprKind::kNegative:
            return negate(eval(*expr.kids[0]));
        case ExprKind::kPositive: {
            const Value value = eval(*expr.kids[0]);
            if (!value.is_number())
                return check_defined(value) ? fail(fmt::format("bad operand type for unary +: '{}'", type_name(value)))
                                            : Value();
            return value.is(Kind::kFloat) ? value : Value::integer(value.as_int());
        }
        case ExprKind::kNot:
            return Value::boolean(!truth(eval(*expr.kids[0])));
        case ExprKind::kBinary:
            return eval_binary(expr);
        case ExprKind::kConcat:
            return eval_concat(expr);
        case ExprKind::kAnd:
        case ExprKind::kOr: {
            Value value;
            for (const ExprPtr& kid : expr.kids) {
                value = eval(*kid);
                if (truth(value) == (expr.kind == ExprKind::kOr)) break;
            }
            return value;
        }
        case ExprKind::kCompare:
            return eval_compare(expr);
        case ExprKind::kConditional: {
            if (truth(eval(*expr.kids[1]))) return eval(*expr.kids[0]);
            if (expr.kids[2]->kind != ExprKind::kNothing) return eval(*expr.kids[2]);
            return make_undefined("the inline if-expression was false and no else part was given");
        }
        case ExprKind::kList:
        case ExprKind::kTuple: {
            std::vector<Value> items;
            items.reserve(expr.kids.size());
            for (const ExprPtr& kid : expr.kids) items.push_back(eval(*kid));
            return make_sequence(std::move(items),
                                 expr.kind == ExprKind::kList ? SequenceKind::kList : SequenceKind::kTuple);
        }
        case ExprKind::kDict:
            return eval_dict(expr);
    }
    return {};
}

Value Interpreter::eval_name(const Expr& expr) {
    line_ = expr.line;
    if (const Value* value = scope_->find(expr.text)) return *value;
    return Value::object(Kind::kUndefined, new UndefinedInfo(heap_, &expr, {}));
}

Value Interpreter::eval_dict(const Expr& expr) {
    Ref<Dict> dict(new Dict(heap_));
    for (size_t i = 0; i + 1 < expr.kids.size(); i += 2) {
        const Value key = eval(*expr.kids[i]);
        Value value = eval(*expr.kids[i + 1]);
        if (failed_) return {};
        line_ = expr.line;
        if (!dict->set(key, std::move(value))) return fail(fmt::format("'{}' cannot be a dict's key", type_name(key)));
    }
    return make_dict(std::move(dict));
}

Value Interpreter::eval_binary(const Expr& expr) {
    Value left = eval(*expr.kids[0]);
    for (size_t i = 0; i < expr.operators.size() && !failed_; ++i) {
        const Value right = eval(*expr.kids[i + 1]);
        line_ = expr.line;
        left = binary(expr.operators[i], left, right);
    }
    return left;
}

// Without autoescape ~ joins plain text even where a part is marked as safe.
Value Interpreter::eval_concat(const Expr& expr) {
    std::vector<Value> parts;
    for (const ExprPtr& kid : expr.kids) {
        parts.push_back(eval(*kid));
        if (failed_) return {};
    }
    std::string text;
    for (const Value& part : parts)
        if (!append_str(text, part, limits_.max_string_bytes))
            return fail(fmt::format("a string of more than {} bytes", limits_.max_string_bytes), ErrorCode::kLimit);
    return make_string(std::move(text));
}

Value Interpreter::eval_compare(const Expr& expr) {
    Value left = eval(*expr.kids[0]), result = Value::boolean(true);
    for (size_t i = 0; i < expr.operators.size(); ++i) {
        Value right = eval(*expr.kids[i + 1]);
        if (failed_) return {};
        line_ = expr.line;
        result = compare(expr.operators[i], left, right);
        if (!truth(result)) break;
        left = std::move(right);
    }
    return result;
}

bool Interpreter::eval_args(const Expr& expr, Args& args) {
    for (size_t i = 0; i < expr.args.size() && !failed_; ++i) {
        Value value = eval(*expr.kids[i + 1]);
        switch (expr.args[i].kind) {
            case ArgKind::kPositional:
                args.positional.push_back(std::move(value));
                break;
            case ArgKind::kKeyword:
                args.named.emplace_back(expr.args[i].name, std::move(value));
                break;
            case ArgKind::kStar:
                iterate(value, args.positional);
                break;
            case ArgKind::kDoubleStar:
                if (!value.is(Kind::kDict)) {
                    fail(fmt::format("argument after ** must be a mapping, not {}", type_name(value)));
                    break;
                }
                if (!charge(value.dict().entries.size())) break;
                for (const auto& [key, item] : value.dict().entries) {
                    if (!key.is(Kind::kString)) fail("keywords must be strings");
                    if (!failed_) args.named.emplace_back(key.text(), item);
                }
                break;
        }
    }
    return !failed_;
}

Value Interpreter::eval_call(const Expr& expr) {
    const Value callee = eval(*expr.kids[0]);
    Args args;
    if (!eval_args(expr, args)) return {};
    line_ = expr.line;
    return call(callee, args);
}

namespace {

// What the texts among the arguments cost, for builtins that read them from end to end.
size_t text_steps(const Args& args) {
    size_t steps = 1;
    for (const Value& value : args.positional)
        if (value.is(Kind::kString)) steps += value.text().size() / 256;
    return steps;
}

}  // namespace

Value Interpreter::call(const Value& callee, const Args& args) {
    if (!charge(text_steps(args))) return {};
    if (callee.is(Kind::kLoop)) return call_loop(callee, args);
    if (!callee.is(Kind::kFunction)) {
        if (!check_defined(callee)) return {};
        return fail(fmt::format("'{}' object is not callable", type_name(callee)));
    }
    Function& function = callee.function();
    if (function.macro) return call_macro(function, args);
    if (function.self.is(Kind::kString) && !charge(function.self.text().size() / 256)) return {};
    return function.builtin(*this, function, args);
}

Value Interpreter::filter(std::string_view name, const Args& args) {
    const Filter found = find_filter(name);
    if (!found) return fail(fmt::format("no filter named '{}'", name), ErrorCode::kUnsupported);
    if (!charge(text_steps(args))) return {};
    return found(*this, args);
}

bool Interpreter::test(std::string_view name, const Args& args) {
    const Test found = find_test(name);
    if (!found) fail(fmt::format("no test named '{}'", name), ErrorCode::kUnsupported);
    if (!charge(text_steps(args))) return false;
    return found(*this, args);
}

Value Interpreter::eval_item(const Expr& expr) {
    const Value base = eval(*expr.kids[0]);
    const Expr& key_expr = *expr.kids[1];
    if (key_expr.kind == ExprKind::kSlice) {
        const Value start = eval(*key_expr.kids[0]), stop = eval(*key_expr.kids[1]), step = eval(*key_expr.kids[2]);
        line_ = expr.line;
        return failed_ ? Value() : slice(base, start, stop, step);
    }
    const Value key = eval(key_expr);
    line_ = expr.line;
    return failed_ ? Value() : item(base, key, &expr);
}

namespace {

const char* missing_owner(const Value& value) {
    return value.is(Kind::kNone) ? "None" : type_name(value);
}

}  // namespace

Value Interpreter::missing_attribute(const Value& value, std::string_view name, const Expr* where) {
    if (failed_) return {};
    const bool constant = where && (where->kind == ExprKind::kAttribute || where->kids[1]->kind == ExprKind::kText);
    if (constant) {
        Value result = Value::object(Kind::kUndefined, new UndefinedInfo(heap_, where, {}));
        const_cast<UndefinedInfo*>(result.undefined())->type = missing_owner(value);
        return result;
    }
    return make_undefined(fmt::format("'{} object' has no attribute '{}'", missing_owner(value), name.substr(0, 200)));
}

// As Python's getattr and then value[name]: a dict's methods hide its keys.
Value Interpreter::attribute(const Value& value, std::string_view name, const Expr* where) {
    if (failed_ || (value.is(Kind::kUndefined) && !check_defined(value))) return {};
    if (value.is(Kind::kNamespace)) {
        const Value* found = value.name_space().attributes->find(name);
        return found ? *found : missing_attribute(value, name, where);
    }
    if (value.is(Kind::kLoop)) return loop_attribute(value, name);
    if (value.is(Kind::kFunction) && value.function().macro && name == "name")
        return make_string(std::string(value.function().name));
    if (value.is(Kind::kSequence) && value.sequence().sequence_kind == SequenceKind::kGroup &&
        (name == "grouper" || name == "list"))
        return value.sequence().items[name == "list"];
    if (const Builtin method = find_method(value, name)) {
        // The name must outlive this call; the template's own text does, a computed one may not.
        return make_builtin(
            where && where->kind == ExprKind::kAttribute ? std::string_view(where->text) : std::string_view("method"),
            method, value);
    }
    if (is_mutating_method(value, name))
        return make_undefined(
            fmt::format("'{}' of a '{}' changes it, which templates may not do", name, type_name(value)));
    if (value.is(Kind::kDict))
        if (const Value* found = value.dict().find(name)) return *found;
    return missing_attribute(value, name, where);
}

Value Interpreter::item(const Value& value, const Value& key, const Expr* where) {
    if (failed_ || (value.is(Kind::kUndefined) && !check_defined(value))) return {};
    if (value.is(Kind::kDict)) {
        if (key.is(Kind::kString)) charge(key.text().size() / 256);
        if (const Value* found = value.dict().find(key)) return *found;
    } else if (value.is(Kind::kNamespace)) {
        if (const Value* found = value.name_space().attributes->find(key)) return *found;
    } else if (key.is_integral() && (value.is(Kind::kSequence) || value.is(Kind::kString))) {
        const bool text = value.is(Kind::kString);
        const auto size = static_cast<int64_t>(text ? value.string().length : value.sequence().items.size());
        const int64_t index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
        const SequenceKind kind = text ? SequenceKind::kList : value.sequence().sequence_kind;
        const bool subscriptable = kind != SequenceKind::kKeys && kind != SequenceKind::kValues &&
                                   kind != SequenceKind::kItems && kind != SequenceKind::kIterator;
        if (index >= 0 && index < size && subscriptable) {
            if (!text) return value.sequence().items[static_cast<size_t>(index)];
            return slice(value, Value::integer(index), Value::integer(index + 1), Value::none());
        }
    }
    if (key.is(Kind::kString)) {
        if (find_method(value, key.text()) || value.is(Kind::kLoop)) return attribute(value, key.text(), where);
        return missing_attribute(value, key.text(), where);
    }
    if (key.is(Kind::kUndefined))
        return make_undefined(fmt::format("'{} object' has no element Undefined", missing_owner(value)));
    return make_undefined(fmt::format("'{} object' has no element {}", missing_owner(value),
                                      key.is_number() ? repr(key) : type_name(key)));
}

Value Interpreter::slice(const Value& value, const Value& start_value, const Value& stop_value,
                         const Value& step_value) {
    if (!check_defined(value)) return {};
    const bool text = value.is(Kind::kString);
    auto is_bound = [](const Value& bound) { return bound.is(Kind::kNone) || bound.is_integral(); };
    const bool sliceable =
        text || (value.is(Kind::kSequence) && (value.sequence().sequence_kind == SequenceKind::kList ||
                                               value.sequence().sequence_kind == SequenceKind::kTuple ||
                                               value.sequence().sequence_kind == SequenceKind::kRange));
    if (!sliceable || !is_bound(start_value) || !is_bound(stop_value) || !is_bound(step_value))
        return fail(fmt::format("'{}' object cannot be sliced this way", type_name(value)));
    const int64_t size = static_cast<int64_t>(text ? value.string().length : value.sequence().items.size());
    const int64_t step = step_value.is(Kind::kNone) ? 1 : step_value.as_int();
    if (step == 0) return fail("slice step cannot be zero");
    auto clamp = [&](const Value& bound, int64_t otherwise) {
        if (bound.is(Kind::kNone)) return otherwise;
        const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
        const int64_t at = bound.as_int() < 0 ? bound.as_int() + size : bound.as_int();
        return std::clamp(at, low, std::max(low, high));
    };
    const int64_t start = clamp(start_value, step < 0 ? size - 1 : 0), stop = clamp(stop_value, step < 0 ? -1 : size);
    std::vector<int64_t> indices;
    const int64_t span = step < 0 ? start - stop : stop - start;
    if (text && step == 1) {
        if (span <= 0) return make_string({}, value.string().markup);
        const std::string& whole = value.text();
        const bool bytes = value.string().length == whole.size();
        charge(bytes ? 0 : static_cast<size_t>(stop) / 64);
        const size_t from = bytes ? static_cast<size_t>(start) : char_offset(whole, static_cast<size_t>(start));
        const size_t length = bytes ? static_cast<size_t>(span)
                                    : char_offset(std::string_view(whole).substr(from), static_cast<size_t>(span));
        return make_string(whole.substr(from, length), value.string().markup);
    }
    const uint64_t stride = step < 0 ? 0 - static_cast<uint64_t>(step) : static_cast<uint64_t>(step);
    const size_t count = span <= 0 ? 0 : static_cast<size_t>((static_cast<uint64_t>(span) - 1) / stride + 1);
    if (!charge(count)) return {};
    for (size_t i = 0; i < count; ++i) indices.push_back(start + static_cast<int64_t>(i) * step);
    if (!text) {
        std::vector<Value> items;
        for (int64_t i : indices) items.push_back(value.sequence().items[static_cast<size_t>(i)]);
        const SequenceKind kind = value.sequence().sequence_kind;
        Value result = make_sequence(std::move(items), kind);
        if (!failed_ && kind == SequenceKind::kRange) {
            int64_t* range = result.sequence().range;
            range[0] = value.sequence().range[0] + start * value.sequence().range[2];
            range[1] = value.sequence().range[0] + stop * value.sequence().range[2];
            range[2] = step * value.sequence().range[2];
        }
        return result;
    }
    std::vector<Value> chars;
    if (!iterate(value, chars)) return {};
    std::string out;
    for (int64_t i : indices) out += chars[static_cast<size_t>(i)].text();
    return make_string(std::move(out), value.string().markup);
}

}  // namespace sterna::jinja
