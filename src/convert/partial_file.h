// Files that are being made: `PATH.partial` until whole, and the journal that says how far they are. Private to convert/.
// Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace sterna {

class PartialFile {
public:
    // Opens what is there, or creates it, and gives it `n_bytes`.
    static Result<PartialFile> open(const std::string& path, uint64_t n_bytes);
    PartialFile(PartialFile&& other) noexcept;
    PartialFile& operator=(PartialFile&&) = delete;
    ~PartialFile();

    // Back to `n_bytes` zeros.
    Status clear(uint64_t n_bytes);
    Status write(uint64_t offset, Bytes bytes);
    // Asks the system to begin bringing these bytes to disk, so that finish() has little left to wait for.
    void flush_early(uint64_t offset, uint64_t n) const;
    Status read(uint64_t offset, std::span<uint8_t> to) const;
    // The content is on disk; then the file gets its name.
    Status finish();
    Status rename();

    const std::string& path() const { return path_; }

private:
    PartialFile() = default;
    std::unexpected<Error> failed(std::string_view what) const;

    std::string path_, partial_;
    int fd_ = -1;
};

// Lines of text, each of which outlives a killed process once appended. Holds a lock against a second writer.
class Journal {
public:
    static Result<Journal> open(const std::string& path);
    Journal(Journal&& other) noexcept;
    Journal& operator=(Journal&&) = delete;
    ~Journal();

    const std::vector<std::string>& lines() const { return lines_; }  // whole ones, as open() found them
    // Drops every line but the first `n`.
    Status keep(size_t n);
    Status append(const std::string& line);
    void remove();

private:
    Journal() = default;
    std::unexpected<Error> failed(std::string_view what) const;

    std::string path_;
    std::vector<std::string> lines_;
    int fd_ = -1;
};

}  // namespace sterna
