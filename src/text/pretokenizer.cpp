#include "text/pretokenizer.h"

#include "text/pretokenizer_rules.h"

namespace sterna {

namespace pretokenizer {
namespace {

constexpr Range kDeepseekLetters[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},       {0xD8, 0xF6},
    {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},     {0x295, 0x2AF},     {0x370, 0x373},
    {0x376, 0x377},     {0x37B, 0x37D},     {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},
    {0x38C, 0x38C},     {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},     {0x48A, 0x52F},
    {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},   {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},
    {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},   {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},
    {0x1F18, 0x1F1D},   {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},
    {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},   {0x1FB6, 0x1FBC},
    {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},   {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},
    {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},   {0x1FF6, 0x1FFC},   {0x2102, 0x2102},   {0x2107, 0x2107},
    {0x210A, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},   {0x213C, 0x213F},
    {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},
    {0x2CEB, 0x2CEE},   {0x2CF2, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},   {0xA722, 0xA76F},
    {0xA771, 0xA787},   {0xA78B, 0xA78E},   {0xAB70, 0xABBF},   {0xFB00, 0xFB06},   {0xFB13, 0xFB17},
    {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},   {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB},
    {0x10C80, 0x10CB2}, {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};
constexpr Range kDeepseekMarks[] = {{0x21, 0x2F},     {0x3A, 0x7E},     {0x2018, 0x201F},
                                    {0x3000, 0x3002}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}};
constexpr Range kDeepseekCjk[] = {{0x800, 0x9FA5}, {0xAC00, 0xD7FF}};
constexpr Range kDeepseek3Cjk[] = {{0x3040, 0x30FF}, {0x4E00, 0x9FA5}};
constexpr Range kAfmoeAsian[] = {{0xE40, 0xE7F},   {0xE80, 0xEFF},   {0x1000, 0x109F}, {0x1100, 0x11FF},
                                 {0x1780, 0x17FF}, {0x2F00, 0x2FDF}, {0x3040, 0x30FF}, {0x3400, 0x4DBF},
                                 {0x4E00, 0x9FFF}, {0xA9E0, 0xA9FF}, {0xAA60, 0xAA7F}, {0xAC00, 0xD7AF},
                                 {0xF900, 0xFAFF}, {0xFF65, 0xFF9F}};
constexpr Range kYoutuHangul[] = {{0x3131, 0x318E}, {0xAC00, 0xD7A3}};
constexpr Range kYoutuMarks[] = {{0x2014, 0x2014}, {0x2018, 0x2019}, {0x201C, 0x201D},
                                 {0x2026, 0x2026}, {0x3001, 0x303F}, {0xFE30, 0xFE4F},
                                 {0xFF01, 0xFF01}, {0xFF0C, 0xFF0C}, {0xFF1A, 0xFF1B}};
constexpr Range kYoutuBopomofo[] = {{0x3105, 0x312F}};

constexpr auto kIsNumber = [](const Char& c) { return c.is(kNumber); };
constexpr auto kIsLetter = [](const Char& c) { return c.is(kLetter); };
constexpr auto kIsPunctuation = [](const Char& c) { return c.is(kPunctuation); };
constexpr auto kIsNewline = [](const Char& c) { return c.is_newline(); };
constexpr auto kIsNotSpace = [](const Char& c) { return !c.is(kWhiteSpace); };
constexpr auto kIsDeepseekLetter = [](const Char& c) { return contains(kDeepseekLetters, c.cp); };
constexpr auto kIsDeepseekMark = [](const Char& c) { return contains(kDeepseekMarks, c.cp); };
constexpr auto kIsDeepseekCjk = [](const Char& c) { return contains(kDeepseekCjk, c.cp); };
constexpr auto kIsDeepseek3Cjk = [](const Char& c) { return contains(kDeepseek3Cjk, c.cp); };
constexpr auto kIsAfmoeAsian = [](const Char& c) { return contains(kAfmoeAsian, c.cp); };
constexpr auto kIsFalconMark = [](const Char& c) {
    return c.is(kPunctuation) || c.cp == '$' || c.cp == '+' || (c.cp >= '<' && c.cp <= '>') || c.cp == '^' ||
           c.cp == '~' || c.cp == '|' || c.cp == '`';
};
constexpr auto kIsDefaultMark = [](const Char& c) { return c.cp != '`' && kIsFalconMark(c); };
constexpr auto kIsPunctuationOrAscii = [](const Char& c) { return c.is(kPunctuation) || is_ascii_punctuation(c.cp); };

// \p{N}{1,3}
struct UpToThreeDigits {
    Reader text;
    size_t match(size_t p) { return text.run_at_most(p, kNumber, 3) - p; }
};

// [0-9][0-9][0-9]
struct ThreeDigits {
    Reader text;
    size_t match(size_t p) {
        for (size_t i = 0; i < 3; ++i)
            if (uint8_t(text.byte(p + i) - '0') > 9) return 0;
        return 3;
    }
};

// \s+$
struct BlanksAtEnd {
    Reader text;
    size_t match(size_t p) {
        size_t end = text.at(p).is(kWhiteSpace) ? text.blanks(p).end : p;
        return end == text.size() ? end - p : 0;
    }
};

//  ?[^(\s|.,!?...)]+ of BLOOM: everything up to a blank or one of these marks
struct BloomScanner {
    Reader text;
    size_t match(size_t p) {
        size_t q = p + (text.byte(p) == ' ');
        size_t end = text.run_if(q, [](const Char& c) {
            constexpr uint32_t kStops[] = {'(',    '|',    '.',    ',',    '!',   '?',   ')',
                                           0x2026, 0x3002, 0xFF0C, 0x3001, 0x964, 0x6D4, 0x60C};
            return !c.is(kWhiteSpace) && std::find(std::begin(kStops), std::end(kStops), c.cp) == std::end(kStops);
        });
        return end == q ? 0 : end - p;
    }
};

// Numbers cut into threes from the right. kBoundary: \d{1,3}(?=(?:\d{3})*\b), where a number that runs on into a word
// stays whole; else every run of \p{N}, as the first groups of one or two and then threes.
template <bool kBoundary>
struct ThreesFromRight {
    Reader text;
    size_t end = 0;        // of the run being cut
    size_t remaining = 0;  // digits in it from p on

