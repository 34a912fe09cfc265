// Attention and cache writes: every table against the scalar one bit for bit, the scalar one against a plain double
// computation on the decoded cache, and nothing outside [begin, end) may matter.
#include <memory>

#include "base/half.h"
#include "support.h"

namespace sterna::kernels {
namespace {

struct Shape {
    KvKind kind;
    int64_t head_dim_k, head_dim_v;
};

// Pages of one KV head, each an allocation of exactly its size, filled with 0xff (NaN in every kind) until positions
// are stored.
class Cache {
public:
    Cache(Shape shape, int64_t page_positions, int64_t n_positions) : shape_(shape), page_positions_(page_positions) {
        v_offset_ = k_page_bytes(shape.kind, page_positions, shape.head_dim_k);
        int64_t bytes = v_offset_ + v_page_bytes(shape.kind, page_positions, shape.head_dim_v);
        for (int64_t at = 0; at < n_positions; at += page_positions) {
            pages_.emplace_back(new (std::align_val_t(64)) uint8_t[bytes]);
            std::memset(pages_.back().get(), 0xff, bytes);
            pointers_.push_back(pages_.back().get());
        }
        bytes_ = bytes;
    }

    void store(const Kernels& table, int64_t position, const float* k, const float* v) {
        KvStoreArgs args = {shape_.kind,
                            pages_[position / page_positions_].get(),
                            page_positions_,
                            position % page_positions_,
                            0,
                            v_offset_,
                            shape_.head_dim_k,
                            shape_.head_dim_v,
                            k,
                            v};
        table.kv_store(args);
    }

    double k(int64_t position, int64_t d) const {
        const uint8_t* page = pointers_[position / page_positions_];
        int64_t lane = position % 16, tile = position % page_positions_ / 16;
        const uint8_t* at = page + tile * k_page_bytes(shape_.kind, 16, shape_.head_dim_k);
        if (shape_.kind == KvKind::kF32) return read<float>(at, d * 16 + lane);
        if (shape_.kind == KvKind::kF16) return half_to_float(read<uint16_t>(at, d * 16 + lane));
        return double(read<int8_t>(at, d / 4 * 64 + lane * 4 + d % 4)) *
               half_to_float(read<uint16_t>(at + 16 * shape_.head_dim_k, d / 32 * 16 + lane));
    }

    double v(int64_t position, int64_t c) const {
        const uint8_t* page = pointers_[position / page_positions_] + v_offset_;
        const uint8_t* row = page + position % page_positions_ * v_page_bytes(shape_.kind, 1, shape_.head_dim_v);
        if (shape_.kind == KvKind::kF32) return read<float>(row, c);
        if (shape_.kind == KvKind::kF16) return half_to_float(read<uint16_t>(row, c));
        return double(read<int8_t>(row, c)) * half_to_float(read<uint16_t>(row + shape_.head_dim_v, c / 32));
    }

