#include "hub/http.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <optional>

#include <curl/curl.h>

#include "hub/reference.h"

namespace sterna {

namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = 64 << 10;  // of one response
constexpr size_t kMaxErrorBody = 64 << 10;    // read of an answer that is no success, and dropped

struct CurlGlobal {
    CurlGlobal() { curl_global_init(CURL_GLOBAL_DEFAULT); }
};

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n'))
        text.remove_suffix(1);
    return text;
}

std::optional<uint64_t> parse_number(std::string_view text) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Failures that come and go: the network's, not the server's certificate or our own request.
bool is_transient(CURLcode code) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_PARTIAL_FILE:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_GOT_NOTHING:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
        case CURLE_SSL_CONNECT_ERROR:
            return true;
        default:
            return false;
    }
}

std::string failure_text(CURLcode code, const char* detail) {
    switch (code) {
        case CURLE_PARTIAL_FILE:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
            return "the connection was cut";
        case CURLE_OPERATION_TIMEDOUT:
            return "no answer in time";
        case CURLE_COULDNT_CONNECT:
            return "cannot connect";
        case CURLE_COULDNT_RESOLVE_HOST:
            return "no such host, or no network";
        default:
            return *detail ? detail : curl_easy_strerror(code);
    }
}

}  // namespace

// What libcurl's callbacks fill.
struct Http::Transfer {
    Transfer(const HttpRequest& for_request, const HttpSink* to, CURL* over, const std::string& url)
        : request(for_request), sink(to), curl(over) {
        response.url = url;
    }

    const HttpRequest& request;
    const HttpSink* sink;
    CURL* curl;
    HttpResponse response;
    size_t header_bytes = 0, dropped = 0;
    bool started = false;
    std::optional<Error> refused;

    bool refuse(Error error) {
        refused = std::move(error);
        return false;
    }

    bool start() {
        started = true;
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        response.status = int(status);
        if (!sink || status < 200 || status > 299) return true;
        if (auto taken = sink->start(response); !taken) return refuse(std::move(taken).error());
        return true;
    }

    bool take(Bytes bytes) {
        if (!started && !start()) return false;
        if (response.status < 200 || response.status > 299) {
            dropped += bytes.size();
            return dropped <= kMaxErrorBody;
        }
        if (sink) {
            if (auto taken = sink->write(bytes); !taken) return refuse(std::move(taken).error());
            return true;
        }
        if (response.body.size() + bytes.size() > request.max_body)
            return refuse({ErrorCode::kLimit,
                           fmt::format("{}: the answer is larger than {} bytes", request.url, request.max_body)});
        response.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return true;
    }

    bool take_header(std::string_view line) {
        if (line.starts_with("HTTP/")) {  // of this response, not of an interim one before it
            response.headers.clear();
            return true;
        }
        header_bytes += line.size();
        if (header_bytes > kMaxHeaderBytes)
            return refuse({ErrorCode::kLimit, fmt::format("{}: the answer's headers are larger than {} bytes",
                                                          request.url, kMaxHeaderBytes)});
        const size_t colon = line.find(':');
        if (colon == line.npos) return true;
        std::string name(line.substr(0, colon));
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
        response.headers[name] = trimmed(line.substr(colon + 1));
        return true;
    }

    static size_t on_body(char* data, size_t one, size_t n, void* self) {
        return static_cast<Transfer*>(self)->take({reinterpret_cast<const uint8_t*>(data), one * n}) ? n : n + 1;
    }
    static size_t on_header(char* data, size_t one, size_t n, void* self) {
        return static_cast<Transfer*>(self)->take_header({data, one * n}) ? n : n + 1;
    }
};

std::string HttpResponse::header(const std::string& name) const {
    auto at = headers.find(name);
    return at == headers.end() ? std::string() : at->second;
}

Http::Http(Options options) : options_(std::move(options)) {
    static CurlGlobal global;
    curl_ = curl_easy_init();
}

Http::~Http() {
    curl_easy_cleanup(curl_);
}

