#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "kernels/layout.h"
#include "train/flush_denormals.h"
#include "train/net_impl.h"

namespace sterna::train {

namespace {

constexpr int64_t kMaxSize = 1 << 20;                 // of any dimension
constexpr int64_t kMaxParameters = int64_t(1) << 31;  // 32 GiB with gradients and packed copies
constexpr float kSmallestMean = 1e-5f;                // of the magnitudes of a ternary matrix, as in BitNet's own code

// A counter through a mixing function (Steele, Lea and Flood 2014).
uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// The sum of twelve uniform numbers less six: deviation 1, at most 6, and nothing but additions.
float nearly_normal(uint64_t counter) {
    int64_t sum = 0;
    for (uint64_t i = 0; i < 4; ++i) {
        const uint64_t bits = mix(counter + i);
        constexpr uint64_t kMask = (1 << 21) - 1;
        sum += int64_t(bits & kMask) + int64_t(bits >> 21 & kMask) + int64_t(bits >> 42 & kMask);
    }
    return float(double(sum) * 0x1p-21 - 6.0 + 6.0 * 0x1p-21);
}

void fill_normal(std::span<float> values, uint64_t key, double deviation) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(deviation * double(nearly_normal(key + 4 * i)));
}

struct Size {
    const char* name;
    int value;
};

}  // namespace

Result<std::unique_ptr<Net>> Net::create(const NetConfig& config, uint64_t seed, ThreadPool& pool) {
    const Size sizes[] = {{"vocab_size", config.vocab_size}, {"width", config.width},
                          {"n_layers", config.n_layers},     {"n_heads", config.n_heads},
                          {"n_kv_heads", config.n_kv_heads}, {"head_dim", config.head_dim},
                          {"ffn_width", config.ffn_width},   {"context", config.context}};
    for (const Size& size : sizes) {
        if (size.value < 1 || size.value > kMaxSize)
            return fail(ErrorCode::kBadArgument, "{}: {}, expected 1 to {}", size.name, size.value, kMaxSize);
    }
    if (config.n_heads % config.n_kv_heads != 0)
        return fail(ErrorCode::kBadArgument, "n_heads: {}, expected a multiple of n_kv_heads, {}", config.n_heads,
                    config.n_kv_heads);
    if (config.head_dim % 2 != 0)
        return fail(ErrorCode::kBadArgument, "head_dim: {}, expected an even number", config.head_dim);
    for (size_t n : {config.rope_divisors.size(), config.rope_frequencies.size()})
        if (n != 0 && n != size_t(config.head_dim / 2))
            return fail(ErrorCode::kBadArgument, "rope_frequencies, rope_divisors: {}, expected {}", n,
                        config.head_dim / 2);
    if (!(config.rope_base > 0) || !(config.norm_epsilon > 0) || !(config.init_deviation >= 0))
        return fail(ErrorCode::kBadArgument,
                    "rope_base {}, norm_epsilon {}, init_deviation {}: expected positive numbers", config.rope_base,
                    config.norm_epsilon, config.init_deviation);
    if (config.bf16 && !FlushDenormals::kWorks)
        return fail(ErrorCode::kUnsupported,
                    "bf16: not on this machine, whose denormal numbers cannot be flushed here");
    if (config.ternary && !config.bitnet)
        return fail(ErrorCode::kBadArgument, "ternary: wanted for a bitnet network only");
    if (config.int8_gradients && (!config.ternary || config.bf16))
        return fail(ErrorCode::kBadArgument, "int8_gradients: wanted for a ternary network without bf16 only");
    const double attention = double(config.head_dim) * (config.n_heads + config.n_kv_heads) * 2;
    const double n_parameters = double(config.vocab_size) * config.width * (config.tied_embedding ? 1 : 2) +
                                double(config.n_layers) * config.width * (attention + 3.0 * config.ffn_width);
    if (n_parameters > double(kMaxParameters))
        return fail(ErrorCode::kLimit, "model: {:.0f} parameters, at most {}", n_parameters, kMaxParameters);
    try {
        auto net = std::make_unique<Transformer>(config, pool);
        net->initialize(seed);
        return net;
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::kOutOfMemory, "model: not enough memory to train {:.0f} parameters", n_parameters);
    }
}

