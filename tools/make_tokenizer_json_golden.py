#!/usr/bin/env python3
"""Writes tests/golden/tokenizer_json: small tokenizers as checkpoints publish them, and the ids that their own libraries give
for the texts of tests/golden/tokenizers/texts.txt.

Usage: tools/make_tokenizer_json_golden.py [FOLDER]      tokenizers 0.23.3, sentencepiece 0.2.3; no randomness

  NAME/                    a checkpoint folder: tokenizer.json and what stands beside it
  NAME/expected.txt        "key NAME VALUE" for metadata, "encode", "special" (with bos and eos, where that differs) or "plain" (special
                           tokens in the text are text), followed by the ids of every text
  expressions.txt          "re EXPRESSION", then for each text the bytes of the pieces it is cut into
"""
import base64
import io
import json
import os
import shutil
import sys
import tempfile

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import make_tokenizer_golden as base

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/tokenizer_json"
EXTRA = ["<|im_start|>user\nHi  <|im_end|> x<pad> <tool>y</tool> z", "A <mask>  B<mask>", "\u2581under \u2581\u2581 two", "ΑΣ ΟΔΟΣ İstanbul ǅ"]
TEXTS = base.TEXTS + EXTRA
GPT2, Split = base.GPT2, pre_tokenizers.Split
LINES = base.TRAINING.split("\n")


def parts(width=24):
    return [line[i:i + width] for line in LINES * 3 for i in range(0, len(line), width)]


def byte_level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def isolated(*patterns):
    return [Split(Regex(p), "isolated") for p in patterns]


BPE = None


def byte_bpe(**model):
    """One byte-level vocabulary for all: only what stands around it differs."""
    global BPE
    if BPE is None:
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = byte_level()
        t.train_from_iterator(parts(), trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=["<|endoftext|>"],
                                                           initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        BPE = json.loads(t.to_str())["model"]
    t = Tokenizer(models.BPE(vocab=BPE["vocab"], merges=[tuple(m) for m in BPE["merges"]], **model))
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens(["<tool>", AddedToken("</tool>", normalized=False)])
    return t


def save(name, tokenizer, keys=(), files=None, pairs=True):
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder, exist_ok=True)
    text = tokenizer.to_str()
    if not pairs:
        tree = json.loads(text)
        tree["model"]["merges"] = [" ".join(m) for m in tree["model"]["merges"]]
        text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    for path, tree in (files or {}).items():
        with open(os.path.join(folder, path), "w", encoding="utf-8", newline="\n") as file:
            file.write(tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False))
    expect(name, keys, [("encode", lambda s: tokenizer.encode(s, add_special_tokens=False).ids),
                        ("special", lambda s: tokenizer.encode(s, add_special_tokens=True).ids)])


def expect(name, keys, blocks):
    lines = [f"key {k} {v}" for k, v in keys]
    # A vocabulary with blanks in its tokens is stored with U+2581 for them, so a text that has that is another.
    rows = [(title, ["skip" if name == "own-bpe-fused" and "▁" in t else " ".join(map(str, encode(t))) for t in TEXTS]) for title, encode in blocks]
    for title, row in rows:
        if title == "encode" or row != rows[0][1]:
            lines += [title] + row
    base.write(f"{name}/expected.txt", lines)


