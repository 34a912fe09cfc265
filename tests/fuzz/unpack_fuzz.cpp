// Packed matrices of quantized checkpoints from hostile tensors: GPTQ, AWQ, compressed-tensors, FP8, MXFP4, NVFP4, BitNet.
// The readers of files have fuzz targets of their own and give tensors whose data is as long as their shapes say; here any
// such tensors come together. Refused, or every value can be read, and is the same in whatever pieces it is read.
//
// An input: method, flags, group size, rows and columns of a block, a byte each; then tensors, each: name, element type,
// number of dimensions, the dimensions, n, and n bytes that its data repeats. tests/fuzz/make_unpack_corpus.py writes some.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "convert/listed_checkpoint.h"
#include "tensor/element_type.h"

namespace {

using namespace sterna;

constexpr int64_t kMostElements = 4096;  // of one tensor

class Input {
public:
    Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
    bool empty() const { return at_ == end_; }
    uint8_t byte() { return empty() ? uint8_t(0) : *at_++; }
    Bytes bytes(size_t n) {
        n = std::min(n, size_t(end_ - at_));
        return {std::exchange(at_, at_ + n), n};
    }
    // Small numbers, multiples of 16 up to 784, and the ends of the range.
    int64_t extent() {
        const int code = byte();
        if (code < 200) return code;
        if (code < 250) return (code - 200) * 16;
        return int64_t(1) << (code == 255 ? 62 : 20 + 8 * (code - 250));
    }

private:
    const uint8_t* at_;
    const uint8_t* end_;
};

// What a reader makes of one file.
class MemoryCheckpoint final : public ListedCheckpoint {
public:
    bool add(Input& in) {
        constexpr const char* kNames[] = {
            "m.qweight",          "m.qzeros",         "m.scales",       "m.g_idx",   "m.weight_packed",
            "m.weight_scale",     "m.weight_shape",   "m.weight_g_idx", "m.weight",  "m.weight_zero_point",
            "m.weight_scale_inv", "m.weight_scale_2", "m_blocks",       "m_scales",  "m.weight_global_scale",
            "m.input_scale",      "n.weight",         "n.weight_scale", "n.k_scale",
        };
        CheckpointTensor tensor;
        tensor.name = kNames[in.byte() % std::size(kNames)];
        const auto type = ElementType(in.byte() % (int(ElementType::kBool) + 1));
        for (size_t n = in.byte() % (kMaxTensorDimensions + 1); n > 0; --n) tensor.shape.push_back(in.extent());
        const Bytes pattern = in.bytes(in.byte());
        const int64_t n = element_count(tensor.shape);
        if (n < 0 || n > kMostElements) return false;
        std::vector<uint8_t> data(size_t(n * element_bytes(type)));
        for (size_t i = 0; i < data.size() && !pattern.empty(); ++i) data[i] = pattern[i % pattern.size()];
        facts_.push_back({type, std::move(data)});
        tensor.exact = element_exact(type);
        if (element_is_stored(type)) tensor.stored = facts_.back().data;
        tensors_.push_back(std::move(tensor));
        return true;
    }
    bool finish() { return bool(index_names("fuzz")); }

    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        const Fact& fact = facts_[position(tensor)];
        // What the interface requires of its caller.
        if (first < 0 || first + int64_t(to.size()) > tensor.n_elements()) std::abort();
        read_elements(fact.type, fact.data, first, to);
        return {};
    }

private:
    struct Fact {
        ElementType type;
        std::vector<uint8_t> data;
    };
    std::vector<Fact> facts_;
};

std::string make_config(Input& in) {
    constexpr const char* kMethods[] = {"",       "gptq",       "awq",  "fp8", "compressed-tensors",
                                        "bitnet", "auto-round", "mxfp4"};
    const std::string method = kMethods[in.byte() % std::size(kMethods)];
    const uint8_t flags = in.byte();
    const int group = int8_t(in.byte());
    auto block = [&] {
        const uint8_t code = in.byte();
        return code == 127 ? INT64_MAX : code == 128 ? INT64_MIN : int64_t(int8_t(code));
    };
    const int64_t rows = block(), columns = block();
    return fmt::format(R"({{"quantization_config": {{"quant_method": "{}", "group_size": {}{}{}{}}}}})", method, group,
                       flags & 1 ? R"(, "checkpoint_format": "gptq_v2", "packing_format": "auto_round:gptq")" : "",
                       flags & 2 ? R"(, "linear_class": "autobitlinear")" : "",
                       flags & 4 ? fmt::format(R"(, "weight_block_size": [{}, {}])", rows, columns) : "");
}

void expect_readable(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
    const int64_t n = tensor.n_elements();
    // At most 16 values of 2 bits in each word.
    if (n < 0 || n > 16 * kMostElements) std::abort();
    if (!tensor.stored.empty() && tensor.stored.size() != dtype_bytes(tensor.exact, uint64_t(n))) std::abort();
    std::vector<float> whole(static_cast<size_t>(n)), part;
    const bool ok = bool(checkpoint.read(tensor, 0, whole));
    for (int64_t first = 0, length = 1; first < n && ok; first += length, length = length % 97 * 3 + 1) {
        part.resize(size_t(std::min(length, n - first)));
        if (!checkpoint.read(tensor, first, part)) std::abort();
        for (size_t i = 0; i < part.size(); ++i) {
            const float value = whole[size_t(first) + i];
            if (std::memcmp(&value, &part[i], sizeof value) != 0 && !(std::isnan(value) && std::isnan(part[i])))
                std::abort();
        }
    }
    checkpoint.release(tensor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input in(data, size);
    const std::string config = make_config(in);
    auto packed = std::make_unique<MemoryCheckpoint>();
    while (!in.empty() && packed->tensors().size() < 12)
        if (!packed->add(in)) return 0;
    if (!packed->finish()) return 0;
    const auto plain = unpack_checkpoint(std::move(packed), config);
    if (!plain) {
        if (plain.error().message.empty()) std::abort();
        return 0;
    }
    for (const CheckpointTensor& tensor : (*plain)->tensors()) expect_readable(**plain, tensor);
    return 0;
}