Transformer::Transformer(const NetConfig& config, ThreadPool& pool, bool integers)
    : config_(config), pool_(pool), integers_(integers), rope_halves_(config.bitnet || config.rope_halves) {
    q_width_ = int64_t(config.n_heads) * config.head_dim;
    kv_width_ = int64_t(config.n_kv_heads) * config.head_dim;
    qkv_width_ = q_width_ + 2 * kv_width_;
    widest_ = std::max({int64_t(config.width), qkv_width_, 2 * int64_t(config.ffn_width)});
    embedding_ = add_parameter("token_embd.weight", ParameterKind::kEmbedding, false, config.vocab_size, config.width);
    for (int i = 0; i < config.n_layers; ++i) add_layer(i);
    output_norm_ = add_parameter("output_norm.weight", ParameterKind::kNorm, false, 1, config.width);
    output_ = config.tied_embedding
                  ? embedding_
                  : add_parameter("output.weight", ParameterKind::kEmbedding, false, config.vocab_size, config.width);
    if (!config.rope_divisors.empty())
        add_parameter("rope_freqs.weight", ParameterKind::kConstant, false, 1, config.head_dim / 2);
    lay_out_memory();
}

int Transformer::add_parameter(std::string name, ParameterKind kind, bool ternary, int64_t rows, int64_t cols) {
    parameters_.push_back({std::move(name), kind, ternary, rows, cols, {}, {}});
    return int(parameters_.size()) - 1;
}

void Transformer::add_layer(int index) {
    Layer layer = {};
    const std::string prefix = "blk." + std::to_string(index) + ".";
    auto norm = [&](const char* name, int64_t n) {
        return add_parameter(prefix + name + ".weight", ParameterKind::kNorm, false, 1, n);
    };
    auto bias = [&](const char* name, int64_t n) {
        return add_parameter(prefix + name + ".bias", ParameterKind::kBias, false, 1, n);
    };
    auto matrix = [&](const char* name, int64_t rows, int64_t cols) {
        return add_parameter(prefix + name + ".weight", ParameterKind::kMatrix, config_.ternary, rows, cols);
    };
    const int64_t width = config_.width, ffn = config_.ffn_width;
    layer.attn_norm = norm("attn_norm", width);
    const int q = matrix("attn_q", q_width_, width);
    matrix("attn_k", kv_width_, width);
    matrix("attn_v", kv_width_, width);
    layer.q_bias = config_.qkv_bias ? bias("attn_q", q_width_) : -1;
    for (const char* name : {"attn_k", "attn_v"})
        if (config_.qkv_bias) bias(name, kv_width_);
    layer.q_norm = config_.head_norm ? norm("attn_q_norm", config_.head_dim) : -1;
    layer.k_norm = config_.head_norm ? norm("attn_k_norm", config_.head_dim) : -1;
    layer.attn_sub_norm = config_.bitnet ? norm("attn_sub_norm", q_width_) : -1;
    const int output = matrix("attn_output", width, q_width_);
    layer.ffn_norm = norm("ffn_norm", width);
    const int gate = matrix("ffn_gate", ffn, width);
    matrix("ffn_up", ffn, width);
    layer.ffn_sub_norm = config_.bitnet ? norm("ffn_sub_norm", ffn) : -1;
    const int down = matrix("ffn_down", width, ffn);
    layer.qkv = make_linear(q, 3);
    layer.attention_output = make_linear(output, 1);
    layer.gate_up = make_linear(gate, 2);
    layer.down = make_linear(down, 1);
    layers_.push_back(layer);
}

Linear Transformer::make_linear(int first_parameter, int n_parameters) {
    Linear linear = {};
    linear.first_parameter = first_parameter;
    linear.n_parameters = n_parameters;
    linear.ternary = config_.ternary;
    for (int i = 0; i < first_parameter; ++i)
        linear.offset += parameters_[size_t(i)].rows * parameters_[size_t(i)].cols;
    linear.n_in = parameters_[size_t(first_parameter)].cols;
    for (int i = 0; i < n_parameters; ++i) linear.n_out += parameters_[size_t(first_parameter + i)].rows;
    return linear;
}

