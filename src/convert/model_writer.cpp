#include "convert/model_writer.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>

#include "base/sha256.h"
#include "convert/lossless.h"
#include "convert/partial_file.h"

namespace sterna {

namespace {

// Part of what a resumed write must match: raised when any encoder gives other bytes.
constexpr std::string_view kJournalHead = "sterna model journal 2";
constexpr int64_t kPieceElements = 1 << 15;  // one task: its floats fit into a core's cache
constexpr int64_t kMaxRowElements = 1 << 26;
constexpr uint64_t kCopiedBytes = 1 << 20;  // one task, where bytes stay as they are
constexpr uint64_t kReadBytes = 8 << 20;    // of a file that is gone on with, at once
constexpr uint64_t kStepBytes = 8 << 20;    // of the source, between two words on progress
constexpr int64_t kMeasuredRows = 64;       // of each tensor, spread evenly: its error is known to a percent

// A tensor's pieces on their way to the disk. Many threads put them, in about their order: each is written by the thread that
// has it, and hashed, in order, by a thread that finds nobody at it. So no core waits while others work.
class Output {
public:
    explicit Output(int n_threads) : slots_(size_t(n_threads) * kSlotsPerThread) {}

    // What follows is a tensor's, which begins there.
    void begin(PartialFile& file, uint64_t offset) {
        file_ = &file;
        offset_ = offset;
        next_ = 0;
        hash_.emplace();
    }

    // A buffer for a piece's bytes. Waits while the piece is far ahead of what is hashed. Returns: null after a failure.
    std::vector<uint8_t>* claim(int64_t piece) {
        std::unique_lock lock(mutex_);
        hashed_.wait(lock, [&] { return piece - next_ < int64_t(slots_.size()) || failure_; });
        return failure_ ? nullptr : &slot(piece).buffer;
    }

    // The piece's bytes, at `at` in the tensor. They stay the caller's until the tensor's digest is known, unless they are in the
    // buffer.
    void put(int64_t piece, uint64_t at, Bytes bytes) {
        if (Status written = file_->write(offset_ + at, bytes); !written) return fail_with(std::move(written).error());
        std::unique_lock lock(mutex_);
        slot(piece).bytes = bytes;
        slot(piece).ready = true;
        if (hashing_) return;
        hashing_ = true;
        for (Slot* next; (next = &slot(next_))->ready && !failure_;) {
            lock.unlock();
            hash_->update(next->bytes);
            lock.lock();
            next->ready = false;
            ++next_;
            hashed_.notify_all();
        }
        hashing_ = false;
    }

    // Others stop at their next claim().
    void fail_with(Error error) {
        std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::move(error);
        hashed_.notify_all();
    }

    // When all pieces have been put: the digest of n bytes.
    Result<std::string> finish(uint64_t n) {
        if (failure_) return std::unexpected(*failure_);
        file_->flush_early(offset_, n);
        return hex_text(hash_->finish());
    }

private:
    static constexpr int kSlotsPerThread = 16;

    struct Slot {
        std::vector<uint8_t> buffer;
        Bytes bytes;
        bool ready = false;
    };
    Slot& slot(int64_t piece) { return slots_[size_t(piece) % slots_.size()]; }

