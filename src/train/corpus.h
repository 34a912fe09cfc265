// The texts that a model learns from: files of plain text and of JSON lines, split into documents, conversations written out
// by the chat template. Pure functions; a read corpus may be shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "text/chat.h"
#include "train/recipe.h"

namespace sterna::train {

struct CorpusLimits {
    uint64_t max_file_bytes = uint64_t(1) << 33;
    uint64_t max_document_bytes = 1u << 26;
};

struct TextPart {
    std::string text;
    bool is_reply = false;  // up to the first token that ends an answer
    float weight = 1.0f;    // of the loss of that reply; of everything in a plain text
};

struct TextDocument {
    std::vector<TextPart> parts;
    bool is_chat = false;  // the template ends it; a plain text gets an end token
};

struct TextFile {
    std::string path;
    double weight = 1.0;
    bool held_out = false;
    std::vector<TextDocument> documents;
};

// Plain text: documents stand between empty lines. Errors: broken UTF-8 (with its line), no document at all.
Result<std::vector<TextDocument>> split_plain_text(std::string_view text, const std::string& path);

// One document per line: {"text": ...} or {"messages": [...], "tools": [...]}. `chat` may be null when no line has
// messages. Errors name file and line.
Result<std::vector<TextDocument>> read_json_lines(std::string_view text, const std::string& path,
                                                  const ChatTemplate* chat, ThreadPool& pool);

// All files of the recipe, the held-out ones last.
Result<std::vector<TextFile>> read_texts(const Recipe& recipe, const ChatTemplate* chat, ThreadPool& pool,
                                         const std::atomic<bool>* cancel);

}  // namespace sterna::train
