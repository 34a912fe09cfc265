#include "harness.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "support/testdata.h"

namespace sterna {

std::optional<std::vector<uint8_t>> read_whole_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return std::nullopt;
    std::vector<uint8_t> bytes;
    uint8_t block[1 << 16];
    for (size_t n; (n = std::fread(block, 1, sizeof(block), file)) > 0;) bytes.insert(bytes.end(), block, block + n);
    std::fclose(file);
    return bytes;
}

std::vector<int32_t> TestModel::ints(const std::string& tensor) const {
    const TensorView* view = file->find_tensor(tensor);
    if (!view) return {};
    std::vector<int32_t> values(view->data.size() / sizeof(int32_t));
    std::memcpy(values.data(), view->data.data(), view->data.size());
    return values;
}

std::vector<float> TestModel::floats(const std::string& tensor) const {
    const TensorView* view = file->find_tensor(tensor);
    if (!view) return {};
    std::vector<float> values(view->data.size() / sizeof(float));
    std::memcpy(values.data(), view->data.data(), view->data.size());
    return values;
}

TestModel load_test_model(std::vector<uint8_t> bytes, const std::string& name) {
    TestModel result;
    result.bytes = std::move(bytes);
    auto file = GgufFile::from_bytes(result.bytes, name);
    if (!file) {
        ADD_FAILURE() << file.error().message;
        return {};
    }
    result.file = std::move(*file);
    ThreadPool pool(2);
    auto model = Model::load(*result.file, *result.file, {.pool = &pool, .limits = {}, .cancel = nullptr});
    if (!model) {
        ADD_FAILURE() << model.error().message;
        return {};
    }
    result.model = std::move(*model);
    return result;
}

TestModel load_golden(const std::string& name) {
    auto bytes = read_whole_file(source_path("tests/golden/models/" + name + ".gguf").string());
    if (!bytes) {
        ADD_FAILURE() << name << ".gguf cannot be read";
        return {};
    }
    return load_test_model(std::move(*bytes), name);
}

Runner::Runner(const Model& model, const RunOptions& options)
    : model_(model),
      options_(options),
      pool_(options.threads),
      workspace_(pool_, options.kernels ? *options.kernels : kernels::active()),
      layout_(StateLayout::make(model.config(), options.kv)) {}

void Runner::grow(Sequence& sequence, size_t n_positions) {
    while (sequence.pages.size() * StateLayout::kPagePositions < n_positions) {
        size_t bytes = size_t(layout_.page_bytes) + 64;
        sequence.owned.emplace_back(new uint8_t[bytes]);
        // What a fresh page holds must not matter.
        std::memset(sequence.owned.back().get(), 0xff, bytes);
        uintptr_t at = reinterpret_cast<uintptr_t>(sequence.owned.back().get());
        sequence.pages.push_back(sequence.owned.back().get() + (64 - at % 64) % 64);
    }
}

Status Runner::step(std::span<const StepToken> tokens, float* output) {
    SequenceState states[2];
    for (int i = 0; i < 2; ++i) {
        for (const StepToken& token : tokens)
            if (token.sequence == i && token.position >= 0) grow(sequences_[i], size_t(token.position) + 1);
        sequences_[i].recurrent.resize(size_t(layout_.recurrent_bytes) / sizeof(float));
        states[i] = {.pages = sequences_[i].pages,
                     .recurrent = reinterpret_cast<uint8_t*>(sequences_[i].recurrent.data()),
                     .max_positions = options_.max_positions};
    }
    return model_.forward(
        workspace_, {.tokens = tokens, .sequences = states, .layout = layout_, .output = output, .cancel = nullptr});
}

std::vector<float> Runner::feed(std::span<const int32_t> tokens) {
    size_t width = size_t(model_.output_width());
    std::vector<float> all(tokens.size() * width);
    for (size_t begin = 0; begin < tokens.size();) {
        size_t n = std::min(options_.chunk, tokens.size() - begin);
        std::vector<StepToken> step_tokens;
        for (int i = 0; options_.stranger && i < 3; ++i, ++stranger_position_) {
            int32_t token = int32_t((stranger_position_ * 7 + 3) % model_.config().vocab_size);
            step_tokens.push_back(
                {.token = token, .position = stranger_position_, .sequence = 1, .wants_logits = false});
        }
        for (size_t i = 0; i < n; ++i)
            step_tokens.push_back(
                {.token = tokens[begin + i], .position = position_++, .sequence = 0, .wants_logits = true});
        auto status = step(step_tokens, all.data() + begin * width);
        if (!status) {
            ADD_FAILURE() << status.error().message;
            return {};
        }
        begin += n;
    }
    return all;
}

std::vector<float> run_all(const Model& model, std::span<const int32_t> tokens, const RunOptions& options) {
    return Runner(model, options).feed(tokens);
}

double relative_difference(std::span<const float> found, std::span<const float> wanted) {
    double difference = 0, largest = 0;
    if (found.size() != wanted.size()) return INFINITY;
    for (size_t i = 0; i < wanted.size(); ++i) {
        difference =
            std::fmax(difference, std::isfinite(found[i]) ? std::fabs(double(found[i]) - double(wanted[i])) : INFINITY);
        largest = std::fmax(largest, std::fabs(double(wanted[i])));
    }
    return difference / largest;
}

}  // namespace sterna