    const uint8_t* const* pages() const { return pointers_.data(); }
    int64_t page_positions() const { return page_positions_; }
    int64_t v_offset() const { return v_offset_; }
    Shape shape() const { return shape_; }
    std::vector<uint8_t> page(int64_t i) const { return {pointers_[i], pointers_[i] + bytes_}; }

private:
    struct Free {
        void operator()(uint8_t* p) const { operator delete[](p, std::align_val_t(64)); }
    };
    template <class T>
    static T read(const uint8_t* p, int64_t i) {
        T value;
        std::memcpy(&value, p + i * int64_t(sizeof(T)), sizeof(T));
        return value;
    }
    Shape shape_;
    int64_t page_positions_, v_offset_, bytes_;
    std::vector<std::unique_ptr<uint8_t[], Free>> pages_;
    std::vector<const uint8_t*> pointers_;
};

struct Query {
    int64_t begin, end;
    std::vector<float> q;  // [n_q][head_dim_k]
    int64_t n_q;
    float scale, softcap = 0;
    std::vector<float> sinks;
};

// Every chunk into a part of its own, last chunk first, then all merged.
void attend_by_chunks(const Kernels& table, const AttentionArgs& args) {
    const int64_t first = args.begin / kAttentionChunk, last = (args.end - 1) / kAttentionChunk;
    const int64_t floats = attention_part_floats(args.head_dim_v, args.n_q), n = (last + 1 - first) * floats;
    Guarded parts(n);
    std::fill_n(parts.data(), n, NAN);
    for (int64_t chunk = last; chunk >= first; --chunk) {
        AttentionArgs one = args;
        one.begin = std::max(args.begin, chunk * kAttentionChunk);
        one.end = std::min(args.end, (chunk + 1) * kAttentionChunk);
        one.part = parts.data() + (chunk - first) * floats;
        table.attention(one);
    }
    table.attention_merge(args, parts.data());
    EXPECT_TRUE(parts.intact());
}

// The output, [n_q][head_dim_v]; rows lie 5 floats apart in memory, which must stay as they were.
std::vector<float> attend(const Kernels& table, const Cache& cache, const Query& query) {
    Shape shape = cache.shape();
    int64_t stride = shape.head_dim_v + 5;
    Guarded out(query.n_q * stride);
    std::fill_n(out.data(), query.n_q * stride, 77.0f);
    int64_t floats = attention_scratch_floats(shape.head_dim_k, shape.head_dim_v, query.n_q);
    std::unique_ptr<float, decltype(&std::free)> scratch(
        static_cast<float*>(std::aligned_alloc(64, size_t(floats * 4 + 63) / 64 * 64 + 64)), &std::free);
    std::fill_n(scratch.get(), floats + 16, NAN);
    float guard = 4321;
    scratch.get()[floats] = guard;
    AttentionArgs args = {.kind = shape.kind,
                          .pages = cache.pages(),
                          .page_positions = cache.page_positions(),
                          .k_offset = 0,
                          .v_offset = cache.v_offset(),
                          .begin = query.begin,
                          .end = query.end,
                          .head_dim_k = shape.head_dim_k,
                          .head_dim_v = shape.head_dim_v,
                          .n_q = query.n_q,
                          .q = query.q.data(),
                          .q_stride = shape.head_dim_k,
                          .out = out.data(),
                          .out_stride = stride,
                          .scale = query.scale,
                          .softcap = query.softcap,
                          .sinks = query.sinks.empty() ? nullptr : query.sinks.data(),
                          .scratch = scratch.get()};
    table.attention(args);
    std::vector<float> whole(out.data(), out.data() + query.n_q * stride);
    std::fill_n(out.data(), query.n_q * stride, 77.0f);
    attend_by_chunks(table, args);
    EXPECT_EQ(std::memcmp(whole.data(), out.data(), whole.size() * sizeof(float)), 0) << "chunks reduced apart";
    EXPECT_TRUE(out.intact());
    EXPECT_EQ(scratch.get()[floats], guard);
    std::vector<float> result;
    for (int64_t i = 0; i < query.n_q; ++i) {
        result.insert(result.end(), out.data() + i * stride, out.data() + i * stride + shape.head_dim_v);
        for (int64_t c = shape.head_dim_v; c < stride; ++c) EXPECT_EQ(out.data()[i * stride + c], 77.0f);
    }
    return result;
}

// What the quantized kind does to a query before it multiplies.
std::vector<double> effective_query(const Cache& cache, const Query& query) {
    std::vector<double> q(query.q.begin(), query.q.end());
    if (cache.shape().kind != KvKind::kQ8_0) return q;
    std::vector<int8_t> values(q.size());
    std::vector<float> scales(q.size() / 32);
    std::vector<int16_t> sums(q.size() / 32);
    scalar_table().quantize_q8_32(query.q.data(), int64_t(q.size()), values.data(), scales.data(), sums.data());
    for (size_t i = 0; i < q.size(); ++i) q[i] = double(values[i]) * scales[i / 32];
    return q;
}

std::vector<double> attend_in_double(const Cache& cache, const Query& query) {
    Shape shape = cache.shape();
    std::vector<double> q = effective_query(cache, query), out(query.n_q * shape.head_dim_v);
    for (int64_t i = 0; i < query.n_q; ++i) {
        std::vector<double> scores;
        double top = query.sinks.empty() ? -INFINITY : query.sinks[i];
        for (int64_t p = query.begin; p < query.end; ++p) {
            double dot = 0;
            for (int64_t d = 0; d < shape.head_dim_k; ++d) dot += q[i * shape.head_dim_k + d] * cache.k(p, d);
            dot *= query.scale;
            if (query.softcap > 0) dot = query.softcap * std::tanh(dot / query.softcap);
            scores.push_back(dot);
            top = std::max(top, dot);
        }
        double weight = query.sinks.empty() ? 0 : std::exp(query.sinks[i] - top);
        for (double& s : scores) weight += s = std::exp(s - top);
        for (int64_t p = query.begin; p < query.end; ++p) {
            for (int64_t c = 0; c < shape.head_dim_v; ++c)
                out[i * shape.head_dim_v + c] += scores[p - query.begin] / weight * cache.v(p, c);
        }
    }
    return out;
}

Query random_query(Shape shape, int64_t begin, int64_t end, int64_t n_q, uint32_t seed) {
    return {begin, end, random_row(n_q * shape.head_dim_k, seed, 2.0f), n_q, 1.0f / std::sqrt(float(shape.head_dim_k)),
            0,     {}};
}

// Stores [begin, end) only: the rest stays 0xff. Values depend on the position alone.
void fill(Cache& cache, int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
        std::vector<float> k = random_row(cache.shape().head_dim_k, uint32_t(p) * 2 + 1),
                           v = random_row(cache.shape().head_dim_v, uint32_t(p) * 2 + 2);
        cache.store(scalar_table(), p, k.data(), v.data());
    }
}

void expect_near_double(const Cache& cache, const Query& query, const std::vector<float>& got) {
    std::vector<double> want = attend_in_double(cache, query);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 4e-6) << "value " << i;
}

