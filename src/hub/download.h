// One file from an address into a folder: resumed, tried again, verified, and named only when it is whole.
// For one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "hub/http.h"
#include "hub/retry.h"

namespace sterna {

struct DownloadTarget {
    std::string subject;  // for messages: "org/name: model.gguf"
    std::string url, token;
    std::string incomplete;   // grows here; what an earlier attempt left is gone on with
    std::string path;         // its name when it is whole
    uint64_t size = 0;        // 0: unknown
    std::string sha256;       // or
    std::string git_sha1;     // or neither: only the size can be checked
    bool may_change = false;  // a changed ETag on the way is taken, not reported
};

enum class DownloadEnd {
    kDone,
    kChanged,  // the file on the server is another one now; nothing is left of the old one
};

// `progress` gets the bytes that are there, first those of an earlier attempt. `explain` turns a refusal (401, 404...) into an error.
Result<DownloadEnd> download(Http& http, const HubSettings& settings, const DownloadTarget& target,
                             const std::function<void(uint64_t done)>& progress, const Note& note,
                             const std::function<Error(const HttpResponse&)>& explain);

}  // namespace sterna
