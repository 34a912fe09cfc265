#include "convert/partial_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sterna {

namespace {

constexpr size_t kMaxJournalBytes = 64 << 20;  // some 300 bytes for each of 131072 tensors are 40 MB

std::string reason() {
    return std::strerror(errno);
}

}  // namespace

std::unexpected<Error> PartialFile::failed(std::string_view what) const {
    return fail(ErrorCode::kIo, "{}: cannot {}: {}", partial_, what, reason());
}

Result<PartialFile> PartialFile::open(const std::string& path, uint64_t n_bytes) {
    PartialFile file;
    file.path_ = path;
    file.partial_ = path + ".partial";
    file.fd_ = ::open(file.partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file.fd_ < 0) return file.failed("create");
    struct stat info;
    if (::fstat(file.fd_, &info) != 0) return file.failed("read its size");
    if (uint64_t(info.st_size) != n_bytes && ::ftruncate(file.fd_, off_t(n_bytes)) != 0) return file.failed("resize");
    return file;
}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)), partial_(std::move(other.partial_)), fd_(std::exchange(other.fd_, -1)) {}

PartialFile::~PartialFile() {
    if (fd_ >= 0) ::close(fd_);
}

Status PartialFile::clear(uint64_t n_bytes) {
    if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, off_t(n_bytes)) != 0) return failed("resize");
    return {};
}

Status PartialFile::write(uint64_t offset, Bytes bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), off_t(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed("write");
        bytes = bytes.subspan(size_t(n));
        offset += uint64_t(n);
    }
    return {};
}

void PartialFile::flush_early([[maybe_unused]] uint64_t offset, [[maybe_unused]] uint64_t n) const {
#ifdef __linux__
    ::sync_file_range(fd_, off_t(offset), off_t(n), SYNC_FILE_RANGE_WRITE);
#endif
}

Status PartialFile::read(uint64_t offset, std::span<uint8_t> to) const {
    while (!to.empty()) {
        const ssize_t n = ::pread(fd_, to.data(), to.size(), off_t(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return failed("read");
        to = to.subspan(size_t(n));
        offset += uint64_t(n);
    }
    return {};
}

Status PartialFile::finish() {
    if (::fsync(fd_) != 0) return failed("flush");
    if (::close(std::exchange(fd_, -1)) != 0) return failed("close");
    return {};
}

Status PartialFile::rename() {
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) return failed("rename");
    return {};
}

std::unexpected<Error> Journal::failed(std::string_view what) const {
    return fail(ErrorCode::kIo, "{}: cannot {}: {}", path_, what, reason());
}

Result<Journal> Journal::open(const std::string& path) {
    Journal journal;
    journal.path_ = path;
    journal.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (journal.fd_ < 0) return journal.failed("create");
    if (::flock(journal.fd_, LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorCode::kIo, "{}: another process is writing this model", path);
    std::string text;
    char piece[1 << 14];
    for (ssize_t n; (n = ::read(journal.fd_, piece, sizeof piece)) != 0;) {
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return journal.failed("read");
        text.append(piece, size_t(n));
        if (text.size() > kMaxJournalBytes) return fail(ErrorCode::kBadFile, "{}: too long for a journal", path);
    }
    for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
        journal.lines_.push_back(text.substr(at, end - at));
    return journal;
}

Journal::Journal(Journal&& other) noexcept
    : path_(std::move(other.path_)), lines_(std::move(other.lines_)), fd_(std::exchange(other.fd_, -1)) {}

Journal::~Journal() {
    if (fd_ >= 0) ::close(fd_);
}

Status Journal::keep(size_t n) {
    lines_.resize(std::min(n, lines_.size()));
    size_t bytes = 0;
    for (const std::string& line : lines_) bytes += line.size() + 1;
    if (::ftruncate(fd_, off_t(bytes)) != 0) return failed("shorten");
    return {};
}

Status Journal::append(const std::string& line) {
    const std::string text = line + "\n";
    if (::write(fd_, text.data(), text.size()) != ssize_t(text.size())) return failed("write");
    return {};
}

void Journal::remove() {
    ::unlink(path_.c_str());
}

}  // namespace sterna
