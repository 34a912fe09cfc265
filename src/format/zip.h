// The table of a zip archive, read in place, as PyTorch writes them: entries are stored, not compressed, and may exceed
// 4 GB (zip64). Functions without state.
//
//   from the end: "PK\5\6" end record (22 bytes and a comment): number of entries, size and place of the directory
//   20 bytes before it, where numbers exceed 32 bits: "PK\6\7" locator, place of the "PK\6\6" zip64 end record
//   directory, per entry: "PK\1\2", 46 bytes with method, sizes and place, then name, extra fields, comment
//   at that place: "PK\3\4", 30 bytes, name, extra fields (another length than in the directory), data
// Source: PKWARE's APPNOTE 6.3.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace sterna {

constexpr uint64_t kMaxZipEntries = uint64_t(1) << 20;

struct ZipEntry {
    std::string_view name;
    Bytes data;               // as it lies in the file
    bool compressed = false;  // then `data` is not the content
};

bool is_zip(Bytes file);

// Checks that every entry lies inside the file. Lifetime: views point into `file`. `path` is for messages.
Result<std::vector<ZipEntry>> read_zip(Bytes file, const std::string& path);

}  // namespace sterna
