#include "format/zip.h"

#include <algorithm>

namespace sterna {

namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kLocalBytes = 30, kCentralBytes = 46;
constexpr size_t kMostComment = 65535;   // the format's own
constexpr uint32_t kSee64 = 0xffffffff;  // the value is in the zip64 field

struct Directory {
    uint64_t at, size, n_entries;
};

template <typename T>
T field(Bytes from, size_t at) {
    return load_le<T>(from.data() + at);
}

Result<Directory> find_directory(Bytes file, const std::string& path) {
    auto cut_off = [&] { return fail(ErrorCode::kBadFile, "{}: a zip archive without its directory: cut off?", path); };
    if (file.size() < kEndBytes) return cut_off();
    const size_t lowest = file.size() - std::min(file.size(), kEndBytes + kMostComment);
    for (size_t at = file.size() - kEndBytes;; --at) {
        if (field<uint32_t>(file, at) == kEnd && at + kEndBytes + field<uint16_t>(file, at + 20) == file.size()) {
            Directory directory{field<uint32_t>(file, at + 16), field<uint32_t>(file, at + 12),
                                field<uint16_t>(file, at + 10)};
            if (at < kLocatorBytes || field<uint32_t>(file, at - kLocatorBytes) != kLocator64) return directory;
            const uint64_t at64 = field<uint64_t>(file, at - kLocatorBytes + 8);
            if (at64 > at || at - at64 < kEnd64Bytes || field<uint32_t>(file, size_t(at64)) != kEnd64)
                return fail(ErrorCode::kBadFile, "{}: the zip64 directory is not at byte {}", path, at64);
            return Directory{field<uint64_t>(file, size_t(at64) + 48), field<uint64_t>(file, size_t(at64) + 40),
                             field<uint64_t>(file, size_t(at64) + 32)};
        }
        if (at == lowest) return cut_off();
    }
}

// Replaces the values that did not fit 32 bits by those of the zip64 extra field, which holds only these, in this order.
bool apply_zip64(Bytes extra, uint64_t& size, uint64_t& stored, uint64_t& at) {
    if (size != kSee64 && stored != kSee64 && at != kSee64) return true;
    ByteReader reader(extra);
    while (reader.remaining() >= 4) {
        const uint16_t id = *reader.read<uint16_t>();
        const auto content = reader.read_bytes(*reader.read<uint16_t>());
        if (!content) return false;
        if (id != 1) continue;
        ByteReader wide(*content);
        for (uint64_t* value : {&size, &stored, &at}) {
            if (*value != kSee64) continue;
            const auto found = wide.read<uint64_t>();
            if (!found) return false;
            *value = *found;
        }
        return true;
    }
    return false;
}

}  // namespace

bool is_zip(Bytes file) {
    return file.size() >= 4 && field<uint32_t>(file, 0) == kLocal;
}

Result<std::vector<ZipEntry>> read_zip(Bytes file, const std::string& path) {
    STERNA_TRY(directory, find_directory(file, path));
    if (directory.at > file.size() || directory.size > file.size() - directory.at)
        return fail(ErrorCode::kBadFile, "{}: zip directory of {} bytes at byte {} of {}", path, directory.size,
                    directory.at, file.size());
    if (directory.n_entries > kMaxZipEntries)
        return fail(ErrorCode::kLimit, "{}: {} zip entries, at most {}", path, directory.n_entries, kMaxZipEntries);
    ByteReader reader(file.subspan(size_t(directory.at), size_t(directory.size)));
    std::vector<ZipEntry> entries;
    for (uint64_t i = 0; i < directory.n_entries; ++i) {
        const auto head = reader.read_bytes(kCentralBytes);
        if (!head || field<uint32_t>(*head, 0) != kCentral)
            return fail(ErrorCode::kBadFile, "{}: zip directory ends at entry {} of {}", path, i, directory.n_entries);
        uint64_t stored = field<uint32_t>(*head, 20), size = field<uint32_t>(*head, 24),
                 at = field<uint32_t>(*head, 42);
        const auto name = reader.read_text(field<uint16_t>(*head, 28));
        const auto extra = reader.read_bytes(field<uint16_t>(*head, 30));
        const bool comment = reader.skip(field<uint16_t>(*head, 32));
        if (!name || !extra || !comment || !apply_zip64(*extra, size, stored, at))
            return fail(ErrorCode::kBadFile, "{}: zip entry {} is cut off", path, i);
        if (at > file.size() || file.size() - at < kLocalBytes || field<uint32_t>(file, size_t(at)) != kLocal)
            return fail(ErrorCode::kBadFile, "{}: zip entry {} is not at byte {}", path, i, at);
        const uint64_t data_at =
            at + kLocalBytes + field<uint16_t>(file, size_t(at) + 26) + field<uint16_t>(file, size_t(at) + 28);
        if (data_at > file.size() || stored > file.size() - data_at)
            return fail(ErrorCode::kBadFile, "{}: zip entry {} of {} bytes at byte {} of {}", path, i, stored, data_at,
                        file.size());
        const bool compressed = field<uint16_t>(*head, 10) != 0 || size != stored;
        entries.push_back({*name, file.subspan(size_t(data_at), size_t(stored)), compressed});
    }
    return entries;
}

}  // namespace sterna