    std::vector<Slot> slots_;
    PartialFile* file_ = nullptr;
    uint64_t offset_ = 0;
    std::optional<Sha256> hash_;
    std::mutex mutex_;  // of all below
    std::condition_variable hashed_;
    int64_t next_ = 0;      // the piece to be hashed next
    bool hashing_ = false;  // a thread is at it
    std::optional<Error> failure_;
};

// One piece's share of a tensor's report.
struct PieceReport {
    double error = 0.0, squares = 0.0;
    int64_t n = 0;
    bool finite = true;
};

struct Scratch {
    std::vector<float> values, decoded;
};

class TensorEncoder {
public:
    TensorEncoder(const ModelSource& source, const SourceTensor& tensor, DType type, const WriteOptions& options)
        : source_(source), tensor_(tensor), traits_(*dtype_traits(type)), options_(options) {
        n_cols_ = tensor.row_elements();
        row_bytes_ = int64_t(*dtype_bytes(type, uint64_t(n_cols_)));
        if (options.importance) importance_ = options.importance(tensor);
        rows_per_expert_ = tensor.shape.size() > 2 ? tensor.shape[1] : tensor.n_rows();
        const uint64_t n_sets = uint64_t(tensor.n_rows() / std::max<int64_t>(rows_per_expert_, 1));
        if (importance_.size() != uint64_t(n_cols_) * n_sets) importance_ = {};
        stride_ = std::max<int64_t>(1, tensor.n_rows() / kMeasuredRows);
    }

    int64_t row_bytes() const { return row_bytes_; }

    // Rows [first, first + n) to blocks.
    Status encode(int64_t first, int64_t n, uint8_t* to, Scratch& scratch, PieceReport& report) const {
        scratch.values.resize(size_t(n * n_cols_));
        STERNA_CHECK(source_.read_rows(tensor_, first, n, scratch.values));
        const float* values = scratch.values.data();
        report.finite = all_finite({values, size_t(n * n_cols_)});
        if (traits_.type == tensor_.exact && encode_lossless(traits_.type, values, to, n * n_cols_)) {
            // The source was packed on this very grid.
        } else if (options_.encoder && options_.encoder->handles(tensor_, traits_.type)) {
            options_.encoder->encode(tensor_, traits_.type, first, n, scratch.values, {to, size_t(n * row_bytes_)});
        } else if (importance_.empty()) {
            traits_.encode(values, to, n * n_cols_, nullptr);
        } else {
            for (int64_t row = 0; row < n; ++row) {
                const int64_t expert = (first + row) / rows_per_expert_;
                traits_.encode(values + row * n_cols_, to + row * row_bytes_, n_cols_,
                               importance_.data() + expert * n_cols_);
            }
        }
        if (options_.measure_error) measure(first, n, to, scratch, report);
        return {};
    }

private:
    void measure(int64_t first, int64_t n, const uint8_t* blocks, Scratch& scratch, PieceReport& report) const {
        scratch.decoded.resize(size_t(n_cols_));
        for (int64_t row = (first + stride_ - 1) / stride_ * stride_; row < first + n; row += stride_) {
            const float* values = scratch.values.data() + (row - first) * n_cols_;
            traits_.decode(blocks + (row - first) * row_bytes_, scratch.decoded.data(), n_cols_);
            for (int64_t i = 0; i < n_cols_; ++i) {
                const double e = double(scratch.decoded[size_t(i)]) - double(values[i]);
                report.error += e * e;
                report.squares += double(values[i]) * double(values[i]);
            }
            report.n += n_cols_;
        }
    }

    const ModelSource& source_;
    const SourceTensor& tensor_;
    const DTypeTraits& traits_;
    const WriteOptions& options_;
    std::span<const float> importance_;
    int64_t n_cols_, row_bytes_, rows_per_expert_, stride_;
};

class ModelWriter {
public:
    ModelWriter(const ModelSource& source, const TypePlan& plan, ThreadPool& pool, const WriteOptions& options)
        : source_(source),
          plan_(plan),
          pool_(pool),
          options_(options),
          scratch_(size_t(pool.size())),
          output_(pool.size()) {}

