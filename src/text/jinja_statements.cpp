#include <algorithm>

#include "text/jinja_interpreter.h"

namespace sterna::jinja {

class Interpreter::Capture {
public:
    explicit Capture(Interpreter& interpreter) : interpreter_(interpreter), outside_(interpreter.out_) {
        interpreter.out_ = &text_;
    }
    ~Capture() { finish(); }
    std::string take() {
        finish();
        return std::move(text_);
    }

private:
    void finish() {
        if (!outside_) return;
        interpreter_.out_ = std::exchange(outside_, nullptr);
        interpreter_.heap_.live_bytes -= text_.size();
    }

    Interpreter& interpreter_;
    std::string* outside_;
    std::string text_;
};

namespace {

// Puts a scope in place and the old one back.
class Entered {
public:
    Entered(Ref<Scope>& current, Ref<Scope> inner)
        : current_(current), outside_(std::exchange(current, std::move(inner))) {}
    ~Entered() { current_ = std::move(outside_); }

private:
    Ref<Scope>& current_;
    Ref<Scope> outside_;
};

}  // namespace

Interpreter::Deeper::Deeper(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter.depth_ > interpreter.limits_.max_depth)
        interpreter.fail(fmt::format("nested deeper than {} levels", interpreter.limits_.max_depth), ErrorCode::kLimit);
}

void Interpreter::emit(std::string_view text) {
    if (failed_) return;
    if (out_->size() + text.size() > limits_.max_output_bytes) {
        fail(fmt::format("more than {} bytes of output", limits_.max_output_bytes), ErrorCode::kLimit);
        return;
    }
    if (!room(text.size())) return;
    heap_.live_bytes += text.size();
    out_->append(text);
}

void Interpreter::emit(const Value& value) {
    if (failed_) return;
    if (value.is(Kind::kString)) {
        emit(std::string_view(value.text()));
    } else {
        emit(str(value));
    }
}

