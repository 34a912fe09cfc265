#!/usr/bin/env python3
"""Writes tests/golden/tokenizers: small vocabularies and what Hugging Face's tokenizers and Google's sentencepiece make of
nasty texts with them. The regular expressions are the models' own (tokenizer.json), run by the tokenizers' own engine.

Usage: tools/make_tokenizer_golden.py [FOLDER]          tokenizers 0.23.3, sentencepiece 0.2.3; no randomness

Files (one entry a line; \\n \\r \\t \\\\ \\xAB escapes, a blank at either end as \\x20):
  texts.txt      the texts
  pieces.txt     "pre NAME", then for each text the bytes of its pieces
  KIND.vocab     "key VALUE" for metadata, "token TYPE SCORE TEXT", "merge TEXT"
  KIND.ids       "with KEY VALUE" overrides, "encode", then for each text its ids
"""
import io
import json
import os
import struct
import sys
import tempfile

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/tokenizers"

TRAINING = """The little tern flew over the sea, and the sea sang to the little tern: "Where are you going, little bird?"
"I'm going south," said the tern; "I'll be back when it's spring. You've got 365 days to wait, and they're not long!"
In 1999, 2024 and 12345 other years the birds' wings carried them 70900 km from pole to pole. That's 1.8 times around.
def fly(distance, speed=40.5):
    return distance / speed  # hours
    if x != 10 and y >= 200: print("NORTH", 'SOUTH', {"a": [1, 2, 333]})
HelloWorld camelCase UPPERCase XMLHttpRequest snake_case_name https://example.org/path?query=1&x=2
Größe über naïve café déjà vu señor Ångström œuvre straße. Fußgängerübergänge, Äpfel und Öl.
Маленькая птица летит над морем. Привет, мир! нещо на Български. Ελληνικά και αγγλικά: η θάλασσα.
小さな鳥が海の上を飛ぶ。こんにちは世界。カタカナ 漢字 北京大学 中文的句子，没有空格。你好，世界！
작은 새가 바다 위를 난다. 안녕하세요 세계. नमस्ते दुनिया छोटा पक्षी. สวัสดีชาวโลก ภาษาไทยไม่มีช่องว่าง
العربية: الطائر الصغير يطير فوق البحر، مُحَمَّد. עברית: שלום עולם. 🐦 🌊 ✈️ 👍🏽 🇩🇪 ok :-) 2+2=4 <html> $5.00 50% #tag @me
"""

TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\t\n", " \n", "\n ", "  \n\n  \n", "a  \n\n  \nb", " \t \t x",
    "Hello world", " Hello  World!", "Hello, y'all! How are you 😁 ?", "trailing   ", "   leading", "a   b    c     d      e",
    "I'm YOU'RE we've THEY'LL he'd She'S can't IT'T o'clock 'twas 'sup ''s '", "don’t it’s l'été d'œuvre 'ſ'",
    "0 00 000 1 12 123 1234 12345 123456 1234567 12345678901234567890", "3.14 1,000,000 -5 2^10 v1.2.3 0x1F 1e-10 ½ ² ⅷ ٣٤٥ १२३४ 12a b12 1234_5 12.",
    "camelCase HTMLParser getURL XMLHttpRequest iPhone McDonald USA's ABCdef ǅungla ʰʰa", "snake_case __init__ a_b_c _ __",
    "def f(x):\n    return x  # c\n\n\n\tif x:\r\n\t\tpass\r\n", "{\"key\": [1, 2, {\"b\": null}], \"s\": \"\\n\"}", "<|im_end|> </s> <s> [MASK] <unk>",
    "https://example.org/a/b?c=d&e=f#g //// /\n/\n", "!!!??? ... --- === *** ``` ~~~ ||| $$$ +++ <<>> ^^", "(a) [b] {c} <d> a.b,c;d:e!f?g", "price: $5.00, 50% off! #1 @you",
    "!abc #include @media $var .5 ,x \"quoted\" 'single' (paren)", " !x  !y ? z", "a\u00a0b\u2003c\u3000d\u2028e\u0085f", "x\u3000\u3000y \u3000",
    "Größe naïve café Ångström straße ÀÉÎÕÜ ﬁ ﬂ", "e\u0301te\u0301 a\u030a\u0323 n\u0303 \u0301alone o\u0308\u0301", "нещо на Български Привет МИР Ёж", "Ελληνικά ΑΒΓ άέή ς",
    "中文的句子，没有空格。你好！", "日本語テキスト カタカナ ひらがな ｶﾀｶﾅ 々〇〆", "北京2008年123个abc测试", "한국어 텍스트 안녕하세요 ㄱㄴㄷ", "ㄅㄆㄇ 注音 「引号」、。……——",
    "ภาษาไทยไม่มีช่องว่าง สวัสดี ๑๒๓", "العربية مُحَمَّدٌ، ١٢٣ ؟ ۔", "עברית שָׁלוֹם עולם", "नमस्ते दुनिया। क्षत्रिय", "កាន់តែពិសេសអាច", "தமிழ் မြန်မာ ລາວ",
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇯🇵 ✈️ ☺ 1️⃣ 🚀🚀 😶‍🌫️", "a\u200db\u200cc\u200bd\ufeffe\u00ade", "𝐁𝐨𝐥𝐝 𝔘𝔫𝔦 𠀀𠀁 𐐀𐐨 🄰", "a\u0000b\u0001c\u007f\u0080", "\u0378\ue000\U000f0000 \ufffd",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "x" * 99 + " " + "y" * 100 + " " + "the" * 34, " " * 40 + "deep" + "\t" * 9 + "\n" * 12 + "end", "thethethesea seathe ThetheTHE", "AA中AAbb中bbＡＢｃ ÀÀ中ʰ", "İıŞşĞğ ǆ ﬀ \u2126 \u212b \u212a",
    "a b c한 글 글a 글 1 글 가 나", "IMGIMGABCDZ IMGIMGZ <sentinel:12> <sentinel:> 1    2  3", "Wait...what?!  No—really; “quotes” ‘x’ «y» ¿z? 5€ £6 ¥7 ©®™ ∑∞≠ →", "The little tern's 12345 wings, and the sea!\n",
]

FOLD = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def words(digits, word=r"\p{L}", symbol=r"\p{L}\p{N}", tail=r"[\r\n]*", fold=FOLD + "|", blanks=BLANKS):
    return rf"{fold}[^\r\n\p{{L}}\p{{N}}]?[{word}]+|\p{{N}}{digits}| ?[^\s{symbol}]+{tail}|{blanks}"


def cased(digits, suffix=FOLD + "?", tail=r"[\r\n/]*", but="", first=""):
    return (rf"{first}[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{but}]*[{LOWER}{but}]+{suffix}|"
            rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{but}]+[{LOWER}{but}]*{suffix}|"
            rf"\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+{tail}|{BLANKS}")


DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+TAIL")
DEEPSEEK3 = DEEPSEEK.replace("TAIL", r"[\r\n]*|" + BLANKS)
CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
HALVES = "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
PATTERNS = {
    "gpt-2": [GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "starcoder": [r"\p{N}", GPT2],
    "llama-bpe": [words("{1,3}")],
    "qwen2": [words("")],
    "qwen35": [words("", r"\p{L}\p{M}", r"\p{L}\p{M}\p{N}")],
    "seed-coder": [words("", tail="")],
    "ufakzeka": [words("", fold="")],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "jais-2": [words("{1,3}", blanks=r"\s*[\r\n]+|" + HALVES + r"|\s{1,2}(?!\S)|\s{1}")],
    "minicpm5": [r"\p{N}{1,3}", words("+")],
    "laguna": [r"[^\n]+|[\n]+", words("")],
    "exaone-moe": [FOLD + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "gpt-4o": [cased("{1,3}")],
    "tekken": [cased("", suffix="")],
    "kimi-k2": [cased("{1,3}", tail=r"[\r\n]*", but=r"&&[^\p{Han}]", first=r"[\p{Han}]+|")],
    "youtu": [r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + CJK, cased("")],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", cased("{1,3}")],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", CJK, DEEPSEEK3],
    "spark2_5": [r"\p{N}{1,3}", CJK, DEEPSEEK.replace("TAIL", r"|[\r\n]|\s+(?!\S)|\s+"), r"\p{N}"],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
              "[一-鿿㐀-䶿\uf900-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdfเ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+", DEEPSEEK3],
    "bloom": [r" ?[^(\s|.,!?…。，、।۔،)]+"],
    "viking": [r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
                  r"[\p{P}!-/:-@\[-`{-~]", GPT2],
}


