#include "text/jinja.h"

#include "text/jinja_interpreter.h"
#include "text/jinja_syntax.h"

namespace sterna {

struct JinjaTemplate::Impl {
    jinja::Body body;
    JinjaLimits limits;
};

JinjaTemplate::JinjaTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;
JinjaTemplate::~JinjaTemplate() = default;

Result<JinjaTemplate> JinjaTemplate::compile(std::string_view source, const JinjaLimits& limits) {
    STERNA_TRY(body, jinja::parse(source, limits));
    return JinjaTemplate(std::make_unique<Impl>(std::move(body), limits));
}

Result<std::string> JinjaTemplate::render(const OrderedJson& variables, int64_t now) const {
    return jinja::Interpreter(impl_->limits, now).render(impl_->body, variables);
}

}  // namespace sterna
