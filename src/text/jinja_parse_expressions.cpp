#include <algorithm>
#include <charconv>

#include "text/jinja_parser.h"

namespace sterna::jinja {

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
    if (++parser_.depth_ > parser_.limits_.max_depth)
        parser_.fail_at(parser_.line(), fmt::format("nested deeper than {} levels", parser_.limits_.max_depth),
                        ErrorCode::kLimit);
}

void Parser::fail_at(int line, std::string message, ErrorCode code) {
    if (!failed_) error_ = {code, fmt::format("line {}: {}", line, message)};
    failed_ = true;
    at_ = tokens_.size() - 1;
}

std::string Parser::found() const {
    switch (token().type) {
        case TokenType::kData:
            return "text";
        case TokenType::kVariableBegin:
            return "'{{'";
        case TokenType::kVariableEnd:
            return "'}}'";
        case TokenType::kBlockBegin:
            return "'{%'";
        case TokenType::kBlockEnd:
            return "'%}'";
        case TokenType::kString:
            return "a string";
        case TokenType::kEnd:
            return "the end of the template";
        default:
            return "'" + token().text + "'";
    }
}

void Parser::unexpected(std::string_view wanted) {
    fail_at(line(), fmt::format("expected {}, found {}", wanted, found()));
}

bool Parser::skip_operator(std::string_view text) {
    if (!is_operator(text)) return false;
    next();
    return true;
}
bool Parser::skip_word(std::string_view text) {
    if (!is_word(text)) return false;
    next();
    return true;
}
void Parser::expect_operator(std::string_view text) {
    if (!skip_operator(text)) unexpected(fmt::format("'{}'", text));
}
std::string Parser::expect_name() {
    if (!is(TokenType::kName)) {
        unexpected("a name");
        return {};
    }
    std::string name = token().text;
    next();
    return name;
}
void Parser::expect(TokenType type, std::string_view what) {
    if (!is(type)) return unexpected(what);
    next();
}

ExprPtr Parser::make(ExprKind kind, int line, std::string text) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = line;
    expr->text = std::move(text);
    return expr;
}

// The height stays bounded even where a loop builds the tree ("a.b.c.d"), where Nesting sees nothing.
void Parser::add(ExprPtr& parent, ExprPtr kid) {
    parent->height = std::max(parent->height, kid->height + 1);
    parent->kids.push_back(std::move(kid));
    if (parent->height > limits_.max_depth && !failed_)
        fail_at(parent->line, fmt::format("nested deeper than {} levels", limits_.max_depth), ErrorCode::kLimit);
}

ExprPtr Parser::expression(bool conditional) {
    Nesting nesting(*this);
    if (failed_) return make(ExprKind::kNone, line());
    ExprPtr result = parse_or();
    while (conditional && is_word("if")) {
        ExprPtr node = make(ExprKind::kConditional, line());
        next();
        add(node, std::move(result));
        add(node, parse_or());
        add(node, skip_word("else") ? expression() : make(ExprKind::kNothing, line()));
        result = std::move(node);
    }
    return result;
}

ExprPtr Parser::parse_or() {
    ExprPtr left = parse_and();
    if (!is_word("or")) return left;
    ExprPtr node = make(ExprKind::kOr, line());
    add(node, std::move(left));
    while (skip_word("or")) add(node, parse_and());
    return node;
}

ExprPtr Parser::parse_and() {
    ExprPtr left = parse_not();
    if (!is_word("and")) return left;
    ExprPtr node = make(ExprKind::kAnd, line());
    add(node, std::move(left));
    while (skip_word("and")) add(node, parse_not());
    return node;
}

ExprPtr Parser::parse_not() {
    if (!is_word("not")) return comparison();
    Nesting nesting(*this);
    ExprPtr node = make(ExprKind::kNot, line());
    next();
    add(node, parse_not());
    return node;
}

