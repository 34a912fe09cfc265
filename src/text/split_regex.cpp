#include "text/split_regex.h"

#include <algorithm>
#include <deque>
#include <span>
#include <string>

#include "text/utf8.h"

namespace sterna {

namespace {

using Class = SplitRegex::Class;
using Op = SplitRegex::Op;
using Assertion = SplitRegex::Assertion;

constexpr uint32_t kNoLimit = UINT32_MAX;

// What \p{...} means, by name in lower case without blanks, '_' and '-'.
struct Property {
    std::string_view name;
    CharSet set;
};
constexpr CharSet bits(int first, int last) {
    CharSet set = 0;
    for (int i = first; i <= last; ++i) set |= category_bit(i);
    return set;
}
constexpr CharSet kOther = kUnassigned | bits(26, 28);
constexpr Property kProperties[] = {
    {"l", kLetter},
    {"letter", kLetter},
    {"lu", kUpper},
    {"uppercaseletter", kUpper},
    {"ll", kLower},
    {"lowercaseletter", kLower},
    {"lt", kTitle},
    {"titlecaseletter", kTitle},
    {"lm", kModifierLetter},
    {"modifierletter", kModifierLetter},
    {"lo", kOtherLetter},
    {"otherletter", kOtherLetter},
    {"m", kMark},
    {"mark", kMark},
    {"combiningmark", kMark},
    {"mn", kNonspacingMark},
    {"nonspacingmark", kNonspacingMark},
    {"mc", category_bit(7)},
    {"spacingmark", category_bit(7)},
    {"me", category_bit(8)},
    {"enclosingmark", category_bit(8)},
    {"n", kNumber},
    {"number", kNumber},
    {"nd", kDecimalDigit},
    {"decimalnumber", kDecimalDigit},
    {"digit", kDecimalDigit},
    {"nl", kLetterNumber},
    {"letternumber", kLetterNumber},
    {"no", category_bit(11)},
    {"othernumber", category_bit(11)},
    {"p", kPunctuation},
    {"punctuation", kPunctuation},
    {"pc", kConnector},
    {"connectorpunctuation", kConnector},
    {"pd", category_bit(13)},
    {"dashpunctuation", category_bit(13)},
    {"ps", category_bit(14)},
    {"openpunctuation", category_bit(14)},
    {"pe", category_bit(15)},
    {"closepunctuation", category_bit(15)},
    {"pi", category_bit(16)},
    {"initialpunctuation", category_bit(16)},
    {"pf", category_bit(17)},
    {"finalpunctuation", category_bit(17)},
    {"po", category_bit(18)},
    {"otherpunctuation", category_bit(18)},
    {"s", kSymbol},
    {"symbol", kSymbol},
    {"sm", category_bit(19)},
    {"mathsymbol", category_bit(19)},
    {"sc", category_bit(20)},
    {"currencysymbol", category_bit(20)},
    {"sk", category_bit(21)},
    {"modifiersymbol", category_bit(21)},
    {"so", category_bit(22)},
    {"othersymbol", category_bit(22)},
    {"z", bits(23, 25)},
    {"separator", bits(23, 25)},
    {"zs", category_bit(23)},
    {"spaceseparator", category_bit(23)},
    {"zl", category_bit(24)},
    {"lineseparator", category_bit(24)},
    {"zp", category_bit(25)},
    {"paragraphseparator", category_bit(25)},
    {"c", kOther},
    {"other", kOther},
    {"cc", kControlChar},
    {"control", kControlChar},
    {"cntrl", kControlChar},
    {"cf", kFormatChar},
    {"format", kFormatChar},
    {"co", kPrivateUse},
    {"privateuse", kPrivateUse},
    {"cn", kUnassigned},
    {"unassigned", kUnassigned},
    {"han", kHan},
    {"space", kWhiteSpace},
    {"whitespace", kWhiteSpace},
};

// Scripts whose expressions are met in tokenizers: asked of the tokenizers' own engine (tools/make_split_scripts.py).
struct Script {
    std::string_view name;
    std::span<const SplitRegex::Range> ranges;
};
#include "text/split_regex_scripts.inl"

}  // namespace

// Recursive descent into a tree, then into instructions.
class SplitRegexCompiler {
public:
    SplitRegexCompiler(std::string_view pattern, const SplitRegexLimits& limits) : text_(pattern), limits_(limits) {}