std::vector<Shape> shapes() {
    std::vector<Shape> list;
    for (KvKind kind : {KvKind::kF16, KvKind::kF32}) {
        for (int64_t d : {1, 4, 8, 12, 48, 64, 80, 112, 128, 256}) list.push_back({kind, d, d});
        list.push_back({kind, 96, 64});
        list.push_back({kind, 20, 36});
    }
    for (int64_t d : {32, 64, 96, 128, 256, 576}) list.push_back({KvKind::kQ8_0, d, d});
    list.push_back({KvKind::kQ8_0, 192, 128});
    return list;
}

std::string name_of(Shape s) {
    const char* kinds[] = {"f16", "q8_0", "f32"};
    return std::string(kinds[int(s.kind)]) + " " + std::to_string(s.head_dim_k) + "/" + std::to_string(s.head_dim_v);
}

TEST(Attention, EveryTableGivesTheScalarBitsNearTheDoubleReference) {
    const int64_t ranges[][2] = {{0, 1}, {0, 16}, {3, 5}, {0, 37}, {37, 100}, {15, 17}, {505, 520}};
    for (Shape shape : shapes()) {
        for (auto [begin, end] : ranges) {
            Cache cache(shape, 32, end);
            fill(cache, begin, end);
            for (int64_t n_q : {1, 2, 3, 4, 7}) {
                Query query = random_query(shape, begin, end, n_q, uint32_t(begin + n_q));
                std::vector<float> scalar = attend(scalar_table(), cache, query);
                expect_near_double(cache, query, scalar);
                for (const Kernels* table : tested_tables()) {
                    ASSERT_TRUE(same_bits(attend(*table, cache, query), scalar))
                        << table->name << " " << name_of(shape) << " " << begin << " " << end << " " << n_q;
                }
            }
        }
    }
}

