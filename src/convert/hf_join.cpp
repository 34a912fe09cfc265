#include "convert/hf_join.h"

#include <algorithm>
#include <cmath>

#include "convert/hf_changes.h"

namespace sterna {

namespace {

// Of one of the matrices in a stack.
struct Extent {
    int64_t rows, columns;
    bool operator==(const Extent&) const = default;
};

Extent extent_of(const HfPart& part) {
    const TensorView& tensor = *part.tensor;
    return tensor.n_dims == 1 && !part.is_row ? Extent{tensor.shape[0], 1} : Extent{tensor.shape[1], tensor.shape[0]};
}

// The change that made the other half; the change itself where there is none.
Change partner_of(Change change) {
    constexpr std::pair<Change, Change> kPairs[] = {{Change::kFirstHalf, Change::kSecondHalf},
                                                    {Change::kEvenRows, Change::kOddRows},
                                                    {Change::kEvenColumns, Change::kOddColumns},
                                                    {Change::kTransposeEven, Change::kTransposeOdd},
                                                    {Change::kKeyB, Change::kValueB}};
    for (const auto& [first, second] : kPairs) {
        if (change == first) return second;
        if (change == second) return first;
    }
    return change;
}

// Of a matrix of the whole.
Extent whole_extent(std::span<const HfPart> parts) {
    const Extent part = extent_of(parts[0]);
    switch (parts[0].change) {
        case Change::kTranspose:
            return {part.columns, part.rows};
        case Change::kTransposeEven:
        case Change::kTransposeOdd:
            return {part.columns, 2 * part.rows};
        case Change::kFirstHalf:
        case Change::kSecondHalf:
        case Change::kEvenRows:
        case Change::kOddRows:
            return {2 * part.rows, part.columns};
        case Change::kEvenColumns:
        case Change::kOddColumns:
            return {part.rows, 2 * part.columns};
        case Change::kKeyB:
        case Change::kValueB: {
            const Extent other = extent_of(parts[1]);
            const bool keys_first = parts[0].change == Change::kKeyB;
            const Extent& keys = keys_first ? part : other;  // [rank, nope]
            const Extent& values = keys_first ? other : part;
            return {keys.columns + values.rows, keys.rows};
        }
        default:
            return part;
    }
}

struct Place {
    int64_t row, column;
};

// Where a value of a part's matrix belongs.
Place place_of(Change change, const Config& config, int64_t layer, Extent part, Extent whole, int64_t row,
               int64_t column) {
    switch (change) {
        case Change::kTranspose:
        case Change::kKeyB:
            return {column, row};
        case Change::kTransposeEven:
            return {column, 2 * row};
        case Change::kTransposeOdd:
            return {column, 2 * row + 1};
        case Change::kEvenColumns:
            return {row, 2 * column};
        case Change::kOddColumns:
            return {row, 2 * column + 1};
        case Change::kValueB:
            return {whole.rows - part.rows + row, column};
        case Change::kTileValueColumns:
            return {row, source_column(config.recurrent, column, part.columns)};
        default:
            return {source_row(change, config, layer, row, part.rows), column};
    }
}

}  // namespace

bool is_joined(Change change) {
    constexpr Change kAlone[] = {Change::kTranspose,       Change::kInterleaveQ,   Change::kInterleaveK,
                                 Change::kHeadsQkv,        Change::kTileValueRows, Change::kTileValueColumns,
                                 Change::kNegExpTileValues};
    return partner_of(change) != change || std::ranges::find(kAlone, change) != std::end(kAlone);
}

std::vector<int64_t> joined_shape(std::span<const HfPart> parts) {
    const HfPart& first = parts[0];
    const bool alone = partner_of(first.change) == first.change;
    if (parts.size() != (alone ? 1 : 2)) return {};
    const Extent extent = extent_of(first);
    const bool by_head = first.change == Change::kKeyB || first.change == Change::kValueB;
    if (!alone) {
        const HfPart& second = parts[1];
        if (second.change != partner_of(first.change) || second.tensor->shape[2] != first.tensor->shape[2]) return {};
        const Extent other = extent_of(second);
        const bool fits =
            by_head ? (first.change == Change::kKeyB ? extent.rows == other.columns : extent.columns == other.rows)
                    : extent == other;
        if (!fits) return {};
    }
    const Extent whole = whole_extent(parts);
    if (first.tensor->n_dims == 1 && !first.is_row) return {whole.rows};
    if (by_head) return {first.tensor->shape[2] * whole.rows, whole.columns};
    if (first.tensor->n_dims == 3) return {first.tensor->shape[2], whole.rows, whole.columns};
    return {whole.rows, whole.columns};
}

Status join_parts(std::span<const HfPart> parts, const Config& config, int64_t layer,
                  FunctionRef<Status(std::span<const float>)> sink) {
    const Extent whole = whole_extent(parts);
    std::vector<float> matrix(size_t(whole.rows * whole.columns)), values;
    for (int64_t at = 0; at < parts[0].tensor->shape[2]; ++at) {
        for (const HfPart& part : parts) {
            const Extent extent = extent_of(part);
            const DTypeTraits* traits = dtype_traits(part.tensor->type);
            const int64_t n = extent.rows * extent.columns;
            values.resize(size_t(n));
            traits->decode(part.tensor->data.data() + *dtype_bytes(part.tensor->type, uint64_t(at * n)), values.data(),
                           n);
            if (part.change == Change::kNegExpTileValues)
                for (float& value : values) value = std::log(-value);
            for (int64_t row = 0; row < extent.rows; ++row)
                for (int64_t column = 0; column < extent.columns; ++column) {
                    const Place to = place_of(part.change, config, layer, extent, whole, row, column);
                    matrix[size_t(to.row * whole.columns + to.column)] = values[size_t(row * extent.columns + column)];
                }
        }
        STERNA_CHECK(sink(matrix));
    }
    return {};
}

}  // namespace sterna
