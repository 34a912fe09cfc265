#include "convert/model_writer.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/sha256.h"
#include "convert/lossless.h"
#include "convert/partial_file.h"

namespace sterna {

namespace {

// Part of what a resumed write must match: raised when any encoder gives other bytes.
constexpr std::string_view kJournalHead = "sterna model journal 1";
constexpr int64_t kChunkElements = 1 << 15;  // one task: its floats fit into a core's cache
constexpr int64_t kMaxRowElements = 1 << 26;
constexpr uint64_t kBatchBytes = 8 << 20;  // handed to the writing thread at once
constexpr size_t kQueued = 2;              // batches that wait to be written
constexpr int64_t kMeasuredRows = 64;      // of each tensor, spread evenly: its error is known to a percent

// What lies between encoding and the disk: a thread that hashes and writes batches in order.
class Output {
public:
    Output(std::vector<PartialFile>& files, Journal& journal)
        : files_(files), journal_(journal), thread_([this] { work(); }) {}

    ~Output() {
        {
            std::lock_guard lock(mutex_);
            closing_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

    struct Batch {
        size_t file;
        uint64_t offset;
        std::vector<uint8_t> owned;
        Bytes bytes;             // of `owned`, or of the source
        TensorReport* finished;  // with a tensor's last batch: takes the digest
        size_t index;            // of that tensor
    };

    // Waits for room. Returns: false when writing has failed.
    bool put(Batch batch) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return queue_.size() < kQueued || failure_; });
        if (failure_) return false;
        queue_.push_back(std::move(batch));
        changed_.notify_all();
        return true;
    }

    // A buffer whose content has been written.
    std::vector<uint8_t> take_buffer() {
        std::lock_guard lock(mutex_);
        if (free_.empty()) return {};
        std::vector<uint8_t> buffer = std::move(free_.back());
        free_.pop_back();
        return buffer;
    }

    // Waits until all is written.
    Status drain() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return (queue_.empty() && !busy_) || failure_; });
        if (failure_) return std::unexpected(*failure_);
        return {};
    }

private:
    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [&] { return !queue_.empty() || closing_; });
            if (queue_.empty()) return;
            Batch batch = std::move(queue_.front());
            queue_.pop_front();
            busy_ = true;
            lock.unlock();
            Status status = failure_ ? Status() : write(batch);
            lock.lock();
            busy_ = false;
            if (!status && !failure_) failure_ = std::move(status).error();
            if (!batch.owned.empty()) free_.push_back(std::move(batch.owned));
            changed_.notify_all();
        }
    }

    Status write(Batch& batch) {
        if (!hash_) hash_.emplace();
        STERNA_CHECK(files_[batch.file].write(batch.offset, batch.bytes));
        files_[batch.file].flush_early(batch.offset, batch.bytes.size());
        hash_->update(batch.bytes);
        if (!batch.finished) return {};
        TensorReport& report = *batch.finished;
        report.sha256 = hex_text(hash_->finish());
        hash_.reset();
        return journal_.append(fmt::format("{} {} {:a} {:a} {}", batch.index, report.sha256, report.rmse,
                                           report.relative, report.finite ? "finite" : "not-finite"));
    }

    std::vector<PartialFile>& files_;
    Journal& journal_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Batch> queue_;
    std::vector<std::vector<uint8_t>> free_;
    std::optional<Sha256> hash_;
    std::optional<Error> failure_;
    bool busy_ = false, closing_ = false;
    std::thread thread_;
};

// Whether none of the values is infinite or no number: an exponent of all ones carries into the sign.
bool all_finite(const float* values, int64_t n) {
    constexpr int64_t kLanes = 16;  // a number of them that the compiler knows becomes vector instructions
    uint32_t seen[kLanes] = {};
    auto look = [&](const float* from, int64_t lanes) {
        uint32_t bits[kLanes] = {};
        std::memcpy(bits, from, size_t(lanes) * sizeof(float));
        for (int64_t lane = 0; lane < kLanes; ++lane) seen[lane] |= (bits[lane] & 0x7fffffffu) + 0x00800000u;
    };
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) look(values + i, kLanes);
    look(values + i, n - i);
    uint32_t any = 0;
    for (uint32_t lane : seen) any |= lane;
    return (any & 0x80000000u) == 0;
}

