// How often and how long to wait for a server that answers "not now". Thread-compatible.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "hub/http.h"
#include "hub/settings.h"

namespace sterna {

using Note = std::function<void(const std::string& sentence)>;

class Retry {
public:
    Retry(const HubSettings& settings, const Note& note) : settings_(settings), note_(note) {}

    // Whether the answer is worth another attempt; then it has waited already. `subject` starts the remark.
    bool again(const std::string& subject, const HttpResponse& response);
    // The same for a transfer that ended too early.
    bool again(const std::string& subject, const std::string& why, int64_t asked_seconds = -1);
    // New bytes have come: the count starts again.
    void progressed() { failures_ = 0; }
    int attempts() const { return attempts_ + 1; }

private:
    const HubSettings& settings_;
    const Note& note_;
    int failures_ = 0, attempts_ = 0;
    bool reached_ = false;
};

bool is_worth_retrying(int status);
// "503 (service unavailable)"
std::string status_text(int status);

}  // namespace sterna
