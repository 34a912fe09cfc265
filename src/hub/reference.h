// What a person types for a model that lies on a hub: "org/name:q4_k_m@main", "hf:org/name", an address. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sterna {

constexpr std::string_view kDefaultEndpoint = "https://huggingface.co";
constexpr std::string_view kDefaultRevision = "main";

// Either a repository (`repo` set) or a file at some other address (`url` set).
struct HubReference {
    std::string repo;      // "org/name", for old models "name"
    std::string type;      // "q4_k_m" as typed; empty: not named
    std::string revision;  // branch, tag or commit; empty: not named
    std::string file;      // the one file that an address of the hub named; empty: a choice is to be made
    std::string url;       // a file that is not on the hub

    const std::string& name() const { return repo.empty() ? url : repo; }
    std::string revision_or_default() const { return revision.empty() ? std::string(kDefaultRevision) : revision; }
};

// `endpoint` is the hub's address: an address on it, or on the public hub, is a repository there. A name without a slash
// is one only after "hf:".
Result<HubReference> parse_hub_reference(std::string_view text, std::string_view endpoint = kDefaultEndpoint);

// Whether the text looks like a repository or an address at all, so that it is worth an error of its own.
bool looks_like_hub_reference(std::string_view text);

Status check_repo_name(std::string_view name);
Status check_revision(std::string_view revision);

// Whether a path from outside stays inside the folder that it is joined to: relative, no "..", nothing unprintable.
bool is_safe_relative_path(std::string_view path);

// Percent-encodes what may not stand in a path of an address; '/' stays when `keep_slash`.
std::string url_encode(std::string_view text, bool keep_slash);
// Undoes it. A broken escape stays as it is.
std::string url_decode(std::string_view text);

struct UrlParts {
    std::string scheme, host, port,
        path;  // lower case scheme and host; path starts with '/' and has neither query nor fragment
};
// Fails on what is no absolute http or https address, and on user names inside.
Result<UrlParts> split_url(std::string_view url);
bool same_origin(const UrlParts& a, const UrlParts& b);

}  // namespace sterna
