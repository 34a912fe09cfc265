#include "hub/reference.h"

#include <algorithm>
#include <vector>

#include "base/bytes.h"

namespace sterna {

namespace {

constexpr size_t kMaxReferenceBytes = 4096;
constexpr size_t kMaxNamePartBytes = 96;
constexpr size_t kMaxTypeBytes = 32;
constexpr size_t kMaxRevisionBytes = 255;
constexpr size_t kMaxPathBytes = 1024;
constexpr size_t kMaxPathPartBytes = 255;

bool is_alnum(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_word(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) >= 0x20 && c != 0x7f; });
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
    return out;
}

// What is shown of a text from outside.
std::string shown(std::string_view text) {
    std::string out(text.substr(0, 200));
    for (char& c : out)
        if (uint8_t(c) < 0x20 || c == 0x7f) c = '?';
    return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == text.npos) return parts;
        text.remove_prefix(at + 1);
    }
}

bool is_public_hub(std::string_view host) {
    return host == "huggingface.co" || host == "www.huggingface.co" || host == "hf.co";
}

Status check_type(std::string_view type) {
    if (!is_word(type) || type.size() > kMaxTypeBytes)
        return fail(ErrorCode::kBadArgument, "{}: not a type; one is named as in :q4_k_m", shown(type));
    return {};
}

// "org/name" with ":type" and "@revision" behind it, in either order.
Result<HubReference> parse_name(std::string_view text) {
    HubReference out;
    const size_t end = text.find_first_of(":@");
    out.repo = text.substr(0, end);
    STERNA_CHECK(check_repo_name(out.repo));
    while (end != text.npos) {
        text.remove_prefix(std::min(text.size(), text.find_first_of(":@")));
        if (text.empty()) break;
        const char kind = text[0];
        text.remove_prefix(1);
        const std::string_view value = text.substr(0, text.find_first_of(":@"));
        std::string& to = kind == ':' ? out.type : out.revision;
        if (!to.empty())
            return fail(ErrorCode::kBadArgument, "{}: two {}s named", out.repo, kind == ':' ? "type" : "revision");
        STERNA_CHECK(kind == ':' ? check_type(value) : check_revision(value));
        to = value;
    }
    return out;
}

// The path of an address on the hub, without the endpoint's own path.
Result<HubReference> parse_hub_path(std::string_view path, std::string_view whole) {
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    while (!path.empty() && path.back() == '/') path.remove_suffix(1);
    auto parts = split(path, '/');
    if (parts[0] == "datasets" || parts[0] == "spaces" || parts[0] == "api")
        return fail(ErrorCode::kUnsupported, "{}: not the address of a model", shown(whole));
    if (parts.size() <= 2) return parse_name(path);
    HubReference out;
    size_t at = 2;
    out.repo = fmt::format("{}/{}", parts[0], parts[1]);
    auto is_verb = [](std::string_view part) {
        return part == "tree" || part == "blob" || part == "resolve" || part == "raw";
    };
    if (is_verb(parts[1])) {
        out.repo = parts[0];
        at = 1;
    }
    STERNA_CHECK(check_repo_name(out.repo));
    const std::string_view verb = parts[at];
    if (!is_verb(verb) || at + 1 >= parts.size())
        return fail(ErrorCode::kBadArgument, "{}: neither a model's page nor a file of one", shown(whole));
    out.revision = url_decode(parts[at + 1]);
    at += 2;
    if (out.revision == "refs" && at + 1 < parts.size()) {  // refs/pr/1 unescaped
        out.revision = fmt::format("refs/{}/{}", parts[at], parts[at + 1]);
        at += 2;
    }
    STERNA_CHECK(check_revision(out.revision));
    if (verb == "tree" || at >= parts.size()) return out;
    std::string file;
    for (; at < parts.size(); ++at) file += (file.empty() ? "" : "/") + url_decode(parts[at]);
    if (!is_safe_relative_path(file))
        return fail(ErrorCode::kBadArgument, "{}: names no file inside the repository", shown(whole));
    out.file = file;
    return out;
}

Result<HubReference> parse_url(std::string_view text, std::string_view endpoint) {
    STERNA_TRY(url, split_url(text));
    STERNA_TRY(hub, split_url(endpoint));
    if (same_origin(url, hub)) {
        std::string base = hub.path;
        while (!base.empty() && base.back() == '/') base.pop_back();
        if (url.path.starts_with(base + "/")) {
            const std::string path = url.path.substr(base.size());
            // A hub also serves files that belong to no repository; an address that is no page of a model is one of these.
            if (auto parsed = parse_hub_path(path, text); parsed || is_public_hub(url.host)) return parsed;
        }
    } else if (is_public_hub(url.host)) {
        return parse_hub_path(url.path, text);
    }
    const std::string name = url_decode(url.path.substr(url.path.rfind('/') + 1));
    if (!is_safe_relative_path(name) || name.find('/') != name.npos)
        return fail(ErrorCode::kBadArgument, "{}: the address ends in no file name", shown(text));
    HubReference out;
    out.url = text.substr(0, text.find('#'));
    out.file = name;
    return out;
}

}  // namespace