template <>
float* Transformer::allocate<float>(int64_t n) {
    return floats_.emplace_back(n).data();
}
template <>
int8_t* Transformer::allocate<int8_t>(int64_t n) {
    return bytes_.emplace_back(n).data();
}

uint8_t* Transformer::allocate_integers(int64_t rows, int64_t columns) {
    const int64_t panels = round_up(rows, kernels::kPanelRows) / kernels::kPanelRows;
    return reinterpret_cast<uint8_t*>(
        allocate<int8_t>(panels * kernels::panel_bytes(kernels::WeightKind::kTQ2_0, columns)));
}

void Transformer::lay_out_memory() {
    lay_out_parameters();
    max_tokens_ = std::max(kChunkTokens, int64_t(config_.context));
    for (Layer& layer : layers_) lay_out_layer(layer);
    lay_out_scratch();
    fill_rotations();
}

void Transformer::lay_out_parameters() {
    int64_t n_values = 0;
    for (const Parameter& p : parameters_) n_values += p.rows * p.cols;
    values_ = Buffer<float>(n_values);
    gradients_ = Buffer<float>(n_values);
    int64_t offset = 0;
    for (Parameter& p : parameters_) {
        const int64_t n = p.rows * p.cols;
        p.value = {values_.data() + offset, size_t(n)};
        p.gradient = {gradients_.data() + offset, size_t(n)};
        offset += n;
    }
    std::fill_n(gradients_.data(), n_values, 0.0f);
    std::fill_n(values_.data(), n_values, 0.0f);
    ternary_ = allocate<float>(config_.ternary ? n_values : 0);
    factors_ = config_.ternary || config_.bf16 ? allocate<float>(n_values) : values_.data();
    ternary_scale_.resize(parameters_.size());
}

void Transformer::lay_out_layer(Layer& layer) {
    const int64_t width = config_.width, ffn = config_.ffn_width;
    auto make_input = [&](int64_t n) {
        Input input = {};
        if (config_.ternary) {
            input.panels_s8 = allocate<int8_t>(panel_floats(max_tokens_, n));
            input.scale = allocate<float>(max_tokens_);
        } else {
            input.panels = allocate<float>(panel_floats(max_tokens_, n));
        }
        return input;
    };
    for (Linear* linear : {&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down}) {
        if (integers_ && linear->ternary && linear->n_in % kBlock == 0) {
            linear->integers = allocate_integers(linear->n_out, linear->n_in);
        } else {
            linear->forward = allocate<float>(packed_floats(linear->n_in, linear->n_out));
        }
        if (config_.int8_gradients && linear->n_out % kBlock == 0) {
            linear->integers_back = allocate_integers(linear->n_in, linear->n_out);
        } else {
            linear->backward = allocate<float>(packed_floats(linear->n_out, linear->n_in));
        }
        if (linear->ternary) linear->column_scale = allocate<float>(linear->n_out);
    }
    layer.x = allocate<float>(max_tokens_ * width);
    layer.qkv_input = make_input(width);
    layer.qkv_out = allocate<float>(max_tokens_ * qkv_width_);
    if (config_.head_norm) layer.heads = allocate<float>(max_tokens_ * (q_width_ + kv_width_));
    layer.log_sum = allocate<float>(max_tokens_ * config_.n_heads);
    layer.attended = allocate<float>(max_tokens_ * q_width_);
    layer.output_input = make_input(q_width_);
    layer.x_middle = allocate<float>(max_tokens_ * width);
    layer.gate_up_input = make_input(width);
    layer.gate_up_out = allocate<float>(max_tokens_ * 2 * ffn);
    layer.down_input = make_input(ffn);
}

