#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "hub/reference.h"

namespace sterna {

namespace {

constexpr size_t kMaxTokenBytes = 4096;
constexpr double kMaxRetryScale = 1000;
constexpr long kMaxStallSeconds = 3600;

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

bool is_on(std::string value) {
    std::transform(value.begin(), value.end(), value.begin(), [](char c) { return char(std::tolower(uint8_t(c))); });
    return value == "1" || value == "on" || value == "yes" || value == "true";
}

std::string trimmed(std::string text) {
    auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
    while (!text.empty() && is_space(text.back())) text.pop_back();
    size_t n = 0;
    while (n < text.size() && is_space(text[n])) ++n;
    return text.substr(n);
}

std::string home() {
    const std::string path = variable("HOME");
    return path.empty() ? "." : path;
}

// "~/models" and "$HOME/models", as the Python packages read them.
std::string expanded(std::string path) {
    if (path == "~" || path.starts_with("~/")) return home() + path.substr(1);
    for (std::string_view start : {"$HOME", "${HOME}"})
        if (path.starts_with(start)) return home() + path.substr(start.size());
    return path;
}

std::string first_set(std::initializer_list<const char*> names) {
    for (const char* name : names)
        if (std::string value = variable(name); !value.empty()) return expanded(std::move(value));
    return {};
}

Status find_token(HubSettings& settings, const std::string& hf_home) {
    for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
        settings.token = trimmed(variable(name));
        settings.token_from = name;
        if (!settings.token.empty()) break;
    }
    if (settings.token.empty() && !is_on(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
        settings.token_from = first_set({"HF_TOKEN_PATH"});
        if (settings.token_from.empty()) settings.token_from = hf_home + "/token";
        std::ifstream file(settings.token_from, std::ios::binary);
        std::string text(kMaxTokenBytes + 1, '\0');
        if (file) {
            file.read(text.data(), std::streamsize(text.size()));
            text.resize(size_t(std::max<std::streamsize>(0, file.gcount())));
            settings.token = trimmed(std::move(text));
        }
    }
    const bool good =
        std::all_of(settings.token.begin(), settings.token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (!good || settings.token.size() > kMaxTokenBytes)
        return fail(ErrorCode::kBadArgument, "{}: not an access token", settings.token_from);
    if (settings.token.empty()) settings.token_from.clear();
    return {};
}

}  // namespace

Result<HubSettings> HubSettings::from_environment() {
    HubSettings out;
    out.endpoint = variable("HF_ENDPOINT");
    if (out.endpoint.empty()) out.endpoint = kDefaultEndpoint;
    while (out.endpoint.ends_with('/')) out.endpoint.pop_back();
    if (auto parts = split_url(out.endpoint); !parts)
        return fail(parts.error().code, "HF_ENDPOINT: {}", parts.error().message);
    std::string caches = first_set({"XDG_CACHE_HOME"});
    if (caches.empty()) caches = home() + "/.cache";
    std::string hf_home = first_set({"HF_HOME"});
    if (hf_home.empty()) hf_home = caches + "/huggingface";
    out.cache = first_set({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
    if (out.cache.empty()) out.cache = hf_home + "/hub";
    out.own_cache = caches + "/sterna";
    out.offline = is_on(variable("HF_HUB_OFFLINE")) || is_on(variable("TRANSFORMERS_OFFLINE"));
    if (const std::string scale = variable("STERNA_RETRY_SCALE"); !scale.empty()) {
        char* end = nullptr;
        out.retry_scale = std::strtod(scale.c_str(), &end);
        if (*end || !(out.retry_scale >= 0 && out.retry_scale <= kMaxRetryScale))
            return fail(ErrorCode::kBadArgument, "STERNA_RETRY_SCALE: {} is not a number from 0 to {}", scale,
                        kMaxRetryScale);
    }
    if (const std::string timeout = variable("HF_HUB_DOWNLOAD_TIMEOUT"); !timeout.empty()) {
        char* end = nullptr;
        out.stall_seconds = std::strtol(timeout.c_str(), &end, 10);
        if (*end || out.stall_seconds < 1 || out.stall_seconds > kMaxStallSeconds)
            return fail(ErrorCode::kBadArgument, "HF_HUB_DOWNLOAD_TIMEOUT: {} is not a number of seconds", timeout);
    }
    STERNA_CHECK(find_token(out, hf_home));
    return out;
}

}  // namespace sterna
