#include <algorithm>

#include "text/jinja_syntax.h"
#include "text/jinja_text.h"

namespace sterna::jinja {

namespace {

bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<uint8_t>(c) >= 0x80;
}
bool is_number_char(char c) {
    return c >= '0' && c <= '9';
}
bool is_name_char(char c) {
    return is_name_start(c) || is_number_char(c);
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

class Lexer {
public:
    explicit Lexer(std::string_view source) {
        text_.reserve(source.size());
        for (size_t i = 0; i < source.size(); ++i) {
            if (source[i] != '\r') {
                text_.push_back(source[i]);
            } else {
                text_.push_back('\n');
                if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
            }
        }
        if (!text_.empty() && text_.back() == '\n') text_.pop_back();  // Jinja drops one final line break
    }

    Result<std::vector<Token>> run() {
        while (at_ < text_.size()) {
            if (Status status = root(); !status) return std::unexpected(std::move(status).error());
        }
        push(TokenType::kEnd, "");
        return std::move(tokens_);
    }

private:
    std::string_view rest(size_t from) const { return std::string_view(text_).substr(std::min(from, text_.size())); }
    bool starts(size_t from, std::string_view what) const { return rest(from).starts_with(what); }

    void push(TokenType type, std::string text) { tokens_.push_back({type, line_, std::move(text)}); }
    void advance(size_t to) {
        line_ += static_cast<int>(std::count(text_.begin() + at_, text_.begin() + to, '\n'));
        line_starting_ = to > at_ && text_[to - 1] == '\n';
        at_ = to;
    }
    size_t skip_blanks(size_t from) const {
        while (from < text_.size()) {
            size_t next = from;
            if (!is_space(next_char(text_, next))) break;
            from = next;
        }
        return from;
    }

    // Length of "-%}" plus blanks, "+%}" or "%}" plus one line break at `from`; 0 when none of them is there.
    size_t closing(size_t from, std::string_view mark, bool plus, bool trim) const {
        if (starts(from, "-") && starts(from + 1, mark)) return skip_blanks(from + 3) - from;
        if (plus && starts(from, "+") && starts(from + 1, mark)) return 3;
        if (!starts(from, mark)) return 0;
        return trim && starts(from + 2, "\n") ? 3 : 2;
    }

    // The end of "{%- word" at `from`, or 0. `after` is behind the word's blanks.
    size_t tag_word(size_t from, std::string_view word) const {
        size_t i = from + 2;
        if (starts(i, "-") || starts(i, "+")) ++i;
        i = skip_blanks(i);
        if (!starts(i, word)) return 0;
        return skip_blanks(i + word.size());
    }

    // The text before a tag, with the blanks that the tag's sign or lstrip_blocks take away.
    std::string_view before_tag(size_t tag, char sign, bool variable) const {
        std::string_view text = std::string_view(text_).substr(at_, tag - at_);
        if (sign == '-') return strip(text, "", true, false, true);
        if (sign == '+' || variable) return text;
        const size_t line_start = text.rfind('\n') + 1;
        if (line_start == 0 && !line_starting_) return text;
        std::string_view tail = text.substr(line_start);
        return strip(tail, "", true, true, false).empty() ? text.substr(0, line_start) : text;
    }

    void data(std::string_view text) {
        if (!text.empty()) push(TokenType::kData, std::string(text));
    }

    Status root() {
        size_t tag = at_;
        while (true) {
            tag = text_.find('{', tag);
            if (tag == std::string::npos) {
                data(rest(at_));
                advance(text_.size());
                return {};
            }
            if (tag + 1 < text_.size() && (text_[tag + 1] == '{' || text_[tag + 1] == '%' || text_[tag + 1] == '#'))
                break;
            ++tag;
        }
        const char kind = text_[tag + 1];
        const char sign =
            tag + 2 < text_.size() && (text_[tag + 2] == '-' || text_[tag + 2] == '+') ? text_[tag + 2] : ' ';
        data(before_tag(tag, sign, kind == '{'));
        if (kind == '%') {
            if (const size_t i = tag_word(tag, "raw"); i != 0) {
                if (starts(i, "-%}") || starts(i, "%}")) return raw(text_[i] == '-' ? skip_blanks(i + 3) : i + 2);
            }
        }
        advance(tag + (sign == ' ' ? 2 : 3));
        if (kind == '#') return comment();
        push(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
        return code(kind == '{');
    }

    Status comment() {
        for (size_t i = text_.find("#}", at_); i != std::string::npos; i = text_.find("#}", i + 1)) {
            const size_t start = i > at_ && (text_[i - 1] == '-' || text_[i - 1] == '+') ? i - 1 : i;
            advance(start + closing(start, "#}", true, true));
            return {};
        }
        return fail(ErrorCode::kBadFile, "line {}: comment without its end '#}}'", line_);
    }

    Status raw(size_t start) {
        advance(start);
        for (size_t tag = text_.find("{%", at_); tag != std::string::npos; tag = text_.find("{%", tag + 1)) {
            const size_t i = tag_word(tag, "endraw");
            const size_t length = i == 0 ? 0 : closing(i, "%}", true, true);
            if (length == 0) continue;
            const char sign = text_[tag + 2];
            data(before_tag(tag, sign == '-' || sign == '+' ? sign : ' ', false));
            advance(i + length);
            return {};
        }
        return fail(ErrorCode::kBadFile, "line {}: raw block without its 'endraw'", line_);
    }

    Status code(bool variable) {
        std::string open;  // brackets that wait for their partner
        while (at_ < text_.size()) {
            if (open.empty()) {
                if (const size_t n = closing(at_, variable ? "}}" : "%}", !variable, !variable); n != 0) {
                    push(variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
                    advance(at_ + n);
                    return {};
                }
            }
            const size_t next = skip_blanks(at_);
            if (next != at_) {
                advance(next);
                continue;
            }
            const char c = text_[at_];
            if (is_number_char(c)) {
                number();
            } else if (is_name_start(c)) {
                size_t end = at_;
                while (end < text_.size() && is_name_char(text_[end])) ++end;
                push(TokenType::kName, text_.substr(at_, end - at_));
                advance(end);
            } else if (c == '"' || c == '\'') {
                STERNA_CHECK(string(c));
            } else {
                STERNA_CHECK(operation(open));
            }
        }
        return fail(ErrorCode::kBadFile, "line {}: the template ends inside a tag, expected '{}'", line_,
                    variable ? "}}" : "%}");
    }

    size_t digits(size_t i) const {  // (\d+_)*\d+
        while (i < text_.size() && is_number_char(text_[i])) {
            ++i;
            if (i + 1 < text_.size() && text_[i] == '_' && is_number_char(text_[i + 1])) ++i;
        }
        return i;
    }

    void number() {
        auto has_digit = [&](size_t i) { return i < text_.size() && is_number_char(text_[i]); };
        size_t end = digits(at_);
        bool real = false;
        if (at_ == 0 || text_[at_ - 1] != '.') {
            if (end < text_.size() && text_[end] == '.' && has_digit(end + 1)) {
                end = digits(end + 1);
                real = true;
            }
            if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
                size_t i = end + 1;
                if (i < text_.size() && (text_[i] == '+' || text_[i] == '-')) ++i;
                if (has_digit(i)) {
                    end = digits(i);
                    real = true;
                }
            }
        }
        if (!real && text_[at_] == '0') {
            end = at_ + 1;
            const char base = end < text_.size() ? static_cast<char>(text_[end] | 0x20) : ' ';
            const int radix = base == 'x' ? 16 : base == 'o' ? 8 : base == 'b' ? 2 : 0;
            auto fits = [&](size_t i) {
                return i < text_.size() && hex_digit(text_[i]) >= 0 && hex_digit(text_[i]) < radix;
            };
            size_t i = end + 1;
            while (radix != 0) {
                const size_t digit = i < text_.size() && text_[i] == '_' ? i + 1 : i;
                if (!fits(digit)) break;
                end = i = digit + 1;
            }
            while (radix == 0 && end < text_.size() &&
                   (text_[end] == '0' || (text_[end] == '_' && starts(end + 1, "0"))))
                ++end;
        }
        std::string text = text_.substr(at_, end - at_);
        std::erase(text, '_');
        push(real ? TokenType::kFloat : TokenType::kInteger, std::move(text));
        advance(end);
    }

    Status string(char quote) {
        size_t end = at_ + 1;
        while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
        if (end >= text_.size()) return fail(ErrorCode::kBadFile, "line {}: string without its closing quote", line_);
        std::string value;
        for (size_t i = at_ + 1; i < end;) {
            if (text_[i] != '\\') {
                value.push_back(text_[i++]);
            } else if (!escape(++i, end, value)) {
                return fail(ErrorCode::kBadFile, "line {}: string with a broken escape", line_);
            }
        }
        push(TokenType::kString, std::move(value));
        advance(end + 1);
        return {};
    }

    bool hex(size_t& i, size_t end, int count, uint32_t& value) const {
        value = 0;
        for (; count > 0; --count, ++i) {
            if (i >= end || hex_digit(text_[i]) < 0) return false;
            value = value * 16 + static_cast<uint32_t>(hex_digit(text_[i]));
        }
        return true;
    }

    bool escape(size_t& i, size_t end, std::string& out) const {
        static constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
        const char c = text_[i];
        if (const size_t at = kFrom.find(c); at != std::string_view::npos) {
            out.push_back(kTo[at]);
            ++i;
        } else if (c == '\n') {
            ++i;
        } else if (c >= '0' && c <= '7') {
            uint32_t value = 0;
            for (int n = 0; n < 3 && i < end && text_[i] >= '0' && text_[i] <= '7'; ++n)
                value = value * 8 + (text_[i++] - '0');
            append_char(out, value);
        } else if (c == 'x' || c == 'u' || c == 'U') {
            uint32_t value = 0;
            if (!hex(++i, end, c == 'x' ? 2 : c == 'u' ? 4 : 8, value) || value > 0x10FFFF) return false;
            if (value >= 0xD800 && value < 0xE000) {  // half a character; a pair of them makes a whole one
                uint32_t low = 0;
                size_t next = i + 2;
                if (value < 0xDC00 && starts(i, "\\u") && hex(next, end, 4, low) && low >= 0xDC00 && low < 0xE000) {
                    value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
                    i = next;
                } else {
                    value = 0xFFFD;
                }
            }
            append_char(out, value);
        } else if (c == 'N') {
            return false;  // names of characters would need the whole Unicode database
        } else {
            out.push_back('\\');
        }
        return true;
    }

    Status operation(std::string& open) {
        static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
        for (std::string_view two : kTwo) {
            if (!starts(at_, two)) continue;
            push(TokenType::kOperator, std::string(two));
            advance(at_ + 2);
            return {};
        }
        const char c = text_[at_];
        if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) == std::string_view::npos)
            return fail(ErrorCode::kBadFile, "line {}: unexpected character '{}'", line_, c);
        if (c == '(' || c == '[' || c == '{') open.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
        if (c == ')' || c == ']' || c == '}') {
            if (open.empty()) return fail(ErrorCode::kBadFile, "line {}: unexpected '{}'", line_, c);
            if (open.back() != c)
                return fail(ErrorCode::kBadFile, "line {}: unexpected '{}', expected '{}'", line_, c, open.back());
            open.pop_back();
        }
        push(TokenType::kOperator, std::string(1, c));
        advance(at_ + 1);
        return {};
    }

    std::string text_;
    size_t at_ = 0;
    int line_ = 1;
    bool line_starting_ = true;
    std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
    return Lexer(source).run();
}

}  // namespace sterna::jinja