void Transformer::lay_out_scratch() {
    const int64_t width = config_.width, ffn = config_.ffn_width, vocab = config_.vocab_size;
    x_out_ = allocate<float>(max_tokens_ * width);
    dx_ = allocate<float>(max_tokens_ * width);
    dx_middle_ = allocate<float>(max_tokens_ * width);
    dattended_ = allocate<float>(max_tokens_ * q_width_);
    dqkv_ = allocate<float>(max_tokens_ * qkv_width_);
    vector_stride_ = round_up(width, 16);  // of the output norm
    int64_t stride = 0;
    for (int vector : vectors_of(layers_[0])) stride += round_up(parameters_[size_t(vector)].cols, 16);
    vector_stride_ = std::max(vector_stride_, stride);
    vector_gradients_ = allocate<float>((max_tokens_ + kTile - 1) / kTile * vector_stride_);

    head_forward_ = allocate<float>(packed_floats(width, vocab));
    head_backward_ = allocate<float>(packed_floats(vocab, width));
    head_tokens_ = std::clamp(kHeadFloats / vocab / kDepth * kDepth, kDepth, round_up(max_tokens_, kDepth));
    logits_turned_ = allocate<float>(turned_floats(head_tokens_, vocab));
    final_panels_ = allocate<float>(panel_floats(head_tokens_, width));
    down_turned_ = allocate<float>(turned_floats(max_tokens_, width));
    gate_up_turned_ = allocate<float>(turned_floats(max_tokens_, 2 * ffn));
    output_turned_ = allocate<float>(turned_floats(max_tokens_, width));
    qkv_turned_ = allocate<float>(turned_floats(max_tokens_, qkv_width_));
    token_loss_ = allocate<float>(max_tokens_);

    ones_ = allocate<float>(kTile * (widest_ / kBlock + 1));
    std::fill_n(ones_, kTile * (widest_ / kBlock + 1), 1.0f);
    const int64_t scratch = std::max({3 * kTile * widest_ + kernels::kMatmulScratchBytes / int64_t(sizeof(float)),
                                      kTile * (vocab + 2 * width), outer_scratch_floats(),
                                      attention_floats(config_.context, config_.head_dim)});
    for (int worker = 0; worker < pool_.size(); ++worker) scratch_.push_back(allocate<float>(scratch));
    documents_.reserve(size_t(max_tokens_));
    positions_.resize(size_t(max_tokens_));
    weighted_.reserve(size_t(max_tokens_));
}

void Transformer::fill_rotations() {
    const int64_t pairs = config_.head_dim / 2;
    cosines_ = allocate<float>(config_.context * pairs);
    sines_ = allocate<float>(config_.context * pairs);
    negative_sines_ = allocate<float>(config_.context * pairs);
    for (int64_t pair = 0; pair < pairs; ++pair) {
        const double frequency =
            config_.rope_frequencies.empty()
                ? kernels::pow_f64(double(config_.rope_base), -2.0 * double(pair) / double(config_.head_dim))
                : config_.rope_frequencies[size_t(pair)];
        for (int64_t position = 0; position < config_.context; ++position) {
            const double angle = double(position) * frequency;
            const int64_t at = position * pairs + pair;
            cosines_[at] = float(kernels::cos_f64(angle) * config_.rope_growth);
            sines_[at] = float(kernels::sin_f64(angle) * config_.rope_growth);
            negative_sines_[at] = -sines_[at];
        }
    }
}

void Transformer::initialize(uint64_t seed) {
    const double deviation = double(config_.init_deviation);
    pool_.run(int(parameters_.size()), [&](int task, int) {
        const Parameter& p = parameters_[size_t(task)];
        if (p.kind == ParameterKind::kNorm) return std::fill(p.value.begin(), p.value.end(), 1.0f);
        if (p.kind == ParameterKind::kBias) return;  // zero
        if (p.kind == ParameterKind::kConstant) return void(std::ranges::copy(config_.rope_divisors, p.value.begin()));
        const bool output = p.name.ends_with("attn_output.weight") || p.name.ends_with("ffn_down.weight");
        fill_normal(p.value, mix(mix(seed) + uint64_t(task)),
                    output ? deviation / std::sqrt(2.0 * config_.n_layers) : deviation);
    });
}