Result<HttpResponse> Http::send_once(const HttpRequest& request, const std::string& url, bool with_token,
                                     const HttpSink* sink) {
    CURL* curl = curl_;
    if (!curl) return fail(ErrorCode::kOutOfMemory, "libcurl: cannot start");
    curl_easy_reset(curl);  // keeps open connections
    std::array<char, CURL_ERROR_SIZE> detail = {};
    Transfer transfer(request, sink, curl, url);

    std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr, curl_slist_free_all);
    auto add = [&](const std::string& line) { headers.reset(curl_slist_append(headers.release(), line.c_str())); };
    add("Accept-Encoding: identity");  // sizes and ranges are those of the file itself
    if (with_token) add("Authorization: Bearer " + request.token);
    if (request.first_byte > 0) {
        add(fmt::format("Range: bytes={}-", request.first_byte));
        if (!request.if_range.empty()) add("If-Range: " + request.if_range);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, options_.user_agent.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, options_.allow_plain ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, options_.connect_seconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, options_.stall_seconds);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);

    const CURLcode code = curl_easy_perform(curl);
    if (transfer.refused) return std::unexpected(std::move(*transfer.refused));
    const bool cut_short = transfer.started && transfer.dropped > kMaxErrorBody;  // by us
    if (code != CURLE_OK && !cut_short) {
        transfer.response.failure = failure_text(code, detail.data());
        transfer.response.transient = is_transient(code);
        transfer.response.unreached = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT;
        return std::move(transfer.response);
    }
    if (!transfer.started && !transfer.start()) return std::unexpected(std::move(*transfer.refused));
    return std::move(transfer.response);
}

Result<HttpResponse> Http::send(const HttpRequest& request, const HttpSink* sink) {
    STERNA_TRY(origin, split_url(request.url));
    std::string url = request.url;
    for (int step = 0; step <= kMaxRedirects; ++step) {
        STERNA_TRY(parts, split_url(url));
        if (parts.scheme != "https" && !options_.allow_plain)
            return fail(ErrorCode::kUnsupported,
                        "{}: plain http is refused; only https hides and protects what is fetched", url);
        const bool own = same_origin(parts, origin);
        STERNA_TRY(response, send_once(request, url, own && !request.token.empty(), sink));
        if (!response.failure.empty() || !is_redirect(response.status)) return response;
        const std::string next = redirect_target(response);
        auto next_parts = split_url(next);
        if (!next_parts) {
            response.failure = "a redirect without a proper address";
            return response;
        }
        if (!request.follow_elsewhere && !same_origin(*next_parts, origin)) return response;
        url = next;
    }
    return fail(ErrorCode::kLimit, "{}: more than {} redirects", request.url, kMaxRedirects);
}

uint64_t stated_length(const HttpResponse& response) {
    const std::string range = response.header("content-range");
    if (const size_t slash = range.rfind('/'); slash != range.npos)
        return parse_number(std::string_view(range).substr(slash + 1)).value_or(0);
    if (response.status == 206) return 0;
    return parse_number(response.header("content-length")).value_or(0);
}

uint64_t stated_first_byte(const HttpResponse& response) {
    std::string_view range = response.headers.contains("content-range")
                                 ? std::string_view(response.headers.at("content-range"))
                                 : std::string_view();
    if (!range.starts_with("bytes ")) return ~uint64_t(0);
    range.remove_prefix(6);
    return parse_number(range.substr(0, range.find('-'))).value_or(~uint64_t(0));
}

int64_t retry_after_seconds(const HttpResponse& response) {
    const std::string text = response.header("retry-after");
    if (text.empty()) return -1;
    if (auto seconds = parse_number(text)) return int64_t(std::min<uint64_t>(*seconds, INT32_MAX));
    const time_t date = curl_getdate(text.c_str(), nullptr);
    return date < 0 ? -1 : std::max<int64_t>(0, int64_t(date) - int64_t(std::time(nullptr)));
}

std::string redirect_target(const HttpResponse& response) {
    std::string target = response.header("location");
    target = target.substr(0, target.find('#'));
    if (target.empty() || target.find("://") != target.npos) return target;
    auto base = split_url(response.url);
    if (!base) return {};
    if (target.starts_with("//")) return base->scheme + ":" + target;
    const std::string origin = response.url.substr(0, response.url.find('/', response.url.find("://") + 3));
    if (target.front() == '/') return origin + target;
    return origin + base->path.substr(0, base->path.rfind('/') + 1) + target;
}

}  // namespace sterna
