// Which name of tokenizer.ggml.pre stands for which split expressions: by the text of the expressions, as they stand in
// the models' own tokenizer.json or in the source of tiktoken.
#include <algorithm>

#include "convert/tokenizer_data.h"
#include "text/pretokenizer.h"

namespace sterna {

namespace {

#define FOLD "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define FOLD_SHORT "'(?i:[sdmt]|ll|ve|re)"
#define BLANKS R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define BLANKS_SHORT R"(\s*[\r\n]|\s+(?!\S)|\s+)"
#define HIGH R"(\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M})"
#define LOW R"(\p{Ll}\p{Lm}\p{Lo}\p{M})"
#define WORD R"([^\r\n\p{L}\p{N}]?)"
#define CASED(END, DIGITS, TAIL)                                                                                   \
    WORD "[" HIGH "]*[" LOW "]+" END "|" WORD "[" HIGH "]+[" LOW "]*" END "|" DIGITS R"(| ?[^\s\p{L}\p{N}]+)" TAIL \
         "|" BLANKS
#define WORDS(FIRST, LETTERS, DIGITS, TAIL) FIRST WORD LETTERS "|" DIGITS R"(| ?[^\s\p{L}\p{N}]+)" TAIL "|" BLANKS
#define GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
#define CL100K(DIGITS) FOLD_SHORT R"(|[^\r\n\p{L}\p{N}]?+\p{L}+|)" DIGITS R"(| ?[^\s\p{L}\p{N}]++[\r\n]*|)" BLANKS_SHORT
#define DEEPSEEK_QUOTED(TAIL) \
    R"([!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)" TAIL
#define DEEPSEEK(TAIL) \
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)" TAIL
#define CJK "[一-龥぀-ゟ゠-ヿ]+"
#define HALVES \
    R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"
#define HAN R"([\p{Han}]+|)"
#define NOT_HAN "&&[^\\p{Han}]"

struct Known {
    const char* names[4];  // that differ in flags only, the plainest first
    const char* expressions[7];
};

constexpr Known kKnown[] = {
    {{"gpt-2", "olmo"}, {GPT2}},
    {{"starcoder"}, {R"(\p{N})", GPT2}},
    {{"starcoder"}, {R"(\d)", GPT2}},
    {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", GPT2, R"([0-9][0-9][0-9])"}},
    {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", GPT2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
    {{"llama-bpe", "glm4", "dbrx"}, {WORDS(FOLD "|", R"(\p{L}+)", R"(\p{N}{1,3})", R"([\r\n]*)")}},
    {{"llama-bpe", "glm4", "dbrx"}, {WORDS(FOLD "|", R"([\p{L}]+)", R"(\p{N}{1,3})", R"([\r\n]*)")}},
    {{"llama-bpe", "glm4", "dbrx"}, {CL100K(R"(\p{N}{1,3})")}},
    {{"llama-bpe", "glm4", "dbrx"}, {WORDS(FOLD_SHORT "|", R"(\p{L}+)", R"(\p{N}{1,3})", R"([\r\n]*)")}},
    {{"qwen2", "hunyuan"}, {WORDS(FOLD "|", R"(\p{L}+)", R"(\p{N})", R"([\r\n]*)")}},
    {{"qwen2", "hunyuan"}, {WORDS(FOLD "|", R"([\p{L}]+)", R"(\p{N})", R"([\r\n]*)")}},
    {{"bailingmoe"}, {CL100K(R"(\p{N})")}},
    {{"qwen35"}, {FOLD R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" BLANKS}},
    {{"seed-coder"}, {WORDS(FOLD "|", R"(\p{L}+)", R"(\p{N})", "")}},
    {{"seed-coder"}, {WORDS(FOLD "|", R"([\p{L}]+)", R"(\p{N})", "")}},
    {{"ufakzeka"}, {WORDS("", R"(\p{L}+)", R"(\p{N})", R"([\r\n]*)")}},
    {{"jais-2"}, {FOLD R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)" HALVES}},
    {{"jais-2"}, {FOLD R"(|[^\r\n\p{L}\p{N}]?[\p{L}]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)" HALVES}},
    {{"minicpm5"}, {R"(\p{N}{1,3})", WORDS(FOLD "|", R"(\p{L}+)", R"(\p{N}+)", R"([\r\n]*)")}},
    {{"minicpm5"}, {R"(\p{N}{1,3})", WORDS(FOLD "|", R"([\p{L}]+)", R"(\p{N}+)", R"([\r\n]*)")}},
    {{"laguna"}, {R"([^\n]+|[\n]+)", WORDS(FOLD "|", R"(\p{L}+)", R"(\p{N})", R"([\r\n]*)")}},
    {{"laguna"}, {R"([^\n]+|[\n]+)", WORDS(FOLD "|", R"([\p{L}]+)", R"(\p{N})", R"([\r\n]*)")}},
    {{"exaone-moe"},
     {FOLD
      R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    {{"gpt-4o", "granite-embed-multi-97m"}, {CASED(FOLD "?", R"(\p{N}{1,3})", R"([\r\n/]*)")}},
    {{"tekken"}, {CASED("", R"(\p{N})", R"([\r\n/]*)")}},
    {{"kimi-k2"},
     {HAN WORD "[" HIGH NOT_HAN "]*[" LOW NOT_HAN "]+" FOLD "?|" WORD "[" HIGH NOT_HAN "]+[" LOW NOT_HAN "]*" FOLD
               R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" BLANKS}},
    {{"youtu"}, {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" CJK, CASED(FOLD "?", R"(\p{N})", R"([\r\n/]*)")}},
    {{"tiny_aya"}, {R"(\d{1,3}(?=(?:\d{3})*\b))", CASED(FOLD "?", R"(\p{N}{1,3})", R"([\r\n/]*)")}},
    {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-퟿]+", R"(\p{N})"}},
    {{"deepseek-v3"}, {R"(\p{N}{1,3})", CJK, DEEPSEEK(R"([\r\n]*|)" BLANKS)}},
    {{"deepseek-v3"}, {R"(\p{N}{1,3})", CJK, DEEPSEEK_QUOTED(R"([\r\n]*|)" BLANKS)}},
    {{"spark2_5"}, {R"(\p{N}{1,3})", CJK, DEEPSEEK(R"(|[\r\n]|\s+(?!\S)|\s+)"), R"(\p{N})"}},
    {{"bloom"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)"}},
    {{"viking"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"}},
    {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
    {{"chameleon"},
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})",
      R"([\p{P}!-/:-@\[-`{-~])", GPT2}},
};

// The two that share everything but DeepSeek LLM's long list of letters, which is compared by its beginning and end.
bool is_deepseek_llm(const std::vector<std::string_view>& e) {
    return e.size() == 6 && e[0] == R"([\r\n])" && e[1].starts_with("\\s?[A-Za-z\xC2\xB5\xC3\x80-\xC3\x96") &&
           e[2].starts_with("\\s?[!-/:-~") && e[3] == R"(\s+$)" && e[4].ends_with("]+") && e[5] == R"(\p{N}+)";
}

std::string_view argument(std::string_view step, std::string_view name) {
    return step.starts_with(name) ? step.substr(name.size()) : std::string_view();
}

}  // namespace

void name_pretokenizer(std::vector<std::string> normalizer, std::vector<std::string> split, bool ignore_merges,
                       TokenizerData& data) {
    std::vector<std::string_view> expressions;
    size_t n_changes = 0;  // steps that are no cuts
    for (std::string_view step : split) {
        std::string_view e = argument(step, "isolated ");
        if (e.empty()) e = argument(step, "contiguous ");
        // What "keep the matches only" leaves out is nothing for the expressions below.
        if (e.empty()) e = argument(step, "not_removed ");
        e.empty() ? void(++n_changes) : expressions.push_back(e);
    }
    const bool bytes_last = !split.empty() && split.back() == "byte_level";
    const bool plain =
        n_changes == 1 && std::find(split.begin(), split.end(), "byte_level") != split.end() && !expressions.empty();
    const bool nfc = normalizer.size() == 1 && normalizer[0] == "nfc";
    const Pretokenizer* best = nullptr;
    if (plain && (normalizer.empty() || nfc)) {
        for (const Known& known : kKnown) {
            size_t n = 0;
            while (n < 7 && known.expressions[n]) ++n;
            if (n != expressions.size() || !std::equal(expressions.begin(), expressions.end(), known.expressions))
                continue;
            for (const char* name : known.names) {
                const Pretokenizer* rules = name ? Pretokenizer::find(name) : nullptr;
                auto distance = [&](const Pretokenizer* r) {
                    return (r->ignore_merges != ignore_merges) * 2 + (r->normalize_nfc != nfc);
                };
                if (rules && (!best || distance(rules) < distance(best))) best = rules;
            }
        }
        if (!best && is_deepseek_llm(expressions)) best = Pretokenizer::find("deepseek-llm");
    }
    if (best) data.pre = best->name;
    if (best && bytes_last) {
        if (best->ignore_merges != ignore_merges) data.ignore_merges = ignore_merges;
        if (best->normalize_nfc != nfc) data.normalizer = std::vector<std::string>{nfc ? "nfc" : "none"};
        return;
    }
    // Cut as the file says: nobody has a name for it, or the named rules differ where bytes are no text.
    if (!best) data.pre = "default";
    data.ignore_merges = ignore_merges;
    data.options.push_back("byte_level");
    if (!normalizer.empty()) data.normalizer = std::move(normalizer);
    if (split.empty()) split.push_back("none");
    data.split = std::move(split);
}

std::optional<std::vector<std::string>> pretokenizer_steps(std::string_view name) {
    const Pretokenizer* wanted = Pretokenizer::find(name);
    if (!wanted) return std::nullopt;
    for (const Known& known : kKnown) {
        for (const char* other : known.names) {
            const Pretokenizer* rules = other ? Pretokenizer::find(other) : nullptr;
            // Names that share their cuts.
            if (!rules || !std::equal(std::begin(rules->stages), std::end(rules->stages), std::begin(wanted->stages)))
                continue;
            std::vector<std::string> steps;
            for (const char* e : known.expressions)
                if (e) steps.push_back(e);
            return steps;
        }
    }
    return std::nullopt;
}

}  // namespace sterna
