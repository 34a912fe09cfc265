// Writing models: the bytes of each type's encoder, the report, and going on after an interruption.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <fstream>
#include <random>

#include <unistd.h>

#include "base/sha256.h"
#include "convert/calibration.h"
#include "convert/feedback.h"
#include "convert/gguf_source.h"
#include "convert/importance.h"
#include "convert/model_writer.h"
#include "convert/type_search.h"

namespace sterna {
namespace {

namespace fs = std::filesystem;

class ModelWriterTest : public testing::Test {
protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / ("sterna-writer-" + std::to_string(::getpid()) + "-" +
                                               testing::UnitTest::GetInstance()->current_test_info()->name());
        fs::create_directories(folder_);
        write_source();
        auto source = GgufSource::open(path("source.gguf"));
        ASSERT_TRUE(source) << source.error().message;
        source_ = std::move(*source);
    }
    void TearDown() override { fs::remove_all(folder_); }

    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    void write_source() {
        std::mt19937 random(1);
        std::normal_distribution<float> bell(0.0f, 0.05f);
        GgufWriter writer;
        ASSERT_TRUE(writer.set_string("general.architecture", "llama"));
        ASSERT_TRUE(writer.set_u32("general.file_type", 0));
        auto add = [&](const std::string& name, std::vector<int64_t> shape) {
            size_t n = 1;
            for (int64_t extent : shape) n *= size_t(extent);
            auto& values = values_.emplace_back(n);
            for (float& value : values) value = bell(random);
            const Bytes bytes(reinterpret_cast<const uint8_t*>(values.data()), n * sizeof(float));
            ASSERT_TRUE(writer.add_tensor(name, DType::kF32, shape, bytes));
        };
        add("token_embd.weight", {256, 100});
        for (int i = 0; i < 3; ++i) {
            const std::string layer = "blk." + std::to_string(i) + ".";
            add(layer + "attn_norm.weight", {256});
            add(layer + "attn_v.weight", {256, 128});
            add(layer + "ffn_down.weight", {512, 256});
            add(layer + "ffn_gate_exps.weight", {256, 32, 4});
        }
        add("output.weight", {256, 100});
        ASSERT_TRUE(writer.write(path("source.gguf")));
    }

    TypePlan plan(const char* type) const {
        auto plan = plan_types(source_->tensors(), *find_type_target(type));
        EXPECT_TRUE(plan) << plan.error().message;
        return *plan;
    }