    Result<SplitRegex> compile() {
        if (text_.size() > limits_.max_pattern_bytes)
            return fail(ErrorCode::kLimit, "expression: {} bytes, limit {}", text_.size(), limits_.max_pattern_bytes);
        STERNA_TRY(root, alternatives(0));
        if (at_ < text_.size()) return error("')' without '('");
        for (Class& c : regex_.classes_) fill_ascii(c);
        STERNA_CHECK(write(root));
        STERNA_CHECK(put({Op::kAccept}));
        return std::move(regex_);
    }

private:
    enum class Kind : uint8_t {
        kEmpty,
        kChar,
        kClass,
        kSequence,
        kAlternatives,
        kRepeat,
        kLook,
        kAtomic,
        kBehind,
        kAssert
    };
    enum class Mode : uint8_t { kGreedy, kLazy, kPossessive };
    struct Node {
        Kind kind = Kind::kEmpty;
        uint32_t value = 0;  // code point, class, assertion
        bool negated = false;
        uint32_t least = 0, most = 0;
        Mode mode = Mode::kGreedy;
        std::vector<uint32_t> children = {};
    };

    std::unexpected<Error> error(std::string_view what) const {
        return fail(ErrorCode::kUnsupported, "expression '{}': {} at byte {}", text_.substr(0, 80), what, at_);
    }
    bool more() const { return at_ < text_.size(); }
    char peek() const { return more() ? text_[at_] : '\0'; }
    bool looking_at(std::string_view what) const { return text_.substr(at_).starts_with(what); }
    bool take(std::string_view what) {
        if (!looking_at(what)) return false;
        at_ += what.size();
        return true;
    }

    uint32_t add(Node node) {
        nodes_.push_back(std::move(node));
        return uint32_t(nodes_.size() - 1);
    }
    Result<uint32_t> add_class(Class c) {
        if (regex_.classes_.size() >= limits_.max_classes) return error("too many classes");
        regex_.classes_.push_back(std::move(c));
        return uint32_t(regex_.classes_.size() - 1);
    }

    Result<uint32_t> alternatives(int depth) {
        if (depth > limits_.max_depth) return error("groups too deep");
        bool fold = fold_;  // (?i) holds to the end of its group
        Node node{.kind = Kind::kAlternatives};
        do {
            STERNA_TRY(part, sequence(depth));
            node.children.push_back(part);
        } while (take("|"));
        fold_ = fold;
        return node.children.size() == 1 ? node.children[0] : add(std::move(node));
    }

    Result<uint32_t> sequence(int depth) {
        Node node{.kind = Kind::kSequence};
        while (more() && peek() != '|' && peek() != ')') {
            STERNA_TRY(part, atom(depth));
            if (part == kNoLimit) continue;
            STERNA_TRY(repeated, repeats(part));
            node.children.push_back(repeated);
        }
        return node.children.size() == 1 ? node.children[0] : add(std::move(node));
    }

    // Returns: kNoLimit for what matches nothing and cannot be repeated, such as (?i).
    Result<uint32_t> atom(int depth) {
        if (take("(")) return group(depth);
        if (take("[")) {
            STERNA_TRY(c, char_class(depth));
            return add({.kind = Kind::kClass, .value = c});
        }
        if (take(".")) {
            STERNA_TRY(c, add_class({.negated = true, .ranges = {{'\n', '\n'}}, .parts = {}, .intersection = {}}));
            return add({.kind = Kind::kClass, .value = c});
        }
        if (take("^")) return assertion(Assertion::kLineBegin);
        if (take("$")) return assertion(Assertion::kLineEnd);
        if (peek() == '*' || peek() == '+' || peek() == '?') return error("nothing to repeat");
        if (peek() == '\\') return escape();
        Utf8Char c = decode_utf8(text_, at_);
        if (c.code_point == kInvalidCodePoint) return error("no UTF-8");
        at_ += c.length;
        return literal(c.code_point);
    }

