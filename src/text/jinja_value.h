// Values of the Jinja interpreter: what Python calls str, int, list, dict and so on. Strings, lists and dicts never
// change after they were built (Jinja's immutable sandbox), so only namespaces can form cycles; the interpreter empties
// those at its end. Reference-counted without atomics: all values of one rendering belong to one thread and to one
// Heap.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sterna::jinja {

struct Expr;
struct Stmt;
class Interpreter;

// Counts the bytes of living objects; the interpreter compares them with JinjaLimits::max_live_bytes.
struct Heap {
    size_t live_bytes = 0;
};

enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kSequence,
    kDict,
    kNamespace,
    kFunction,
    kLoop
};

struct Object {
    explicit Object(Heap& owner, size_t bytes) : heap(&owner) { grow(bytes + 64); }
    virtual ~Object() { heap->live_bytes -= counted; }
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;
    void grow(size_t bytes) {
        counted += bytes;
        heap->live_bytes += bytes;
    }

    Heap* heap;
    size_t counted = 0;
    uint32_t references = 0;
};

template <typename T>
class Ref {
public:
    Ref() = default;
    explicit Ref(T* object) : object_(object) {
        if (object_) ++object_->references;
    }
    Ref(const Ref& other) : Ref(other.object_) {}
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Ref() {
        if (object_ && --object_->references == 0) delete object_;
    }
    T* get() const { return object_; }
    T* operator->() const { return object_; }
    T& operator*() const { return *object_; }
    explicit operator bool() const { return object_ != nullptr; }

private:
    T* object_ = nullptr;
};

struct String;
struct Sequence;
struct Dict;
struct Namespace;
struct Function;
struct Loop;
struct UndefinedInfo;

class Value {
public:
    Value() = default;  // undefined without a reason
    static Value none() { return Value(Kind::kNone); }
    static Value boolean(bool value) {
        Value result(Kind::kBool);
        result.integer_ = value;
        return result;
    }
    static Value integer(int64_t value) {
        Value result(Kind::kInt);
        result.integer_ = value;
        return result;
    }
    static Value real(double value) {
        Value result(Kind::kFloat);
        result.real_ = value;
        return result;
    }
    static Value object(Kind kind, Object* object) {
        Value result(kind);
        result.object_ = Ref<Object>(object);
        return result;
    }

    Kind kind() const { return kind_; }
    bool is(Kind kind) const { return kind_ == kind; }
    bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
    bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
    int64_t as_int() const { return integer_; }  // Requires: is_integral()
    double as_double() const {
        return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_);
    }  // Requires: is_number()
    // Requires: the kind that the name says.
    const String& string() const;
    const std::string& text() const;
    Sequence& sequence() const;
    const Dict& dict() const;
    Namespace& name_space() const;
    Function& function() const;
    Loop& loop() const;
    const UndefinedInfo* undefined() const;  // null when there is no reason to tell
    const Object* identity() const { return object_.get(); }

private:
    explicit Value(Kind kind) : kind_(kind) {}

    Kind kind_ = Kind::kUndefined;
    union {
        int64_t integer_ = 0;
        double real_;
    };
    Ref<Object> object_;
};

struct UndefinedInfo : Object {
    UndefinedInfo(Heap& owner, const Expr* where, std::string reason)
        : Object(owner, reason.size()), expr(where), hint(std::move(reason)) {}
    const Expr* expr;            // the name, attribute or subscript that gave nothing
    const char* type = nullptr;  // of the thing that lacks the attribute
    std::string hint;            // the whole message where expr cannot tell it
};

struct String : Object {
    String(Heap& owner, std::string bytes, bool is_markup);
    std::string text;  // UTF-8; an invalid byte counts as one character
    size_t length;     // characters
    bool markup;       // came from |safe or |escape
};

enum class SequenceKind : uint8_t { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator, kGroup };

struct Sequence : Object {
    Sequence(Heap& owner, SequenceKind kind, std::vector<Value> values);
    std::vector<Value> items;
    SequenceKind sequence_kind;
    size_t position = 0;  // of an iterator: how many items are used up
    uint32_t depth;       // 1 + that of the deepest item
    int64_t range[3] = {0, 0, 1};
};

// Keys keep the order in which they came. Lookup is logarithmic at worst, so no choice of keys makes it slow.
struct Dict : Object {
    explicit Dict(Heap& owner) : Object(owner, 0) {}
    const Value* find(const Value& key) const;  // null when absent or not hashable
    const Value* find(std::string_view key) const;
    bool set(const Value& key, Value value);  // false when the key is not hashable
    std::vector<std::pair<Value, Value>> entries;
    uint32_t depth = 1;

private:
    std::map<std::string, size_t, std::less<>> index_;  // canonical key -> entry
};

struct Namespace : Object {
    explicit Namespace(Heap& owner) : Object(owner, 0), attributes(new Dict(owner)) {}
    Ref<Dict> attributes;
};

// The variables of one block, looked up through the parents.
struct Scope : Object {
    Scope(Heap& owner, Ref<Scope> outer) : Object(owner, 64), parent(std::move(outer)) {}
    void set(std::string_view name, Value value);
    const Value* find(std::string_view name) const;
    Ref<Scope> parent;
    bool captured = false;                        // by a macro
    std::map<std::string_view, Value> variables;  // names live in the template or in the caller's variables
};

struct Args {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
};

using Builtin = Value (*)(Interpreter&, Function&, const Args&);

struct Function : Object {
    explicit Function(Heap& owner) : Object(owner, 0) {}
    std::string_view name;
    Builtin builtin = nullptr;    // else a macro
    Value self;                   // of a bound method
    const Stmt* macro = nullptr;  // macro or call block
    Ref<Scope> scope;             // where the macro was defined
    std::vector<Value> items;     // of a cycler
    size_t state = 0;             // of a cycler or joiner
    Namespace* space = nullptr;   // of a cycler; the interpreter keeps it alive
    uint32_t depth = 1;           // 1 + that of self or the deepest item
};

struct Loop : Object {
    explicit Loop(Heap& owner) : Object(owner, 0) {}
    const std::vector<Value>* items = nullptr;  // null when the loop is over
    size_t index0 = 0;
    size_t length = 0;
    size_t depth0 = 0;
    const Stmt* statement = nullptr;
    Ref<Scope> scope;  // around the loop, for recursive calls; emptied when the loop is over
    std::vector<Value> last_changed;
    bool has_changed = false;
};

uint32_t depth_of(const Value& value);  // of containers within containers; 0 for a plain value

// What Python's type(x).__name__ says.
const char* type_name(const Value& value);
bool truth(const Value& value);

// Text as Python prints it. `limit` bounds the bytes; false when it is reached or nesting is beyond max_depth.
bool append_str(std::string& out, const Value& value, size_t limit);
bool append_repr(std::string& out, const Value& value, size_t limit, int depth = 0);
std::string float_repr(double value);
void append_string_repr(std::string& out, std::string_view text);

}  // namespace sterna::jinja
