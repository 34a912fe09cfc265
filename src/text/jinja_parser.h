// The parser's state and its expression half; see jinja_syntax.h for what it makes.
#pragma once

#include <initializer_list>

#include "text/jinja_syntax.h"

namespace sterna::jinja {

// After the first error the position stands at the end of the template, so that every loop ends; the tree is then
// discarded.
class Parser {
public:
    Parser(std::vector<Token> tokens, const JinjaLimits& limits) : tokens_(std::move(tokens)), limits_(limits) {}
    Result<Body> run();

private:
    struct TupleRules {
        bool conditional = true;         // "a if b else c" is allowed
        bool target = false;             // only names, as in "for a, b in"
        bool namespaces = false;         // "ns.x" is allowed, as in "set ns.x ="
        bool parentheses = false;        // inside "(...)", where nothing is the empty tuple
        std::string_view end_word = {};  // a name that ends it
    };
    class Nesting {
    public:
        explicit Nesting(Parser& parser);
        ~Nesting() { --parser_.depth_; }

    private:
        Parser& parser_;
    };

    const Token& token() const { return tokens_[at_]; }
    const Token& look() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
    int line() const { return token().line; }
    bool at_end() const { return token().type == TokenType::kEnd; }
    bool is(TokenType type) const { return token().type == type; }
    bool is_operator(std::string_view text) const { return is(TokenType::kOperator) && token().text == text; }
    bool is_word(std::string_view text) const { return is(TokenType::kName) && token().text == text; }
    void next() {
        if (!at_end()) ++at_;
    }
    bool skip_operator(std::string_view text);
    bool skip_word(std::string_view text);
    void expect_operator(std::string_view text);
    std::string expect_name();
    void expect(TokenType type, std::string_view what);
    std::string found() const;
    void fail_at(int line, std::string message, ErrorCode code = ErrorCode::kBadFile);
    void unexpected(std::string_view wanted);

    ExprPtr make(ExprKind kind, int line, std::string text = {});
    void add(ExprPtr& parent, ExprPtr kid);

    ExprPtr expression(bool conditional = true);
    ExprPtr parse_or();
    ExprPtr parse_and();
    ExprPtr parse_not();
    ExprPtr comparison();
    ExprPtr sum();
    ExprPtr concat();
    ExprPtr product();
    ExprPtr power();
    ExprPtr unary(bool with_filter);
    ExprPtr primary(bool namespaces = false);
    ExprPtr postfix(ExprPtr node);
    ExprPtr filters_and_tests(ExprPtr node);
    ExprPtr filter_chain(ExprPtr node, bool first_without_pipe);
    ExprPtr test(ExprPtr node);
    ExprPtr subscript(ExprPtr node);
    ExprPtr slice_or_index();
    ExprPtr call(ExprPtr node);
    void arguments(ExprPtr& node);
    ExprPtr tuple(const TupleRules& rules);
    ExprPtr list();
    ExprPtr dict();
    ExprPtr target(const TupleRules& rules);

    Body statements(std::initializer_list<std::string_view> end_words, bool drop_end);
    Body parts(std::initializer_list<std::string_view> end_words);
    std::unique_ptr<Stmt> statement();
    void parse_for(Stmt& stmt);
    void parse_if(Stmt& stmt);
    void parse_set(Stmt& stmt);
    void parse_with(Stmt& stmt);
    void parse_macro(Stmt& stmt);
    void parse_call_block(Stmt& stmt);
    void signature(Stmt& stmt);
    void macro_body(Stmt& stmt, std::string_view end_word);

    std::vector<Token> tokens_;
    JinjaLimits limits_;
    size_t at_ = 0;
    size_t depth_ = 0;
    size_t loops_ = 0;           // for statements around this place, within the same macro
    std::vector<Stmt*> macros_;  // macros around this place
    bool failed_ = false;
    Error error_{ErrorCode::kBadFile, {}};
};

}  // namespace sterna::jinja
