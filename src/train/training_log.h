// Text files that training only ever appends to, and shortens to where a checkpoint left them. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sterna::train {

class TrainingLog {
public:
    // Keeps the first `n_bytes` of what is there.
    static Result<TrainingLog> open(const std::string& path, uint64_t n_bytes);
    TrainingLog(TrainingLog&& other) noexcept;
    TrainingLog& operator=(TrainingLog&&) = delete;
    ~TrainingLog();

    Status append(std::string_view text);
    // Brings it to disk: a checkpoint counts on it.
    Status flush();
    uint64_t n_bytes() const { return n_bytes_; }
    const std::string& path() const { return path_; }

private:
    TrainingLog() = default;
    std::string path_;
    int fd_ = -1;
    uint64_t n_bytes_ = 0;
};

// Holds a folder against a second training; the lock goes with the process.
class FolderLock {
public:
    static Result<FolderLock> take(const std::string& folder);
    FolderLock(FolderLock&& other) noexcept;
    FolderLock& operator=(FolderLock&&) = delete;
    ~FolderLock();

private:
    FolderLock() = default;
    int fd_ = -1;
};

}  // namespace sterna::train
