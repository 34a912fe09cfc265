// Where the hub, the cache and the token are, from the environment. Immutable once made.
#pragma once

#include <string>

#include "base/result.h"

namespace sterna {

struct HubSettings {
    std::string endpoint;    // without a slash at the end
    std::string cache;       // the folder that holds models--org--name
    std::string own_cache;   // Sterna's own: converted models, files from other addresses
    std::string token;       // empty: none
    std::string token_from;  // "HF_TOKEN", or the path of the file
    std::string user_agent = "sterna";
    bool offline = false;
    double retry_scale = 1;   // STERNA_RETRY_SCALE
    long stall_seconds = 30;  // HF_HUB_DOWNLOAD_TIMEOUT

    // Fails on an endpoint that is no address and a token that no header can carry.
    static Result<HubSettings> from_environment();
};

}  // namespace sterna