void Transformer::zero_gradients() {
    constexpr int64_t kPiece = 1 << 16;
    const int64_t n = gradients_.size();
    pool_.run(int((n + kPiece - 1) / kPiece), [&](int task, int) {
        std::fill_n(gradients_.data() + task * kPiece, std::min(kPiece, n - task * kPiece), 0.0f);
    });
}

// Every matrix as the products see it: a ternary one's scale first, its sum in rows and then over rows, each in order.
void Transformer::quantize_weights() {
    pool_.run(int(parameters_.size()), [&](int task, int) {
        const Parameter& p = parameters_[size_t(task)];
        if (!p.ternary) {
            const int64_t at = p.value.data() - values_.data(), n = p.rows * p.cols;
            if (config_.bf16) return table_->round_bf16(p.value.data(), n, factors_ + at);
            std::copy_n(p.value.data(), n, factors_ + at);
            return;
        }
        double sum = 0;
        for (int64_t row = 0; row < p.rows; ++row)
            sum += double(table_->sum_abs(p.value.data() + row * p.cols, p.cols));
        const float mean = std::max(float(sum / double(p.rows * p.cols)), kSmallestMean);
        ternary_scale_[size_t(task)] = mean;
        const int64_t at = p.value.data() - values_.data(), n = p.rows * p.cols;
        table_->ternarize(p.value.data(), 1.0f / mean, n, ternary_ + at);
        rows_->scale(ternary_ + at, mean, n, factors_ + at);
        if (config_.bf16) table_->round_bf16(factors_ + at, n, factors_ + at);
    });
    for (const Layer& layer : layers_) {
        for (const Linear* linear : {&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down}) {
            if (!linear->ternary) continue;
            float* scale = linear->column_scale;
            for (int i = linear->first_parameter; i < linear->first_parameter + linear->n_parameters; ++i)
                scale = std::fill_n(scale, parameters_[size_t(i)].rows, ternary_scale_[size_t(i)]);
        }
    }
}

// kernels/layout.h: words of 16 rows side by side, then the scales. A byte holds columns 32 apart, two bits each.
void Transformer::pack_integers(const Linear& linear, bool back) const {
    constexpr auto kKind = kernels::WeightKind::kTQ2_0;
    constexpr int64_t kHalf = kBlock / 2, kPlane = 32, kWords = kBlock / 16;
    constexpr uint16_t kOne = 0x3c00;
    const int64_t n_rows = back ? linear.n_in : linear.n_out, n_columns = back ? linear.n_out : linear.n_in;
    const int64_t row_step = back ? 1 : linear.n_in, step = back ? linear.n_in : 1;
    const int64_t n_blocks = n_columns / kBlock, panel_bytes = kernels::panel_bytes(kKind, n_columns);
    uint8_t* packed = back ? linear.integers_back : linear.integers;
    std::memset(packed, 0, size_t(round_up(n_rows, kernels::kPanelRows) / kernels::kPanelRows * panel_bytes));
    for (int64_t row = 0; row < n_rows; ++row) {
        const int64_t lane = row % kernels::kPanelRows;
        uint8_t* panel = packed + row / kernels::kPanelRows * panel_bytes;
        for (int64_t block = 0; block < n_blocks; ++block) {
            const float* from = ternary_ + linear.offset + row * row_step + block * kBlock * step;
            uint8_t bytes[kBlock / 4];
            for (int64_t i = 0; i < kBlock / 4; ++i) {
                const float* x = from + (i / kPlane * kHalf + i % kPlane) * step;
                const int64_t plane = kPlane * step;
                bytes[i] = uint8_t((int(x[0]) + 1) | (int(x[plane]) + 1) << 2 | (int(x[2 * plane]) + 1) << 4 |
                                   (int(x[3 * plane]) + 1) << 6);
            }
            for (int64_t word = 0; word < kWords; ++word)
                std::memcpy(panel + ((block * kWords + word) * kernels::kPanelRows + lane) * 4, bytes + 4 * word, 4);
            std::memcpy(panel + kernels::halves_offset(kKind, n_blocks) + (block * kernels::kPanelRows + lane) * 2,
                        &kOne, 2);
        }
    }
}

