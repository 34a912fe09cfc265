#include "convert/hf_changes.h"

#include <algorithm>
#include <cmath>
#include <ranges>

namespace sterna {

namespace {

constexpr int64_t kReadAtOnce = int64_t(1) << 16;  // values read at a time where nothing else gives a size

struct Reader {
    const Checkpoint& checkpoint;
    const HfRecipe& recipe;
    int64_t columns, n_rows, n_matrices;  // of the result

    const CheckpointTensor& part(int64_t i = 0) const { return *recipe.parts[size_t(i)]; }

    int64_t moved_row(int64_t row, int64_t n) const {
        return source_row(recipe.change, *recipe.config, recipe.layer, row, n);
    }

    Status values(int64_t part_index, int64_t first, std::span<float> to) const {
        return checkpoint.read(part(part_index), first, to);
    }

    // Runs of rows that stay together are read at once.
    Status moved_rows(int64_t first, int64_t n, std::span<float> to) const {
        for (int64_t i = 0; i < n;) {
            const int64_t from = moved_row(first + i, n_rows);
            int64_t run = 1;
            while (i + run < n && moved_row(first + i + run, n_rows) == from + run) ++run;
            STERNA_CHECK(values(0, from * columns, to.subspan(size_t(i * columns), size_t(run * columns))));
            i += run;
        }
        return {};
    }

    Status moved_values(std::span<float> to) const {
        std::vector<float> all(size_t(part().n_elements()));
        STERNA_CHECK(values(0, 0, all));
        for (size_t i = 0; i < to.size(); ++i) to[i] = all[size_t(moved_row(int64_t(i), int64_t(to.size())))];
        return {};
    }

    Status stacked(int64_t first, int64_t n, std::span<float> to) const {
        for (int64_t i = 0; i < n;) {
            const int64_t matrix = (first + i) / n_rows, row = (first + i) % n_rows;
            const int64_t run = std::min(n - i, n_rows - row);
            STERNA_CHECK(values(matrix, row * columns, to.subspan(size_t(i * columns), size_t(run * columns))));
            i += run;
        }
        return {};
    }

    // Row r of the result is column `step * r + offset` of the part.
    Status transposed(int64_t first, int64_t n, std::span<float> to, int64_t step, int64_t offset) const {
        constexpr int64_t kMostKept = int64_t(1) << 26;  // values of a matrix
        if (!recipe.transposed || columns * n_rows * step > kMostKept)
            return transposed_panels(first, n, to, step, offset);
        for (int64_t i = 0; i < n;) {
            const int64_t matrix = (first + i) / n_rows, row = (first + i) % n_rows,
                          run = std::min(n - i, n_rows - row);
            auto make = [&](std::vector<float>& whole) { return transpose_matrix(matrix, step * n_rows, whole); };
            STERNA_TRY(whole, recipe.transposed->get(&part(), matrix, make));
            for (int64_t r = 0; r < run; ++r)
                std::copy_n(whole->begin() + ((row + r) * step + offset) * columns, columns,
                            to.begin() + (i + r) * columns);
            i += run;
        }
        return {};
    }

    // [columns][width] of the part to [width][columns].
    Status transpose_matrix(int64_t matrix, int64_t width, std::vector<float>& whole) const {
        constexpr int64_t kRows = 32;  // a tile of what packed tensors unpack at once
        whole.resize(size_t(columns * width));
        std::vector<float> rows;
        for (int64_t at = 0; at < columns; at += kRows) {
            const int64_t n = std::min(kRows, columns - at);
            rows.resize(size_t(n * width));
            STERNA_CHECK(values(0, (matrix * columns + at) * width, rows));
            for (int64_t w = 0; w < width; ++w)
                for (int64_t r = 0; r < n; ++r) whole[size_t(w * columns + at + r)] = rows[size_t(r * width + w)];
        }
        return {};
    }

