#include "train/corpus.h"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "text/utf8.h"

namespace sterna::train {

namespace {

namespace fs = std::filesystem;
using Json = OrderedJson;

size_t line_of(std::string_view text, size_t at) {
    return 1 + size_t(std::count(text.begin(), text.begin() + std::ptrdiff_t(at), '\n'));
}

Status check_utf8(std::string_view text, const std::string& path) {
    for (size_t at = 0; at < text.size();) {
        if (uint8_t(text[at]) < 0x80) {
            ++at;
            continue;
        }
        const Utf8Char c = decode_utf8(text, at);
        if (c.code_point == kInvalidCodePoint)
            return fail(ErrorCode::kBadFile, "{}:{}: byte 0x{:02X} at offset {} is no UTF-8", path, line_of(text, at),
                        uint8_t(text[at]), at);
        at += c.length;
    }
    return {};
}

bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r") == line.npos;
}

std::string_view next_line(std::string_view& text) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

Result<ChatMessage> read_message(const Json& json) {
    ChatMessage message;
    if (!json.is_object() || !json.contains("role") || !json["role"].is_string())
        return fail(ErrorCode::kBadFile, "a message without a role");
    message.role = json["role"].get<std::string>();
    for (const auto& [key, value] : json.items()) {
        if (key == "role" || key == "weight") continue;
        if (key == "content" && value.is_string())
            message.content = value.get<std::string>();
        else if (key != "content" || !value.is_null())
            message.extra[key] = value;
    }
    return message;
}

// What is asked of the template: the conversation before each reply, with the words that open it. A text that continues
// the one before it begins where that one ended.
Result<TextDocument> render_chat(const Json& json, const ChatTemplate& chat) {
    const Json& list = json["messages"];
    if (!list.is_array() || list.empty()) return fail(ErrorCode::kBadFile, "\"messages\" is no list of messages");
    ChatRenderOptions options;
    if (json.contains("tools") && !json["tools"].is_null()) options.tools = json["tools"];
    std::vector<ChatMessage> messages;
    TextDocument document;
    document.is_chat = true;
    std::string before;  // what the parts hold so far
    auto add = [&](const std::string& whole, bool is_reply, float weight) -> Status {
        if (!whole.starts_with(before))
            return fail(ErrorCode::kUnsupported,
                        "the chat template writes the beginning of a conversation otherwise once it goes on");
        if (whole.size() > before.size()) document.parts.push_back({whole.substr(before.size()), is_reply, weight});
        before = whole;
        return {};
    };
    bool after_opening = false;
    float weight = 1.0f;
    for (const Json& each : list) {
        STERNA_TRY(message, read_message(each));
        if (message.role == "assistant") {
            options.add_generation_prompt = true;
            STERNA_TRY(opening, chat.render(messages, options));
            STERNA_CHECK(add(opening, after_opening, weight));
            after_opening = true;
            weight = 1.0f;
            if (each.contains("weight")) {
                if (!each["weight"].is_number()) return fail(ErrorCode::kBadFile, "\"weight\" is no number");
                weight = std::clamp(each["weight"].get<float>(), 0.0f, 100.0f);
            }
        }
        messages.push_back(std::move(message));
    }
    if (!after_opening) return fail(ErrorCode::kBadFile, "no message of the assistant");
    options.add_generation_prompt = false;
    STERNA_TRY(all, chat.render(messages, options));
    STERNA_CHECK(add(all, after_opening, weight));
    return document;
}

Result<TextDocument> read_line(std::string_view line, const ChatTemplate* chat) {
    if (line.size() > CorpusLimits{}.max_document_bytes)
        return fail(ErrorCode::kLimit, "{} bytes, limit {}", line.size(), CorpusLimits{}.max_document_bytes);
    Json json;
    try {
        json = Json::parse(line);
    } catch (const std::exception& error) {
        return fail(ErrorCode::kBadFile, "no JSON: {}", error.what());
    }
    if (!json.is_object()) return fail(ErrorCode::kBadFile, "expected {{\"text\": ...}} or {{\"messages\": ...}}");
    try {
        if (json.contains("messages")) {
            if (!chat)
                return fail(ErrorCode::kBadArgument, "has messages, but the recipe has no tokenizer.chat_template");
            return render_chat(json, *chat);
        }
        if (!json.contains("text") || !json["text"].is_string())
            return fail(ErrorCode::kBadFile, "expected \"text\" or \"messages\"");
        TextDocument document;
        document.parts.push_back({json["text"].get<std::string>()});
        return document;
    } catch (const std::exception& error) {
        return fail(ErrorCode::kBadFile, "{}", error.what());
    }
}

}  // namespace

