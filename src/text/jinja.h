// A Jinja engine for the chat templates that real models carry (transformers' apply_chat_template dialect: trim_blocks
// and lstrip_blocks on, loop controls, `generation` blocks, tojson, strftime_now, raise_exception, namespace, macros,
// ...). Templates come from files and are hostile: every limit below is enforced. Immutable after compile; share
// freely.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sterna {

using OrderedJson = nlohmann::ordered_json;

struct JinjaLimits {
    size_t max_template_bytes = 1u << 20;
    size_t max_steps = 5'000'000;  // evaluated expressions and statements, about 50 ns each
    size_t max_depth = 200;        // nesting of expressions, blocks, macro calls
    size_t max_output_bytes = 1u << 24;
    size_t max_string_bytes = 1u << 24;  // of one value, so that doubling a string ends early
    size_t max_live_bytes = 1u << 28;    // of all values that exist at one time
    size_t max_items = 100'000;          // of one range(); Jinja's own sandbox has the same bound
};

class JinjaTemplate {
public:
    // Errors name the line: "line 12: expected 'endif', found 'endfor'".
    static Result<JinjaTemplate> compile(std::string_view source, const JinjaLimits& limits = {});
    JinjaTemplate(JinjaTemplate&&) noexcept;
    JinjaTemplate& operator=(JinjaTemplate&&) noexcept;
    ~JinjaTemplate();

    // `variables` is an object: messages, tools, bos_token, add_generation_prompt, ... `now` is Unix time for
    // strftime_now. Errors name the line and the variable; raise_exception's text becomes the message.
    Result<std::string> render(const OrderedJson& variables, int64_t now = 0) const;

private:
    struct Impl;
    explicit JinjaTemplate(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sterna