TEST(Attention, LongRangesMergeChunks) {
    for (Shape shape : {Shape{KvKind::kF16, 64, 64}, Shape{KvKind::kQ8_0, 64, 64}, Shape{KvKind::kF32, 16, 24}}) {
        for (auto [begin, end] :
             {std::pair<int64_t, int64_t>{0, 512}, {0, 513}, {500, 1600}, {1023, 1025}, {600, 700}}) {
            Cache cache(shape, 64, end);
            fill(cache, begin, end);
            Query query = random_query(shape, begin, end, 4, 9);
            std::vector<float> scalar = attend(scalar_table(), cache, query);
            expect_near_double(cache, query, scalar);
            for (const Kernels* table : tested_tables())
                ASSERT_TRUE(same_bits(attend(*table, cache, query), scalar)) << table->name << " " << name_of(shape);
        }
    }
}

TEST(Attention, SoftcapAndSinks) {
    for (Shape shape : {Shape{KvKind::kF16, 64, 64}, Shape{KvKind::kQ8_0, 128, 128}}) {
        Cache cache(shape, 16, 700);
        fill(cache, 5, 700);
        for (float cap : {0.0f, 2.0f, 50.0f}) {
            for (bool sinks : {false, true}) {
                Query query = random_query(shape, 5, 700, 3, 4);
                query.softcap = cap;
                if (sinks) query.sinks = {-3.0f, 0.5f, 40.0f};
                std::vector<float> scalar = attend(scalar_table(), cache, query);
                expect_near_double(cache, query, scalar);
                for (const Kernels* table : tested_tables())
                    ASSERT_TRUE(same_bits(attend(*table, cache, query), scalar)) << table->name << " " << cap;
            }
        }
    }
}

// A query's result depends neither on the queries beside it nor on how positions lie in pages.
TEST(Attention, SplitsChangeNothing) {
    for (Shape shape : {Shape{KvKind::kF16, 80, 72}, Shape{KvKind::kQ8_0, 64, 96}, Shape{KvKind::kF32, 12, 12}}) {
        const int64_t begin = 70, end = 1111;
        std::vector<float> first;
        for (int64_t page_positions : {16, 32, 48, 64, 1024}) {
            Cache cache(shape, page_positions, end);
            fill(cache, begin, end);
            Query many = random_query(shape, begin, end, 9, 12);
            for (const Kernels* table : tested_tables()) {
                std::vector<float> together = attend(*table, cache, many), apart;
                for (int64_t i = 0; i < many.n_q; ++i) {
                    Query one = {begin,
                                 end,
                                 {many.q.begin() + i * shape.head_dim_k, many.q.begin() + (i + 1) * shape.head_dim_k},
                                 1,
                                 many.scale,
                                 0,
                                 {}};
                    std::vector<float> out = attend(*table, cache, one);
                    apart.insert(apart.end(), out.begin(), out.end());
                }
                ASSERT_TRUE(same_bits(together, apart)) << table->name << " " << name_of(shape);
                if (first.empty()) first = together;
                ASSERT_TRUE(same_bits(together, first))
                    << table->name << " " << name_of(shape) << " pages of " << page_positions;
            }
        }
    }
}

// Whatever stands before begin and after end, in the same tile or page, changes no bit.
TEST(Attention, NeighboursDoNotLeak) {
    for (Shape shape : {Shape{KvKind::kF16, 64, 64}, Shape{KvKind::kQ8_0, 64, 64}, Shape{KvKind::kF32, 64, 64}}) {
        const int64_t begin = 21, end = 90;
        Cache garbage(shape, 32, 96), full(shape, 32, 96);
        fill(garbage, begin, end);
        fill(full, 0, 96);
        Query query = random_query(shape, begin, end, 4, 5);
        query.softcap = 20;
        for (const Kernels* table : tested_tables()) {
            std::vector<float> a = attend(*table, garbage, query);
            ASSERT_TRUE(same_bits(a, attend(*table, full, query))) << table->name << " " << name_of(shape);
            for (float x : a) ASSERT_TRUE(std::isfinite(x));
        }
    }
}