    uint32_t assertion(Assertion what) { return add({.kind = Kind::kAssert, .value = uint32_t(what)}); }

    Result<uint32_t> literal(uint32_t cp) {
        if (!fold_) return add({.kind = Kind::kChar, .value = cp});
        Class c;
        add_folded(c, cp, cp);
        if (c.ranges.size() == 1) return add({.kind = Kind::kChar, .value = cp});
        STERNA_TRY(index, add_class(std::move(c)));
        return add({.kind = Kind::kClass, .value = index});
    }

    Result<uint32_t> group(int depth) {
        if (!take("?")) return group_body(depth);
        if (take(":")) return group_body(depth);
        if (take(">")) return wrap(Kind::kAtomic, false, depth);
        if (take("=")) return wrap(Kind::kLook, false, depth);
        if (take("!")) return wrap(Kind::kLook, true, depth);
        if (looking_at("<=") || looking_at("<!")) {
            bool negated = text_[at_ + 1] == '!';
            at_ += 2;
            STERNA_TRY(body, group_body(depth));
            Node node = nodes_[body];
            if (node.kind == Kind::kChar) {
                STERNA_TRY(c, add_class({.ranges = {{node.value, node.value}}, .parts = {}, .intersection = {}}));
                node.value = c;
            } else if (node.kind != Kind::kClass) {
                return error("look-behind of more than one character");
            }
            return add({.kind = Kind::kBehind, .value = node.value, .negated = negated});
        }
        // (?i) (?-i) (?i:...) (?s) (?m) (?x) are told apart by their letters.
        bool on = true, fold = fold_;
        for (; more() && peek() != ':' && peek() != ')'; ++at_) {
            if (peek() == '-') {
                on = false;
            } else if (peek() == 'i') {
                fold = on;
            } else {
                return error(fmt::format("group '(?{}'", peek()));
            }
        }
        if (take(")")) {
            fold_ = fold;
            return kNoLimit;
        }
        if (!take(":")) return error("group without end");
        std::swap(fold, fold_);
        auto body = group_body(depth);
        fold_ = fold;
        return body;
    }

    Result<uint32_t> group_body(int depth) {
        STERNA_TRY(body, alternatives(depth + 1));
        if (!take(")")) return error("group without end");
        return body;
    }

    Result<uint32_t> wrap(Kind kind, bool negated, int depth) {
        STERNA_TRY(body, group_body(depth));
        return add({.kind = kind, .negated = negated, .children = {body}});
    }

    Result<uint32_t> repeats(uint32_t what) {
        for (int n = 0;; ++n) {
            if (n > 8) return error("too many repeats of repeats");
            Node node{.kind = Kind::kRepeat, .children = {what}};
            bool interval = false;
            if (take("*")) {
                node.most = kNoLimit;
            } else if (take("+")) {
                node.least = 1;
                node.most = kNoLimit;
            } else if (take("?")) {
                node.most = 1;
            } else if (peek() == '{' && read_interval(node)) {
                interval = true;
                if (node.least > uint32_t(limits_.max_repeat) ||
                    (node.most != kNoLimit && node.most > uint32_t(limits_.max_repeat)) || node.least > node.most)
                    return error("repeat count");
            } else {
                return what;
            }
            // Ruby's syntax: {n,m}+ repeats the repeat, and {n}? makes it optional.
            if (!(interval && node.least == node.most) && take("?")) {
                node.mode = Mode::kLazy;
            } else if (!interval && take("+")) {
                node.mode = Mode::kPossessive;
            }
            what = add(std::move(node));
        }
    }

    // {n} {n,} {,m} {n,m}; anything else is plain text.
    bool read_interval(Node& node) {
        size_t p = at_ + 1;
        auto number = [&]() -> std::optional<uint32_t> {
            size_t begin = p;
            uint32_t value = 0;
            for (; p < text_.size() && uint8_t(text_[p] - '0') < 10; ++p)
                value = std::min<uint32_t>(value * 10 + uint32_t(text_[p] - '0'), 1u << 20);
            return p > begin ? std::optional(value) : std::nullopt;
        };
        auto least = number();
        std::optional<uint32_t> most = least;
        if (p < text_.size() && text_[p] == ',') {
            ++p;
            most = number();
            if (!least && !most) return false;
            if (!most) most = kNoLimit;
        }
        if (!most || p >= text_.size() || text_[p] != '}') return false;
        node.least = least.value_or(0);
        node.most = *most;
        at_ = p + 1;
        return true;
    }

