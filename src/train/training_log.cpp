#include "train/training_log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sterna::train {

Result<TrainingLog> TrainingLog::open(const std::string& path, uint64_t n_bytes) {
    TrainingLog log;
    log.path_ = path;
    log.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    struct stat info;
    if (log.fd_ < 0 || ::fstat(log.fd_, &info) != 0)
        return fail(ErrorCode::kIo, "{}: cannot open: {}", path, std::strerror(errno));
    log.n_bytes_ = std::min(n_bytes, uint64_t(info.st_size));
    if (::ftruncate(log.fd_, off_t(log.n_bytes_)) != 0)
        return fail(ErrorCode::kIo, "{}: cannot shorten: {}", path, std::strerror(errno));
    return log;
}

TrainingLog::TrainingLog(TrainingLog&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), n_bytes_(other.n_bytes_) {}

TrainingLog::~TrainingLog() {
    if (fd_ >= 0) ::close(fd_);
}

Status TrainingLog::append(std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd_, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail(ErrorCode::kIo, "{}: cannot write: {}", path_, std::strerror(errno));
        text.remove_prefix(size_t(n));
        n_bytes_ += uint64_t(n);
    }
    return {};
}

Status TrainingLog::flush() {
    if (::fsync(fd_) != 0) return fail(ErrorCode::kIo, "{}: cannot flush: {}", path_, std::strerror(errno));
    return {};
}

Result<FolderLock> FolderLock::take(const std::string& folder) {
    FolderLock lock;
    lock.fd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock.fd_ < 0) return fail(ErrorCode::kIo, "{}: cannot open: {}", folder, std::strerror(errno));
    if (::flock(lock.fd_, LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorCode::kIo, "{}: another training is writing here", folder);
    return lock;
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock::~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace sterna::train