def pre_tokenizer(name):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in PATTERNS[name]])


def escape(text):
    raw = text if isinstance(text, bytes) else text.encode()
    out = "".join({10: "\\n", 13: "\\r", 9: "\\t", 92: "\\\\"}.get(b, chr(b) if 32 <= b < 127 or b > 127 else f"\\x{b:02X}") for b in raw)
    out = out.encode("latin1").decode(errors="backslashreplace")
    if out.startswith(" "):
        out = "\\x20" + out[1:]
    if out.endswith(" "):
        out = out[:-1] + "\\x20"
    return out


def write(name, lines):
    # newline="\n" and no splitting at other line ends: U+2028 and U+0085 stay inside their lines.
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8", newline="\n") as file:
        file.write("".join(line + "\n" for line in lines))


def ids(lines):
    return [" ".join(map(str, line)) for line in lines]


def make_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, special_tokens=["<|end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    # Lines in pieces of some words, so that merges cross the places where pre-tokenizers cut.
    parts = [line[i:i + 24] for line in TRAINING.split("\n") * 3 for i in range(0, len(line), 24)]
    tokenizer.train_from_iterator(parts, trainer)
    tokenizer.model.save(FOLDER)
    vocab = json.load(open(os.path.join(FOLDER, "vocab.json"), encoding="utf-8"))
    merges = open(os.path.join(FOLDER, "merges.txt"), encoding="utf-8").read().split("\n")[1:]
    os.remove(os.path.join(FOLDER, "vocab.json"))
    os.remove(os.path.join(FOLDER, "merges.txt"))
    lines = ["key tokenizer.ggml.model gpt2"]
    lines += [f"token {3 if text == '<|end|>' else 1} 0 {escape(text)}" for text, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    lines += [f"merge {escape(m)}" for m in merges if m]
    write("bpe.vocab", lines)
    tokenizer.decoder = decoders.ByteLevel()
    out = []
    for name in ("gpt-2", "llama-bpe", "qwen2", "gpt-4o", "deepseek-v3", "superbpe"):
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizer(name), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.normalizer = normalizers.NFC() if name == "qwen2" else None
        tokenizer.model.ignore_merges = name == "llama-bpe"
        out += [f"with tokenizer.ggml.pre {name}", "encode"] + ids(tokenizer.encode(t, add_special_tokens=False).ids for t in TEXTS)
    write("bpe.ids", out)


def fields(message):
    """The fields of a protobuf message: (number, integer or bytes)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[at:at + size]
        at += size


def make_sentencepiece(kind):
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, "rules.tsv")
        # The normalizer's map is a part of the file: a small one of its own instead of the 240 kB of NFKC.
        with open(rules, "w") as file:
            for a, b in [("ﬁ", "fi"), ("ﬂ", "fl"), ("ﬀ", "ff"), ("½", "1/2"), ("²", "2"), ("\t", " "), ("\n", " "), ("\r\n", " "), ("\u00a0", " "),
                         ("\u3000", " "), ("e\u0301", "é"), ("\u200b", ""), ("Ａ", "A"), ("Ｂ", "B"), ("ｃ", "c"), ("…", "...")]:
                file.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        model = io.BytesIO()
        unigram = kind == "unigram"
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TRAINING.split("\n") * 2), model_writer=model, vocab_size=500, model_type=kind, minloglevel=2,
            byte_fallback=not unigram, character_coverage=0.98, normalization_rule_name="identity", hard_vocab_limit=False,
            remove_extra_whitespaces=unigram, num_threads=1,
            unk_id=2 if unigram else 0, bos_id=-1 if unigram else 1, eos_id=1 if unigram else 2, pad_id=0 if unigram else -1,
            **({"normalization_rule_tsv": rules} if unigram else {}))
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = []
    charsmap = b""
    for field, value in fields(model.getvalue()):
        if field == 1:
            piece = {1: b"", 2: b"\0\0\0\0", 3: 1} | dict(fields(value))
            pieces.append((piece[3], struct.unpack("<f", piece[2])[0], piece[1].decode()))
        elif field == 3:
            charsmap = dict(fields(value)).get(2, b"")
    lines = [f"key tokenizer.ggml.model {'t5' if unigram else 'llama'}", "key tokenizer.ggml.add_space_prefix 1",
             f"key tokenizer.ggml.remove_extra_whitespaces {int(unigram)}", f"key tokenizer.ggml.unknown_token_id {2 if unigram else 0}"]
    if unigram:
        lines.append("bytes tokenizer.ggml.precompiled_charsmap " + charsmap.hex())
    lines += [f"token {number} {score:.9g} {escape(piece)}" for number, score, piece in pieces]
    write(kind + ".vocab" if unigram else "spm.vocab", lines)
    write(kind + ".ids" if unigram else "spm.ids", ["encode"] + ids(sp.encode(t) for t in TEXTS))


def make_wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(TRAINING.split("\n"), trainer)
    vocab = [text for text, _ in sorted(tokenizer.get_vocab().items(), key=lambda kv: kv[1])]
    special = {"[PAD]": 3, "[UNK]": 2, "[CLS]": 3, "[SEP]": 3, "[MASK]": 3}
    lines = ["key tokenizer.ggml.model bert"]
    lines += [f"key tokenizer.ggml.{key}_token_id {i}" for key, i in (("padding", 0), ("unknown", 1), ("bos", 2), ("seperator", 3), ("mask", 4))]
    for text in vocab:
        spelled = text if text in special else text[2:] if text.startswith("##") else "▁" + text
        lines.append(f"token {special.get(text, 1)} 0 {escape(spelled)}")
    write("wordpiece.vocab", lines)
    out = []
    for lower, accents in ((1, 1), (0, 0), (1, 0)):
        # The mask in the text would be found as an added token; plain text is what is compared here.
        plain = Tokenizer(models.WordPiece(vocab={t: i for i, t in enumerate(vocab)}, unk_token="[UNK]", max_input_chars_per_word=100))
        plain.normalizer = normalizers.BertNormalizer(lowercase=bool(lower), strip_accents=bool(accents))
        plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        out += [f"with tokenizer.ggml.normalizer.lowercase {lower}", f"with tokenizer.ggml.normalizer.strip_accents {accents}", "encode"]
        out += ids(plain.encode(t, add_special_tokens=False).ids for t in TEXTS)
    write("wordpiece.ids", out)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    write("texts.txt", [escape(t) for t in TEXTS])
    pieces = []
    for name in PATTERNS:
        pieces.append(f"pre {name}")
        pre = pre_tokenizer(name)
        pieces += [" ".join(str(len(p.encode())) for p, _ in pre.pre_tokenize_str(t) if p) for t in TEXTS]
    write("pieces.txt", pieces)
    make_bpe()
    make_sentencepiece("unigram")
    make_sentencepiece("bpe")
    make_wordpiece()


if __name__ == "__main__":
    main()