    // Outside a class.
    Result<uint32_t> escape() {
        char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
        switch (c) {
            case 'b':
                at_ += 2;
                return assertion(Assertion::kWord);
            case 'B':
                at_ += 2;
                return assertion(Assertion::kNoWord);
            case 'A':
                at_ += 2;
                return assertion(Assertion::kTextBegin);
            case 'z':
                at_ += 2;
                return assertion(Assertion::kTextEnd);
            case 'Z':
                at_ += 2;
                return assertion(Assertion::kTextEndOrNewline);
            default:
                break;
        }
        Class found;
        STERNA_TRY(cp, escaped(found));
        if (cp != kInvalidCodePoint) return literal(cp);
        // Outside of [...], and only there, Oniguruma counts these digits of Latin-1 to \w.
        if (found.word_symbols) found.ranges = {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}};
        STERNA_TRY(index, add_class(std::move(found)));
        return add({.kind = Kind::kClass, .value = index});
    }

    // What stands behind a backslash, inside classes and out: a code point, or kInvalidCodePoint and a class.
    Result<uint32_t> escaped(Class& found) {
        ++at_;
        if (!more()) return error("'\\' at the end");
        Utf8Char c = decode_utf8(text_, at_);
        if (c.code_point == kInvalidCodePoint) return error("no UTF-8");
        at_ += c.length;
        switch (c.code_point) {
            case 'n':
                return uint32_t('\n');
            case 'r':
                return uint32_t('\r');
            case 't':
                return uint32_t('\t');
            case 'f':
                return uint32_t('\f');
            case 'v':
                return uint32_t('\v');
            case 'a':
                return uint32_t('\a');
            case 'e':
                return uint32_t(27);
            case '0':
                return uint32_t(0);
            case 'x':
                return hex(peek() == '{' ? 8 : 2);
            case 'u':
                return hex(4);
            case 's':
            case 'S':
                found.set = kWhiteSpace;
                break;
            case 'd':
            case 'D':
                found.set = kDecimalDigit;
                break;
            case 'h':
            case 'H':
                found.ranges = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
                break;
            case 'w':
            case 'W':
                found.set = kLetter | kMark | kDecimalDigit | kLetterNumber | kConnector;
                found.word_symbols = true;
                break;
            case 'p':
            case 'P': {
                STERNA_CHECK(property(found));
                found.negated = found.negated != (c.code_point == 'P');
                return kInvalidCodePoint;
            }
            default:
                if (c.code_point < 128 && ((c.code_point | 32) - 'a' < 26 || c.code_point - '0' < 10))
                    return error(fmt::format("'\\{}'", char(c.code_point)));
                return c.code_point;
        }
        found.negated = c.code_point == 'S' || c.code_point == 'D' || c.code_point == 'H' || c.code_point == 'W';
        return kInvalidCodePoint;
    }

    Result<uint32_t> hex(int most) {
        bool braces = take("{");
        uint32_t value = 0;
        int n = 0;
        for (; n < most && more(); ++n, ++at_) {
            char c = char(peek() | 32);
            int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (peek() < '0' || digit < 0) break;
            value = value << 4 | uint32_t(digit);
        }
        if (n == 0 || (braces && !take("}")) || value >= 0x110000) return error("code point");
        return value;
    }

