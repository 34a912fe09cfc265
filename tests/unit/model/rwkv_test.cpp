// RWKV-7: a trained byte-level model in the format of rwkv.cpp (shared test data, models/README.md), against the logits
// that program computed after three bytes; and the same bits however the bytes come.
#include <cstdio>
#include <cstring>

#include "harness.h"
#include "support/rwkv_file.h"
#include "support/testdata.h"

namespace sterna {
namespace {

TestModel load_rwkv(const std::vector<uint8_t>& bytes_of_file, const std::string& name) {
    const RwkvFile file = parse_rwkv_file(bytes_of_file);
    GgufWriter writer;
    EXPECT_TRUE(writer.set_string("general.architecture", "rwkv7"));
    const std::pair<const char*, uint32_t> keys[] = {{"block_count", file.n_layers},
                                                     {"embedding_length", file.width},
                                                     {"context_length", 1 << 20},
                                                     {"feed_forward_length", 4 * file.width},
                                                     {"wkv.head_size", 64},
                                                     {"attention.decay_lora_rank", 32},
                                                     {"attention.iclr_lora_rank", 32},
                                                     {"attention.value_residual_mix_lora_rank", 32},
                                                     {"attention.gate_lora_rank", 32}};
    for (auto [key, value] : keys) EXPECT_TRUE(writer.set_u32("rwkv7." + std::string(key), value));
    EXPECT_TRUE(writer.set_f32("rwkv7.attention.layer_norm_epsilon", 1e-5f));
    for (const auto& [key, tensor] : file.tensors) {
        std::vector<int64_t> shape = tensor.shape;
        if (key.ends_with("x_rwkvag")) shape = {file.width, 1, 1, 6};
        while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
        auto added = writer.add_tensor(rwkv_gguf_name(key), tensor.type == 0 ? DType::kF32 : DType::kF16, shape,
                                       Bytes(tensor.data));
        if (!added) ADD_FAILURE() << added.error().message;
    }
    auto bytes = writer.to_bytes();
    if (!bytes) {
        ADD_FAILURE() << bytes.error().message;
        return {};
    }
    return load_test_model(std::move(*bytes), name);
}

TEST(Trained, Rwkv7) {
    auto expected_path = shared_testdata("models/rwkv/expected-logits-7v0-834K.bin");
    if (!expected_path) GTEST_SKIP() << "no shared test data";
    std::vector<uint8_t> expected = *read_whole_file(expected_path->string());
    std::vector<float> wanted(expected.size() / sizeof(float));
    std::memcpy(wanted.data(), expected.data(), expected.size());
    const int32_t text[] = {'"', 'i', 'n'};
    for (const char* kind : {"FP32", "FP16"}) {
        auto path = shared_testdata(std::string("models/rwkv/tiny-rwkv-7v0-834K-") + kind + ".bin");
        ASSERT_TRUE(path);
        TestModel test = load_rwkv(*read_whole_file(path->string()), kind);
        ASSERT_TRUE(test.model);
        std::vector<float> all = run_all(*test.model, text, {});
        ASSERT_EQ(all.size(), 3 * wanted.size());
        double difference = relative_difference(std::span(all).last(wanted.size()), wanted);
        std::printf("rwkv7 %s largest difference / largest logit: %.2e\n", kind, difference);
        EXPECT_LE(difference, kind == std::string("FP32") ? 1e-4 : 5e-3);
    }
}

TEST(Trained, Rwkv7SameBits) {
    auto path = shared_testdata("models/rwkv/tiny-rwkv-7v0-834K-FP32.bin");
    if (!path) GTEST_SKIP() << "no shared test data";
    TestModel test = load_rwkv(*read_whole_file(path->string()), "rwkv7");
    ASSERT_TRUE(test.model);
    std::vector<int32_t> text;
    for (char byte : std::string("\"In the beginning was the word, and the word")) text.push_back(byte);
    std::vector<float> reference = run_all(*test.model, text, {.kernels = kernels::all().tables[0]});
    for (int i = 0; i < kernels::all().n; ++i)
        for (int threads : kThreadCounts)
            for (size_t chunk : kChunks)
                for (bool stranger : {false, true})
                    EXPECT_EQ(run_all(*test.model, text,
                                      {.kernels = kernels::all().tables[i],
                                       .threads = threads,
                                       .chunk = chunk,
                                       .stranger = stranger}),
                              reference);
}

}  // namespace
}  // namespace sterna