Result<std::vector<TextDocument>> split_plain_text(std::string_view text, const std::string& path) {
    STERNA_CHECK(check_utf8(text, path));
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    std::vector<TextDocument> documents;
    std::string current;
    auto end_document = [&] {
        while (!current.empty() && current.back() == '\n') current.pop_back();
        if (!current.empty()) documents.push_back({{{std::move(current)}}});
        current.clear();
    };
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (is_blank(line)) {
            end_document();
        } else {
            current.append(line).push_back('\n');
            if (current.size() > CorpusLimits{}.max_document_bytes)
                return fail(ErrorCode::kLimit, "{}: a document of more than {} bytes; empty lines end a document", path,
                            CorpusLimits{}.max_document_bytes);
        }
    }
    end_document();
    if (documents.empty()) return fail(ErrorCode::kBadFile, "{}: holds no text", path);
    return documents;
}

Result<std::vector<TextDocument>> read_json_lines(std::string_view text, const std::string& path,
                                                  const ChatTemplate* chat, ThreadPool& pool) {
    struct Line {
        std::string_view text;
        size_t number;
    };
    std::vector<Line> lines;
    for (size_t number = 1; !text.empty(); ++number)
        if (const std::string_view line = next_line(text); !is_blank(line)) lines.push_back({line, number});
    if (lines.empty()) return fail(ErrorCode::kBadFile, "{}: holds no text", path);
    constexpr size_t kLinesPerTask = 64;
    std::vector<TextDocument> documents(lines.size());
    const size_t n_tasks = (lines.size() + kLinesPerTask - 1) / kLinesPerTask;
    std::vector<std::string> errors(n_tasks);
    pool.run(int(n_tasks), [&](int task, int) {
        const size_t end = std::min(lines.size(), (size_t(task) + 1) * kLinesPerTask);
        for (size_t i = size_t(task) * kLinesPerTask; i < end && errors[size_t(task)].empty(); ++i) {
            auto document = read_line(lines[i].text, chat);
            if (document)
                documents[i] = std::move(*document);
            else
                errors[size_t(task)] = fmt::format("{}:{}: {}", path, lines[i].number, document.error().message);
        }
    });
    for (std::string& error : errors)
        if (!error.empty()) return std::unexpected(Error{ErrorCode::kBadFile, std::move(error)});
    return documents;
}

Result<std::vector<TextFile>> read_texts(const Recipe& recipe, const ChatTemplate* chat, ThreadPool& pool,
                                         const std::atomic<bool>* cancel) {
    std::vector<TextFile> files;
    for (const DataFile& file : recipe.data.files) files.push_back({file.path, file.weight, false, {}});
    for (const std::string& path : recipe.data.held_out_files) files.push_back({path, 1.0, true, {}});
    for (TextFile& file : files) {
        if (cancel && cancel->load()) return fail(ErrorCode::kCancelled, "{}: cancelled", file.path);
        std::error_code problem;
        if (!fs::is_regular_file(file.path, problem))
            return fail(ErrorCode::kNotFound, "{}: no such file, named in data.files of {}", file.path, recipe.path);
        if (fs::file_size(file.path, problem) == 0) return fail(ErrorCode::kBadFile, "{}: is empty", file.path);
        STERNA_TRY(mapped, MappedFile::open(file.path));
        if (mapped.bytes().size() > CorpusLimits{}.max_file_bytes)
            return fail(ErrorCode::kLimit, "{}: {} bytes, limit {}", file.path, mapped.bytes().size(),
                        CorpusLimits{}.max_file_bytes);
        const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
        const bool lines = file.path.ends_with(".jsonl") || file.path.ends_with(".ndjson");
        STERNA_TRY(documents, lines ? read_json_lines(text, file.path, chat, pool) : split_plain_text(text, file.path));
        file.documents = std::move(documents);
    }
    return files;
}

}  // namespace sterna::train