    Status property(Class& found) {
        size_t end = text_.find('}', at_);
        if (peek() != '{' || end == text_.npos) {
            // \pL
            if (!more()) return error("'\\p' at the end");
            return find_property(std::string(1, text_[at_++]), found);
        }
        std::string name;
        ++at_;
        if (take("^")) found.negated = true;
        for (; at_ < end; ++at_) {
            char c = text_[at_];
            if (c == ' ' || c == '_' || c == '-') continue;
            name += char(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        ++at_;
        return find_property(name, found);
    }

    Status find_property(std::string name, Class& found) {
        for (char& c : name) c = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
        if (name == "alpha" || name == "alphabetic" || name == "alnum" || name == "word")
            return error(fmt::format("\\p{{{}}}", name));
        for (const Property& p : kProperties) {
            if (p.name != name) continue;
            found.set = p.set;
            return {};
        }
        for (const Script& s : kScripts) {
            if (s.name != name) continue;
            found.ranges.assign(s.ranges.begin(), s.ranges.end());
            return {};
        }
        if (name == "any") {
            found.ranges = {{0, kInvalidCodePoint}};
            return {};
        }
        return error(fmt::format("\\p{{{}}}", name));
    }

    // After '['.
    Result<uint32_t> char_class(int depth) {
        if (depth > limits_.max_depth) return error("classes too deep");
        Class c;
        bool negated = take("^");
        std::vector<uint32_t> all;  // operands of && so far
        for (bool first = true; !looking_at("]") || first; first = false) {
            if (!more()) return error("class without end");
            if (take("&&")) {
                STERNA_TRY(part, add_class(std::move(c)));
                all.push_back(part);
                c = {};
                continue;
            }
            if (looking_at("[:")) {
                return error("class '[:'");
            }
            if (take("[")) {
                STERNA_TRY(inner, char_class(depth + 1));
                c.parts.push_back(inner);
                continue;
            }
            STERNA_CHECK(class_item(c));
        }
        ++at_;
        if (!all.empty()) {
            // The last operand is the class itself.
            c.intersection = std::move(all);
        }
        c.negated = negated;
        return add_class(std::move(c));
    }

    // One character, one range or one escape.
    Status class_item(Class& c) {
        STERNA_TRY(first, class_character(c));
        if (first == kInvalidCodePoint) return {};
        uint32_t last = first;
        if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
            size_t minus = at_++;
            Class none;
            STERNA_TRY(end, class_character(none));
            if (end == kInvalidCodePoint) {
                at_ = minus;  // a-\d: the minus is itself
            } else {
                last = end;
            }
        }
        if (last < first) return error("range from high to low");
        if (fold_) {
            add_folded(c, first, last);
        } else {
            c.ranges.push_back({first, last});
        }
        return {};
    }

    Result<uint32_t> class_character(Class& c) {
        if (peek() == '\\') {
            if (text_.substr(at_).starts_with("\\b")) {
                at_ += 2;
                return uint32_t('\b');
            }
            Class found;
            STERNA_TRY(cp, escaped(found));
            if (cp != kInvalidCodePoint) return cp;
            STERNA_TRY(index, add_class(std::move(found)));
            c.parts.push_back(index);
            return kInvalidCodePoint;
        }
        Utf8Char one = decode_utf8(text_, at_);
        if (one.code_point == kInvalidCodePoint) return error("no UTF-8");
        at_ += one.length;
        return one.code_point;
    }

    // Every character that differs from one of the range in case only.
    static void add_folded(Class& c, uint32_t first, uint32_t last) {
        c.ranges.push_back({first, last});
        auto add = [&c](uint32_t cp) { c.ranges.push_back({cp, cp}); };
        // Ranges beyond the letters of alphabets have no case.
        for (uint32_t cp = first; cp <= last && cp < 0x600; ++cp) {
            if (uint32_t low = to_lower(cp); low != cp) add(low);
            if (cp == 's' || cp == 'S') add(0x17F);
            if (cp == 'k' || cp == 'K') add(0x212A);
            if (cp == 0x17F) add('s'), add('S');
            // Capitals stand before their small letters: in the same block, or one before.
            for (uint32_t high = cp > 0x60 ? cp - 0x60 : 0; high < cp; ++high)
                if (to_lower(high) == cp) add(high);
        }
    }

    void fill_ascii(Class& c) const {
        for (uint32_t cp = 0; cp < 128; ++cp)
            if (regex_.holds_slowly(c, cp)) c.ascii[cp >> 6] |= uint64_t(1) << (cp & 63);
    }

    Status put(SplitRegex::Instruction instruction) {
        if (regex_.program_.size() >= limits_.max_instructions)
            return fail(ErrorCode::kLimit, "expression '{}': more than {} instructions", text_.substr(0, 80),
                        limits_.max_instructions);
        regex_.program_.push_back(instruction);
        return {};
    }
    uint32_t here() const { return uint32_t(regex_.program_.size()); }

    Status write(uint32_t index) {
        const Node& node = nodes_[index];
        switch (node.kind) {
            case Kind::kEmpty:
                return {};
            case Kind::kChar:
                return put({Op::kChar, node.value});
            case Kind::kClass:
                return put({Op::kClass, node.value});
            case Kind::kBehind:
                return put({Op::kBehind, node.value, node.negated});
            case Kind::kAssert:
                return put({Op::kAssert, node.value});
            case Kind::kSequence:
                for (uint32_t child : node.children) STERNA_CHECK(write(child));
                return {};
            case Kind::kAlternatives:
                return write_alternatives(node);
            case Kind::kLook:
            case Kind::kAtomic:
                return write_body(node.kind == Kind::kLook ? Op::kLook : Op::kAtomic, node.children[0], node.negated);
            case Kind::kRepeat:
                return write_repeat(node);
        }
        return {};
    }

    Status write_body(Op op, uint32_t body, bool negated) {
        uint32_t start = here();
        STERNA_CHECK(put({op, 0, negated}));
        STERNA_CHECK(write(body));
        STERNA_CHECK(put({Op::kAccept}));
        regex_.program_[start].a = here();
        return {};
    }

    Status write_alternatives(const Node& node) {
        std::vector<uint32_t> jumps;
        for (size_t i = 0; i < node.children.size(); ++i) {
            bool last = i + 1 == node.children.size();
            uint32_t split = here();
            if (!last) STERNA_CHECK(put({Op::kSplit, split + 1}));
            STERNA_CHECK(write(node.children[i]));
            if (last) break;
            jumps.push_back(here());
            STERNA_CHECK(put({Op::kJump}));
            regex_.program_[split].b = here();
        }
        for (uint32_t jump : jumps) regex_.program_[jump].a = here();
        return {};
    }

    Status write_repeat(const Node& node) {
        const Node& body = nodes_[node.children[0]];
        if (body.kind == Kind::kClass && node.mode != Mode::kLazy)
            return put({node.mode == Mode::kGreedy ? Op::kRun : Op::kKeepRun, body.value, node.least, node.most});
        if (node.mode == Mode::kPossessive) {
            Node greedy = node;
            greedy.mode = Mode::kGreedy;
            return write_body(Op::kAtomic, add(std::move(greedy)), false);
        }
        const uint32_t child = node.children[0], least = node.least, most = node.most;
        const bool lazy = node.mode == Mode::kLazy;
        for (uint32_t i = 0; i < least; ++i) STERNA_CHECK(write(child));
        auto split = [&](uint32_t& place) {
            place = here();
            return put({Op::kSplit, place + 1, place + 1});
        };
        auto leave = [&](uint32_t place) { (lazy ? regex_.program_[place].a : regex_.program_[place].b) = here(); };
        uint32_t place;
        if (most == kNoLimit) {
            uint32_t slot = regex_.n_slots_++;
            STERNA_CHECK(split(place));
            STERNA_CHECK(put({Op::kPlace, slot}));
            STERNA_CHECK(write(child));
            uint32_t skip = here();
            STERNA_CHECK(put({Op::kSkip, slot}));
            STERNA_CHECK(put({Op::kJump, place}));
            leave(place);
            regex_.program_[skip].b = here();
            return {};
        }
        std::vector<uint32_t> places;
        for (uint32_t i = least; i < most; ++i) {
            STERNA_CHECK(split(place));
            places.push_back(place);
            STERNA_CHECK(write(child));
        }
        for (uint32_t p : places) leave(p);
        return {};
    }

    std::string_view text_;
    const SplitRegexLimits& limits_;
    size_t at_ = 0;
    bool fold_ = false;
    std::deque<Node> nodes_;  // references stay good while it grows
    SplitRegex regex_;
};

Result<SplitRegex> SplitRegex::compile(std::string_view pattern, const SplitRegexLimits& limits) {
    return SplitRegexCompiler(pattern, limits).compile();
}

}  // namespace sterna