    static std::string bytes_of(const std::string& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    fs::path folder_;
    std::deque<std::vector<float>> values_;
    std::unique_ptr<GgufSource> source_;
    ThreadPool pool_{2};
};

TEST_F(ModelWriterTest, EncodesEveryTensor) {
    for (const char* type : {"q4_k_m", "q8_0", "f16", "f32"}) {
        const TypePlan types = plan(type);
        auto report = write_model(*source_, types, path("out.gguf"), pool_);
        ASSERT_TRUE(report) << report.error().message;
        auto file = GgufFile::open(path("out.gguf"));
        ASSERT_TRUE(file) << file.error().message;
        EXPECT_EQ((*file)->get_int("general.file_type"), int64_t(types.file_type));
        EXPECT_EQ((*file)->file_bytes(), report->file_bytes);
        ASSERT_EQ((*file)->tensors().size(), values_.size());
        for (size_t i = 0; i < values_.size(); ++i) {
            const TensorView& view = (*file)->tensors()[i];
            EXPECT_EQ(view.type, types.types[i]);
            const DTypeTraits& traits = *dtype_traits(view.type);
            std::vector<uint8_t> expected(view.data.size());
            traits.encode(values_[i].data(), expected.data(), int64_t(values_[i].size()), nullptr);
            EXPECT_TRUE(std::ranges::equal(expected, view.data)) << type << " " << view.name;
            Sha256 hash;
            hash.update(view.data);
            EXPECT_EQ(report->tensors[i].sha256, hex_text(hash.finish()));
            if (traits.block_size > 1) {
                EXPECT_GT(report->tensors[i].relative, 0.0005);
                EXPECT_LT(report->tensors[i].relative, 0.12);
            }
        }
        EXPECT_FALSE(fs::exists(path("out.gguf.partial")));
        EXPECT_FALSE(fs::exists(path("out.gguf.partial.journal")));
    }
}

TEST_F(ModelWriterTest, ThreadsChangeNoByte) {
    ASSERT_TRUE(write_model(*source_, plan("q4_k_m"), path("two.gguf"), pool_));
    ThreadPool one(1);
    ASSERT_TRUE(write_model(*source_, plan("q4_k_m"), path("one.gguf"), one));
    EXPECT_TRUE(bytes_of(path("one.gguf")) == bytes_of(path("two.gguf")));
}

TEST_F(ModelWriterTest, GoesOnAfterAnInterruption) {
    ASSERT_TRUE(write_model(*source_, plan("q4_k_m"), path("whole.gguf"), pool_));
    std::atomic<bool> cancel = false;
    WriteOptions options;
    options.cancel = &cancel;
    options.progress = [&](const WriteProgress& progress) { cancel = progress.tensor == "blk.1.ffn_down.weight"; };
    auto stopped = write_model(*source_, plan("q4_k_m"), path("out.gguf"), pool_, options);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    EXPECT_FALSE(fs::exists(path("out.gguf")));
    EXPECT_TRUE(fs::exists(path("out.gguf.partial")));
    auto report = write_model(*source_, plan("q4_k_m"), path("out.gguf"), pool_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_GE(report->n_resumed, 5);
    EXPECT_LT(report->n_resumed, int64_t(values_.size()));
    EXPECT_TRUE(bytes_of(path("out.gguf")) == bytes_of(path("whole.gguf")));
    for (const TensorReport& tensor : report->tensors) EXPECT_EQ(tensor.sha256.size(), 64u);
}

TEST_F(ModelWriterTest, BelievesNoJournalAgainstTheBytes) {
    ASSERT_TRUE(write_model(*source_, plan("q8_0"), path("whole.gguf"), pool_));
    std::atomic<bool> cancel = false;
    WriteOptions options;
    options.cancel = &cancel;
    options.progress = [&](const WriteProgress& progress) { cancel = progress.tensor == "blk.2.ffn_down.weight"; };
    ASSERT_FALSE(write_model(*source_, plan("q8_0"), path("out.gguf"), pool_, options));
    {
        // A byte of the second tensor is lost, and the journal ends in the middle of a line.
        std::fstream partial(path("out.gguf.partial"), std::ios::in | std::ios::out | std::ios::binary);
        auto file = GgufFile::open(path("whole.gguf"));
        ASSERT_TRUE(file);
        const std::string whole = bytes_of(path("whole.gguf"));
        const auto data = (*file)->tensors()[2].data;
        const size_t at = whole.find(std::string(reinterpret_cast<const char*>(data.data()), 64));
        ASSERT_NE(at, std::string::npos);
        partial.seekp(std::streamoff(at));
        partial.put(char(whole[at] ^ 1));
        std::ofstream(path("out.gguf.partial.journal"), std::ios::app) << "9 0123";
    }
    auto report = write_model(*source_, plan("q8_0"), path("out.gguf"), pool_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->n_resumed, 2);
    EXPECT_TRUE(bytes_of(path("out.gguf")) == bytes_of(path("whole.gguf")));
}

TEST_F(ModelWriterTest, OtherTypesStartAfresh) {
    std::atomic<bool> cancel = false;
    WriteOptions options;
    options.cancel = &cancel;
    options.progress = [&](const WriteProgress& progress) { cancel = progress.tensor == "blk.2.ffn_down.weight"; };
    ASSERT_FALSE(write_model(*source_, plan("q8_0"), path("out.gguf"), pool_, options));
    auto report = write_model(*source_, plan("q4_0"), path("out.gguf"), pool_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->n_resumed, 0);
    ASSERT_TRUE(write_model(*source_, plan("q4_0"), path("whole.gguf"), pool_));
    EXPECT_TRUE(bytes_of(path("out.gguf")) == bytes_of(path("whole.gguf")));
}

TEST_F(ModelWriterTest, Parts) {
    WriteOptions options;
    options.max_part_bytes = 200000;
    auto report = write_model(*source_, plan("q8_0"), path("out.gguf"), pool_, options);
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_GT(report->paths.size(), 1u);
    auto file = GgufFile::open(report->paths[0]);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(write_model(*source_, plan("q8_0"), path("whole.gguf"), pool_));
    auto whole = GgufFile::open(path("whole.gguf"));
    ASSERT_TRUE(whole);
    ASSERT_EQ((*file)->tensors().size(), (*whole)->tensors().size());
    for (size_t i = 0; i < values_.size(); ++i)
        EXPECT_TRUE(std::ranges::equal((*file)->tensors()[i].data, (*whole)->tensors()[i].data));
}

TEST_F(ModelWriterTest, ImportanceReachesItsColumnsAndExperts) {
    Importance importance;
    std::vector<float> sums(256 * 4, 1.0f);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = i / 256 == 2 && i % 256 < 128 ? 100.0f : 1.0f;
    importance.set("blk.1.ffn_gate_exps.weight", sums, {1, 1, 1, 1});
    WriteOptions options;
    options.importance = [&](const SourceTensor& tensor) { return importance.find(tensor.name); };
    options.importance_identity = importance.identity();
    ASSERT_TRUE(write_model(*source_, plan("q4_k_s"), path("out.gguf"), pool_, options));
    auto file = GgufFile::open(path("out.gguf"));
    ASSERT_TRUE(file);
    const TensorView& view = *(*file)->find_tensor("blk.1.ffn_gate_exps.weight");
    const DTypeTraits& traits = *dtype_traits(view.type);
    const auto& values = values_[8];
    std::vector<uint8_t> expected(view.data.size());
    for (int64_t row = 0; row < 128; ++row)
        traits.encode(values.data() + row * 256, expected.data() + row * traits.block_bytes, 256,
                      sums.data() + row / 32 * 256);
    EXPECT_TRUE(std::ranges::equal(expected, view.data));
}

TEST_F(ModelWriterTest, TypesForASize) {
    const auto tensors = source_->tensors();
    uint64_t last_damage_bytes = 0;
    for (uint64_t n_bytes : {260000u, 350000u, 500000u}) {
        TypeSearchOptions options;
        options.n_bytes = n_bytes;
        options.rules.overrides = {{"blk.0.attn_v.weight", DType::kQ8_0}};
        auto found = search_types(*source_, pool_, options);
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_LE(found->n_bytes, n_bytes);
        EXPECT_GT(found->n_bytes, n_bytes * 9 / 10);
        EXPECT_GT(found->n_bytes, last_damage_bytes);
        last_damage_bytes = found->n_bytes;
        for (size_t i = 0; i < tensors.size(); ++i)
            if (tensors[i].name == "blk.0.attn_v.weight") {
                EXPECT_EQ(found->types[i], DType::kQ8_0);
            }
    }
    TypeSearchOptions options;
    options.n_bytes = 1000;
    EXPECT_FALSE(search_types(*source_, pool_, options));
}

TEST_F(ModelWriterTest, ImportanceFilesComeBack) {
    Importance importance;
    importance.set("a.weight", {1, 2, 3, 4}, {2});
    importance.set("b.weight", {1, 2, 3, 4}, {4, 0});
    importance.datasets = {"text.txt"};
    importance.n_chunks = 7;
    importance.chunk_size = 512;
    EXPECT_EQ(std::vector<float>(importance.find("a.weight").begin(), importance.find("a.weight").end()),
              (std::vector<float>{0.5f, 1.0f, 1.5f, 2.0f}));
    for (const char* name : {"x.gguf", "x.dat"}) {
        ASSERT_TRUE(importance.write(path(name)));
        auto read = Importance::read(path(name));
        ASSERT_TRUE(read) << read.error().message;
        ASSERT_EQ(read->entries().size(), 2u);
        EXPECT_EQ(read->n_chunks, 7);
        EXPECT_EQ(read->datasets, importance.datasets);
        for (const auto& [tensor, entry] : importance.entries()) {
            const auto back = read->find(tensor);
            ASSERT_EQ(back.size(), entry.mean.size());
            for (size_t i = 0; i < back.size(); ++i) EXPECT_FLOAT_EQ(back[i], entry.mean[i]) << name;
        }
    }
    std::ofstream(path("bad.dat"), std::ios::binary) << std::string("\x05\0\0\0\xff\xff\xff\x7f", 8);
    EXPECT_FALSE(Importance::read(path("bad.dat")));
}

// Inputs that vary together: feedback must lower the error on moments that the fit has not seen.
TEST_F(ModelWriterTest, FeedbackLowersTheErrorOfOutputs) {
    std::mt19937 random(3);
    std::normal_distribution<float> bell;
    constexpr int64_t kColumns = 256, kRank = 48, kTokens = 4000;
    std::vector<float> basis(size_t(kRank * kColumns));
    for (float& value : basis) value = bell(random);
    auto moments = std::make_shared<Moments>();
    moments->n_columns = moments->width = kColumns;
    moments->fitted.resize(kColumns * kColumns);
    moments->held.resize(kColumns * kColumns);
    for (int64_t t = 0; t < kTokens; ++t) {
        std::vector<float> x(kColumns);
        for (float& value : x) value = 0.3f * bell(random);
        for (int64_t r = 0; r < kRank; ++r) {
            const float factor = bell(random) * 0.15f;
            for (int64_t i = 0; i < kColumns; ++i) x[size_t(i)] += factor * basis[size_t(r * kColumns + i)];
        }
        const bool held = t % 5 == 4;
        (held ? moments->n_held : moments->n_fitted) += 1;
        auto& to = held ? moments->held : moments->fitted;
        for (int64_t i = 0; i < kColumns; ++i)
            for (int64_t j = 0; j <= i; ++j) to[size_t(i * kColumns + j)] += x[size_t(i)] * x[size_t(j)];
    }
    Calibration calibration;
    const SourceTensor* tensor = nullptr;
    for (const SourceTensor& each : source_->tensors())
        if (each.name == "blk.0.attn_v.weight") tensor = &each;
    ASSERT_NE(tensor, nullptr);
    calibration.moments[tensor->name] = moments;
    const FeedbackEncoder encoder(*source_, calibration);
    for (DType type : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kIQ4_NL,
                       DType::kIQ4_XS, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
        ASSERT_TRUE(encoder.handles(*tensor, type)) << dtype_traits(type)->name;
        const auto verdict = encoder.verdicts().at(tensor->name);
        EXPECT_LT(verdict.feedback, 0.8 * verdict.plain) << dtype_traits(type)->name;
    }
}

}  // namespace
}  // namespace sterna
