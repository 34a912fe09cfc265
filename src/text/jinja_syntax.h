// Lexer, syntax tree and parser of the Jinja engine. The tree is immutable after parsing; its height is bounded by
// JinjaLimits::max_depth, so that recursive walks and its destruction cannot exhaust the stack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/jinja.h"

namespace sterna::jinja {

enum class TokenType : uint8_t {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
};

struct Token {
    TokenType type;
    int line;
    std::string text;
};

// Tokens of a template with trim_blocks and lstrip_blocks on.
Result<std::vector<Token>> tokenize(std::string_view source);

enum class ExprKind : uint8_t {
    kNone,
    kBool,          // integer
    kInt,           // integer
    kFloat,         // real
    kText,          // text
    kName,          // text
    kNamespaceRef,  // text.attribute, only as the target of set
    kAttribute,     // kids[0] . text
    kItem,          // kids[0] [ kids[1] ]
    kSlice,         // kids: start, stop, step (kNothing where left out)
    kNothing,
    kBlockValue,  // what a filter block or set block rendered
    kCall,        // kids[0] ( kids[1...] as args say )
    kFilter,      // kids[0] | text ( kids[1...] )
    kTest,        // kids[0] is text ( kids[1...] )
    kNegative,
    kPositive,
    kNot,
    kBinary,  // kids[0] operators[0] kids[1] operators[1] kids[2] ..., from left to right
    kConcat,  // kids joined by ~
    kAnd,
    kOr,
    kCompare,      // kids[0] operators[0] kids[1] ... chained as in Python
    kConditional,  // kids: then, condition, else (kNothing where left out)
    kList,
    kTuple,
    kDict,  // kids: key, value, key, value, ...
};

enum class Operator : uint8_t {
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kFloorDivide,
    kModulo,
    kPower,
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kIn,
    kNotIn
};

enum class ArgKind : uint8_t { kPositional, kKeyword, kStar, kDoubleStar };

struct ArgSpec {
    ArgKind kind;
    std::string name;
};

struct Expr {
    ExprKind kind;
    int line;
    uint32_t height = 1;
    std::string text;
    std::string attribute;  // of kNamespaceRef
    int64_t integer = 0;
    double real = 0;
    std::vector<std::unique_ptr<Expr>> kids;
    std::vector<Operator> operators;
    std::vector<ArgSpec> args;  // args[i] describes kids[i + 1]
};
using ExprPtr = std::unique_ptr<Expr>;

enum class StmtKind : uint8_t {
    kText,         // text
    kOutput,       // exprs[0]
    kFor,          // target, exprs[0] = iterable, condition, body, otherwise
    kIf,           // exprs[i] guards branches[i]; otherwise
    kSet,          // target = exprs[0]
    kSetBlock,     // target = body, through the filter chain in condition when there is one
    kMacro,        // text, parameters, defaults in exprs, body
    kCallBlock,    // parameters, defaults in exprs, target = the call, body
    kFilterBlock,  // exprs[0] = filter chain, body
    kWith,         // targets, exprs, body
    kScope,        // body
    kBreak,
    kContinue,
};

struct Stmt {
    StmtKind kind;
    int line;
    std::string text;
    ExprPtr target, condition;
    std::vector<ExprPtr> exprs, targets;
    std::vector<std::string> parameters;  // the last exprs.size() of them have defaults
    std::vector<std::vector<std::unique_ptr<Stmt>>> branches;
    std::vector<std::unique_ptr<Stmt>> body, otherwise;
    bool recursive = false;
    bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};
using Body = std::vector<std::unique_ptr<Stmt>>;

Result<Body> parse(std::string_view source, const JinjaLimits& limits);

// "message.tool_calls[0]" for messages, as far as it is made of names, attributes and constant subscripts; else "".
std::string describe(const Expr& expr);

}  // namespace sterna::jinja
