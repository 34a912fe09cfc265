#include "progress.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "common.h"

namespace sterna {

namespace {
constexpr double kSecondsBetweenDraws = 0.1;
}

ProgressLine::ProgressLine(std::string label, uint64_t total_bytes, bool quiet)
    : label_(std::move(label)),
      total_(total_bytes),
      quiet_(quiet),
      terminal_(isatty(STDERR_FILENO) != 0),
      started_(now_seconds()) {}

ProgressLine::~ProgressLine() {
    if (drawn_ && terminal_ && !finished_) std::fputc('\n', stderr);
}

void ProgressLine::start_at(uint64_t done_bytes) {
    done_ = before_ = done_bytes;
}

void ProgressLine::update(uint64_t done_bytes) {
    done_ = done_bytes;
    if (quiet_) return;
    double now = now_seconds();
    if (terminal_) {
        if (now - last_drawn_ >= kSecondsBetweenDraws) draw(done_bytes, now, false);
    } else if (total_ > 0 && done_bytes < total_ && done_bytes / (total_ / 10 + 1) > tenths_) {
        tenths_ = unsigned(done_bytes / (total_ / 10 + 1));
        draw(done_bytes, now, false);
    }
}

void ProgressLine::finish() {
    if (finished_ || quiet_) return;
    finished_ = true;
    draw(done_, now_seconds(), true);
}

void ProgressLine::draw(uint64_t done_bytes, double now, bool last) {
    drawn_ = true;
    last_drawn_ = now;
    double seconds = now - started_;
    double rate = seconds > 0 ? double(done_bytes - std::min(before_, done_bytes)) / seconds : 0;
    std::string text = label_ + ": ";
    if (total_ > 0)
        text += fmt::format("{:3.0f} %  {} of {}", 100.0 * double(done_bytes) / double(total_),
                            human_bytes(double(done_bytes)), human_bytes(double(total_)));
    else
        text += human_bytes(double(done_bytes));
    text += fmt::format("  {}/s", human_bytes(rate));
    if (!last && total_ > done_bytes && rate > 0)
        text += fmt::format("  {:.0f} s left", double(total_ - done_bytes) / rate);
    if (terminal_)
        std::fprintf(stderr, "\r\033[K%s%s", text.c_str(), last ? "\n" : "");
    else
        std::fprintf(stderr, "%s\n", text.c_str());
    std::fflush(stderr);
}

std::atomic<bool> cancelled = false;

void cancel_on_interrupt() {
    struct sigaction action = {};
    action.sa_handler = [](int) { cancelled.store(true); };
    action.sa_flags = int(SA_RESETHAND);
    sigaction(SIGINT, &action, nullptr);
}

void note(const std::string& text) {
    std::fprintf(stderr, "sterna: %s\n", text.c_str());
}

}  // namespace sterna
