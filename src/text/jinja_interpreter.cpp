#include "text/jinja_interpreter.h"

#include <algorithm>
#include <cmath>

#include "text/jinja_text.h"

namespace sterna::jinja {

Interpreter::~Interpreter() {
    for (const Ref<Namespace>& space : namespaces_) space->attributes->entries.clear();
    for (const Ref<Scope>& scope : captured_) scope->variables.clear();
}

Result<std::string> Interpreter::render(const Body& body, const OrderedJson& variables) {
    std::string output;
    out_ = &output;
    Ref<Scope> globals(new Scope(heap_, Ref<Scope>()));
    add_globals(*this, *globals);
    Ref<Scope> given(new Scope(heap_, globals));
    if (!variables.is_object() && !variables.is_null())
        return sterna::fail(ErrorCode::kBadArgument, "variables: {}, expected an object", variables.type_name());
    for (auto it = variables.begin(); it != variables.end() && !failed_; ++it)
        given->set(it.key(), from_json(it.value()));
    scope_ = Ref<Scope>(new Scope(heap_, given));
    run(body);
    scope_ = Ref<Scope>();
    if (failed_) return std::unexpected(std::move(error_));
    return output;
}

Value Interpreter::fail(std::string message, ErrorCode code) {
    if (!failed_) error_ = {code, fmt::format("line {}: {}", line_, message)};
    failed_ = true;
    return {};
}

Value Interpreter::raise(std::string message) {
    if (!failed_) error_ = {ErrorCode::kBadArgument, std::move(message)};
    failed_ = true;
    return {};
}

bool Interpreter::charge(size_t steps) {
    if (failed_) return false;
    if (steps > limits_.max_steps || steps_ > limits_.max_steps - steps) {
        fail(fmt::format("more than {} steps", limits_.max_steps), ErrorCode::kLimit);
        return false;
    }
    steps_ += steps;
    return true;
}

bool Interpreter::room(size_t bytes) {
    if (failed_) return false;
    if (bytes > limits_.max_live_bytes || heap_.live_bytes > limits_.max_live_bytes - bytes) {
        fail(fmt::format("values take more than {} bytes", limits_.max_live_bytes), ErrorCode::kLimit);
        return false;
    }
    return true;
}

namespace {
constexpr size_t kBytesPerStep = 256;  // text is handled at about the speed at which 256 bytes cost one step
}

Value Interpreter::make_string(std::string text, bool markup) {
    if (text.size() > limits_.max_string_bytes)
        return fail(fmt::format("a string of {} bytes, at most {} are allowed", text.size(), limits_.max_string_bytes),
                    ErrorCode::kLimit);
    if (!charge(text.size() / kBytesPerStep) || !room(text.size())) return {};
    return Value::object(Kind::kString, new String(heap_, std::move(text), markup));
}

Value Interpreter::make_sequence(std::vector<Value> items, SequenceKind kind) {
    if (!charge(items.size() / 4) || !room(items.size() * sizeof(Value))) return {};
    Value result = Value::object(Kind::kSequence, new Sequence(heap_, kind, std::move(items)));
    if (result.sequence().depth > limits_.max_depth)
        return fail(fmt::format("values nested deeper than {} levels", limits_.max_depth), ErrorCode::kLimit);
    return result;
}

Value Interpreter::make_dict(Ref<Dict> dict) {
    if (dict->depth > limits_.max_depth)
        return fail(fmt::format("values nested deeper than {} levels", limits_.max_depth), ErrorCode::kLimit);
    if (!charge(dict->entries.size() / 4) || !room(0)) return {};
    return Value::object(Kind::kDict, dict.get());
}

Value Interpreter::make_builtin(std::string_view name, Builtin builtin, Value self) {
    Ref<Function> function(new Function(heap_));
    function->name = name;
    function->builtin = builtin;
    function->depth = 1 + depth_of(self);
    function->self = std::move(self);
    if (function->depth > limits_.max_depth || !room(0))
        return fail(fmt::format("values nested deeper than {} levels", limits_.max_depth), ErrorCode::kLimit);
    return Value::object(Kind::kFunction, function.get());
}

Value Interpreter::make_undefined(std::string message) {
    return Value::object(Kind::kUndefined, new UndefinedInfo(heap_, nullptr, std::move(message)));
}

Ref<Namespace> Interpreter::make_namespace() {
    Ref<Namespace> space(new Namespace(heap_));
    namespaces_.push_back(space);
    return space;
}

Value Interpreter::from_json(const OrderedJson& json, size_t depth) {
    if (depth > limits_.max_depth)
        return fail(fmt::format("variables nested deeper than {} levels", limits_.max_depth), ErrorCode::kLimit);
    switch (json.type()) {
        case OrderedJson::value_t::boolean:
            return Value::boolean(json.get<bool>());
        case OrderedJson::value_t::number_integer:
            return Value::integer(json.get<int64_t>());
        case OrderedJson::value_t::number_unsigned: {
            const uint64_t number = json.get<uint64_t>();
            return number > INT64_MAX ? Value::real(static_cast<double>(number))
                                      : Value::integer(static_cast<int64_t>(number));
        }
        case OrderedJson::value_t::number_float:
            return Value::real(json.get<double>());
        case OrderedJson::value_t::string:
            return make_string(json.get_ref<const std::string&>());
        case OrderedJson::value_t::array: {
            std::vector<Value> items;
            items.reserve(json.size());
            for (const OrderedJson& item : json) {
                if (failed_) return {};
                items.push_back(from_json(item, depth + 1));
            }
            return make_sequence(std::move(items));
        }
        case OrderedJson::value_t::object: {
            Ref<Dict> dict(new Dict(heap_));
            for (auto it = json.begin(); it != json.end(); ++it) {
                if (failed_) return {};
                dict->set(make_string(it.key()), from_json(it.value(), depth + 1));
            }
            return make_dict(std::move(dict));
        }
        default:
            return Value::none();
    }
}

std::string Interpreter::str(const Value& value) {
    std::string out;
    if (failed_) return out;
    if (!append_str(out, value, limits_.max_string_bytes))
        fail(fmt::format("a string of more than {} bytes", limits_.max_string_bytes), ErrorCode::kLimit);
    charge(out.size() / kBytesPerStep);
    return out;
}

std::string Interpreter::repr(const Value& value) {
    std::string out;
    if (failed_) return out;
    if (!append_repr(out, value, limits_.max_string_bytes))
        fail(fmt::format("a string of more than {} bytes", limits_.max_string_bytes), ErrorCode::kLimit);
    charge(out.size() / kBytesPerStep);
    return out;
}

bool Interpreter::check_defined(const Value& value) {
    if (failed_) return false;
    if (!value.is(Kind::kUndefined)) return true;
    const UndefinedInfo* info = value.undefined();
    if (!info) {
        fail("an undefined value is used");
        return false;
    }
    if (!info->hint.empty()) {
        fail(info->hint);
        return false;
    }
    const std::string path = describe(*info->expr);
    if (!info->type) {
        fail(fmt::format("'{}' is undefined", path));
    } else {
        const std::string owner = describe(*info->expr->kids[0]);
        const std::string& name =
            info->expr->kind == ExprKind::kAttribute ? info->expr->text : info->expr->kids[1]->text;
        fail(fmt::format("'{}' has no attribute '{}'", owner.empty() ? fmt::format("{} object", info->type) : owner,
                         name));
    }
    return false;
}

bool Interpreter::iterate(const Value& value, std::vector<Value>& items) {
    if (failed_) return false;
    switch (value.kind()) {
        case Kind::kUndefined:
            return true;
        case Kind::kSequence: {
            Sequence& sequence = value.sequence();
            if (!charge(sequence.items.size())) return false;
            items.insert(items.end(), sequence.items.begin() + static_cast<std::ptrdiff_t>(sequence.position),
                         sequence.items.end());
            if (sequence.sequence_kind == SequenceKind::kIterator) sequence.position = sequence.items.size();
            return true;
        }
        case Kind::kDict:
            if (!charge(value.dict().entries.size())) return false;
            for (const auto& [key, unused] : value.dict().entries) items.push_back(key);
            return true;
        case Kind::kString: {
            const std::string& text = value.text();
            if (!charge(value.string().length)) return false;
            for (size_t at = 0; at < text.size() && !failed_;) {
                const size_t start = at;
                next_char(text, at);
                items.push_back(make_string(text.substr(start, at - start)));
            }
            return !failed_;
        }
        default:
            fail(fmt::format("'{}' object is not iterable", type_name(value)));
            return false;
    }
}

bool Interpreter::equal(const Value& a, const Value& b, size_t depth) {
    if (!charge(1)) return false;
    if (a.is_number() && b.is_number()) {
        if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
        return a.as_double() == b.as_double();
    }
    if (a.kind() != b.kind()) return false;
    if (depth > limits_.max_depth) {
        fail("values nested too deeply to compare", ErrorCode::kLimit);
        return false;
    }
    switch (a.kind()) {
        case Kind::kUndefined:
        case Kind::kNone:
            return true;
        case Kind::kString:
            return charge(std::min(a.text().size(), b.text().size()) / kBytesPerStep) && a.text() == b.text();
        case Kind::kSequence: {
            const Sequence &x = a.sequence(), &y = b.sequence();
            if (&x == &y) return true;
            auto family = [](SequenceKind kind) { return kind == SequenceKind::kGroup ? SequenceKind::kTuple : kind; };
            if (family(x.sequence_kind) != family(y.sequence_kind) || x.items.size() != y.items.size()) return false;
            if (x.sequence_kind == SequenceKind::kIterator) return false;
            for (size_t i = 0; i < x.items.size(); ++i)
                if (failed_ || !equal(x.items[i], y.items[i], depth + 1)) return false;
            return true;
        }
        case Kind::kDict: {
            const Dict &x = a.dict(), &y = b.dict();
            if (&x == &y) return true;
            if (x.entries.size() != y.entries.size()) return false;
            for (const auto& [key, value] : x.entries) {
                if (failed_) return false;
                const Value* other = y.find(key);
                if (!other || !equal(value, *other, depth + 1)) return false;
            }
            return true;
        }
        default:
            return a.identity() == b.identity();
    }
}

int Interpreter::order(const Value& a, const Value& b, size_t depth) {
    if (!charge(1)) return 0;
    if (a.is_number() && b.is_number()) {
        if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int() ? -1 : a.as_int() > b.as_int();
        const double x = a.as_double(), y = b.as_double();
        if (std::isnan(x) || std::isnan(y)) return kUnordered;
        return x < y ? -1 : x > y;
    }
    if (a.is(Kind::kString) && b.is(Kind::kString)) {
        charge(std::min(a.text().size(), b.text().size()) / kBytesPerStep);
        const int result = a.text().compare(b.text());  // the order of UTF-8 bytes is that of code points
        return result < 0 ? -1 : result > 0;
    }
    if (a.is(Kind::kSequence) && b.is(Kind::kSequence) && depth < limits_.max_depth) {
        const Sequence &x = a.sequence(), &y = b.sequence();
        auto orderable = [](SequenceKind k) {
            return k == SequenceKind::kList || k == SequenceKind::kTuple || k == SequenceKind::kGroup;
        };
        if (orderable(x.sequence_kind) &&
            (x.sequence_kind == SequenceKind::kList) == (y.sequence_kind == SequenceKind::kList)) {
            for (size_t i = 0; i < std::min(x.items.size(), y.items.size()) && !failed_; ++i)
                if (!equal(x.items[i], y.items[i], depth + 1)) return order(x.items[i], y.items[i], depth + 1);
            return x.items.size() < y.items.size() ? -1 : x.items.size() > y.items.size();
        }
    }
    if (check_defined(a) && check_defined(b))
        fail(fmt::format("'<' not supported between instances of '{}' and '{}'", type_name(a), type_name(b)));
    return 0;
}

std::vector<size_t> sorted_order(Interpreter& in, const std::vector<Value>& keys, bool reverse) {
    std::vector<size_t> order(keys.size()), merged(keys.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (size_t width = 1; width < order.size(); width *= 2) {
        for (size_t start = 0; start < order.size(); start += 2 * width) {
            const size_t middle = std::min(start + width, order.size()),
                         end = std::min(start + 2 * width, order.size());
            size_t left = start, right = middle;
            for (size_t i = start; i < end; ++i) {
                bool take_right = left == middle;
                if (left < middle && right < end) {
                    const int sign = in.order(keys[order[right]], keys[order[left]]);
                    take_right = reverse ? sign == 1 : sign == -1;
                }
                merged[i] = take_right ? order[right++] : order[left++];
            }
        }
        order.swap(merged);
        if (in.failed()) break;
    }
    return order;
}

}  // namespace sterna::jinja