    size_t match(size_t p) {
        constexpr CharSet kDigits = kBoundary ? kDecimalDigit : kNumber;
        if (!text.at(p).is(kDigits)) return 0;
        if (p >= end) {
            remaining = 0;
            end = text.run_if(p, [this](const Char& c) { return c.is(kDigits) && ++remaining > 0; });
            // \b also needs the next character to be no part of a word.
            if (kBoundary && text.at(end).is(kLetter | kMark | kDecimalDigit | kConnector)) remaining = 0;
        }
        if (remaining == 0) return 0;
        size_t take = remaining % 3 ? remaining % 3 : 3;
        remaining -= take;
        return text.run_at_most(p, kDigits, int(take)) - p;
    }
};

// (?=(\d{3})+(?!\d)) of SuperBPE: cuts before each group of three decimal digits counted from the right, and nowhere
// else.
void split_superbpe_threes(std::string_view text, SplitSink sink) {
    Reader reader(text);
    size_t start = 0;
    for (size_t p = 0; p < text.size();) {
        size_t n = 0;
        size_t end = reader.run_if(p, [&n](const Char& c) { return c.is(kDecimalDigit) && ++n > 0; });
        if (n == 0) {
            p += decode_utf8(text, p).length;
            continue;
        }
        p = reader.run_at_most(p, kDecimalDigit, int(n % 3));
        for (; p < end; p = reader.run_at_most(p, kDecimalDigit, 3)) {
            if (start < p) sink(start, p);
            start = p;
        }
    }
    if (start < text.size()) sink(start, text.size());
}

// [^\n]+|[\n]+
struct LineScanner {
    Reader text;
    size_t match(size_t p) {
        bool newline = text.byte(p) == '\n';
        return text.run_if(p, [newline](const Char& c) { return (c.cp == '\n') == newline; }) - p;
    }
};

// [가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+
struct YoutuScanner {
    Reader text;
    size_t match(size_t p) {
        for (std::span<const Range> ranges :
             {std::span<const Range>(kYoutuHangul), std::span<const Range>(kYoutuMarks),
              std::span<const Range>(kYoutuBopomofo), std::span<const Range>(kDeepseek3Cjk)}) {
            size_t end = text.run_if(p, [ranges](const Char& c) { return contains(ranges, c.cp); });
            if (end > p) return end - p;
        }
        return 0;
    }
};

// <sentinel:[0-9]+>
struct SentinelScanner {
    Reader text;
    size_t match(size_t p) {
        if (!text.starts_with(p, "<sentinel:")) return 0;
        size_t end = text.run_if(p + 10, [](const Char& c) { return c.cp - '0' < 10; });
        return end > p + 10 && text.byte(end) == '>' ? end + 1 - p : 0;
    }
};

// (IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z
struct ImageScanner {
    Reader text;
    size_t match(size_t p) {
        if (!text.starts_with(p, "IMGIMG")) return 0;
        size_t end = p + 6;
        while (end < p + 10 && uint8_t(text.byte(end) - 'A') < 9) ++end;
        return end > p + 6 && text.byte(end) == 'Z' ? end + 1 - p : 0;
    }
};

// [\t\n]|    |<two blanks>
struct IndentScanner {
    Reader text;
    size_t match(size_t p) {
        if (text.byte(p) == '\t' || text.byte(p) == '\n') return 1;
        return text.starts_with(p, "    ") ? 4 : text.starts_with(p, "  ") ? 2 : 0;
    }
};

constexpr SplitStage kGpt2 = split_isolated<Gpt2Scanner>;
constexpr SplitStage kNumberAlone = split_isolated<OneScanner<kIsNumber>>;
constexpr SplitStage kNumbers = split_isolated<RunScanner<kIsNumber>>;
constexpr SplitStage kThreeDigits = split_isolated<ThreeDigits>;
constexpr SplitStage kNewlineAlone = split_isolated<OneScanner<kIsNewline>>;
constexpr SplitStage kUpToThree = split_isolated<UpToThreeDigits>;
constexpr SplitStage kLines = split_isolated<LineScanner>;
constexpr SplitStage kLlama3 = split_isolated<WordScanner<WordRules{.digits = 3}>>;
constexpr SplitStage kQwen2 = split_isolated<WordScanner<WordRules{}>>;
constexpr SplitStage kQwen35 =
    split_isolated<WordScanner<WordRules{.word = kLetter | kMark, .not_symbol = kLetter | kMark | kNumber}>>;
constexpr SplitStage kJais2 = split_isolated<WordScanner<WordRules{.digits = 3, .cascade = true}>>;
constexpr SplitStage kSeedCoder = split_isolated<WordScanner<WordRules{.tail = Tail::kNone}>>;
constexpr SplitStage kUfakzeka = split_isolated<WordScanner<WordRules{.contractions = false}>>;
constexpr SplitStage kAnyDigits = split_isolated<WordScanner<WordRules{.digits = 0}>>;
constexpr SplitStage kExaoneMoe =
    split_isolated<WordScanner<WordRules{.tail = Tail::kOneNewlineOrSlash, .spaced_words = true}>>;
constexpr SplitStage kGpt4o = split_isolated<CasedScanner<CasedRules{}>>;
constexpr SplitStage kTekken = split_isolated<CasedScanner<CasedRules{.contractions = false, .digits = 1}>>;
constexpr SplitStage kKimi = split_isolated<CasedScanner<CasedRules{.tail = Tail::kNewlines, .han = true}>>;
constexpr SplitStage kYoutuWords = split_isolated<CasedScanner<CasedRules{.digits = 1}>>;
constexpr SplitStage kDeepseek3 = split_isolated<DeepseekScanner<false>>;
constexpr SplitStage kSpark = split_isolated<DeepseekScanner<true>>;
constexpr SplitStage kDeepseek3CjkRuns = split_isolated<RunScanner<kIsDeepseek3Cjk>>;
constexpr SplitStage kBloom = split_isolated<BloomScanner>;

struct Flags {
    bool ignore_merges = false, add_bos = false, nfc = false, raw_utf8 = false, whole_newlines = false;
};

template <typename... Stages>
constexpr Pretokenizer rule(std::string_view name, Flags flags, Stages... stages) {
    return {name, {stages...}, flags.ignore_merges, flags.add_bos, flags.nfc, flags.raw_utf8, flags.whole_newlines};
}

constexpr Flags kLlama3Flags{.ignore_merges = true, .add_bos = true};
constexpr Flags kNfc{.nfc = true};

// Names as llama.cpp's converter writes them.
constexpr Pretokenizer kRules[] = {
    rule("default", {}, split_isolated<RunScanner<kIsDefaultMark>>, kGpt2, kNumbers, kThreeDigits),
    rule("gpt-2", {}, kGpt2),
    rule("phi-2", {}, kGpt2),
    rule("jina-es", {}, kGpt2),
    rule("jina-de", {}, kGpt2),
    rule("jina-v2-es", {}, kGpt2),
    rule("jina-v2-de", {}, kGpt2),
    rule("jina-v1-en", {}, kGpt2),
    rule("jina-v2-code", {}, kGpt2),
    rule("roberta-bpe", {}, kGpt2),
    rule("gigachat", {}, kGpt2),
    rule("a.x-4.0", {}, kGpt2),
    rule("mellum", {}, kGpt2),
    rule("modern-bert", kNfc, kGpt2),
    rule("exaone4", {}, kGpt2),
    rule("mpt", kNfc, kGpt2),
    rule("olmo", kNfc, kGpt2),
    rule("jais", {}, kGpt2),
    rule("trillion", {}, kGpt2),
    rule("granite-docling", {}, kGpt2),
    rule("llama3", kLlama3Flags, kLlama3),
    rule("llama-v3", kLlama3Flags, kLlama3),
    rule("llama-bpe", kLlama3Flags, kLlama3),
    rule("falcon3", kLlama3Flags, kLlama3),
    rule("falcon-h1", kLlama3Flags, kLlama3),
    rule("pixtral", kLlama3Flags, kLlama3),
    rule("midm-2.0", kLlama3Flags, kLlama3),
    rule("lfm2", kLlama3Flags, kLlama3),
    rule("jina-v5-nano", kLlama3Flags, kLlama3),
    rule("dbrx", {}, kLlama3),
    rule("smaug-bpe", {}, kLlama3),
    rule("glm4", {.ignore_merges = true}, kLlama3),
    rule("glm5", {.ignore_merges = true}, kLlama3),
    rule("chatglm-bpe", {}, kLlama3),
    rule("jais-2", {}, kJais2),
    rule("minicpm5", {.ignore_merges = true}, kUpToThree, kAnyDigits),
    rule("qwen2", kNfc, kQwen2),
    rule("deepseek-r1-qwen", kNfc, kQwen2),
    rule("kormo", {}, kQwen2),
    rule("f2llmv2", {}, kQwen2),
    rule("megrez", {}, kQwen2),
    rule("stablelm2", {}, kQwen2),
    rule("hunyuan", {}, kQwen2),
    rule("solar-open", {}, kQwen2),
    rule("grok-2", {}, kQwen2),
    rule("bailingmoe", {}, kQwen2),
    rule("bailingmoe2", {}, kQwen2),
    rule("llada-moe", {}, kQwen2),
    rule("qwen35", kNfc, kQwen35),
    rule("seed-coder", {}, kSeedCoder),
    rule("ufakzeka", {}, kUfakzeka),
    rule("laguna", {}, kLines, kQwen2),
    rule("exaone-moe", {}, kExaoneMoe),
    rule("tekken", {.ignore_merges = true, .add_bos = true}, kTekken),
    rule("gpt-4o", {}, kGpt4o),
    rule("llama4", {}, kGpt4o),
    rule("kanana2", {}, kGpt4o),
    rule("talkie", {}, kGpt4o),
    rule("minimax-m2", {}, kGpt4o),
    rule("granite-embed-multi-97m", {.ignore_merges = true}, kGpt4o),
    rule("tiny_aya", {}, split_isolated<ThreesFromRight<true>>, kGpt4o),
    rule("cohere2moe", {}, split_isolated<ThreesFromRight<true>>, kGpt4o),
    rule("kimi-k2", {}, kKimi),
    rule("youtu", {.ignore_merges = true}, split_isolated<YoutuScanner>, kYoutuWords),
    rule("deepseek-llm", {}, kNewlineAlone, split_isolated<BlankRunScanner<kIsDeepseekLetter>>,
         split_isolated<BlankRunScanner<kIsDeepseekMark>>, split_isolated<BlanksAtEnd>,
         split_isolated<RunScanner<kIsDeepseekCjk>>, kNumbers),
    rule("deepseek-coder", {}, kNewlineAlone, split_isolated<BlankRunScanner<kIsLetter>>,
         split_isolated<BlankRunScanner<kIsPunctuation>>, split_isolated<RunScanner<kIsDeepseekCjk>>, kNumberAlone),
    rule("deepseek-v3", {}, kUpToThree, kDeepseek3CjkRuns, kDeepseek3),
    rule("hunyuan-dense", {}, kUpToThree, kDeepseek3CjkRuns, kDeepseek3),
    rule("hy_v4", {}, kUpToThree, kDeepseek3CjkRuns, kDeepseek3),
    rule("joyai-llm", {}, kUpToThree, kDeepseek3CjkRuns, kDeepseek3),
    rule("spark2_5", {}, kUpToThree, kDeepseek3CjkRuns, kSpark, kNumberAlone),
    rule("afmoe", {}, split_isolated<ThreesFromRight<false>>, split_isolated<RunScanner<kIsAfmoeAsian>>, kDeepseek3),
    rule("starcoder", {}, kNumberAlone, kGpt2),
    rule("refact", {}, kNumberAlone, kGpt2),
    rule("command-r", {}, kNumberAlone, kGpt2),
    rule("smollm", {}, kNumberAlone, kGpt2),
    rule("codeshell", {}, kNumberAlone, kGpt2),
    rule("exaone", {}, kNumberAlone, kGpt2),
    rule("minerva-7b", {}, kNumberAlone, kGpt2),
    rule("mellum2", {}, kNumberAlone, kGpt2),
    rule("falcon", {}, split_isolated<RunScanner<kIsFalconMark>>, kGpt2, kThreeDigits),
    rule("bloom", {}, kBloom),
    rule("poro-chat", {}, kBloom),
    rule("gpt3-finnish", {}, kBloom),
    rule("viking", {}, kBloom, kNumberAlone),
    rule("superbpe", {}, kNumbers, &split_superbpe_threes),
    rule("chameleon", {.add_bos = true}, split_isolated<SentinelScanner>, split_isolated<ImageScanner>,
         split_isolated<IndentScanner>, kNumberAlone, split_isolated<OneScanner<kIsPunctuationOrAscii>>, kGpt2),
    rule("gemma4", {.raw_utf8 = true, .whole_newlines = true}, kLines),
    rule("granite-embed-multi-311m", {.raw_utf8 = true, .whole_newlines = true}, kLines),
    rule("sarvam-moe", {.raw_utf8 = true}, kLines),
    rule("whitespace", {.raw_utf8 = true}, split_isolated<RunScanner<kIsNotSpace>>),
};

void run_stages(std::span<const SplitStage> stages, std::string_view text, size_t base, SplitSink sink) {
    if (stages.empty() || stages[0] == nullptr) {
        if (!text.empty()) sink(base, base + text.size());
        return;
    }
    stages[0](text, [&](size_t begin, size_t end) {
        run_stages(stages.subspan(1), text.substr(begin, end - begin), base + begin, sink);
    });
}

}  // namespace
}  // namespace pretokenizer

const Pretokenizer* Pretokenizer::find(std::string_view name) {
    for (const Pretokenizer& rule : pretokenizer::kRules)
        if (rule.name == name) return &rule;
    return nullptr;
}

const Pretokenizer& Pretokenizer::fallback() {
    return pretokenizer::kRules[0];
}

void Pretokenizer::split(std::string_view text, SplitSink sink) const {
    pretokenizer::run_stages(stages, text, 0, sink);
}

}  // namespace sterna
