// A whole file as read-only bytes, mapped where the system can. Owns the mapping; moves, never copies.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace sterna {

class MappedFile {
public:
    static Result<MappedFile> open(const std::string& path);
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile();

    // Lifetime: as long as this object.
    Bytes bytes() const { return {data_, size_}; }
    const std::string& path() const { return path_; }

    // Tells the system that these bytes will not be read again soon (after packing), so resident memory shrinks.
    void release(Bytes part) const;

private:
    MappedFile() = default;
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    std::string path_;
};

// Writes to a temporary file beside `path`, flushes, and renames: the old content or the new, never half of it.
Status write_file_atomically(const std::string& path, Bytes content);

}  // namespace sterna