    Result<WriteReport> run(const std::string& path) {
        STERNA_CHECK(prepare(path));
        STERNA_TRY(journal, Journal::open(path + ".partial.journal"));
        std::vector<PartialFile> files;
        uint64_t missing = 0;
        for (const GgufWriter::FilePlan& file : files_) missing += file.n_bytes;
        STERNA_CHECK(check_space(path, missing));
        for (const GgufWriter::FilePlan& file : files_) {
            STERNA_TRY(partial, PartialFile::open(file.path, file.n_bytes));
            files.push_back(std::move(partial));
        }
        STERNA_TRY(n_done, resume(journal, files));
        report_.n_resumed = int64_t(n_done);
        Status status = write_all(journal, files, n_done);
        if (!status) {
            Error error = std::move(status).error();
            if (error.code == ErrorCode::kCancelled || error.code == ErrorCode::kIo)
                error.message +=
                    fmt::format("; what is written stays in {}.partial, and the same command goes on", files_[0].path);
            return std::unexpected(std::move(error));
        }
        for (PartialFile& file : files) STERNA_CHECK(file.finish());
        for (PartialFile& file : files) {
            STERNA_CHECK(file.rename());
            report_.paths.push_back(file.path());
        }
        journal.remove();
        return std::move(report_);
    }

private:
    // Headers, offsets and the identity of what is going to be written.
    Status prepare(const std::string& path) {
        const auto tensors = source_.tensors();
        if (plan_.types.size() != tensors.size())
            return fail(ErrorCode::kBadArgument, "{}: {} types for {} tensors", path, plan_.types.size(),
                        tensors.size());
        GgufWriter writer;
        STERNA_CHECK(source_.write_metadata(writer));
        STERNA_CHECK(writer.set_u32("general.file_type", plan_.file_type));
        const bool quantized =
            std::ranges::any_of(plan_.types, [](DType type) { return dtype_traits(type)->block_size > 1; });
        if (quantized) STERNA_CHECK(writer.set_u32("general.quantization_version", 2));
        for (size_t i = 0; i < tensors.size(); ++i) {
            STERNA_CHECK(check(tensors[i], plan_.types[i]));
            STERNA_CHECK(writer.add_tensor(tensors[i].name, plan_.types[i], tensors[i].shape,
                                           [](GgufWriter::Sink) -> Status { return {}; }));
            TensorReport report;
            report.name = tensors[i].name;
            report.from = tensors[i].exact;
            report.type = plan_.types[i];
            report.n_bytes = *dtype_bytes(plan_.types[i], uint64_t(tensors[i].row_elements() * tensors[i].n_rows()));
            report_.tensors.push_back(std::move(report));
        }
        GgufWriter::Options options;
        options.max_part_bytes = options_.max_part_bytes;
        STERNA_TRY(files, writer.plan_files(path, options));
        files_ = std::move(files);
        Sha256 hash;
        auto add = [&](std::string_view text) {
            hash.update(text.data(), text.size());
            hash.update("\n", 1);
        };
        for (const GgufWriter::FilePlan& file : files_) {
            hash.update(file.header);
            report_.file_bytes += file.n_bytes;
        }
        add(source_.identity());
        add(options_.importance_identity);
        if (options_.encoder) add(options_.encoder->identity());
        identity_ = fmt::format("{} {}", kJournalHead, hex_text(hash.finish()));
        report_.source_bytes = source_.source_bytes();
        return {};
    }

    static Status check(const SourceTensor& tensor, DType type) {
        if (tensor.row_elements() > kMaxRowElements)
            return fail(ErrorCode::kLimit, "{}: rows of {} values, at most {} are written", tensor.name,
                        tensor.row_elements(), kMaxRowElements);
        if (type == tensor.exact && !tensor.stored.empty()) return {};
        const DTypeTraits* traits = dtype_traits(type);
        if (!traits || !traits->encode)
            return fail(ErrorCode::kUnsupported, "{}: {} is not a type that values are turned into", tensor.name,
                        dtype_name_of_number(uint32_t(type)));
        return {};
    }

