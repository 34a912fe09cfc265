#include "convert/feedback.h"

#include <algorithm>
#include <cmath>

#include "base/sha256.h"
#include "tensor/dtype_grid.h"

namespace sterna {

namespace {

constexpr double kDamping = 0.01;     // of the mean diagonal: keeps what the calibration text never used from steering
constexpr int64_t kJudgedRows = 64;   // of a tensor, spread evenly
constexpr int64_t kMinTokens = 1024;  // fewer say too little about how columns vary together
constexpr double kMinRowsPerColumn = 1.0;

// The lower triangle was summed, tile by tile.
double moment_at(const float* set, int64_t width, int64_t i, int64_t j) {
    return double(set[std::max(i, j) * width + std::min(i, j)]);
}

// In place, [n][n]: a symmetric matrix to the lower triangle of its Cholesky factor L, a = L L'. Returns: false when it is
// not positive.
bool cholesky(std::vector<double>& a, int64_t n) {
    for (int64_t j = 0; j < n; ++j) {
        double* row_j = a.data() + j * n;
        double diagonal = row_j[j];
        for (int64_t k = 0; k < j; ++k) diagonal -= row_j[k] * row_j[k];
        if (!(diagonal > 0.0)) return false;
        const double root = std::sqrt(diagonal);
        row_j[j] = root;
        for (int64_t i = j + 1; i < n; ++i) {
            double* row_i = a.data() + i * n;
            double sum = row_i[j];
            for (int64_t k = 0; k < j; ++k) sum -= row_i[k] * row_j[k];
            row_i[j] = sum / root;
        }
    }
    return true;
}

}  // namespace

bool FeedbackEncoder::handles(const SourceTensor& tensor, DType type) const {
    if (!has_block_grid(type) || tensor.shape.size() != 2) return false;
    const Moments* moments = calibration_.find(tensor.name);
    if (!moments || moments->n_columns != tensor.row_elements() || tensor.name == "token_embd.weight") return false;
    if (moments->n_fitted < double(kMinTokens) || moments->n_held <= 0.0) return false;
    std::lock_guard lock(mutex_);
    if (tensor_ != &tensor || type_ != type) {
        if (!factor_ || factor_->moments != moments) factor_ = factor_of(*moments);
        tensor_ = &tensor;
        type_ = type;
        use_ = false;
        if (factor_) {
            const Verdict verdict = judge(tensor, type, *factor_);
            verdicts_[tensor.name] = verdict;
            use_ = verdict.used();
        }
    }
    return use_;
}

std::string FeedbackEncoder::identity() const {
    Sha256 hash;
    for (const auto& [name, moments] : calibration_.moments) {
        hash.update(name.data(), name.size() + 1);
        hash.update(moments->fitted.data(), moments->fitted.size() * sizeof(float));
        hash.update(moments->held.data(), moments->held.size() * sizeof(float));
    }
    return "feedback " + hex_text(hash.finish());
}

// With H = M + damping: for a row w, rounding column j to q leaves e = w_j - q, and the best the later columns can do is
// w_k -= e U_jk / U_jj, where H^-1 = U' U with U upper triangular. U comes from one Cholesky factor of H reversed in both
// directions and one triangular inversion.
std::shared_ptr<const FeedbackEncoder::Factor> FeedbackEncoder::factor_of(const Moments& moments) const {
    auto factor = std::make_shared<Factor>();
    factor->moments = &moments;
    factor->upper.resize(moments.fitted.size());
    for (int64_t group = 0; group < moments.n_groups(); ++group) {
        const int64_t n = moments.group_columns(group), width = moments.width;
        const float* set = moments.of(moments.fitted, group);
        double mean = 0.0;
        for (int64_t i = 0; i < n; ++i) mean += moment_at(set, width, i, i) / double(n);
        for (int64_t i = 0; i < n; ++i)
            factor->importance.push_back(float(moment_at(set, width, i, i) / moments.n_fitted));
        // Fewer rows than columns: more damping.
        const double scarce = std::max(1.0, kMinRowsPerColumn * double(n) / moments.n_fitted);
        const double damping = std::max(kDamping * scarce * mean, 1e-30);
        // R[i][j] = H[n-1-i][n-1-j] = L L'. Then H = U1 U1' with U1[i][j] = L[n-1-i][n-1-j] upper triangular, and
        // H^-1 = U1^-T U1^-1: its factor U = U1^-1, upper triangular, H^-1 = U' U.
        std::vector<double> a(size_t(n * n));
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < n; ++j)
                a[size_t(i * n + j)] = moment_at(set, width, n - 1 - i, n - 1 - j) + (i == j ? damping : 0.0);
        if (!cholesky(a, n)) return nullptr;
        // Invert L: row i of the inverse, X = L^-1, lower triangular.
        std::vector<double> x(size_t(n * n), 0.0);
        for (int64_t i = 0; i < n; ++i) {
            double* row = x.data() + i * n;
            for (int64_t k = 0; k < i; ++k) {
                const double l = a[size_t(i * n + k)];
                const double* from = x.data() + k * n;
                for (int64_t j = 0; j <= k; ++j) row[j] -= l * from[j];
            }
            const double root = a[size_t(i * n + i)];
            for (int64_t j = 0; j < i; ++j) row[j] /= root;
            row[i] = 1.0 / root;
        }
        // U[i][j] = X[n-1-i][n-1-j], j >= i. Each row divided by its diagonal.
        float* upper = factor->upper.data() + group * width * width;
        for (int64_t i = 0; i < n; ++i) {
            const double* row = x.data() + (n - 1 - i) * n;
            const double diagonal = row[n - 1 - i];
            for (int64_t j = i; j < n; ++j) upper[i * width + j] = float(row[n - 1 - j] / diagonal);
        }
    }
    return factor;
}

