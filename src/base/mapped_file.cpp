#include "base/mapped_file.h"

#ifndef STERNA_NO_FILES

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sterna {

namespace {

std::string reason() {
    return std::strerror(errno);
}

struct Descriptor {
    int fd;
    ~Descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
    Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0)
        return fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot open: {}", path, reason());
    struct stat info;
    if (::fstat(file.fd, &info) != 0) return fail(ErrorCode::kIo, "{}: cannot read its size: {}", path, reason());
    if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kBadArgument, "{}: not a regular file", path);
    MappedFile mapped;
    mapped.path_ = path;
    mapped.size_ = size_t(info.st_size);
    if (mapped.size_ == 0) return mapped;
    void* data = ::mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) return fail(ErrorCode::kIo, "{}: cannot map {} bytes: {}", path, mapped.size_, reason());
    mapped.data_ = static_cast<const uint8_t*>(data);
    return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
    *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(path_, other.path_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
}

void MappedFile::release(Bytes part) const {
    const size_t page = size_t(::sysconf(_SC_PAGESIZE));
    size_t begin = size_t(part.data() - data_), end = begin + part.size();
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (end > begin) ::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Status write_file_atomically(const std::string& path, Bytes content) {
    const std::string temporary = path + ".part";
    Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (file.fd < 0) return fail(ErrorCode::kIo, "{}: cannot create: {}", temporary, reason());
    auto give_up = [&](const char* what) {
        std::string why = reason();
        ::unlink(temporary.c_str());
        return fail(ErrorCode::kIo, "{}: cannot {}: {}", temporary, what, why);
    };
    for (size_t at = 0; at < content.size();) {
        ssize_t n = ::write(file.fd, content.data() + at, content.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return give_up("write");
        at += size_t(n);
    }
    if (::fsync(file.fd) != 0) return give_up("flush");
    if (::rename(temporary.c_str(), path.c_str()) != 0) return give_up("rename");
    return {};
}

}  // namespace sterna

#endif
