// One hash per entry of the table over fixed inputs, the same on every machine and compiler that runs this test.
#include <string>

#include "support.h"

namespace sterna::kernels {
namespace {

// Inputs from a plain generator: a distribution of the standard library may differ between machines.
std::vector<float> plain_row(int64_t n, uint32_t seed) {
    std::vector<float> row(n);
    uint32_t state = seed * 2654435761u + 1;
    for (float& x : row) {
        state = state * 1664525u + 1013904223u;
        x = float(int32_t(state >> 8) - (1 << 23)) * 0x1p-20f;  // [-8, 8)
    }
    return row;
}

class Hash {  // FNV-1a, 64 bits
public:
    void add(const void* data, size_t bytes) {
        for (size_t i = 0; i < bytes; ++i) value_ = (value_ ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3u;
    }
    void add(const std::vector<float>& row) { add(row.data(), row.size() * sizeof(float)); }
    uint64_t value() const { return value_; }

private:
    uint64_t value_ = 0xcbf29ce484222325u;
};

uint64_t hash_rows(const Kernels& k) {
    const int64_t n = 1003;
    std::vector<float> a = plain_row(n, 1), b = plain_row(n, 2), y(n);
    Hash hash;
    auto put = [&] { hash.add(y); };
    k.rms_norm(a.data(), b.data(), 1e-6f, n, y.data()), put();
    k.layer_norm(a.data(), b.data(), a.data(), 1e-6f, n, y.data()), put();
    k.add_scaled(a.data(), b.data(), 0.3f, n, y.data()), put();
    k.silu_mul(a.data(), b.data(), n, y.data()), put();
    k.gelu_mul(a.data(), b.data(), n, y.data()), put();
    k.relu2_mul(a.data(), b.data(), n, y.data()), put();
    k.gelu_erf(a.data(), n, y.data()), put();
    k.softcap(a.data(), 3.0f, n, y.data()), put();
    float total = k.softmax(a.data(), n, y.data());
    put();
    hash.add(&total, 4);
    y = a;
    k.rope_half(y.data(), 10, 100, 50, a.data(), b.data()), put();
    k.rope_adjacent(y.data(), 10, 100, 40, b.data(), a.data()), put();
    return hash.value();
}

uint64_t hash_attention(const Kernels& k, KvKind kind) {
    const int64_t head_dim = 96, page_positions = 32, n_positions = 640, n_q = 5, begin = 9, end = 629;
    int64_t k_bytes = k_page_bytes(kind, page_positions, head_dim),
            page_bytes = k_bytes + v_page_bytes(kind, page_positions, head_dim);
    std::vector<uint8_t> memory(n_positions / page_positions * page_bytes);
    std::vector<const uint8_t*> pages;
    for (int64_t p = 0; p < n_positions; ++p) {
        uint8_t* page = memory.data() + p / page_positions * page_bytes;
        if (p % page_positions == 0) pages.push_back(page);
        std::vector<float> row = plain_row(2 * head_dim, uint32_t(p));
        k.kv_store({kind, page, page_positions, p % page_positions, 0, k_bytes, head_dim, head_dim, row.data(),
                    row.data() + head_dim});
    }
    std::vector<float> q = plain_row(n_q * head_dim, 77), out(q.size()), sinks = plain_row(n_q, 78);
    std::vector<float> scratch(attention_scratch_floats(head_dim, head_dim, n_q) + 16);
    float* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64 / 4;
    k.attention({kind, pages.data(), page_positions, 0, k_bytes, begin, end, head_dim, head_dim, n_q, q.data(),
                 head_dim, out.data(), head_dim, 0.01f, 4.0f, sinks.data(), aligned});
    Hash hash;
    hash.add(memory.data(), memory.size());
    hash.add(out);
    return hash.value();
}

uint64_t hash_doubles() {
    Hash hash;
    for (float x : plain_row(2000, 5)) {
        for (double y : {exp_f64(x), log_f64(std::fabs(double(x)) + 0.001),
                         pow_f64(std::fabs(double(x)) + 0.1, 1.7 * x), sin_f64(x * 1e5), cos_f64(x * 1e5)})
            hash.add(&y, 8);
    }
    return hash.value();
}

TEST(Golden, SameBitsOnEveryMachine) {
    for (const Kernels* table : tested_tables()) {
        EXPECT_EQ(hash_rows(*table), 12074491507765058230u) << table->name;
        EXPECT_EQ(hash_attention(*table, KvKind::kF16), 7694579033306011886u) << table->name;
        EXPECT_EQ(hash_attention(*table, KvKind::kF32), 3895455696676534119u) << table->name;
        EXPECT_EQ(hash_attention(*table, KvKind::kQ8_0), 2374201821714931069u) << table->name;
    }
    EXPECT_EQ(hash_doubles(), 10456722625702949184u);
}

}  // namespace
}  // namespace sterna::kernels
