// The interactive chat of `sterna run`.
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "answer.h"
#include "base/mapped_file.h"
#include "engine/state_file.h"
#include "shipped_model.h"
#include "text/chat_file.h"

namespace sterna {

namespace {

enum class Input { kLine, kInterrupted, kEnd };

// One line from the terminal, with continued lines joined.
Input read_line(std::string& line) {
    line.clear();
    for (;;) {
        int c = std::fgetc(stdin);
        if (c == EOF) {
            const bool interrupted = std::ferror(stdin) && errno == EINTR;
            std::clearerr(stdin);
            if (interrupted) return Input::kInterrupted;
            return line.empty() ? Input::kEnd : Input::kLine;
        }
        if (c != '\n') {
            line += char(c);
        } else if (line.ends_with('\\')) {
            line.back() = '\n';
            std::fputs(". ", stderr);
        } else {
            return Input::kLine;
        }
    }
}

class Chat {
public:
    explicit Chat(Answerer& answerer) : answerer_(answerer), system_(answerer.options().system) {}

    int run() {
        const std::string& model = answerer_.options().model;
        std::fprintf(stderr, "%s. /help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.\n", model.c_str());
        if (model == kShippedModel && system_.empty())
            std::fputs(
                "You enter the Golden Goose. Mara, the innkeeper, knows her prices, the way to the mill and a rumour. "
                "Sie spricht auch Deutsch.\n",
                stderr);
        std::string line;
        for (;;) {
            std::fputs("> ", stderr);
            switch (read_line(line)) {
                case Input::kEnd:
                    std::fputc('\n', stderr);
                    return 0;
                case Input::kInterrupted:
                    std::fputc('\n', stderr);
                    continue;
                case Input::kLine:
                    break;
            }
            if (line.empty()) continue;
            if (line == "/quit" || line == "/exit") return 0;
            Status status = line[0] == '/' ? obey(line) : say(line);
            if (!status) std::fprintf(stderr, "sterna: %s\n", status.error().message.c_str());
        }
    }

private:
    std::vector<ChatMessage> conversation() const {
        std::vector<ChatMessage> all;
        if (!system_.empty()) all.push_back({"system", system_});
        all.insert(all.end(), messages_.begin(), messages_.end());
        return all;
    }

    Status say(const std::string& text) {
        messages_.push_back({"user", text});
        Status status = answer(answerer_.options().sampler.seed);
        if (!status) messages_.pop_back();
        return status;
    }

    // The conversation as tokens. When little room is left for an answer, its oldest exchanges are forgotten.
    Result<std::vector<TokenId>> encode() {
        constexpr int64_t kRoom = 256;
        const int64_t context = answerer_.engine().context(), room = std::min(context / 4, kRoom);
        bool forgotten = false;
        for (;;) {
            STERNA_TRY(tokens, answerer_.encode_chat(conversation()));
            const bool fits = int64_t(tokens.size()) + room <= context || messages_.size() < 3;
            if (fits && forgotten)
                std::fprintf(stderr,
                             "sterna: the context of %lld positions is full; the oldest exchanges are forgotten\n",
                             static_cast<long long>(context));
            if (fits) return tokens;
            messages_.erase(messages_.begin(), messages_.begin() + 2);
            forgotten = true;
        }
    }

    // Answers the last message. On an error the conversation is as before.
    Status answer(uint64_t seed) {
        STERNA_TRY(tokens, encode());
        STERNA_TRY(answer, answerer_.answer(tokens, seed, [](std::string_view piece) {
            std::fwrite(piece.data(), 1, piece.size(), stdout);
            std::fflush(stdout);
        }));
        std::printf("\n");
        messages_.push_back({"assistant", answer.text});
        if (answer.reason == FinishReason::kContextFull)
            std::fprintf(
                stderr,
                "sterna: the context of %lld positions is full; /reset, or start with --ctx-shift or a larger --ctx\n",
                static_cast<long long>(answerer_.engine().context()));
        if (answerer_.options().verbose) print_timings(answerer_, answer);
        return {};
    }

    Status obey(const std::string& line) {
        const size_t blank = line.find(' ');
        const std::string command = line.substr(0, blank);
        const std::string argument = blank == std::string::npos
                                         ? ""
                                         : line.substr(line.find_first_not_of(' ', blank) == std::string::npos
                                                           ? line.size()
                                                           : line.find_first_not_of(' ', blank));
        if (command == "/help") {
            std::fputs(
                "/reset        forget the conversation\n/system TEXT  set the system message and forget the rest\n"
                "/save FILE    keep the conversation\n/load FILE    go on with a kept one\n/regen        answer the "
                "last message again\n"
                "/quit         leave\n",
                stderr);
            return {};
        }
        if (command == "/reset" || command == "/system") {
            if (command == "/system") system_ = argument;
            messages_.clear();
            answerer_.reset();
            return {};
        }
        if (command == "/regen") {
            if (messages_.empty() || messages_.back().role != "assistant")
                return fail(ErrorCode::kBadArgument, "/regen: there is no answer yet");
            ChatMessage last = std::move(messages_.back());
            messages_.pop_back();
            Status status = answer(answerer_.options().sampler.seed + ++n_regenerated_);
            if (!status) messages_.push_back(std::move(last));
            return status;
        }
        if (command == "/save" || command == "/load") {
            if (argument.empty()) return fail(ErrorCode::kBadArgument, "{}: name a file", command);
            return command == "/save" ? save(argument) : load(argument);
        }
        return fail(ErrorCode::kBadArgument, "{}: no such command; /help lists them", command);
    }

    Status save(const std::string& path) const {
        const std::vector<uint8_t> state = save_session(answerer_.session(), &answerer_.options().sampler);
        return write_file_atomically(path, write_chat({system_, messages_, state}));
    }

    Status load(const std::string& path) {
        STERNA_TRY(file, MappedFile::open(path));
        STERNA_TRY(chat, read_chat(file.bytes(), path));
        STERNA_TRY(loaded, load_session(answerer_.engine(), chat.session, path));
        answerer_.set_session(std::move(loaded.session));
        system_ = std::move(chat.system);
        messages_ = std::move(chat.messages);
        for (const ChatMessage& message : messages_)
            std::fprintf(stderr, "%s %s\n", message.role == "user" ? ">" : "", message.content.c_str());
        return {};
    }

    Answerer& answerer_;
    std::string system_;
    std::vector<ChatMessage> messages_;
    uint64_t n_regenerated_ = 0;
};

}  // namespace

Result<int> chat(Answerer& answerer) {
    return Chat(answerer).run();
}

}  // namespace sterna