Flow Interpreter::run(const Body& body) {
    for (const auto& stmt : body) {
        if (failed_) return Flow::kBreak;
        if (const Flow flow = run(*stmt); flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
}

Flow Interpreter::run(const Stmt& stmt) {
    line_ = stmt.line;
    if (!charge(1)) return Flow::kBreak;
    Deeper deeper(*this);
    if (failed_) return Flow::kBreak;
    switch (stmt.kind) {
        case StmtKind::kText:
            emit(std::string_view(stmt.text));
            break;
        case StmtKind::kOutput:
            emit(eval(*stmt.exprs[0]));
            break;
        case StmtKind::kFor: {
            const Value iterable = eval(*stmt.exprs[0]);
            run_for(stmt, iterable, 0);
            break;
        }
        case StmtKind::kIf:
            for (size_t i = 0; i < stmt.exprs.size(); ++i) {
                const bool taken = truth(eval(*stmt.exprs[i]));
                if (failed_) return Flow::kBreak;
                if (taken) return run(stmt.branches[i]);
            }
            return run(stmt.otherwise);
        case StmtKind::kSet:
        case StmtKind::kSetBlock:
            run_set(stmt);
            break;
        case StmtKind::kMacro:
            scope_->set(stmt.text, make_macro(stmt));
            break;
        case StmtKind::kCallBlock: {
            Args args;
            const Value callee = eval(*stmt.target->kids[0]);
            if (!eval_args(*stmt.target, args)) break;
            args.named.emplace_back("caller", make_macro(stmt));
            emit(call(callee, args));
            break;
        }
        case StmtKind::kFilterBlock: {
            Capture capture(*this);
            {
                Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
                run(stmt.body);
            }
            Value outside = std::exchange(block_value_, make_string(capture.take()));
            emit(eval(*stmt.exprs[0]));
            block_value_ = std::move(outside);
            break;
        }
        case StmtKind::kWith:
            run_with(stmt);
            break;
        case StmtKind::kScope: {
            Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
            return run(stmt.body);
        }
        case StmtKind::kBreak:
            return Flow::kBreak;
        case StmtKind::kContinue:
            return Flow::kContinue;
    }
    return Flow::kNormal;
}

void Interpreter::run_set(const Stmt& stmt) {
    if (stmt.kind == StmtKind::kSet) return assign(*stmt.target, eval(*stmt.exprs[0]));
    Capture capture(*this);
    {
        Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
        run(stmt.body);
    }
    Value text = make_string(capture.take());
    if (stmt.condition) {
        Value outside = std::exchange(block_value_, std::move(text));
        text = eval(*stmt.condition);
        block_value_ = std::move(outside);
    }
    assign(*stmt.target, text);
}

void Interpreter::run_with(const Stmt& stmt) {
    std::vector<Value> values;
    for (const ExprPtr& expr : stmt.exprs) values.push_back(eval(*expr));
    if (failed_) return;
    Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
    for (size_t i = 0; i < values.size(); ++i) assign(*stmt.targets[i], values[i]);
    run(stmt.body);
}

void Interpreter::assign(const Expr& target, const Value& value) {
    if (failed_) return;
    line_ = target.line;
    if (target.kind == ExprKind::kName) {
        scope_->set(target.text, value);
        room(0);
    } else if (target.kind == ExprKind::kNamespaceRef) {
        const Value* space = scope_->find(target.text);
        if (!space || !space->is(Kind::kNamespace)) {
            fail(fmt::format("'{}.{}' cannot be set: '{}' is not a namespace", target.text, target.attribute,
                             target.text));
        } else if (target.attribute.starts_with("_")) {
            fail(fmt::format("'{}.{}' cannot be set: the name starts with an underscore", target.text,
                             target.attribute));
        } else {
            const Value name = make_string(target.attribute);
            if (!failed_) space->name_space().attributes->set(name, value);
        }
    } else {
        std::vector<Value> items;
        if (!iterate(value, items)) return;
        if (items.size() != target.kids.size()) {
            fail(fmt::format("{} values to unpack, expected {}", items.size(), target.kids.size()));
            return;
        }
        for (size_t i = 0; i < items.size(); ++i) assign(*target.kids[i], items[i]);
    }
}

void Interpreter::run_for(const Stmt& stmt, const Value& iterable, size_t depth0) {
    std::vector<Value> items;
    if (!iterate(iterable, items)) return;
    if (stmt.condition) {
        std::vector<Value> kept;
        for (Value& item : items) {
            Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
            assign(*stmt.target, item);
            if (truth(eval(*stmt.condition))) kept.push_back(std::move(item));
            if (failed_) return;
        }
        items = std::move(kept);
    }
    Ref<Loop> loop(new Loop(heap_));
    loop->items = &items;
    loop->length = items.size();
    loop->depth0 = depth0;
    loop->statement = &stmt;
    loop->scope = scope_;
    const Value loop_value = Value::object(Kind::kLoop, loop.get());
    for (size_t i = 0; i < items.size() && charge(1); ++i) {
        loop->index0 = i;
        Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
        scope_->set("loop", loop_value);
        assign(*stmt.target, items[i]);
        if (run(stmt.body) == Flow::kBreak) break;
    }
    // Whoever still holds the loop gets an empty one, so that loops cannot form long chains or cycles.
    loop->items = nullptr;
    loop->scope = Ref<Scope>();
    loop->last_changed.clear();
    if (items.empty()) {
        Entered inner(scope_, Ref<Scope>(new Scope(heap_, scope_)));
        run(stmt.otherwise);
    }
}

Value Interpreter::call_loop(const Value& value, const Args& args) {
    Ref<Loop> loop(&value.loop());
    if (!loop->items || !loop->statement->recursive) return fail("only a running loop with 'recursive' can be called");
    if (args.positional.size() != 1 || !args.named.empty()) return fail("'loop' takes one argument");
    Deeper deeper(*this);
    if (failed_) return {};
    Capture capture(*this);
    {
        Entered outer(scope_, loop->scope);
        run_for(*loop->statement, args.positional[0], loop->depth0 + 1);
    }
    return make_string(capture.take());
}

Value Interpreter::make_macro(const Stmt& stmt) {
    Ref<Function> function(new Function(heap_));
    function->name = stmt.text;
    function->macro = &stmt;
    function->scope = scope_;
    for (Scope* scope = scope_.get(); scope && !scope->captured; scope = scope->parent.get()) {
        scope->captured = true;
        captured_.push_back(Ref<Scope>(scope));
    }
    if (!room(0)) return {};
    return Value::object(Kind::kFunction, function.get());
}

Value Interpreter::call_macro(Function& macro_function, const Args& args) {
    Ref<Function> keep(&macro_function);
    const Stmt& stmt = *macro_function.macro;
    const int call_line = line_;
    Deeper deeper(*this);
    if (failed_) return {};
    Capture capture(*this);
    {
        Entered inner(scope_, Ref<Scope>(new Scope(heap_, macro_function.scope)));
        std::vector<bool> used(args.named.size(), false);
        auto take = [&](std::string_view name) -> const Value* {
            for (size_t i = 0; i < args.named.size(); ++i) {
                if (args.named[i].first != name || used[i]) continue;
                used[i] = true;
                return &args.named[i].second;
            }
            return nullptr;
        };
        const size_t n = stmt.parameters.size(), first_default = n - stmt.exprs.size();
        bool explicit_caller = false;
        for (size_t i = 0; i < n; ++i) {
            const std::string& name = stmt.parameters[i];
            explicit_caller |= name == "caller";
            const Value* given = i < args.positional.size() ? &args.positional[i] : take(name);
            if (given) {
                scope_->set(name, *given);
            } else if (i >= first_default) {
                scope_->set(name, eval(*stmt.exprs[i - first_default]));
            } else {
                scope_->set(name, make_undefined(fmt::format("parameter '{}' was not provided", name)));
            }
        }
        if (stmt.uses_caller && !explicit_caller) {
            const Value* caller = take("caller");
            scope_->set("caller", caller ? *caller : make_undefined("no caller defined"));
        }
        line_ = call_line;
        Ref<Dict> rest(new Dict(heap_));
        for (size_t i = 0; i < args.named.size(); ++i) {
            if (used[i]) continue;
            if (!stmt.uses_kwargs)
                return fail(
                    fmt::format("macro '{}' takes no keyword argument '{}'", macro_function.name, args.named[i].first));
            rest->set(make_string(args.named[i].first), args.named[i].second);
        }
        if (stmt.uses_kwargs) scope_->set("kwargs", make_dict(std::move(rest)));
        if (stmt.uses_varargs) {
            std::vector<Value> more;
            if (args.positional.size() > n)
                more.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(n), args.positional.end());
            scope_->set("varargs", make_sequence(std::move(more), SequenceKind::kTuple));
        } else if (args.positional.size() > n) {
            return fail(fmt::format("macro '{}' takes not more than {} argument(s)", macro_function.name, n));
        }
        run(stmt.body);
    }
    line_ = call_line;
    return make_string(capture.take());
}

}  // namespace sterna::jinja
