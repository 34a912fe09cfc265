// The sterna program: reads the command line and hands over to one subcommand. Results go to standard output, everything else
// to standard error; every error is one sentence and a non-zero exit status.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "kernels/kernels.h"

int main(int argc, char** argv) {
    using namespace sterna;
    CLI::App app{"Runs open language models: the same tokens, bit for bit, on every machine."};
    app.name("sterna");
    app.set_version_flag("--version", "sterna " STERNA_VERSION);
    app.require_subcommand(1);
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("sterna: {}\nsterna: run with --help to see what there is\n", error.what());
    });

    Command command;
    add_run(app, command);
    add_inspect(app, command);
    add_tokenize(app, command);
    add_bench(app, command);
    add_perplexity(app, command);
    add_eval(app, command);
    add_convert(app, command);
    add_quantize(app, command);
    add_imatrix(app, command);
    add_pull(app, command);
    add_list(app, command);
    add_rm(app, command);
    add_train(app, command);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        int status = app.exit(error);
        return status == 0 ? 0 : 2;
    }
    if (const char* problem = kernels::isa_error()) {
        std::fprintf(stderr, "sterna: %s\n", problem);
        return 1;
    }
    Result<int> status = command();
    if (!status) {
        std::fflush(stdout);
        std::fprintf(stderr, "sterna: %s\n", status.error().message.c_str());
        return 1;
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        std::fprintf(stderr, "sterna: standard output: cannot write\n");
        return 1;
    }
    return *status;
}