def byte_level_ones():
    pre = "tokenizer.ggml.pre"

    def one(name, pre_tokenizer, expected, normalizer=None, keys=(), pairs=True, post=None, files=None, **model):
        t = byte_bpe(**model)
        t.pre_tokenizer = pre_tokenizer
        if normalizer:
            t.normalizer = normalizer
        if post:
            t.post_processor = post
        save(name, t, [(pre, expected), *keys], files, pairs)

    p = base.PATTERNS
    one("gpt2", byte_level(regex=True), "gpt-2", pairs=False,
        files={"tokenizer_config.json": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "add_prefix_space": False}},
        keys=[("tokenizer.ggml.bos_token_id", 0), ("tokenizer.ggml.eos_token_id", 0)])
    llama3 = base.words("{1,3}", word=r"\p{L}").replace(r"[\p{L}]+", r"\p{L}+")
    one("llama3", sequence(*isolated(llama3), byte_level()), "llama-bpe", ignore_merges=True,
        post=processors.TemplateProcessing(single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", byte_bpe().token_to_id("<|im_start|>"))]),
        files={"generation_config.json": {"eos_token_id": [0, byte_bpe().token_to_id("<|im_end|>")]},
               "chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}"},
        keys=[("tokenizer.ggml.add_bos_token", 1), ("tokenizer.ggml.eot_token_id", byte_bpe().token_to_id("<|im_end|>"))])
    one("qwen2", sequence(*isolated(base.words("").replace(r"[\p{L}]+", r"\p{L}+")), byte_level()), "qwen2", normalizers.NFC(),
        files={"tokenizer_config.json": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": [
            {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}},
        keys=[("tokenizer.chat_template", "plain"), ("tokenizer.chat_template.tool_use", "tools"), ("tokenizer.ggml.padding_token_id", 0)])
    one("qwen35", sequence(*isolated(*p["qwen35"]), byte_level()), "qwen35", normalizers.NFC())
    one("starcoder", sequence(pre_tokenizers.Digits(individual_digits=True), byte_level(regex=True)), "starcoder")
    one("falcon", sequence(pre_tokenizers.Punctuation("contiguous"), byte_level(regex=True), pre_tokenizers.Digits(individual_digits=False),
                           *isolated("[0-9][0-9][0-9]")), "falcon")
    one("deepseek-v3", sequence(*isolated(*p["deepseek-v3"]), byte_level()), "deepseek-v3")
    one("gpt-4o", sequence(Split(Regex(p["gpt-4o"][0]), "removed", invert=True), byte_level()), "gpt-4o")
    one("tekken", sequence(*isolated(*p["tekken"]), byte_level()), "tekken", ignore_merges=True)
    one("bloom", sequence(*isolated(*p["bloom"]), byte_level()), "bloom")
    one("llama3-nfc", sequence(*isolated(llama3), byte_level()), "dbrx", normalizers.NFC())
    # Nobody has a name for these.
    one("own-cl100k", sequence(*isolated(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"), byte_level()), "default")
    one("own-prefix", byte_level(regex=True, prefix=True), "default")
    one("own-merged", sequence(Split(" ", "merged_with_next"), Split(Regex(r"\p{Lu}"), "merged_with_next"), Split(".", "merged_with_previous"), byte_level()), "default")
    one("own-lower", sequence(pre_tokenizers.Whitespace(), byte_level()), "default",
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\d+"), "7"), normalizers.Strip()]))
    one("own-nothing", byte_level(), "default")
    one("own-punctuation", sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Digits(False), byte_level()), "default", ignore_merges=True)
    t = byte_bpe()
    t.pre_tokenizer = byte_level(regex=True)
    t.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<pad>", rstrip=True)])
    save("strips", t, [(pre, "gpt-2")])


def character_ones():
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]

    def trained(pre_tokenizer, normalizer, **model):
        t = Tokenizer(models.BPE(unk_token="<unk>", **model))
        t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizer
        t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=700, show_progress=False, special_tokens=special if model.get("byte_fallback") else special[:3], limit_alphabet=60))
        tree = json.loads(t.to_str())
        tree["added_tokens"] = tree["added_tokens"][:3]  # the byte tokens are not found in text
        return Tokenizer.from_str(json.dumps(tree))

    # As transformers converts a SentencePiece model: every pair whose whole is a token is a merge.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LINES * 2), model_writer=model, vocab_size=600, model_type="bpe", minloglevel=2, byte_fallback=True,
                                             character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    vocab = {sp.id_to_piece(i): i for i in range(sp.vocab_size())}
    merges = []
    for piece, i in vocab.items():
        if not (sp.is_control(i) or sp.is_unknown(i) or sp.is_byte(i)):
            merges += sorted(((piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab), key=lambda m: (vocab[m[0]], vocab[m[1]]))
    llama = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)

    def llama_like(name, normalizer, pre_tokenizer, keys):
        t = Tokenizer(llama)
        t.normalizer = normalizer or normalizers.Sequence([])
        if pre_tokenizer:
            t.pre_tokenizer = pre_tokenizer
        t.add_special_tokens(["<unk>", "<s>", "</s>"])
        save(name, t, [("tokenizer.ggml.model", "llama"), *keys])
        return t

    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama_like("llama2", legacy, None, [("tokenizer.ggml.add_space_prefix", 1)])
    llama_like("gemma", normalizers.Replace(" ", "▁"), Split(" ", "merged_with_previous"), [("tokenizer.ggml.add_space_prefix", 0)])
    llama_like("metaspace-first", None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), [("tokenizer.ggml.add_space_prefix", 1)])
    llama_like("metaspace-always", None, pre_tokenizers.Metaspace(), [("tokenizer.ggml.add_space_prefix", 1)])
    # A library's own BPE has one merge a token.
    save("own-bpe-bytes", trained(pre_tokenizers.Metaspace(split=True), None, byte_fallback=True), [("tokenizer.ggml.model", "llama")])
    save("own-bpe-words", trained(pre_tokenizers.Whitespace(), normalizers.Lowercase()), [("tokenizer.ggml.model", "llama")])
    save("own-bpe-fused", trained(None, None, fuse_unk=True), [("tokenizer.ggml.model", "llama")])

    # The model itself, and one with tokens added beside it.
    folder = os.path.join(FOLDER, "spm-bpe")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.model"), "wb") as file:
        file.write(model.getvalue())
    with open(os.path.join(folder, "added_tokens.json"), "w") as file:
        json.dump({"<|im_start|>": sp.vocab_size(), "<tool>": sp.vocab_size() + 1}, file)
    n = len(base.TEXTS)
    base.write("spm-bpe/expected.txt", ["key tokenizer.ggml.model llama", "plain"] + [" ".join(map(str, sp.encode(t))) for t in TEXTS[:n]])