ExprPtr Parser::comparison() {
    ExprPtr left = sum();
    ExprPtr node;
    while (true) {
        static constexpr std::pair<std::string_view, Operator> kOperators[] = {
            {"==", Operator::kEqual},  {"!=", Operator::kNotEqual},  {"<", Operator::kLess},
            {">", Operator::kGreater}, {"<=", Operator::kLessEqual}, {">=", Operator::kGreaterEqual}};
        Operator found_operator = Operator::kAdd;
        for (const auto& [text, op] : kOperators)
            if (is_operator(text)) found_operator = op;
        if (is_word("in")) found_operator = Operator::kIn;
        if (is_word("not") && look().type == TokenType::kName && look().text == "in") {
            next();
            found_operator = Operator::kNotIn;
        }
        if (found_operator == Operator::kAdd) break;
        if (!node) {
            node = make(ExprKind::kCompare, line());
            add(node, std::move(left));
        }
        next();
        node->operators.push_back(found_operator);
        add(node, sum());
    }
    return node ? std::move(node) : std::move(left);
}

ExprPtr Parser::sum() {
    ExprPtr left = concat();
    if (!is_operator("+") && !is_operator("-")) return left;
    ExprPtr node = make(ExprKind::kBinary, line());
    add(node, std::move(left));
    while (is_operator("+") || is_operator("-")) {
        node->operators.push_back(is_operator("+") ? Operator::kAdd : Operator::kSubtract);
        next();
        add(node, concat());
    }
    return node;
}

ExprPtr Parser::concat() {
    ExprPtr left = product();
    if (!is_operator("~")) return left;
    ExprPtr node = make(ExprKind::kConcat, line());
    add(node, std::move(left));
    while (skip_operator("~")) add(node, product());
    return node;
}

ExprPtr Parser::product() {
    ExprPtr left = power();
    ExprPtr node;
    while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
        if (!node) {
            node = make(ExprKind::kBinary, line());
            add(node, std::move(left));
        }
        node->operators.push_back(is_operator("*")    ? Operator::kMultiply
                                  : is_operator("/")  ? Operator::kDivide
                                  : is_operator("//") ? Operator::kFloorDivide
                                                      : Operator::kModulo);
        next();
        add(node, power());
    }
    return node ? std::move(node) : std::move(left);
}

// Jinja's ** groups from the left, unlike Python's.
ExprPtr Parser::power() {
    ExprPtr left = unary(true);
    if (!is_operator("**")) return left;
    ExprPtr node = make(ExprKind::kBinary, line());
    add(node, std::move(left));
    while (skip_operator("**")) {
        node->operators.push_back(Operator::kPower);
        add(node, unary(true));
    }
    return node;
}

