// A changed file of a small model, loaded whole: refused with a sentence, or a model that computes. The input: the architecture's
// number, then edits of its file.
#include "model_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace sterna;
    ByteReader input({data, size});
    const auto architectures = all_architectures();
    static std::map<size_t, std::vector<uint8_t>> files;
    const size_t number = input.read<uint8_t>().value_or(0) % architectures.size();
    std::vector<uint8_t>& file = files[number];
    if (file.empty()) {
        SyntheticModel model(*architectures[number]);
        if (!model.make_tensors(fuzz_limits())) return 0;  // an architecture that needs more than SyntheticModel gives
        file = model.file();
    }
    std::vector<uint8_t> bytes = file;
    apply_edits(input, bytes);
    bytes.shrink_to_fit();
    auto gguf = GgufFile::from_bytes(bytes, "input");
    if (!gguf) return 0;
    ThreadPool pool(1);
    auto loaded = Model::load(**gguf, **gguf, {.pool = &pool, .limits = fuzz_limits(), .cancel = nullptr});
    if (!loaded) {
        require(!loaded.error().message.empty() && loaded.error().message.size() < 1000);
        return 0;
    }
    gguf->reset();  // the model keeps nothing of it
    use_model(**loaded, pool);
    return 0;
}