def unigram_ones():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=400, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"))
    save("unigram-trained", t, [("tokenizer.ggml.model", "t5")])

    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, "rules.tsv")
        with open(rules, "w") as file:
            for a, b in [("ﬁ", "fi"), ("½", "1/2"), ("\t", " "), ("\n", " "), ("\u00a0", " "), ("\u3000", " "), ("e\u0301", "é"), ("\u200b", "")]:
                file.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LINES * 2), model_writer=model, vocab_size=560, model_type="unigram", character_coverage=0.98, minloglevel=2, num_threads=1,
                                                 normalization_rule_tsv=rules, unk_id=2, bos_id=-1, eos_id=1, pad_id=0, hard_vocab_limit=False)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    charsmap = dict(base.fields(dict(base.fields(model.getvalue()))[3]))[2]
    t = Tokenizer(models.Unigram([(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.vocab_size())], unk_id=2))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)])
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.add_special_tokens(["<pad>", "</s>", "<unk>"])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    save("unigram-t5", t, [("tokenizer.ggml.model", "t5"), ("tokenizer.ggml.add_eos_token", 1)])
    folder = os.path.join(FOLDER, "spm-unigram")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "spiece.model"), "wb") as file:
        file.write(model.getvalue())
    n = len(base.TEXTS)
    base.write("spm-unigram/expected.txt", ["key tokenizer.ggml.model t5", "plain"] + [" ".join(map(str, sp.encode(t))) for t in TEXTS[:n]])


def wordpiece_ones():
    for name, lower in (("wordpiece", True), ("wordpiece-cased", False)):
        t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
        t.normalizer = normalizers.BertNormalizer(lowercase=lower)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=450, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        save(name, t, [("tokenizer.ggml.model", "bert"), ("tokenizer.ggml.normalizer.lowercase", int(lower))],
             {"tokenizer_config.json": {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": {"content": "[MASK]"}}})


def tiktoken_one():
    """A tiktoken file holds the bytes and ranks of a byte-level BPE; its cuts are in the program."""
    t = byte_bpe(ignore_merges=True)
    alphabet = {c: b for b, c in enumerate_alphabet()}
    vocab = sorted((i, piece) for piece, i in BPE["vocab"].items() if piece != "<|endoftext|>")
    folder = os.path.join(FOLDER, "tiktoken")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "cl100k.tiktoken"), "w", newline="\n") as file:
        for i, piece in vocab:
            file.write(base64.b64encode(bytes(alphabet[c] for c in piece)).decode() + f" {i - 1}\n")
    plain = Tokenizer(models.BPE(vocab={p: i - 1 for i, p in vocab}, merges=[tuple(m) for m in BPE["merges"]], ignore_merges=True))
    plain.pre_tokenizer = sequence(*isolated(*base.PATTERNS["llama-bpe"]), byte_level())
    expect("tiktoken", [("tokenizer.ggml.pre", "llama-bpe")], [("encode", lambda s: plain.encode(s, add_special_tokens=False).ids)])


def enumerate_alphabet():
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in printable]
    return [(b, chr(b)) for b in printable] + [(b, chr(256 + i)) for i, b in enumerate(others)]


EXPRESSIONS = sorted({p for ps in base.PATTERNS.values() for p in ps}) + [
    r"\w+|[^\w\s]+", r"\b", r"\B\w", r"(?<=\s)\S+", r"(?<!a)[a-z]", r"^.+$", r"\A.|.\z", r"(?:ab?|a)*c", r"a+?|b", r"(?>a+)b|a", r"[[a-f]&&[^bd]]+", r"[^\S\r\n]+",
    r"(?i)the|TERN|größe|É", r"(?i:[a-d]+)", r"\p{Lu}?\p{Ll}{2,3}+", r"\p{N}{2}?", r"\d{,3}x", r"\h{2,}", r"\p{^L}+", r"\P{L}", r"[\p{Han}\p{Hiragana}\p{Katakana}]+", r"\p{Cyrillic}+|\p{Greek}+",
    r"\p{Arabic}+|\p{Hebrew}+|\p{Thai}+|\p{Hangul}+|\p{Devanagari}+", r"\x41|\x{e9}|\u4e2d", r"(a|b|)+", r"(?=\d)", r"(?:\s|,)*\S", r"[\]\-a]", r"a{x}|{|}", r"[a-z]{3}(?![a-z])", r"\S+(?=\s|$)", r"(\w)+?\W",
    r"[\w\-.]+@?", r"\p{Latin}+", r"(?-i:x)|(?i)S", r"\r\n|\n", r"[\s\S]{1,5}", r"\p{Sc}|\p{Sm}|\p{So}|\p{Sk}", r"\p{Mn}+|\p{Cf}", r"[^a]$",
]


def expressions():
    lines = []
    for e in EXPRESSIONS:
        lines.append("re " + base.escape(e))
        pre = Split(Regex(e), "isolated")
        lines += [" ".join(str(len(p.encode())) for p, _ in pre.pre_tokenize_str(t) if p) for t in TEXTS]
    base.write("expressions.txt", lines)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    base.FOLDER = FOLDER
    base.write("texts.txt", [base.escape(t) for t in TEXTS])
    byte_level_ones()
    character_ones()
    unigram_ones()
    wordpiece_ones()
    tiktoken_one()
    expressions()


if __name__ == "__main__":
    main()
