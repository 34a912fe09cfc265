#include "common.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "hub_model.h"
#include "shipped_model.h"

namespace sterna {

int default_threads() {
    return std::max(1, int(std::thread::hardware_concurrency()));
}

double now_seconds() {
    using Clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

uint64_t peak_resident_bytes() {
    struct rusage usage;
    if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return uint64_t(usage.ru_maxrss) * 1024;
}

uint64_t available_memory() {
    std::ifstream info("/proc/meminfo");
    std::string key, unit;
    uint64_t kilobytes = 0;
    while (info >> key >> kilobytes) {
        std::getline(info, unit);
        if (key == "MemAvailable:") return kilobytes * 1024;
    }
    return 0;
}

Result<OpenModel> open_model(const std::string& name, int n_threads, const std::vector<std::string>& lora) {
    STERNA_TRY(path, find_model(name));
    OpenModel open;
    const double start = now_seconds();
    open.pool = std::make_unique<ThreadPool>(n_threads);
    STERNA_TRY(file, open_gguf(path));
    open.file = std::move(file);
    uint64_t weights = 0;
    for (const TensorView& tensor : open.file->tensors()) weights += tensor.data.size();
    const uint64_t available = available_memory();
    if (available != 0 && weights > available)
        return fail(ErrorCode::kOutOfMemory, "{}: its weights take {}, this machine has {} free", path,
                    human_bytes(double(weights)), human_bytes(double(available)));
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(*open.file));
    open.tokenizer = std::move(tokenizer);
    LoadOptions options;
    options.pool = open.pool.get();
    const TensorSource* tensors = open.file.get();
    if (!lora.empty()) {
        STERNA_TRY(adapters, open_adapters(lora));
        STERNA_TRY(adapted, AdaptedTensors::create(*open.file, adapters, *open.pool));
        open.adapted = std::move(adapted);
        tensors = open.adapted.get();
    }
    auto model = Model::load(*open.file, *tensors, options);
    if (!model) return fail(model.error().code, "{}: {}", path, model.error().message);
    open.model = std::move(*model);
    if (open.model->config().causal && open.tokenizer->vocab_size() > size_t(open.model->config().vocab_size))
        return fail(ErrorCode::kBadFile, "{}: the vocabulary has {} tokens, the embedding {} rows", path,
                    open.tokenizer->vocab_size(), open.model->config().vocab_size);
    open.load_seconds = now_seconds() - start;
    return open;
}

namespace {

constexpr size_t kMaxTextBytes = size_t(1) << 30;

Result<std::string> read_all(std::FILE* from, std::string_view name) {
    std::string text;
    char buffer[1 << 16];
    while (size_t n = std::fread(buffer, 1, sizeof buffer, from)) {
        text.append(buffer, n);
        if (text.size() > kMaxTextBytes)
            return fail(ErrorCode::kLimit, "{}: more than {} of text", name, human_bytes(double(kMaxTextBytes)));
    }
    if (std::ferror(from)) return fail(ErrorCode::kIo, "{}: cannot read: {}", name, std::strerror(errno));
    return text;
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return fail(ErrorCode::kNotFound, "{}: cannot open: {}", path, std::strerror(errno));
    auto text = read_all(file, path);
    std::fclose(file);
    return text;
}

Result<std::string> read_stdin() {
    return read_all(stdin, "standard input");
}

std::string human_bytes(double bytes) {
    if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
    if (bytes >= 1e6) return fmt::format("{:.1f} MB", bytes / 1e6);
    if (bytes >= 1e3) return fmt::format("{:.1f} kB", bytes / 1e3);
    return fmt::format("{:.0f} bytes", bytes);
}

std::string json_quote(std::string_view text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sterna
