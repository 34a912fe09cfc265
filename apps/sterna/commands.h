// Each subcommand declares its flags and, when it is the one that was called, sets the command to run. A command returns the exit
// status, or an error that main prints.
#pragma once

#include <functional>

#include "base/result.h"

namespace CLI {
class App;
}

namespace sterna {

using Command = std::function<Result<int>()>;

void add_run(CLI::App& app, Command& command);
void add_inspect(CLI::App& app, Command& command);
void add_tokenize(CLI::App& app, Command& command);
void add_bench(CLI::App& app, Command& command);
void add_perplexity(CLI::App& app, Command& command);
void add_eval(CLI::App& app, Command& command);
void add_convert(CLI::App& app, Command& command);
void add_quantize(CLI::App& app, Command& command);
void add_imatrix(CLI::App& app, Command& command);
void add_pull(CLI::App& app, Command& command);
void add_list(CLI::App& app, Command& command);
void add_rm(CLI::App& app, Command& command);
void add_train(CLI::App& app, Command& command);

}  // namespace sterna
