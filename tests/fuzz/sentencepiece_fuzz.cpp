// A SentencePiece model from outside: every text lies inside the file.
#include <cstdlib>

#include "format/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto model = sterna::read_sentencepiece(sterna::Bytes(data, size), "input");
    if (!model) {
        if (model.error().message.empty()) abort();
        return 0;
    }
    const char* begin = reinterpret_cast<const char*>(data);
    for (const auto& piece : model->pieces)
        if (!piece.text.empty() && (piece.text.data() < begin || piece.text.data() + piece.text.size() > begin + size))
            abort();
    return 0;
}
