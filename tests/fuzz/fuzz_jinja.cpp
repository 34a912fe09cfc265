// Any bytes as a template, rendered over a small conversation under tight limits.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    sterna::JinjaLimits limits;
    limits.max_steps = 20'000;
    limits.max_output_bytes = limits.max_string_bytes = 1u << 16;
    limits.max_live_bytes = 1u << 22;
    const auto compiled = sterna::JinjaTemplate::compile({reinterpret_cast<const char*>(data), size}, limits);
    if (!compiled) return 0;
    const sterna::OrderedJson message = {{"role", "user"}, {"content", "Hi \xC3\xA9"}};
    (void)compiled->render(
        {{"messages", sterna::OrderedJson::array({message, message})}, {"bos_token", "<s>"}, {"tools", nullptr}}, 1);
    return 0;
}
