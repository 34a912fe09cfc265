#include "text/split_program.h"

#include <algorithm>
#include <charconv>

#include "text/byte_alphabet.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace sterna {

namespace {

// Calls change(code points) for each stretch of valid UTF-8; bytes that are none stay as they are.
template <typename Change>
std::string change_characters(std::string_view text, Change change) {
    std::string out;
    out.reserve(text.size());
    std::vector<uint32_t> run;
    auto flush = [&] {
        if (run.empty()) return;
        for (uint32_t cp : change(run)) append_utf8(out, cp);
        run.clear();
    };
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = decode_utf8(text, at);
        if (c.code_point == kInvalidCodePoint) {
            flush();
            out += text[at];
        } else {
            run.push_back(c.code_point);
        }
        at += c.length;
    }
    flush();
    return out;
}

size_t skip_blanks(std::string_view text) {
    size_t at = 0;
    for (Utf8Char c = decode_utf8(text, 0); c.length != 0 && (char_set(c.code_point) & kWhiteSpace);
         c = decode_utf8(text, at))
        at += c.length;
    return at;
}

std::string_view strip_right(std::string_view text) {
    size_t keep = 0;
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = decode_utf8(text, at);
        at += c.length;
        if (!(char_set(c.code_point) & kWhiteSpace)) keep = at;
    }
    return text.substr(0, keep);
}

}  // namespace

Result<SplitProgram> SplitProgram::read(const Metadata& metadata, const SplitProgramLimits& limits) {
    std::vector<std::string_view> lists[2];
    const std::string_view keys[] = {kNormalizerKey, kSplitKey};
    for (int i = 0; i < 2; ++i) {
        if (!metadata.has(keys[i])) continue;
        auto list = metadata.get_strings(keys[i]);
        if (!list) return fail(ErrorCode::kBadFile, "{}: something else, expected a list of texts", keys[i]);
        lists[i] = std::move(*list);
    }
    return compile(lists[0], lists[1], limits);
}

Result<SplitProgram> SplitProgram::compile(const std::vector<std::string_view>& normalizer,
                                           const std::vector<std::string_view>& split,
                                           const SplitProgramLimits& limits) {
    SplitProgram program;
    program.limits_ = limits;
    if (normalizer.size() > limits.max_steps || split.size() > limits.max_steps)
        return fail(ErrorCode::kLimit, "{}: {} and {} steps, limit {}", kSplitKey, normalizer.size(), split.size(),
                    limits.max_steps);
    for (std::string_view text : normalizer) {
        STERNA_TRY(step, compile_step(text, false, limits));
        if (step.kind != Kind::kNone) program.normalizer_.push_back(std::move(step));
    }
    for (std::string_view text : split) {
        STERNA_TRY(step, compile_step(text, true, limits));
        if (step.kind != Kind::kNone) program.split_.push_back(std::move(step));
    }
    return program;
}