void Transformer::pack_weights() {
    if (config_.ternary || config_.bf16) quantize_weights();
    constexpr int kLinears = 4;
    pool_.run(2 * (int(layers_.size()) * kLinears + 1), [&](int task, int) {
        const bool backward = task % 2 == 1;
        if (task < 2)
            return pack_b(*table_, !backward, factors_ + (weight(output_) - values_.data()), config_.width,
                          backward ? config_.vocab_size : config_.width, backward ? config_.width : config_.vocab_size,
                          backward ? head_backward_ : head_forward_);
        const Layer& layer = layers_[size_t((task / 2 - 1) / kLinears)];
        const Linear* linears[kLinears] = {&layer.gate_up, &layer.down, &layer.qkv, &layer.attention_output};
        const Linear& linear = *linears[(task / 2 - 1) % kLinears];
        const float* forward_values = linear.ternary ? ternary_ : factors_;
        if (backward && linear.integers_back) {
            pack_integers(linear, true);
        } else if (backward) {
            pack_b(*table_, false, factors_ + linear.offset, linear.n_in, linear.n_out, linear.n_in, linear.backward);
        } else if (linear.integers) {
            pack_integers(linear, false);
        } else {
            pack_b(*table_, true, forward_values + linear.offset, linear.n_in, linear.n_in, linear.n_out,
                   linear.forward);
        }
    });
}

Net::Loss Transformer::run(const Batch& batch, bool gradients, float scale) {
    table_ = &active_kernels();
    rows_ = &kernels::active();
    pack_weights();
    Loss loss = {0, 0};
    const int64_t rows_per_chunk = std::max(int64_t(1), kChunkTokens / std::max(1, batch.length));
    for (int64_t row = 0; row < batch.n_rows; row += rows_per_chunk) {
        const int64_t n_rows = std::min(rows_per_chunk, batch.n_rows - row);
        const Chunk chunk = {&batch, row * batch.length, n_rows * batch.length, gradients, scale};
        find_documents(chunk);
        embed(chunk);
        forward(chunk);
        head(chunk, loss);
        if (!gradients) continue;
        backward(chunk);
        embedding_gradient(chunk);
    }
    return loss;
}

void Transformer::find_documents(const Chunk& chunk) {
    documents_.clear();
    const Batch& batch = *chunk.batch;
    for (int64_t t = 0; t < chunk.n_tokens; ++t) {
        const int64_t at = chunk.first + t;
        const bool first = t % batch.length == 0 ||
                           (!batch.documents.empty() && batch.documents[size_t(at)] != batch.documents[size_t(at - 1)]);
        if (first) documents_.push_back({t, 0});
        positions_[size_t(t)] = int32_t(documents_.back().length++);
    }
}

void Transformer::embed(const Chunk& chunk) {
    const int64_t width = config_.width;
    float* x = layers_[0].x;
    for_tiles(chunk.n_tokens, [&](const Tile& tile) {
        for (int64_t t = tile.first; t < tile.first + tile.n; ++t) {
            const int64_t token = chunk.batch->tokens[size_t(chunk.first + t)];
            std::memcpy(x + t * width, weight(embedding_) + token * width, size_t(width) * sizeof(float));
        }
    });
}

// Rows of the same token add up in the order of the batch; threads take columns.
void Transformer::embedding_gradient(const Chunk& chunk) {
    constexpr int64_t kColumns = 64;
    const int64_t width = config_.width;
    pool_.run(int((width + kColumns - 1) / kColumns), [&](int task, int) {
        const int64_t column = task * kColumns, n = std::min(kColumns, width - column);
        for (int64_t t = 0; t < chunk.n_tokens; ++t) {
            const int64_t token = chunk.batch->tokens[size_t(chunk.first + t)];
            float* sum = gradient(embedding_) + token * width + column;
            rows_->add(sum, dx_ + t * width + column, n, sum);
        }
    });
}

}  // namespace sterna::train