    static Status check_space(const std::string& path, uint64_t wanted) {
        std::error_code error;
        std::filesystem::path folder = std::filesystem::absolute(path, error).parent_path();
        const auto space = std::filesystem::space(folder, error);
        if (error) return {};  // opening the file will say what is wrong
        // What an interrupted write has taken already does not have to be free.
        const auto there = std::filesystem::file_size(path + ".partial", error);
        const uint64_t taken = error ? 0 : std::min<uint64_t>(there, wanted);
        if (space.available < wanted - taken)
            return fail(ErrorCode::kIo, "{}: {} bytes are to be written, {} are free", path, wanted - taken,
                        space.available);
        return {};
    }

    // Believes the journal as far as the bytes agree. Returns: the number of tensors that need not be written again.
    Result<size_t> resume(Journal& journal, std::vector<PartialFile>& files) {
        size_t n_done = 0;
        const std::vector<std::string>& lines = journal.lines();
        const bool same = options_.resume && !lines.empty() && lines[0] == identity_;
        std::vector<uint8_t> buffer;
        for (size_t i = 1; same && i < lines.size() && n_done < report_.tensors.size(); ++i) {
            unsigned long long index = 0;
            char digest[65] = "", finite[16] = "";
            TensorReport& report = report_.tensors[n_done];
            if (std::sscanf(lines[i].c_str(), "%llu %64s %la %la %15s", &index, digest, &report.rmse, &report.relative,
                            finite) != 5 ||
                index != n_done)
                break;
            report.finite = std::string_view(finite) == "finite";
            report.sha256 = digest;
            if (!matches(files, n_done, report, buffer)) break;
            ++n_done;
        }
        if (n_done == 0) {
            STERNA_CHECK(journal.keep(0));
            // What another plan has left would stay in the gaps between tensors.
            for (size_t i = 0; i < files.size(); ++i) STERNA_CHECK(files[i].clear(files_[i].n_bytes));
            STERNA_CHECK(journal.append(identity_));
        } else {
            STERNA_CHECK(journal.keep(n_done + 1));
        }
        return n_done;
    }

    bool matches(const std::vector<PartialFile>& files, size_t tensor, const TensorReport& report,
                 std::vector<uint8_t>& buffer) const {
        const Place place = place_of(tensor);
        Sha256 hash;
        for (uint64_t at = 0; at < report.n_bytes; at += kReadBytes) {
            buffer.resize(size_t(std::min(kReadBytes, report.n_bytes - at)));
            if (!files[place.file].read(place.offset + at, buffer)) return false;
            hash.update(buffer);
        }
        return hex_text(hash.finish()) == report.sha256;
    }

    struct Place {
        size_t file;
        uint64_t offset;
    };
    Place place_of(size_t tensor) const {
        size_t file = 0;
        while (tensor >= files_[file].end) ++file;
        return {file, files_[file].offsets[tensor - files_[file].begin]};
    }

    Status write_all(Journal& journal, std::vector<PartialFile>& files, size_t n_done) {
        for (size_t i = 0; i < files.size(); ++i) STERNA_CHECK(files[i].write(0, files_[i].header));
        const auto tensors = source_.tensors();
        for (size_t i = 0; i < n_done; ++i) done_bytes_ += source_size(tensors[i]);
        progress_.total_bytes = source_.source_bytes();
        for (size_t i = n_done; i < tensors.size(); ++i) {
            progress_.tensor = tensors[i].name;
            tell(done_bytes_);
            TensorReport& report = report_.tensors[i];
            const Place place = place_of(i);
            output_.begin(files[place.file], place.offset);
            if (plan_.types[i] == tensors[i].exact && !tensors[i].stored.empty())
                copy(tensors[i]);
            else
                encode(tensors[i], plan_.types[i], report);
            STERNA_TRY(digest, output_.finish(report.n_bytes));
            report.sha256 = std::move(digest);
            STERNA_CHECK(journal.append(fmt::format("{} {} {:a} {:a} {}", i, report.sha256, report.rmse,
                                                    report.relative, report.finite ? "finite" : "not-finite")));
            source_.release(tensors[i]);
        }
        tell(done_bytes_);
        return {};
    }

