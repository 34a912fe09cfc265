// The config.json of checkpoints that are published without one, where names and shapes of their tensors say all of it.
#pragma once

#include <string>

#include "convert/checkpoint.h"

namespace sterna {

// RWKV-7 as its author publishes it, "blocks.0.att.w1" and so on. Returns: empty for anything else.
std::string inferred_config(const Checkpoint& checkpoint);

}  // namespace sterna