// One chunk's share of a tensor's report.
struct ChunkReport {
    double error = 0.0, squares = 0.0;
    int64_t n = 0;
    bool finite = true;
    Status status;
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
    void encode(int64_t first, int64_t n, uint8_t* to, Scratch& scratch, ChunkReport& report) const {
        scratch.values.resize(size_t(n * n_cols_));
        report.status = source_.read_rows(tensor_, first, n, scratch.values);
        if (!report.status) return;
        const float* values = scratch.values.data();
        report.finite = all_finite(values, n * n_cols_);
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
    }

private:
    void measure(int64_t first, int64_t n, const uint8_t* blocks, Scratch& scratch, ChunkReport& report) const {
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
        : source_(source), plan_(plan), pool_(pool), options_(options), scratch_(size_t(pool.size())) {}

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
        for (uint64_t at = 0; at < report.n_bytes; at += kBatchBytes) {
            buffer.resize(size_t(std::min(kBatchBytes, report.n_bytes - at)));
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
        for (size_t i = 0; i < n_done; ++i) progress_.done_bytes += source_size(tensors[i]);
        progress_.total_bytes = source_.source_bytes();
        Output output(files, journal);
        for (size_t i = n_done; i < tensors.size(); ++i) {
            progress_.tensor = tensors[i].name;
            const bool copied = plan_.types[i] == tensors[i].exact && !tensors[i].stored.empty();
            Result<bool> going = copied ? copy(output, i) : encode(output, i);
            if (!going) return std::unexpected(std::move(going).error());
            if (!*going) break;                        // drain() says why
            if (copied) STERNA_CHECK(output.drain());  // the bytes are the source's own
            source_.release(tensors[i]);
        }
        return output.drain();
    }

    static uint64_t source_size(const SourceTensor& tensor) {
        return dtype_bytes(tensor.exact, uint64_t(tensor.row_elements() * tensor.n_rows())).value_or(0);
    }

    Status step(uint64_t n_source_bytes) {
        progress_.done_bytes += n_source_bytes;
        if (options_.progress) options_.progress(progress_);
        if (options_.cancel && options_.cancel->load(std::memory_order_relaxed))
            return fail(ErrorCode::kCancelled, "{}: stopped at {}", files_[0].path, progress_.tensor);
        return {};
    }

    Result<bool> copy(Output& output, size_t index) {
        const SourceTensor& tensor = source_.tensors()[index];
        const Place place = place_of(index);
        for (uint64_t at = 0; at < tensor.stored.size(); at += kBatchBytes) {
            const uint64_t n = std::min<uint64_t>(kBatchBytes, tensor.stored.size() - at);
            const bool last = at + n == tensor.stored.size();
            if (!output.put({place.file,
                             place.offset + at,
                             {},
                             tensor.stored.subspan(size_t(at), size_t(n)),
                             last ? &report_.tensors[index] : nullptr,
                             index}))
                return false;
            STERNA_CHECK(step(n));
        }
        return true;
    }

    Result<bool> encode(Output& output, size_t index) {
        const SourceTensor& tensor = source_.tensors()[index];
        TensorReport& report = report_.tensors[index];
        const TensorEncoder encoder(source_, tensor, plan_.types[index], options_);
        const Place place = place_of(index);
        const int64_t n_rows = tensor.n_rows();
        const int64_t rows_per_chunk = std::max<int64_t>(1, kChunkElements / tensor.row_elements());
        // The last batch of a tensor leaves threads idle for a moment, so batches are no smaller than they have to be.
        const int64_t chunks_per_batch = std::max<int64_t>(
            pool_.size(), int64_t(kBatchBytes) / std::max<int64_t>(1, rows_per_chunk * encoder.row_bytes()));
        const int64_t rows_per_batch = rows_per_chunk * chunks_per_batch;
        const uint64_t source_row = source_size(tensor) / uint64_t(n_rows);
        ChunkReport total;
        for (int64_t first = 0; first < n_rows; first += rows_per_batch) {
            const int64_t n = std::min(rows_per_batch, n_rows - first);
            const int64_t n_chunks = (n + rows_per_chunk - 1) / rows_per_chunk;
            std::vector<uint8_t> blocks = output.take_buffer();
            blocks.resize(size_t(n * encoder.row_bytes()));
            std::vector<ChunkReport> parts{size_t(n_chunks)};
            pool_.run(int(n_chunks), [&](int chunk, int worker) {
                const int64_t begin = chunk * rows_per_chunk, rows = std::min(rows_per_chunk, n - begin);
                encoder.encode(first + begin, rows, blocks.data() + begin * encoder.row_bytes(),
                               scratch_[size_t(worker)], parts[size_t(chunk)]);
            });
            for (ChunkReport& part : parts) {
                if (!part.status) return std::unexpected(std::move(part.status).error());
                total.error += part.error;
                total.squares += part.squares;
                total.n += part.n;
                total.finite = total.finite && part.finite;
            }
            const bool last = first + n == n_rows;
            if (last) {
                report.rmse = total.n ? std::sqrt(total.error / double(total.n)) : 0.0;
                report.relative = total.squares > 0.0 ? std::sqrt(total.error / total.squares) : 0.0;
                report.finite = total.finite;
            }
            const Bytes bytes = blocks;
            if (!output.put({place.file, place.offset + uint64_t(first * encoder.row_bytes()), std::move(blocks), bytes,
                             last ? &report : nullptr, index}))
                return false;
            STERNA_CHECK(step(uint64_t(n) * source_row));
        }
        return true;
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
};

}  // namespace

Result<WriteReport> write_model(const ModelSource& source, const TypePlan& plan, const std::string& path,
                                ThreadPool& pool, const WriteOptions& options) {
    return ModelWriter(source, plan, pool, options).run(path);
}

}  // namespace sterna