    Status transposed_panels(int64_t first, int64_t n, std::span<float> to, int64_t step, int64_t offset) const {
        constexpr int64_t kPanel = 256;
        std::vector<float> panel;
        for (int64_t i = 0; i < n;) {
            const int64_t matrix = (first + i) / n_rows, row = (first + i) % n_rows;
            const int64_t run = std::min({n - i, n_rows - row, kPanel});
            panel.resize(size_t(run * step));
            for (int64_t column = 0; column < columns; ++column) {
                STERNA_CHECK(values(0, ((matrix * columns + column) * n_rows + row) * step, panel));
                for (int64_t r = 0; r < run; ++r)
                    to[size_t((i + r) * columns + column)] = panel[size_t(r * step + offset)];
            }
            i += run;
        }
        return {};
    }

    // Every second value of each row.
    Status half_columns(int64_t first, int64_t n, std::span<float> to, int64_t offset) const {
        std::vector<float> row(size_t(2 * columns));
        for (int64_t i = 0; i < n; ++i) {
            STERNA_CHECK(values(0, (first + i) * 2 * columns, row));
            for (int64_t c = 0; c < columns; ++c) to[size_t(i * columns + c)] = row[size_t(2 * c + offset)];
        }
        return {};
    }

    // The values of each row in another order.
    Status moved_columns(int64_t first, int64_t n, std::span<float> to) const {
        std::vector<float> row(static_cast<size_t>(columns));
        for (int64_t i = 0; i < n; ++i) {
            STERNA_CHECK(values(0, (first + i) * columns, row));
            for (int64_t c = 0; c < columns; ++c)
                to[size_t(i * columns + c)] = row[size_t(source_column(recipe.config->recurrent, c, columns))];
        }
        return {};
    }

    // kv_b_proj, [heads * (nope + value), rank]. The result is [nope, rank, heads], transposed per head.
    Status key_b(int64_t first, int64_t n, std::span<float> to) const {
        const int64_t nope = columns, rank = n_rows, heads = n_matrices;
        const int64_t per_head = part().n_elements() / rank / heads;
        std::vector<float> block(size_t(nope * rank));
        for (int64_t i = 0; i < n;) {
            const int64_t head = (first + i) / rank, row = (first + i) % rank, run = std::min(n - i, rank - row);
            STERNA_CHECK(values(0, head * per_head * rank, block));
            for (int64_t r = 0; r < run; ++r)
                for (int64_t c = 0; c < nope; ++c) to[size_t((i + r) * nope + c)] = block[size_t(c * rank + row + r)];
            i += run;
        }
        return {};
    }