Result<SplitProgram::Step> SplitProgram::compile_step(std::string_view text, bool split,
                                                      const SplitProgramLimits& limits) {
    struct Name {
        std::string_view name;
        Kind kind;
        enum Argument { kNoArgument, kText, kPair, kRegex } argument;
        int where;  // 1 normalizer, 2 split, 3 both
    };
    constexpr Name kNames[] = {
        {"nfc", Kind::kNfc, Name::kNoArgument, 1},
        {"nfd", Kind::kNfd, Name::kNoArgument, 1},
        {"lowercase", Kind::kLowercase, Name::kNoArgument, 1},
        {"strip_accents", Kind::kStripAccents, Name::kNoArgument, 1},
        {"strip_left", Kind::kStripLeft, Name::kNoArgument, 1},
        {"strip_right", Kind::kStripRight, Name::kNoArgument, 1},
        {"prepend", Kind::kPrepend, Name::kText, 1},
        {"replace_text", Kind::kReplaceText, Name::kPair, 3},
        {"replace_regex", Kind::kReplaceRegex, Name::kPair, 3},
        {"isolated", Kind::kIsolated, Name::kRegex, 2},
        {"removed", Kind::kRemoved, Name::kRegex, 2},
        {"contiguous", Kind::kContiguous, Name::kRegex, 2},
        {"merged_with_previous", Kind::kMergedWithPrevious, Name::kRegex, 2},
        {"merged_with_next", Kind::kMergedWithNext, Name::kRegex, 2},
        {"prefix", Kind::kPrefix, Name::kText, 2},
        {"prefix_first", Kind::kPrefixFirst, Name::kText, 2},
        {"byte_level", Kind::kByteLevel, Name::kNoArgument, 3},
        {"none", Kind::kNone, Name::kNoArgument, 3},
    };
    const std::string_view key = split ? kSplitKey : kNormalizerKey;
    if (text.size() > limits.max_step_bytes)
        return fail(ErrorCode::kLimit, "{}: a step of {} bytes, limit {}", key, text.size(), limits.max_step_bytes);
    size_t blank = text.find(' ');
    std::string_view name = text.substr(0, blank);
    std::string_view argument = blank == text.npos ? std::string_view() : text.substr(blank + 1);
    bool inverted = name.starts_with("not_");
    if (inverted) name.remove_prefix(4);
    for (const Name& known : kNames) {
        if (known.name != name || !(known.where & (split ? 2 : 1))) continue;
        if (inverted && known.argument != Name::kRegex) break;
        Step step{.kind = known.kind, .inverted = inverted};
        switch (known.argument) {
            case Name::kNoArgument:
                break;
            case Name::kText:
                step.text = argument;
                break;
            case Name::kRegex: {
                STERNA_TRY(regex, SplitRegex::compile(argument));
                step.regex = std::move(regex);
                break;
            }
            case Name::kPair: {
                size_t n = 0;
                auto end = std::from_chars(argument.data(), argument.data() + argument.size(), n);
                size_t at = size_t(end.ptr - argument.data()) + 1;
                if (end.ec != std::errc() || at > argument.size() || n > argument.size() - at || n == 0)
                    return fail(ErrorCode::kBadFile, "{}: '{}', expected the length of a text and the text", key,
                                text.substr(0, 80));
                step.text = argument.substr(at, n);
                step.replacement = argument.substr(at + n);
                if (known.kind == Kind::kReplaceRegex) {
                    STERNA_TRY(regex, SplitRegex::compile(step.text));
                    step.regex = std::move(regex);
                }
                break;
            }
        }
        return step;
    }
    return fail(ErrorCode::kUnsupported, "{}: step '{}' is not known", key, text.substr(0, 80));
}

std::string SplitProgram::apply(const Step& step, std::string_view text) const {
    switch (step.kind) {
        case Kind::kNfc:
            return is_surely_nfc(text) ? std::string(text) : normalize_nfc(text);
        case Kind::kNfd:
            return change_characters(text, [](const std::vector<uint32_t>& run) { return normalize_nfd(run); });
        case Kind::kLowercase:
            return change_characters(text, [](std::vector<uint32_t>& run) {
                std::vector<uint32_t> out;
                out.reserve(run.size());
                for (uint32_t cp : run) {
                    out.push_back(to_lower(cp));
                    if (cp == 0x130) out.push_back(0x307);  // its full lower case is i and a dot
                }
                return out;
            });
        case Kind::kStripAccents:
            return change_characters(text, [](std::vector<uint32_t>& run) {
                std::erase_if(run, [](uint32_t cp) { return (char_set(cp) & kMark) != 0; });
                return std::move(run);
            });
        case Kind::kStripLeft:
            return std::string(text.substr(skip_blanks(text)));
        case Kind::kStripRight:
            return std::string(strip_right(text));
        case Kind::kPrepend:
            return text.empty() ? std::string() : step.text + std::string(text);
        case Kind::kByteLevel:
            return kByteAlphabet.spell(text.substr(0, limits_.max_text_bytes));
        case Kind::kReplaceText:
        case Kind::kReplaceRegex:
            break;
        default:
            return std::string(text);
    }
    std::string out;
    SplitRegex::Budget budget(text.size());
    for (size_t at = 0; at < text.size() && out.size() < limits_.max_text_bytes;) {
        size_t begin = text.npos, end = text.npos;
        if (step.kind == Kind::kReplaceText) {
            begin = text.find(step.text, at);
            end = begin == text.npos ? begin : begin + step.text.size();
        } else if (auto match = step.regex.find(text, at, budget)) {
            begin = match->begin;
            end = match->end;
        }
        if (begin >= text.size()) {
            out += text.substr(at);
            break;
        }
        out += text.substr(at, begin - at);
        if (end > begin) {
            out += step.replacement;
            at = end;
        } else {
            size_t n = decode_utf8(text, begin).length;
            out += text.substr(begin, n);
            at = begin + n;
        }
    }
    return out;
}