ExprPtr Parser::unary(bool with_filter) {
    ExprPtr node;
    if (is_operator("-") || is_operator("+")) {
        Nesting nesting(*this);
        node = make(is_operator("-") ? ExprKind::kNegative : ExprKind::kPositive, line());
        next();
        add(node, unary(false));
    } else {
        node = primary();
    }
    node = postfix(std::move(node));
    return with_filter ? filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr Parser::primary(bool namespaces) {
    const int where = line();
    if (is(TokenType::kName)) {
        std::string name = expect_name();
        if (name == "true" || name == "True" || name == "false" || name == "False") {
            ExprPtr node = make(ExprKind::kBool, where);
            node->integer = name == "true" || name == "True";
            return node;
        }
        if (name == "none" || name == "None") return make(ExprKind::kNone, where);
        if (namespaces && skip_operator(".")) {
            ExprPtr node = make(ExprKind::kNamespaceRef, where, std::move(name));
            node->attribute = expect_name();
            return node;
        }
        for (Stmt* macro : macros_) {
            macro->uses_caller |= name == "caller";
            macro->uses_varargs |= name == "varargs";
            macro->uses_kwargs |= name == "kwargs";
        }
        return make(ExprKind::kName, where, std::move(name));
    }
    if (is(TokenType::kString)) {
        ExprPtr node = make(ExprKind::kText, where);
        while (is(TokenType::kString)) {
            node->text += token().text;
            next();
        }
        return node;
    }
    if (is(TokenType::kInteger)) {
        std::string text = token().text;
        int base = 10;
        if (text.size() > 1 && (text[1] < '0' || text[1] > '9')) {
            base = (text[1] | 0x20) == 'x' ? 16 : (text[1] | 0x20) == 'o' ? 8 : 2;
            text.erase(0, 2);
        }
        ExprPtr node = make(ExprKind::kInt, where);
        if (std::from_chars(text.data(), text.data() + text.size(), node->integer, base).ec != std::errc())
            fail_at(where, "integer " + token().text + " is beyond 64 bits", ErrorCode::kUnsupported);
        next();
        return node;
    }
    if (is(TokenType::kFloat)) {
        ExprPtr node = make(ExprKind::kFloat, where);
        // Through the JSON parser, because std::strtod depends on the process' locale.
        const auto number = nlohmann::json::parse(
            token().text.substr(std::min(token().text.find_first_not_of('0'), token().text.find_first_of(".eE") - 1)),
            nullptr, false);
        if (!number.is_number()) fail_at(where, "float " + token().text + " is out of range", ErrorCode::kUnsupported);
        node->real = number.is_number() ? number.get<double>() : 0;
        next();
        return node;
    }
    if (skip_operator("(")) {
        ExprPtr node = tuple({.parentheses = true});
        expect_operator(")");
        return node;
    }
    if (is_operator("[")) return list();
    if (is_operator("{")) return dict();
    unexpected("an expression");
    return make(ExprKind::kNone, where);
}

ExprPtr Parser::postfix(ExprPtr node) {
    while (true) {
        if (is_operator(".") || is_operator("[")) {
            node = subscript(std::move(node));
        } else if (is_operator("(")) {
            node = call(std::move(node));
        } else {
            return node;
        }
    }
}

ExprPtr Parser::filters_and_tests(ExprPtr node) {
    while (true) {
        if (is_operator("|")) {
            node = filter_chain(std::move(node), false);
        } else if (is_word("is")) {
            node = test(std::move(node));
        } else if (is_operator("(")) {
            node = call(std::move(node));
        } else {
            return node;
        }
    }
}

ExprPtr Parser::filter_chain(ExprPtr node, bool first_without_pipe) {
    while (first_without_pipe || skip_operator("|")) {
        first_without_pipe = false;
        ExprPtr filter = make(ExprKind::kFilter, line(), expect_name());
        while (skip_operator(".")) filter->text += "." + expect_name();
        add(filter, std::move(node));
        if (is_operator("(")) arguments(filter);
        node = std::move(filter);
    }
    return node;
}

ExprPtr Parser::test(ExprPtr node) {
    const int where = line();
    next();
    const bool negated = skip_word("not");
    ExprPtr result = make(ExprKind::kTest, where, expect_name());
    while (skip_operator(".")) result->text += "." + expect_name();
    add(result, std::move(node));
    const bool word = is(TokenType::kName) && !is_word("else") && !is_word("or") && !is_word("and");
    if (is_operator("(")) {
        arguments(result);
    } else if (word || is(TokenType::kString) || is(TokenType::kInteger) || is(TokenType::kFloat) || is_operator("[") ||
               is_operator("{")) {
        if (is_word("is")) fail_at(line(), "tests cannot be chained with 'is'");
        // As Jinja does, "x is defined if y" would read the word as the test's argument.
        result->args.push_back({ArgKind::kPositional, {}});
        add(result, postfix(primary()));
    }
    if (!negated) return result;
    ExprPtr inverse = make(ExprKind::kNot, where);
    add(inverse, std::move(result));
    return inverse;
}

ExprPtr Parser::subscript(ExprPtr node) {
    const int where = line();
    if (skip_operator(".")) {
        if (is(TokenType::kInteger)) {
            ExprPtr item = make(ExprKind::kItem, where);
            add(item, std::move(node));
            add(item, primary());
            return item;
        }
        ExprPtr attribute = make(ExprKind::kAttribute, where, expect_name());
        add(attribute, std::move(node));
        return attribute;
    }
    next();
    ExprPtr item = make(ExprKind::kItem, where);
    add(item, std::move(node));
    ExprPtr key = slice_or_index();
    if (is_operator(",")) {
        ExprPtr keys = make(ExprKind::kTuple, where);
        add(keys, std::move(key));
        while (skip_operator(",")) add(keys, slice_or_index());
        key = std::move(keys);
    }
    add(item, std::move(key));
    expect_operator("]");
    return item;
}

ExprPtr Parser::slice_or_index() {
    const int where = line();
    ExprPtr start = is_operator(":") ? make(ExprKind::kNothing, where) : expression();
    if (!is_operator(":")) return start;
    ExprPtr slice = make(ExprKind::kSlice, where);
    add(slice, std::move(start));
    for (int part = 0; part < 2; ++part) {
        const bool given = skip_operator(":") && !is_operator(":") && !is_operator("]") && !is_operator(",");
        add(slice, given ? expression() : make(ExprKind::kNothing, where));
    }
    return slice;
}

ExprPtr Parser::call(ExprPtr node) {
    ExprPtr result = make(ExprKind::kCall, line());
    add(result, std::move(node));
    arguments(result);
    return result;
}

void Parser::arguments(ExprPtr& node) {
    const int where = line();
    expect_operator("(");
    bool named = false, star = false, double_star = false, first = true;
    while (!is_operator(")") && !failed_) {
        if (!first) {
            expect_operator(",");
            if (is_operator(")")) break;
        }
        first = false;
        bool in_order = !double_star;
        if (skip_operator("*")) {
            in_order &= !star;
            star = true;
            node->args.push_back({ArgKind::kStar, {}});
        } else if (skip_operator("**")) {
            double_star = true;
            node->args.push_back({ArgKind::kDoubleStar, {}});
        } else if (is(TokenType::kName) && look().type == TokenType::kOperator && look().text == "=") {
            named = true;
            node->args.push_back({ArgKind::kKeyword, expect_name()});
            next();
        } else {
            in_order &= !named && !star;
            node->args.push_back({ArgKind::kPositional, {}});
        }
        if (!in_order) fail_at(where, "arguments of a call in the wrong order");
        add(node, expression());
    }
    expect_operator(")");
}

ExprPtr Parser::tuple(const TupleRules& rules) {
    const int where = line();
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (!failed_) {
        if (!items.empty()) expect_operator(",");
        if (is(TokenType::kVariableEnd) || is(TokenType::kBlockEnd) || is_operator(")")) break;
        if (!rules.end_word.empty() && is_word(rules.end_word)) break;
        items.push_back(rules.target ? primary(rules.namespaces) : expression(rules.conditional));
        if (!is_operator(",")) break;
        is_tuple = true;
    }
    if (!is_tuple && !items.empty()) return std::move(items.front());
    if (!is_tuple && !rules.parentheses) unexpected("an expression");
    ExprPtr node = make(ExprKind::kTuple, where);
    for (ExprPtr& item : items) add(node, std::move(item));
    return node;
}

ExprPtr Parser::list() {
    ExprPtr node = make(ExprKind::kList, line());
    expect_operator("[");
    while (!is_operator("]") && !failed_) {
        if (!node->kids.empty()) expect_operator(",");
        if (is_operator("]")) break;
        add(node, expression());
    }
    expect_operator("]");
    return node;
}

ExprPtr Parser::dict() {
    ExprPtr node = make(ExprKind::kDict, line());
    expect_operator("{");
    while (!is_operator("}") && !failed_) {
        if (!node->kids.empty()) expect_operator(",");
        if (is_operator("}")) break;
        add(node, expression());
        expect_operator(":");
        add(node, expression());
    }
    expect_operator("}");
    return node;
}

ExprPtr Parser::target(const TupleRules& rules) {
    const int where = line();
    TupleRules names = rules;
    names.target = true;
    ExprPtr node = tuple(names);
    auto assignable = [](const Expr& expr) {
        return expr.kind == ExprKind::kName || expr.kind == ExprKind::kNamespaceRef;
    };
    // Jinja allows nested tuples of names as well: "for (a, b), c in".
    auto check = [&](auto& self, const Expr& expr) -> bool {
        if (expr.kind != ExprKind::kTuple) return assignable(expr);
        return std::all_of(expr.kids.begin(), expr.kids.end(), [&](const ExprPtr& kid) { return self(self, *kid); });
    };
    if (!failed_ && !check(check, *node)) fail_at(where, "cannot assign to this expression");
    return node;
}

}  // namespace sterna::jinja