TEST(KvStore, EveryTableWritesTheSameBytesNearTheValues) {
    for (Shape shape : shapes()) {
        Cache scalar(shape, 32, 32);
        fill(scalar, 3, 20);
        for (const Kernels* table : tested_tables()) {
            Cache other(shape, 32, 32);
            for (int64_t p = 3; p < 20; ++p) {
                std::vector<float> k = random_row(shape.head_dim_k, uint32_t(p) * 2 + 1),
                                   v = random_row(shape.head_dim_v, uint32_t(p) * 2 + 2);
                other.store(*table, p, k.data(), v.data());
                double bound = shape.kind == KvKind::kF16 ? 0x1p-9 : shape.kind == KvKind::kF32 ? 0 : 0.025;
                for (int64_t d = 0; d < shape.head_dim_k; ++d) ASSERT_NEAR(other.k(p, d), k[d], bound);
                for (int64_t c = 0; c < shape.head_dim_v; ++c) ASSERT_NEAR(other.v(p, c), v[c], bound);
            }
            ASSERT_EQ(other.page(0), scalar.page(0)) << table->name << " " << name_of(shape);
        }
    }
}

// What no activation should be, stored all the same: every table leaves the same bytes. (NaN is left out of the kinds
// that keep it as it is: its payload may differ.)
TEST(KvStore, EdgeValuesLeaveTheSameBytes) {
    const std::vector<float> edges = {0.0f,     -0.0f,     1e-45f,   -1e-45f,  1e-38f,    0x1p-25f, 3e38f,     -3e38f,
                                      INFINITY, -INFINITY, 65504.0f, 65520.0f, 0x1p-119f, 127.5f,   -0x1p-14f, NAN};
    for (KvKind kind : {KvKind::kF16, KvKind::kF32, KvKind::kQ8_0}) {
        const Shape shape = {kind, 64, 96};
        for (uint32_t seed = 0; seed < 40; ++seed) {
            // Rows of ordinary values with a few edges in them, and rows of nothing but edges.
            std::vector<float> k = random_row(shape.head_dim_k, seed), v = random_row(shape.head_dim_v, seed + 100);
            std::mt19937 random(seed);
            const size_t n_edges = edges.size() - (kind == KvKind::kQ8_0 ? 0 : 1);
            for (std::vector<float>* row : {&k, &v})
                for (float& x : *row)
                    if (seed >= 30 || random() % 9 == 0) x = edges[random() % n_edges];
            Cache scalar(shape, 16, 16);
            scalar.store(scalar_table(), 5, k.data(), v.data());
            for (const Kernels* table : tested_tables()) {
                Cache other(shape, 16, 16);
                other.store(*table, 5, k.data(), v.data());
                ASSERT_EQ(other.page(0), scalar.page(0)) << table->name << " " << name_of(shape) << " seed " << seed;
            }
        }
    }
}

TEST(KvStore, RoundsToTheNearestHalf) {
    std::vector<float> x = {1.0f + 0x1p-11f, 1.0f + 0x1.8p-10f,   65519.0f, 65520.0f, -INFINITY, 0x1p-25f, 0x1.8p-24f,
                            -0.0f,           0x1p-14f - 0x1p-26f, 0.1f};
    while (x.size() < 16) x.push_back(0.3f);
    for (const Kernels* table : tested_tables()) {
        Cache cache({KvKind::kF16, 16, 16}, 16, 16);
        cache.store(*table, 7, x.data(), x.data());
        for (int64_t d = 0; d < 16; ++d) {
            ASSERT_EQ(cache.k(7, d), half_to_float(float_to_half(x[d]))) << table->name << " " << x[d];
            ASSERT_EQ(cache.v(7, d), half_to_float(float_to_half(x[d]))) << table->name << " " << x[d];
        }
    }
}

}  // namespace
}  // namespace sterna::kernels
