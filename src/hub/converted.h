// Where models lie that were converted from a checkpoint of the hub: converted/models--org--name/<commit>-<type>.gguf in
// Sterna's own cache. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hub/cache.h"
#include "hub/settings.h"

namespace sterna {

struct ConvertedModel {
    std::string repo, commit, type, path;  // type in capitals
    uint64_t size = 0;
    int64_t last_used = 0;
};

std::string converted_path(const HubSettings& settings, std::string_view repo, std::string_view commit,
                           std::string_view type);
std::vector<ConvertedModel> scan_converted(const HubSettings& settings);
// Deletes those of a repository; of one type and commit when these are named. Not an error when there are none.
HubCache::Removal remove_converted(const HubSettings& settings, std::string_view repo, std::string_view commit,
                                   std::string_view type, bool dry_run);

}  // namespace sterna
