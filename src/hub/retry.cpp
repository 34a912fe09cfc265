#include "hub/retry.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace sterna {

namespace {

constexpr int kMaxFailuresInARow = 5;
constexpr int kMaxAttempts = 200;  // a server that sends a byte and hangs up, and so on
constexpr int64_t kMaxAskedSeconds = 300;

}  // namespace

bool is_worth_retrying(int status) {
    return status == 408 || status == 429 || (status >= 500 && status <= 599 && status != 501 && status != 505);
}

std::string status_text(int status) {
    switch (status) {
        case 400:
            return "400 (bad request)";
        case 401:
            return "401 (not allowed without a token)";
        case 403:
            return "403 (forbidden)";
        case 404:
            return "404 (not found)";
        case 408:
            return "408 (timeout)";
        case 416:
            return "416 (no such range)";
        case 429:
            return "429 (too many requests)";
        case 500:
            return "500 (internal error)";
        case 502:
            return "502 (bad gateway)";
        case 503:
            return "503 (service unavailable)";
        case 504:
            return "504 (gateway timeout)";
        default:
            return std::to_string(status);
    }
}

bool Retry::again(const std::string& subject, const HttpResponse& response) {
    if (!response.failure.empty()) {
        // A host that never answered is rather a wrong name or no network than a bad moment.
        if (!response.transient || (response.unreached && !reached_)) return false;
        return again(subject, response.failure);
    }
    reached_ = true;
    if (!is_worth_retrying(response.status)) return false;
    return again(subject, "the server answers " + status_text(response.status), retry_after_seconds(response));
}

bool Retry::again(const std::string& subject, const std::string& why, int64_t asked_seconds) {
    reached_ = true;
    ++attempts_;
    if (++failures_ > kMaxFailuresInARow || attempts_ >= kMaxAttempts || asked_seconds > kMaxAskedSeconds) return false;
    const int64_t seconds = asked_seconds >= 0 ? asked_seconds : int64_t(1) << (failures_ - 1);
    note_(fmt::format("{}: {}; trying again in {} s ({} of {})", subject, why, seconds, failures_, kMaxFailuresInARow));
    std::this_thread::sleep_for(std::chrono::duration<double>(double(seconds) * settings_.retry_scale));
    return true;
}

}  // namespace sterna
