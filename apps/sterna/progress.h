// Progress of long work on standard error: one line that is redrawn on a terminal, a plain line at every tenth elsewhere.
// Not for several threads at once: the caller serializes.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace sterna {

class ProgressLine {
public:
    // `label` stands before the figures: "model.safetensors". A total of 0 is unknown. Silent when `quiet`.
    ProgressLine(std::string label, uint64_t total_bytes, bool quiet = false);
    ~ProgressLine();  // ends the line
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void start_at(uint64_t done_bytes);  // what was done before; it does not count for the rate
    void update(uint64_t done_bytes);    // cheap; draws at most ten times a second
    void finish();                       // draws the last state

private:
    void draw(uint64_t done_bytes, double now, bool last);

    std::string label_;
    uint64_t total_, done_ = 0, before_ = 0;
    bool quiet_, terminal_;
    bool drawn_ = false, finished_ = false;
    double started_, last_drawn_ = 0;
    unsigned tenths_ = 0;  // plain lines written so far
};

// Long work stops at the first Ctrl-C, where it reads this; the second one ends the program as usual.
extern std::atomic<bool> cancelled;
void cancel_on_interrupt();

// One line on standard error: "sterna: TEXT".
void note(const std::string& text);

}  // namespace sterna
