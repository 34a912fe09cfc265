// Models by name on the command line: a path, or what a hub calls it (docs/pull.md).
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "hub/hub.h"

namespace sterna {

// Progress lines and remarks on standard error.
std::unique_ptr<PullListener> make_pull_listener(bool quiet);

Result<HubSettings> hub_settings(bool offline);

// The file that a command's MODEL stands for: the path itself if it exists or is none of a hub's names, else the file in the
// cache. Nothing is fetched.
Result<std::string> find_model(const std::string& model);
// The same, but fetches what is missing, and converts what comes as a checkpoint.
Result<std::string> fetch_model(const std::string& model, bool offline);

}  // namespace sterna
