#include "train/muon.h"

#include <algorithm>
#include <cmath>

#include "train/gemm.h"

namespace sterna::train {

namespace {

constexpr int kSteps = 5;
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;  // x -> a x + b x^3 + c x^5 takes (0, 1] close to 1
constexpr float kTiny = 1e-7f;
constexpr int64_t kPiece = 1 << 14;

// In pieces of fixed size, their sums in double: the same on any machine and with any number of threads.
double sum_squares(const NetKernels& table, const float* x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i += kPiece) {
        const int64_t length = std::min(kPiece, n - i);
        sum += double(table.dot(x + i, x + i, length));
    }
    return sum;
}

}  // namespace

Muon::Muon(std::vector<Parameter*> matrices, ThreadPool& pool) : matrices_(std::move(matrices)), pool_(pool) {
    int64_t largest = 0, square = 0, packed = 0;
    for (const Parameter* p : matrices_) {
        const int64_t n = std::min(p->rows, p->cols), m = std::max(p->rows, p->cols);
        std::fill_n(momenta_.emplace_back(n * m).data(), n * m, 0.0f);
        largest = std::max(largest, n * m);
        square = std::max(square, n * n);
        packed = std::max({packed, packed_floats(n, m), packed_floats(m, n)});
    }
    x_ = Buffer<float>(largest);
    next_ = Buffer<float>(largest);
    gram_ = Buffer<float>(square);
    poly_ = Buffer<float>(square);
    packed_ = Buffer<float>(packed);
}

// c [m, n] = a [m, k] times a packed b [k, n]; threads take rows.
void Muon::multiply(const float* a, int64_t a_row, int64_t m, int64_t k, const float* packed, int64_t n, float* c) {
    constexpr int64_t kRows = 48;
    pool_.run(int((m + kRows - 1) / kRows), [&](int task, int) {
        const int64_t first = task * kRows;
        table_->gemm(rows_times(a + first * a_row, a_row, std::min(kRows, m - first), k, packed, n, c + first * n));
    });
}

void Muon::orthogonalise(Work& work, int64_t n, int64_t m) {
    for (int step = 0; step < kSteps; ++step) {
        pack_b(*table_, true, work.x, m, m, n, work.packed);
        multiply(work.x, m, n, m, work.packed, n, work.gram);
        pack_b(*table_, false, work.gram, n, n, n, work.packed);
        multiply(work.gram, n, n, n, work.packed, n, work.poly);
        table_->scale_add(kB, work.gram, kC, n * n, work.poly);
        pack_b(*table_, false, work.x, m, n, m, work.packed);
        multiply(work.poly, n, n, n, work.packed, m, work.next);
        table_->scale_add(kA, work.x, 1.0f, n * m, work.next);
        std::swap(work.x, work.next);
    }
}

void Muon::step(const Step& s) {
    table_ = &active_kernels();
    for (size_t i = 0; i < matrices_.size(); ++i) {
        Parameter& p = *matrices_[i];
        const int64_t size = p.rows * p.cols, n = std::min(p.rows, p.cols), m = std::max(p.rows, p.cols);
        const bool turn = p.rows > p.cols;
        float* momentum = momenta_[i].data();
        Work work = {x_.data(), next_.data(), gram_.data(), poly_.data(), packed_.data()};
        // Nesterov's look ahead: the update is gradient + momentum' * m.
        table_->scale_add(s.gradient_scale, p.gradient.data(), s.momentum, size, momentum);
        std::copy_n(p.gradient.data(), size, work.next);
        table_->scale_add(s.momentum, momentum, s.gradient_scale, size, work.next);
        const float factor = 1.0f / (float(std::sqrt(sum_squares(*table_, work.next, size))) + kTiny);
        for (int64_t row = 0; row < p.rows; ++row)
            for (int64_t col = 0; col < p.cols; ++col)
                work.x[turn ? col * m + row : row * m + col] = work.next[row * p.cols + col] * factor;
        orthogonalise(work, n, m);
        const float rate = s.rate * std::sqrt(std::max(1.0f, float(p.rows) / float(p.cols)));
        const float keep = 1.0f - s.rate * s.weight_decay;
        const float* update = work.x;
        if (turn) {
            for (int64_t row = 0; row < p.rows; ++row)
                for (int64_t col = 0; col < p.cols; ++col) work.next[row * p.cols + col] = work.x[col * m + row];
            update = work.next;
        }
        table_->scale_add(-rate, update, keep, size, p.value.data());
    }
}

}  // namespace sterna::train
