// Products of bfloat16 numbers: every table adds up as the tiles of AMX-bf16 do, which work in software here.
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/emulated/amx_emulation.h"
#include "tiny_net.h"
#include "train/net_kernels.h"

#define STERNA_AMX_GEMM kAmxEmulatedGemm
#include "train/gemm_amx.inl"

namespace sterna::train {
namespace {

struct Shape {
    int64_t m, n, k;
    bool turned, add, tiny;  // A packed by columns; added to C; numbers so small that denormal products occur
};

std::vector<float> bf16_numbers(size_t n, uint32_t seed, bool tiny) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) {
        const uint32_t random = mix(seed, uint32_t(i), 1), exponent = (tiny ? 50u : 110u) + (random >> 8) % 25u;
        const uint32_t bits = (random & 0x807f0000u) | exponent << 23;
        std::memcpy(&values[i], &bits, sizeof bits);
        if (tiny && random % 16 == 0) values[i] = i % 2 ? 0x1p-130f : -0x1p-130f;
    }
    return values;
}

std::vector<float> product(GemmFn gemm, const Shape& s) {
    const int64_t wide = round_up(s.n, kPanelColumns);
    const auto a = bf16_numbers(size_t(round_up(s.m, kPanelRows) * s.k), 1, s.tiny);
    const auto b = bf16_numbers(size_t(s.k * wide), 2, s.tiny);
    auto c = bf16_numbers(size_t(s.m * (s.n + 3)), 3, s.tiny);
    gemm({.m = s.m,
          .n = s.n,
          .k = s.k,
          .a = a.data(),
          .a_row = s.turned ? 1 : s.k,
          .a_term = s.turned ? kPanelRows : 1,
          .a_group = kPanelRows * s.k,
          .b = b.data(),
          .b_rows = s.k,
          .b_columns = wide,
          .c = c.data(),
          .c_row = s.n + 3,
          .add = s.add});
    return c;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(GemmBf16, EveryTableAddsUpAsTheTilesDo) {
    const Shape shapes[] = {{1, 1, 1, false, false, false},     {16, 16, 32, false, false, false},
                            {33, 40, 31, false, true, false},   {5, 17, 33, true, true, false},
                            {100, 50, 300, true, false, false}, {7, 300, 513, false, true, false},
                            {20, 32, 256, true, true, true},    {98, 7, 290, false, false, true}};
    const NetKernelList tables = all_kernels();
    for (const Shape& shape : shapes) {
        const auto expected = product(kAmxEmulatedGemm, shape);
        for (int i = 0; i < tables.n; ++i)
            EXPECT_TRUE(same_bits(expected, product(tables.tables[i]->gemm_bf16, shape)))
                << tables.tables[i]->name << ": " << shape.m << " x " << shape.n << " x " << shape.k;
    }
    // Another order would show, and so would denormal numbers.
    EXPECT_FALSE(same_bits(product(tables.tables[0]->gemm, shapes[5]), product(kAmxEmulatedGemm, shapes[5])));
    EXPECT_FALSE(same_bits(product(tables.tables[0]->gemm, shapes[6]), product(kAmxEmulatedGemm, shapes[6])));
}

// Loss and gradients of a network whose products run on emulated tiles.
std::vector<float> gradients(const NetConfig& config) {
    ThreadPool pool(2);
    auto net = Net::create(config, 5, pool);
    if (!net) throw std::runtime_error(net.error().message);
    set_tiny_weights(**net, 3);
    const OwnedBatch batch = make_batch(config.vocab_size, 3, config.context, 3);
    (*net)->zero_gradients();
    std::vector<float> result = {float((*net)->loss_and_gradients(batch.batch, 1e-3f).sum)};
    for (const Parameter& p : (*net)->parameters()) result.insert(result.end(), p.gradient.begin(), p.gradient.end());
    return result;
}

TEST(GemmBf16, NetworksGiveTheBitsOfTheTiles) {
    for (bool ternary : {false, true}) {
        const NetConfig config = tiny_config(ternary, true);
        const auto expected = gradients(config);
        for (float value : expected) ASSERT_TRUE(value == value);
        NetKernels tiles = active_kernels();
        tiles.gemm_bf16 = kAmxEmulatedGemm;
        use_kernels(&tiles);
        const auto got = gradients(config);
        use_kernels(nullptr);
        EXPECT_TRUE(same_bits(expected, got)) << (ternary ? "ternary" : "llama");
    }
}

}  // namespace
}  // namespace sterna::train
