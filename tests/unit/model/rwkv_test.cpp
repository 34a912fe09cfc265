// RWKV-7: a trained byte-level model in the format of rwkv.cpp (shared test data, models/README.md), against the logits
// that program computed after three bytes; and the same bits however the bytes come.
#include <cstdio>
#include <cstring>
#include <map>

#include "harness.h"
#include "support/testdata.h"

namespace sterna {
namespace {

// u32 magic, version, n_vocab, n_embed, n_layer, type; per tensor u32 rank, key length, type, dimensions fastest first, key,
// data.
TestModel load_rwkv(const std::vector<uint8_t>& file, const std::string& name) {
    auto u32 = [&](size_t at) {
        uint32_t value = 0;
        std::memcpy(&value, file.data() + at, sizeof(value));
        return value;
    };
    const std::map<std::string, std::string> parts = {{"ln1", "attn_norm"},
                                                      {"ln2", "attn_norm_2"},
                                                      {"att.x_rwkvag", "time_mix_lerp_fused"},
                                                      {"att.receptance", "time_mix_receptance"},
                                                      {"att.key", "time_mix_key"},
                                                      {"att.value", "time_mix_value"},
                                                      {"att.output", "time_mix_output"},
                                                      {"att.ln_x", "time_mix_ln"},
                                                      {"ffn.x_k", "channel_mix_lerp_k"},
                                                      {"ffn.key", "channel_mix_key"},
                                                      {"ffn.value", "channel_mix_value"}};
    auto gguf_name = [&](std::string key) -> std::string {
        std::string kind = ".weight";
        for (const char* end : {".weight", ".bias"})
            if (key.ends_with(end)) kind = end, key.resize(key.size() - std::strlen(end));
        if (key == "emb") return "token_embd" + kind;
        if (key == "ln_out") return "output_norm" + kind;
        if (key == "head") return "output" + kind;
        if (key.ends_with(".ln0")) return "token_embd_norm" + kind;
        size_t dot = key.find('.', 7);  // "blocks.N."
        std::string layer = key.substr(7, dot - 7), part = key.substr(dot + 1);
        auto known = parts.find(part);
        return "blk." + layer + "." + (known != parts.end() ? known->second : "time_mix_" + part.substr(4)) + kind;
    };
    uint32_t width = u32(12);
    GgufWriter writer;
    EXPECT_TRUE(writer.set_string("general.architecture", "rwkv7"));
    const std::pair<const char*, uint32_t> keys[] = {{"block_count", u32(16)},
                                                     {"embedding_length", width},
                                                     {"context_length", 1 << 20},
                                                     {"feed_forward_length", 4 * width},
                                                     {"wkv.head_size", 64},
                                                     {"attention.decay_lora_rank", 32},
                                                     {"attention.iclr_lora_rank", 32},
                                                     {"attention.value_residual_mix_lora_rank", 32},
                                                     {"attention.gate_lora_rank", 32}};
    for (auto [key, value] : keys) EXPECT_TRUE(writer.set_u32("rwkv7." + std::string(key), value));
    EXPECT_TRUE(writer.set_f32("rwkv7.attention.layer_norm_epsilon", 1e-5f));
    for (size_t at = 24; at + 12 <= file.size();) {
        uint32_t rank = u32(at), key_length = u32(at + 4), type = u32(at + 8);
        at += 12;
        std::vector<int64_t> shape;
        int64_t n = 1;
        for (uint32_t i = 0; i < rank; ++i, at += 4) shape.push_back(u32(at)), n *= shape.back();
        std::string key(reinterpret_cast<const char*>(file.data()) + at, key_length);
        at += key_length;
        if (key.ends_with("x_rwkvag")) shape = {width, 1, 1, 6};
        while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
        size_t bytes = size_t(n) * (type == 0 ? 4 : 2);
        auto added = writer.add_tensor(gguf_name(key), type == 0 ? DType::kF32 : DType::kF16, shape,
                                       Bytes(file).subspan(at, bytes));
        if (!added) ADD_FAILURE() << added.error().message;
        at += bytes;
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
