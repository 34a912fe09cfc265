// Evaluates a parsed template: the interpreter's state, shared by statements, expressions, filters, tests and methods.
// One Interpreter serves one rendering. After the first error every evaluation returns at once with an undefined value
// and render() reports that error; therefore no function here returns a Result, and loops ask failed().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja.h"
#include "text/jinja_syntax.h"
#include "text/jinja_value.h"

namespace sterna::jinja {

enum class Flow : uint8_t { kNormal, kBreak, kContinue };

class Interpreter {
public:
    Interpreter(const JinjaLimits& limits, int64_t now) : limits_(limits), now_(now) {}
    ~Interpreter();
    Result<std::string> render(const Body& body, const OrderedJson& variables);

    // Errors and limits.
    bool failed() const { return failed_; }
    Value fail(std::string message, ErrorCode code = ErrorCode::kBadArgument);  // adds the line
    Value raise(std::string message);                                           // the text of raise_exception as it is
    bool charge(size_t steps);                                                  // false when the steps are used up
    bool room(size_t bytes);  // false when so much memory may not be taken
    const JinjaLimits& limits() const { return limits_; }
    int64_t now() const { return now_; }
    Heap& heap() { return heap_; }

    // New values. They check and count what they take.
    Value make_string(std::string text, bool markup = false);
    Value make_sequence(std::vector<Value> items, SequenceKind kind = SequenceKind::kList);
    Value make_dict(Ref<Dict> dict);
    Value make_builtin(std::string_view name, Builtin builtin, Value self = {});
    Value make_undefined(std::string message);
    Value from_json(const OrderedJson& json, size_t depth = 0);
    Ref<Namespace> make_namespace();

    // What Python's operators and functions do.
    std::string str(const Value& value);
    std::string repr(const Value& value);
    bool iterate(const Value& value, std::vector<Value>& items);  // uses up iterators; false when not iterable
    bool equal(const Value& a, const Value& b, size_t depth = 0);
    // Negative, zero or positive; fails for types that Python does not order. NaN gives kUnordered.
    static constexpr int kUnordered = 2;
    int order(const Value& a, const Value& b, size_t depth = 0);
    bool contains(const Value& item, const Value& container);
    Value compare(Operator op, const Value& a, const Value& b);
    Value binary(Operator op, const Value& a, const Value& b);
    Value slice(const Value& value, const Value& start, const Value& stop, const Value& step);
    Value percent_format(const Value& format, const Value& arguments);
    Value attribute(const Value& value, std::string_view name, const Expr* where = nullptr);
    Value item(const Value& value, const Value& key, const Expr* where = nullptr);
    Value call(const Value& callee, const Args& args);
    Value filter(std::string_view name, const Args& args);  // args.positional[0] is the value before the bar
    bool test(std::string_view name, const Args& args);
    bool check_defined(const Value& value);  // fails as Python does when an undefined value is computed with

private:
    class Deeper {
    public:
        explicit Deeper(Interpreter& interpreter);
        ~Deeper() { --interpreter_.depth_; }

    private:
        Interpreter& interpreter_;
    };
    class Capture;  // collects what is printed meanwhile
    friend class Capture;

    Flow run(const Body& body);
    Flow run(const Stmt& stmt);
    void run_for(const Stmt& stmt, const Value& iterable, size_t depth0);
    void run_set(const Stmt& stmt);
    void run_with(const Stmt& stmt);
    void assign(const Expr& target, const Value& value);
    Value make_macro(const Stmt& stmt);
    Value call_macro(Function& macro, const Args& args);
    Value call_loop(const Value& loop, const Args& args);
    void emit(std::string_view text);
    void emit(const Value& value);

    Value eval(const Expr& expr);
    Value eval_name(const Expr& expr);
    Value eval_binary(const Expr& expr);
    Value eval_concat(const Expr& expr);
    Value eval_compare(const Expr& expr);
    Value eval_call(const Expr& expr);
    Value eval_item(const Expr& expr);
    Value eval_dict(const Expr& expr);
    bool eval_args(const Expr& expr, Args& args);
    Value negate(const Value& value);
    Value arithmetic(Operator op, const Value& a, const Value& b);
    Value int_arithmetic(Operator op, int64_t a, int64_t b);
    Value repeat(const Value& value, int64_t count);
    Value unsupported(Operator op, const Value& a, const Value& b);
    Value loop_attribute(const Value& value, std::string_view name);
    Value missing_attribute(const Value& value, std::string_view name, const Expr* where);

    JinjaLimits limits_;
    int64_t now_;
    Heap heap_;
    size_t steps_ = 0;
    size_t depth_ = 0;
    int line_ = 1;
    bool failed_ = false;
    Error error_{ErrorCode::kBadArgument, {}};
    std::string* out_ = nullptr;
    Ref<Scope> scope_;
    Value block_value_;                       // what a filter block rendered
    std::vector<Ref<Namespace>> namespaces_;  // emptied at the end, because they can form cycles
    std::vector<Ref<Scope>> captured_;        // scopes that macros hold, for the same reason
};

// Finds arguments by place or name, as a Python call does: found[i] is null where a parameter was left out.
// False, with an error, when one of the first `required` is missing or an argument fits no parameter.
bool bind(Interpreter& in, std::string_view function, const Args& args, std::initializer_list<std::string_view> names,
          size_t required, const Value** found);

Builtin find_method(const Value& value, std::string_view name);  // null when the type has no such method
bool is_mutating_method(const Value& value, std::string_view name);
using Filter = Value (*)(Interpreter&, const Args&);
Filter find_filter(std::string_view name);
using Test = bool (*)(Interpreter&, const Args&);
Test find_test(std::string_view name);
void add_globals(Interpreter& in, Scope& scope);

// json.dumps as transformers' tojson calls it. False with an error for what JSON cannot say.
struct JsonStyle {
    bool ensure_ascii = false, sort_keys = false, indented = false;
    std::string indent, item_separator = ", ", key_separator = ": ";
};
bool append_json(Interpreter& in, std::string& out, const Value& value, const JsonStyle& style, size_t depth = 0);

// Python's format(value, spec) and str.format.
bool append_formatted(Interpreter& in, std::string& out, const Value& value, std::string_view spec);
Value format_method(Interpreter& in, Function& function, const Args& args);

// Merge sort by Interpreter::order over keys[i]; stable, and safe whatever the comparison says.
std::vector<size_t> sorted_order(Interpreter& in, const std::vector<Value>& keys, bool reverse);
std::string escape_html(std::string_view text);

}  // namespace sterna::jinja
