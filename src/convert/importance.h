// How much each input column of each matrix matters: the mean square of what a model feeds into it (an "imatrix"). Read
// from and written to the two kinds of files in use: GGUF with general.type = imatrix, and the older .dat.
// Immutable after filling; share freely.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "convert/model_source.h"

namespace sterna {

class Importance {
public:
    // One matrix, or a stack of experts.
    struct Entry {
        std::vector<float> sums;    // of squares, per column; the experts' one after the other
        std::vector<float> counts;  // rows that were summed; one per expert, or one
        std::vector<float> mean;    // sums / counts; 1 throughout for an expert that was never chosen
    };

    // Which of the two kinds a file is shows in its first bytes.
    static Result<Importance> read(const std::string& path);
    // A name ending in .dat gives the older kind.
    Status write(const std::string& path) const;

    // Requires: n_columns values per count.
    void set(std::string name, std::vector<float> sums, std::vector<float> counts);
    const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
    // Empty when nothing is known. Lifetime: this object's.
    std::span<const float> find(std::string_view name) const;

    std::vector<std::string> datasets;  // where the text came from
    int64_t n_chunks = 0, chunk_size = 0;

    // A hash of all weights.
    std::string identity() const;

    // How many of the quantizable tensors have an entry, and an error when an entry does not fit its tensor.
    Result<int64_t> check(std::span<const SourceTensor> tensors) const;

private:
    static Result<Importance> read_gguf(const std::string& path);
    static Result<Importance> read_dat(const std::string& path, Bytes bytes);
    Status write_gguf(const std::string& path) const;
    Status write_dat(const std::string& path) const;

    std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace sterna