void FeedbackEncoder::encode_rows(const Factor& factor, DType type, int64_t n, const float* from, uint8_t* to) const {
    const Moments& moments = *factor.moments;
    const DTypeTraits& traits = *dtype_traits(type);
    const int64_t n_cols = moments.n_columns, block = traits.block_size,
                  row_bytes = n_cols / block * traits.block_bytes;
    std::vector<float> values(from, from + n * n_cols);
    std::vector<float> errors(size_t(n * block));
    std::vector<uint8_t> levels{};
    levels.resize(size_t(block));
    for (int64_t at = 0; at < n_cols; at += block) {
        const int64_t group = at / moments.width, group_begin = group * moments.width;
        const int64_t group_end = group_begin + moments.group_columns(group), width = moments.width;
        const float* upper = factor.upper.data() + group * width * width;
        for (int64_t row = 0; row < n; ++row) {
            float* x = values.data() + row * n_cols + at;
            uint8_t* bytes = to + row * row_bytes + at / block * traits.block_bytes;
            traits.encode(x, bytes, block, factor.importance.data() + at);
            const BlockGrid grid = read_block_grid(type, bytes);
            float* e = errors.data() + row * block;
            for (int64_t j = 0; j < block; ++j) {
                const int run = int(j / grid.run_elements);
                levels[size_t(j)] = nearest_level(grid, run, x[j]);
                e[j] = x[j] - level_value(grid, run, levels[size_t(j)]);
                const float* u = upper + (at + j - group_begin) * width + (at - group_begin);
                for (int64_t k = j + 1; k < block; ++k) x[k] -= e[j] * u[k];
            }
            write_block_levels(type, levels.data(), bytes);
        }
        // The columns behind the block, for all rows while the factor's rows are in the cache.
        for (int64_t row = 0; row < n; ++row) {
            float* x = values.data() + row * n_cols;
            const float* e = errors.data() + row * block;
            for (int64_t j = 0; j < block; ++j) {
                const float* u = upper + (at + j - group_begin) * width - group_begin;
                const float error = e[j];
                for (int64_t k = at + block; k < group_end; ++k) x[k] -= error * u[k];
            }
        }
    }
}

void FeedbackEncoder::encode(const SourceTensor&, DType type, int64_t, int64_t n, std::span<const float> from,
                             std::span<uint8_t> to) const {
    std::shared_ptr<const Factor> factor;
    {
        std::lock_guard lock(mutex_);
        factor = factor_;
    }
    encode_rows(*factor, type, n, from.data(), to.data());
}

FeedbackEncoder::Verdict FeedbackEncoder::judge(const SourceTensor& tensor, DType type, const Factor& factor) const {
    const DTypeTraits& traits = *dtype_traits(type);
    const Moments& moments = *factor.moments;
    const int64_t n_cols = tensor.row_elements(), n_rows = std::min(kJudgedRows, tensor.n_rows());
    std::vector<float> rows(size_t(n_rows * n_cols)), decoded(rows.size());
    for (int64_t i = 0; i < n_rows; ++i) {
        std::span<float> row(rows.data() + i * n_cols, size_t(n_cols));
        if (!source_.read_rows(tensor, i * tensor.n_rows() / n_rows, 1, row)) return {};
    }
    std::vector<uint8_t> blocks(size_t(*dtype_bytes(type, uint64_t(rows.size()))));
    const double outputs = moment_error(moments, moments.held, moments.n_held, rows.data(), n_rows);
    auto error = [&] {
        traits.decode(blocks.data(), decoded.data(), n_rows * n_cols);
        for (size_t i = 0; i < rows.size(); ++i) decoded[i] -= rows[i];
        const double sum = moment_error(moments, moments.held, moments.n_held, decoded.data(), n_rows);
        return outputs > 0.0 ? sum / outputs : sum;
    };
    Verdict verdict;
    for (int64_t i = 0; i < n_rows; ++i)
        traits.encode(rows.data() + i * n_cols, blocks.data() + i * (n_cols / traits.block_size * traits.block_bytes),
                      n_cols, factor.importance.data());
    verdict.plain = error();
    encode_rows(factor, type, n_rows, rows.data(), blocks.data());
    verdict.feedback = error();
    return verdict;
}

double moment_error(const Moments& moments, const std::vector<float>& set, double n, const float* errors,
                    int64_t n_rows) {
    double total = 0.0;
    for (int64_t row = 0; row < n_rows; ++row)
        for (int64_t group = 0; group < moments.n_groups(); ++group) {
            const float* e = errors + row * moments.n_columns + group * moments.width;
            const float* m = moments.of(set, group);
            for (int64_t i = 0; i < moments.group_columns(group); ++i) {
                double sum = 0.5 * double(m[i * moments.width + i]) * double(e[i]);
                for (int64_t j = 0; j < i; ++j) sum += double(m[i * moments.width + j]) * double(e[j]);
                total += 2.0 * sum * double(e[i]);
            }
        }
    return n > 0.0 ? total / (n * double(n_rows)) : 0.0;
}

}  // namespace sterna