    // The result is [rank, value, heads].
    Status value_b(int64_t first, int64_t n, std::span<float> to) const {
        const int64_t rank = columns, value = n_rows, heads = n_matrices;
        const int64_t per_head = part().n_elements() / rank / heads, nope = per_head - value;
        for (int64_t i = 0; i < n;) {
            const int64_t head = (first + i) / value, row = (first + i) % value, run = std::min(n - i, value - row);
            STERNA_CHECK(
                values(0, (head * per_head + nope + row) * rank, to.subspan(size_t(i * rank), size_t(run * rank))));
            i += run;
        }
        return {};
    }
};

}  // namespace

int64_t source_column(const RecurrentConfig& r, int64_t column, int64_t n_columns) {
    const int64_t per_head = n_columns / r.n_heads, head = column / per_head, shared_by = r.n_heads / r.n_key_heads;
    return (head % r.n_key_heads * shared_by + head / r.n_key_heads) * per_head + column % per_head;
}

int64_t source_row(Change change, const Config& config, int64_t layer_or_none, int64_t row, int64_t n_rows) {
    const size_t layer = size_t(std::max<int64_t>(layer_or_none, 0));
    switch (change) {
        case Change::kInterleaveQ:
        case Change::kInterleaveK: {
            const int64_t heads = change == Change::kInterleaveQ ? config.n_heads[layer] : config.n_kv_heads[layer];
            const int64_t head_dim = n_rows / heads;
            // What does not turn stays where it is.
            const int64_t turning = std::min(config.rope.n_dims, head_dim), in_head = row % head_dim;
            if (in_head >= turning) return row;
            return row - in_head + in_head % 2 * (turning / 2) + in_head / 2;
        }
        case Change::kFirstHalf:
            return row / n_rows * 2 * n_rows + row % n_rows;
        case Change::kSecondHalf:
            return row / n_rows * 2 * n_rows + n_rows + row % n_rows;
        case Change::kEvenRows:
            return 2 * row;
        case Change::kOddRows:
            return 2 * row + 1;
        case Change::kHeadsQkv: {
            const int64_t heads = config.n_heads[layer], width = n_rows / 3, head_dim = width / heads;
            const int64_t which = row / width, head = row % width / head_dim;
            return (head * 3 + which) * head_dim + row % head_dim;
        }
        case Change::kTileValueRows:
        case Change::kNegExpTileValues: {
            const RecurrentConfig& r = config.recurrent;
            // Before the values come queries and keys, where there are any.
            const int64_t values_at = n_rows == r.channels ? 2 * r.n_key_heads * r.key_dim : 0;
            if (row < values_at) return row;
            return values_at + source_column(r, row - values_at, n_rows - values_at);
        }
        default:
            return row;
    }
}

Result<std::shared_ptr<const TransposedMatrices::Values>> TransposedMatrices::get(const CheckpointTensor* tensor,
                                                                                  int64_t matrix,
                                                                                  FunctionRef<Status(Values&)> make) {
    std::shared_ptr<Entry> entry;
    {
        std::lock_guard lock(mutex_);
        for (const auto& kept : entries_)
            if (kept->tensor == tensor && kept->matrix == matrix) entry = kept;
        if (!entry) {
            entry = std::make_shared<Entry>();
            entry->tensor = tensor;
            entry->matrix = matrix;
            entries_.push_front(entry);
            if (entries_.size() > kKept) entries_.pop_back();
        }
    }
    std::lock_guard lock(entry->mutex);
    if (!entry->values) {
        auto made = std::make_shared<Values>();
        STERNA_CHECK(make(*made));
        entry->values = std::move(made);
    }
    return entry->values;
}

std::vector<int64_t> part_shape(Change change, std::span<const int64_t> gguf_shape) {
    std::vector<int64_t> shape(gguf_shape.rbegin(), gguf_shape.rend());
    auto times_two = [](int64_t& extent) { extent = extent == kAnyDim ? kAnyDim : 2 * extent; };
    const size_t n = shape.size();
    switch (change) {
        case Change::kStack:
            shape.erase(shape.begin());
            break;
        case Change::kTranspose:
        case Change::kTransposeEven:
        case Change::kTransposeOdd:
            if (n >= 2) std::swap(shape[n - 1], shape[n - 2]);
            if (change != Change::kTranspose) times_two(shape[n - 1]);
            break;
        case Change::kFirstHalf:
        case Change::kSecondHalf:
        case Change::kEvenRows:
        case Change::kOddRows:
            times_two(shape[n >= 2 ? n - 2 : 0]);
            break;
        case Change::kEvenColumns:
        case Change::kOddColumns:
            times_two(shape[n - 1]);
            break;
        case Change::kKeyB:  // "nope, rank, heads" of [heads * (nope + value), rank]
            if (n == 3) shape = {kAnyDim, shape[1]};
            break;
        case Change::kValueB:  // "rank, value, heads"
            if (n == 3) shape = {kAnyDim, shape[2]};
            break;
        default:
            break;
    }
    std::erase(shape, 1);
    return shape;
}

bool shape_fits(std::span<const int64_t> wanted, std::span<const int64_t> found) {
    std::vector<int64_t> counted(found.begin(), found.end());
    if (std::ranges::find(counted, 0) != counted.end()) return false;
    std::erase(counted, 1);
    if (std::ranges::equal(wanted, counted, [](int64_t want, int64_t have) { return want == have || want == kAnyDim; }))
        return true;
    // An extent that may be anything may be 1.
    return wanted.size() == counted.size() + 1 && std::ranges::count(wanted, kAnyDim) == 1 &&
           std::ranges::equal(wanted | std::views::filter([](int64_t e) { return e != kAnyDim; }), counted);
}

Status make_rows(const Checkpoint& checkpoint, const HfRecipe& recipe, int64_t first, int64_t n, std::span<float> to) {
    const auto& shape = recipe.shape;
    const int64_t columns = shape[0], n_rows = shape.size() > 1 ? shape[1] : 1;
    int64_t n_matrices = 1;
    for (size_t i = 2; i < shape.size(); ++i) n_matrices *= shape[i];
    const Reader reader{checkpoint, recipe, columns, n_rows, n_matrices};
    switch (recipe.change) {
        case Change::kNone:
        case Change::kFlatten:
        case Change::kTernaryScale:
            return reader.values(0, first * columns, to);
        case Change::kPlusOne:
            STERNA_CHECK(reader.values(0, first * columns, to));
            for (float& value : to) value += 1.0f;
            return {};
        case Change::kNegExp:
            STERNA_CHECK(reader.values(0, first * columns, to));
            for (float& value : to) value = -std::exp(value);
            return {};
        case Change::kStack:
            return reader.stacked(first, n, to);
        case Change::kInterleaveQ:
        case Change::kInterleaveK:
        case Change::kFirstHalf:
        case Change::kSecondHalf:
        case Change::kEvenRows:
        case Change::kOddRows:
        case Change::kHeadsQkv:
        case Change::kTileValueRows:
            return shape.size() == 1 ? reader.moved_values(to) : reader.moved_rows(first, n, to);
        case Change::kTileValueColumns:
            return reader.moved_columns(first, n, to);
        case Change::kNegExpTileValues:
            STERNA_CHECK(reader.moved_values(to));
            for (float& value : to) value = -std::exp(value);
            return {};
        case Change::kEvenColumns:
            return reader.half_columns(first, n, to, 0);
        case Change::kOddColumns:
            return reader.half_columns(first, n, to, 1);
        case Change::kTranspose:
            return reader.transposed(first, n, to, 1, 0);
        case Change::kTransposeEven:
            return reader.transposed(first, n, to, 2, 0);
        case Change::kTransposeOdd:
            return reader.transposed(first, n, to, 2, 1);
        case Change::kKeyB:
            return reader.key_b(first, n, to);
        case Change::kValueB:
            return reader.value_b(first, n, to);
    }
    return fail(ErrorCode::kUnsupported, "a change of tensors that the converter does not know");
}

Result<float> ternary_scale(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
    constexpr double kSmallest = 1e-5;  // as BitNet's own quantizer clamps it
    const int64_t n = tensor.n_elements();
    std::vector<float> chunk(size_t(std::min(n, kReadAtOnce)));
    double sum = 0.0;
    float magnitude = 0.0f;
    bool ternary = true;
    for (int64_t at = 0; at < n; at += kReadAtOnce) {
        const std::span<float> part(chunk.data(), size_t(std::min(kReadAtOnce, n - at)));
        STERNA_CHECK(checkpoint.read(tensor, at, part));
        for (float value : part) {
            const float size = std::abs(value);
            sum += double(size);
            if (size == 0.0f) continue;
            if (magnitude == 0.0f) magnitude = size;
            ternary = ternary && size == magnitude;
        }
    }
    if (!std::isfinite(sum)) return fail(ErrorCode::kBadFile, "{}: infinite or not a number", tensor.name);
    if (ternary && magnitude > 0.0f) return magnitude;
    return float(std::max(sum / double(std::max<int64_t>(n, 1)), kSmallest));
}

void make_ternary_values(std::span<float> values, float scale) {
    const float inverse = 1.0f / scale;
    for (float& value : values) value = std::clamp(std::nearbyint(value * inverse), -1.0f, 1.0f);
}

}  // namespace sterna