    static uint64_t source_size(const SourceTensor& tensor) {
        return dtype_bytes(tensor.exact, uint64_t(tensor.row_elements() * tensor.n_rows())).value_or(0);
    }

    // After each piece, on its thread. The caller's own one tells of progress.
    void step(uint64_t n_source_bytes, int worker) {
        const uint64_t done = done_bytes_.fetch_add(n_source_bytes, std::memory_order_relaxed) + n_source_bytes;
        if (options_.cancel && options_.cancel->load(std::memory_order_relaxed))
            output_.fail_with(
                {ErrorCode::kCancelled, fmt::format("{}: stopped at {}", files_[0].path, progress_.tensor)});
        if (worker == 0 && done - progress_.done_bytes >= kStepBytes) tell(done);
    }

    void tell(uint64_t done) {
        progress_.done_bytes = done;
        if (options_.progress) options_.progress(progress_);
    }

    void copy(const SourceTensor& tensor) {
        const uint64_t n_pieces = (tensor.stored.size() + kCopiedBytes - 1) / kCopiedBytes;
        pool_.run(int(n_pieces), [&](int piece, int worker) {
            if (!output_.claim(piece)) return;
            const uint64_t at = uint64_t(piece) * kCopiedBytes;
            const Bytes bytes = tensor.stored.subspan(at, std::min(kCopiedBytes, tensor.stored.size() - at));
            output_.put(piece, at, bytes);
            step(bytes.size(), worker);
        });
    }

    void encode(const SourceTensor& tensor, DType type, TensorReport& report) {
        const TensorEncoder encoder(source_, tensor, type, options_);
        const int64_t n_rows = tensor.n_rows();
        const int64_t rows_per_piece = std::max<int64_t>(1, kPieceElements / tensor.row_elements());
        const int64_t n_pieces = (n_rows + rows_per_piece - 1) / rows_per_piece;
        const uint64_t source_row = source_size(tensor) / uint64_t(n_rows);
        std::vector<PieceReport> parts{size_t(n_pieces)};
        pool_.run(int(n_pieces), [&](int piece, int worker) {
            std::vector<uint8_t>* blocks = output_.claim(piece);
            if (!blocks) return;
            const int64_t first = piece * rows_per_piece, rows = std::min(rows_per_piece, n_rows - first);
            blocks->resize(size_t(rows * encoder.row_bytes()));
            Status status = encoder.encode(first, rows, blocks->data(), scratch_[size_t(worker)], parts[size_t(piece)]);
            if (!status) return output_.fail_with(std::move(status).error());
            output_.put(piece, uint64_t(first * encoder.row_bytes()), *blocks);
            step(uint64_t(rows) * source_row, worker);
        });
        PieceReport total;
        for (const PieceReport& part : parts) {
            total.error += part.error;
            total.squares += part.squares;
            total.n += part.n;
            total.finite = total.finite && part.finite;
        }
        report.rmse = total.n ? std::sqrt(total.error / double(total.n)) : 0.0;
        report.relative = total.squares > 0.0 ? std::sqrt(total.error / total.squares) : 0.0;
        report.finite = total.finite;
    }

    const ModelSource& source_;
    const TypePlan& plan_;
    ThreadPool& pool_;
    const WriteOptions& options_;
    std::vector<Scratch> scratch_;  // one per worker
    std::vector<GgufWriter::FilePlan> files_;
    std::string identity_;
    WriteReport report_;
    WriteProgress progress_;
    std::atomic<uint64_t> done_bytes_{0};
    Output output_;
};

}  // namespace

Result<WriteReport> write_model(const ModelSource& source, const TypePlan& plan, const std::string& path,
                                ThreadPool& pool, const WriteOptions& options) {
    return ModelWriter(source, plan, pool, options).run(path);
}

}  // namespace sterna
