#include <algorithm>

#include "text/jinja_parser.h"

namespace sterna::jinja {

Result<Body> Parser::run() {
    Body body = parts({});
    if (failed_) return std::unexpected(std::move(error_));
    return body;
}

// The statement list after a tag's words, up to one of `end_words`, which is left as the current token or dropped.
Body Parser::statements(std::initializer_list<std::string_view> end_words, bool drop_end) {
    skip_operator(":");
    expect(TokenType::kBlockEnd, "'%}'");
    Body body = parts(end_words);
    if (at_end()) unexpected(fmt::format("'{}'", *(end_words.end() - 1)));
    if (drop_end) next();
    return body;
}

Body Parser::parts(std::initializer_list<std::string_view> end_words) {
    Nesting nesting(*this);
    Body body;
    while (!at_end()) {
        const int where = line();
        if (is(TokenType::kData)) {
            auto text = std::make_unique<Stmt>();
            text->kind = StmtKind::kText;
            text->line = where;
            text->text = std::move(tokens_[at_].text);
            body.push_back(std::move(text));
            next();
        } else if (is(TokenType::kVariableBegin)) {
            next();
            auto output = std::make_unique<Stmt>();
            output->kind = StmtKind::kOutput;
            output->line = where;
            output->exprs.push_back(tuple({}));
            body.push_back(std::move(output));
            expect(TokenType::kVariableEnd, "'}}'");
        } else {
            next();
            if (std::any_of(end_words.begin(), end_words.end(), [&](std::string_view word) { return is_word(word); }))
                return body;
            if (is(TokenType::kName) && token().text.starts_with("end") && end_words.size() > 0) {
                unexpected(fmt::format("'{}'", *(end_words.end() - 1)));
                return body;
            }
            body.push_back(statement());
            expect(TokenType::kBlockEnd, "'%}'");
        }
    }
    return body;
}

std::unique_ptr<Stmt> Parser::statement() {
    auto stmt = std::make_unique<Stmt>();
    stmt->line = line();
    const std::string word = expect_name();
    if (word == "for") {
        parse_for(*stmt);
    } else if (word == "if") {
        parse_if(*stmt);
    } else if (word == "set") {
        parse_set(*stmt);
    } else if (word == "macro") {
        parse_macro(*stmt);
    } else if (word == "call") {
        parse_call_block(*stmt);
    } else if (word == "with") {
        parse_with(*stmt);
    } else if (word == "filter") {
        stmt->kind = StmtKind::kFilterBlock;
        stmt->exprs.push_back(filter_chain(make(ExprKind::kBlockValue, line()), true));
        stmt->body = statements({"endfilter"}, true);
    } else if (word == "generation") {  // marks what the assistant wrote; only training looks at the mark
        stmt->kind = StmtKind::kScope;
        stmt->body = statements({"endgeneration"}, true);
    } else if (word == "block") {  // a template that nobody extends renders its blocks in place
        stmt->kind = StmtKind::kScope;
        expect_name();
        skip_word("scoped");
        skip_word("required");
        stmt->body = statements({"endblock"}, true);
        if (is(TokenType::kName)) next();
    } else if (word == "print") {
        stmt->kind = StmtKind::kOutput;
        stmt->exprs.push_back(tuple({}));
    } else if (word == "break" || word == "continue") {
        stmt->kind = word == "break" ? StmtKind::kBreak : StmtKind::kContinue;
        if (loops_ == 0) fail_at(stmt->line, fmt::format("'{}' outside of a loop", word));
    } else if (word == "include" || word == "import" || word == "from" || word == "extends") {
        fail_at(stmt->line, fmt::format("'{}' is not possible: a chat template stands alone", word),
                ErrorCode::kUnsupported);
    } else {
        fail_at(stmt->line, fmt::format("unknown tag '{}'", word));
    }
    return stmt;
}

void Parser::parse_for(Stmt& stmt) {
    stmt.kind = StmtKind::kFor;
    stmt.target = target({.end_word = "in"});
    if (!skip_word("in")) unexpected("'in'");
    stmt.exprs.push_back(tuple({.conditional = false, .end_word = "recursive"}));
    if (skip_word("if")) stmt.condition = expression();
    stmt.recursive = skip_word("recursive");
    ++loops_;
    stmt.body = statements({"else", "endfor"}, false);
    --loops_;
    if (skip_word("else")) stmt.otherwise = statements({"endfor"}, false);
    next();
}

void Parser::parse_if(Stmt& stmt) {
    stmt.kind = StmtKind::kIf;
    do {
        stmt.exprs.push_back(tuple({.conditional = false}));
        stmt.branches.push_back(statements({"elif", "else", "endif"}, false));
    } while (skip_word("elif"));
    if (skip_word("else")) stmt.otherwise = statements({"endif"}, false);
    next();
}

void Parser::parse_set(Stmt& stmt) {
    stmt.target = target({.namespaces = true});
    if (skip_operator("=")) {
        stmt.kind = StmtKind::kSet;
        stmt.exprs.push_back(tuple({}));
        return;
    }
    stmt.kind = StmtKind::kSetBlock;
    if (is_operator("|")) stmt.condition = filter_chain(make(ExprKind::kBlockValue, line()), false);
    stmt.body = statements({"endset"}, true);
}

void Parser::parse_with(Stmt& stmt) {
    stmt.kind = StmtKind::kWith;
    while (!is(TokenType::kBlockEnd) && !failed_) {
        if (!stmt.targets.empty()) expect_operator(",");
        stmt.targets.push_back(target({}));
        expect_operator("=");
        stmt.exprs.push_back(expression());
    }
    stmt.body = statements({"endwith"}, true);
}

void Parser::signature(Stmt& stmt) {
    expect_operator("(");
    while (!is_operator(")") && !failed_) {
        if (!stmt.parameters.empty()) expect_operator(",");
        const int where = line();
        stmt.parameters.push_back(expect_name());
        if (skip_operator("=")) {
            stmt.exprs.push_back(expression());
        } else if (!stmt.exprs.empty()) {
            fail_at(where, "a parameter without a default follows one with a default");
        }
    }
    expect_operator(")");
}

void Parser::macro_body(Stmt& stmt, std::string_view end_word) {
    const size_t loops_outside = std::exchange(loops_, 0);
    macros_.push_back(&stmt);
    stmt.body = statements({end_word}, true);
    macros_.pop_back();
    loops_ = loops_outside;
}

void Parser::parse_macro(Stmt& stmt) {
    stmt.kind = StmtKind::kMacro;
    stmt.text = expect_name();
    signature(stmt);
    macro_body(stmt, "endmacro");
}

void Parser::parse_call_block(Stmt& stmt) {
    stmt.kind = StmtKind::kCallBlock;
    stmt.text = "caller";
    if (is_operator("(")) signature(stmt);
    const int where = line();
    stmt.target = expression();
    if (!failed_ && stmt.target->kind != ExprKind::kCall) fail_at(where, "expected a call after 'call'");
    macro_body(stmt, "endcall");
}

Result<Body> parse(std::string_view source, const JinjaLimits& limits) {
    if (source.size() > limits.max_template_bytes)
        return fail(ErrorCode::kLimit, "template: {} bytes, at most {} are allowed", source.size(),
                    limits.max_template_bytes);
    STERNA_TRY(tokens, tokenize(source));
    return Parser(std::move(tokens), limits).run();
}

std::string describe(const Expr& expr) {
    if (expr.kind == ExprKind::kName) return expr.text;
    if (expr.kind != ExprKind::kAttribute && expr.kind != ExprKind::kItem) return {};
    std::string base = describe(*expr.kids[0]);
    if (base.empty()) return {};
    if (expr.kind == ExprKind::kAttribute) return base + "." + expr.text;
    const Expr& key = *expr.kids[1];
    if (key.kind == ExprKind::kText) return base + "['" + key.text + "']";
    if (key.kind == ExprKind::kInt) return base + "[" + std::to_string(key.integer) + "]";
    if (std::string name = describe(key); !name.empty()) return base + "[" + name + "]";
    return {};
}

}  // namespace sterna::jinja