Status check_repo_name(std::string_view name) {
    auto parts = split(name, '/');
    bool good = parts.size() <= 2;
    for (std::string_view part : parts)
        good = good && is_word(part) && part.size() <= kMaxNamePartBytes && part.front() != '-' &&
               part.front() != '.' && part.back() != '-' && part.back() != '.' && part.find("--") == part.npos &&
               part.find("..") == part.npos;
    if (!good || name.ends_with(".git"))
        return fail(ErrorCode::kBadArgument, "{}: not the name of a repository; one looks like org/name", shown(name));
    return {};
}

Status check_revision(std::string_view revision) {
    bool good = !revision.empty() && revision.size() <= kMaxRevisionBytes;
    for (std::string_view part : split(revision, '/'))
        good = good && is_word(part) && part.front() != '.' && part.find("..") == part.npos && !part.ends_with(".lock");
    if (!good) return fail(ErrorCode::kBadArgument, "{}: not a branch, tag or commit", shown(revision));
    return {};
}

bool is_safe_relative_path(std::string_view path) {
    if (path.empty() || path.size() > kMaxPathBytes || !is_printable(path) || path.find('\\') != path.npos)
        return false;
    for (std::string_view part : split(path, '/'))
        if (part.empty() || part == "." || part == ".." || part.size() > kMaxPathPartBytes) return false;
    return true;
}

std::string url_encode(std::string_view text, bool keep_slash) {
    constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        if (is_alnum(c) || c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash)) {
            out += c;
        } else {
            out += '%';
            out += kHex[uint8_t(c) >> 4];
            out += kHex[uint8_t(c) & 15];
        }
    }
    return out;
}

std::string url_decode(std::string_view text) {
    auto digit = [](char c) {
        return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    };
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
            out += char(digit(text[i + 1]) * 16 + digit(text[i + 2]));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

Result<UrlParts> split_url(std::string_view url) {
    auto bad = [&](const char* why) { return fail(ErrorCode::kBadArgument, "{}: {}", shown(url), why); };
    if (url.size() > kMaxReferenceBytes) return bad("longer than an address may be");
    if (!is_printable(url) || url.find_first_of(" \\\"<>^`{|}") != url.npos)
        return bad("characters that an address cannot have");
    const size_t colon = url.find("://");
    if (colon == url.npos) return bad("not an address; one starts with https://");
    UrlParts out;
    out.scheme = lower(url.substr(0, colon));
    if (out.scheme != "http" && out.scheme != "https") return bad("only https addresses can be fetched");
    std::string_view rest = url.substr(colon + 3);
    const size_t slash = rest.find_first_of("/?#");
    std::string_view authority = rest.substr(0, slash);
    rest = slash == rest.npos ? std::string_view() : rest.substr(slash);
    if (authority.find('@') != authority.npos) return bad("an address with a user name or password in it");
    size_t port = authority.rfind(':');
    if (authority.starts_with('[') && (port == authority.npos || port < authority.find(']'))) port = authority.npos;
    out.host = lower(authority.substr(0, port));
    out.port = port == authority.npos ? (out.scheme == "http" ? "80" : "443") : std::string(authority.substr(port + 1));
    if (out.host.empty() || out.port.empty() || out.port.size() > 5 ||
        !std::all_of(out.port.begin(), out.port.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return bad("an address without a proper host");
    out.path = rest.substr(0, rest.find_first_of("?#"));
    if (out.path.empty()) out.path = "/";
    return out;
}

bool same_origin(const UrlParts& a, const UrlParts& b) {
    return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

bool looks_like_hub_reference(std::string_view text) {
    if (text.starts_with("hf:") || text.find("://") != text.npos) return true;
    if (text.starts_with("/") || text.starts_with(".") || text.ends_with(".gguf")) return false;
    return std::count(text.begin(), text.end(), '/') >= 1 && parse_hub_reference(text).has_value();
}

Result<HubReference> parse_hub_reference(std::string_view text, std::string_view endpoint) {
    if (text.size() > kMaxReferenceBytes)
        return fail(ErrorCode::kBadArgument, "{}...: longer than a name may be", shown(text.substr(0, 40)));
    bool named = false;
    if (text.starts_with("hf://")) {
        text.remove_prefix(5), named = true;
    } else if (text.starts_with("hf:")) {
        text.remove_prefix(3), named = true;
    } else if (text.starts_with("hf.co/") || text.starts_with("huggingface.co/")) {
        return parse_hub_path(text.substr(text.find('/')), text);
    } else if (text.find("://") != text.npos) {
        return parse_url(text, endpoint);
    }
    if (!named && text.substr(0, text.find_first_of(":@")).find('/') == text.npos)
        return fail(ErrorCode::kBadArgument, "{}: neither a file here nor a model's name; one looks like org/name",
                    shown(text));
    return parse_name(text);
}

}  // namespace sterna
