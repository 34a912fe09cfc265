// One connection to web servers, over libcurl. Redirects are followed here and not in libcurl, because they decide who
// sees the token: it goes to the origin (scheme, host, port) that the request names and to nobody else.
// For one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace sterna {

struct HttpRequest {
    std::string url;
    bool head = false;
    std::string token;             // sent as bearer token to the origin of `url` only
    uint64_t first_byte = 0;       // above 0: asks for the rest from there on
    std::string if_range;          // with first_byte: only if the file still has this etag
    bool follow_elsewhere = true;  // false: a redirect to another origin is the answer, not a step on the way
    size_t max_body = 1 << 20;     // of a body that is kept
};

struct HttpResponse {
    int status = 0;                              // 0: no answer came
    std::map<std::string, std::string> headers;  // lower-case names
    std::string url;                             // where the answer came from
    std::string body;                            // unless a sink took it
    // Not empty: the connection failed, before or inside the body; what it says follows "HOST: ".
    std::string failure;
    bool transient = false;  // another attempt may succeed
    bool unreached = false;  // not even connected

    std::string header(const std::string& name) const;
    bool ok() const { return failure.empty() && status >= 200 && status < 300; }
};

// Takes a successful body piece by piece. `start` comes before the first piece, also of an empty body, with status and headers.
struct HttpSink {
    std::function<Status(const HttpResponse&)> start;
    std::function<Status(Bytes)> write;
};

class Http {
public:
    struct Options {
        std::string user_agent;
        bool allow_plain = false;  // http beside https
        long connect_seconds = 15;
        long stall_seconds = 30;  // without a byte: the connection counts as cut
    };
    explicit Http(Options options);
    ~Http();
    Http(const Http&) = delete;
    Http& operator=(const Http&) = delete;

    // Fails when the request may not be made at all (plain http, too many redirects), when a body that is kept grows beyond
    // max_body, and with what the sink says. Every answer of a server is a response, and so is a connection that fails.
    Result<HttpResponse> send(const HttpRequest& request, const HttpSink* sink = nullptr);

private:
    struct Transfer;
    Result<HttpResponse> send_once(const HttpRequest& request, const std::string& url, bool with_token,
                                   const HttpSink* sink);

    Options options_;
    void* curl_;
};

// The length that a response says its whole file has: Content-Range's total, else Content-Length. 0: not said.
uint64_t stated_length(const HttpResponse& response);
// The first byte of a partial response, from Content-Range; ~0 when it does not say.
uint64_t stated_first_byte(const HttpResponse& response);
// Seconds that the server asks to wait, from Retry-After (a number or a date); -1: it does not say.
int64_t retry_after_seconds(const HttpResponse& response);
// The target of a redirect, made absolute; empty when there is none or it is malformed.
std::string redirect_target(const HttpResponse& response);

}  // namespace sterna