std::string SplitProgram::normalize(std::string_view text) const {
    std::string out(text);
    for (const Step& step : normalizer_) out = apply(step, out);
    return out;
}

void SplitProgram::run(std::string_view text, bool first, FunctionRef<void(std::string_view)> sink) const {
    if (normalizer_.empty()) {
        run_from(0, text, first, sink);
    } else {
        run_from(0, normalize(text), first, sink);
    }
}

void SplitProgram::run_from(size_t at, std::string_view text, bool first, Sink sink) const {
    if (text.empty()) return;
    if (at == split_.size()) {
        sink(text);
        return;
    }
    const Step& step = split_[at];
    switch (step.kind) {
        case Kind::kPrefix:
        case Kind::kPrefixFirst: {
            if (!text.starts_with(step.text) && (first || step.kind != Kind::kPrefixFirst))
                return run_from(at + 1, step.text + std::string(text), first, sink);
            return run_from(at + 1, text, first, sink);
        }
        case Kind::kByteLevel:
        case Kind::kReplaceText:
        case Kind::kReplaceRegex:
            return run_from(at + 1, apply(step, text), first, sink);
        default:
            cut(step, text, [&](size_t begin, size_t end) {
                run_from(at + 1, text.substr(begin, end - begin), first && begin == 0, sink);
            });
    }
}

void SplitProgram::cut(const Step& step, std::string_view text, FunctionRef<void(size_t, size_t)> sink) const {
    struct Part {
        size_t begin, end;
        bool match;
    };
    std::vector<Part> parts;
    SplitRegex::Budget budget(text.size());
    size_t gap = 0;
    size_t last_end = text.npos;
    for (size_t at = 0; at <= text.size();) {
        auto match = step.regex.find(text, at, budget);
        if (!match) break;
        // An empty match right after the last one is none.
        bool empty = match->begin == match->end;
        at = empty ? match->end + std::max<size_t>(decode_utf8(text, match->end).length, 1) : match->end;
        if (empty && match->end == last_end) continue;
        last_end = match->end;
        if (gap < match->begin) parts.push_back({gap, match->begin, step.inverted});
        parts.push_back({match->begin, match->end, !step.inverted});
        gap = match->end;
    }
    if (gap < text.size()) parts.push_back({gap, text.size(), step.inverted});

    auto give = [&](size_t begin, size_t end) {
        if (begin < end) sink(begin, end);
    };
    switch (step.kind) {
        case Kind::kRemoved:
            for (const Part& p : parts)
                if (!p.match) give(p.begin, p.end);
            return;
        case Kind::kContiguous:
            for (size_t i = 0; i < parts.size();) {
                size_t j = i + 1;
                while (j < parts.size() && parts[j].match == parts[i].match) ++j;
                give(parts[i].begin, parts[j - 1].end);
                i = j;
            }
            return;
        case Kind::kMergedWithPrevious:
            for (size_t i = 0; i < parts.size();) {
                size_t j = i + 1;
                // A match joins what is before it unless that is a match, too.
                if (j < parts.size() && parts[j].match && !parts[i].match) ++j;
                give(parts[i].begin, parts[j - 1].end);
                i = j;
            }
            return;
        case Kind::kMergedWithNext:
            for (size_t i = 0; i < parts.size();) {
                size_t j = i + 1;
                if (j < parts.size() && parts[i].match && !parts[j].match) ++j;
                give(parts[i].begin, parts[j - 1].end);
                i = j;
            }
            return;
        default:
            for (const Part& p : parts) give(p.begin, p.end);
    }
}

}  // namespace sterna
