#!/usr/bin/env python3
"""Writes the conversations that the tavern model learns from, and the tests that it is measured by (docs/tavern.md).

    python3 tools/tavern/generate.py --out DIR [--dialogues N] [--seed S] [--cases N] [--absent X] [--near W]

DIR/mixed.jsonl, trade.jsonl, calls.jsonl, translate.jsonl: conversations for training, {"messages": [...], "tools": [...]};
with --near also near.jsonl: what is asked for is absent as often as not, and something like it stands beside.
DIR/heldout.jsonl: conversations of held-out combinations, for the loss. DIR/cases.jsonl: tests for `sterna eval`.
The same arguments give the same bytes on every machine. Needs nothing but Python 3.9.
"""

import argparse
import json
import os
import sys

import calls
import dialogues
import trade
import translate
import turns
from split import Rng, held_out
from words import BEINGS, GOODS, LANGUAGES, OBJECTS, PLACES

# Kind of conversation: (weight, file).
SHARES = [("mixed", 52, "mixed"), ("trade", 11, "trade"), ("calls", 14, "calls"), ("translate", 19, "translate"),
          ("drill", 4, "trade")]
# What the tests of a measure ask, by weight; measures that are not here take what comes.
INTENTS = {
    "facts": [("price", 5), ("have", 3), ("list", 2), ("way", 5), ("rumour", 4), ("being", 2), ("quest", 4), ("reward", 1),
              ("who", 3), ("where", 3), ("job_of", 2), ("knows", 2), ("name", 2), ("job", 2), ("town", 2), ("tavern", 2),
              ("mood", 2), ("age", 1), ("origin", 1), ("likes", 1), ("fears", 1)],
    "refusals": [("price", 5), ("have", 4), ("way", 4), ("who", 2), ("where", 2), ("job_of", 1), ("knows", 2), ("being", 2),
                 ("foreign", 3), ("made_up", 3), ("rumour", 1), ("quest", 1), ("list", 1), ("age", 1), ("origin", 1),
                 ("tavern", 1), ("player_name", 1), ("open_door", 1), ("close_door", 1), ("rent_room", 1), ("sum", 1)],
    "calls": [("give_item", 4), ("set_price", 3), ("open_door", 2), ("close_door", 2), ("start_quest", 2), ("rent_room", 2),
              ("take_coins", 2), ("ring_bell", 1), ("light_fire", 1)],
}
MEASURES = ["facts", "sums", "language", "refusals", "calls", "translations"]


def line(dialogue):
    record = {"messages": dialogue.messages()}
    tools = dialogue.schema()
    if tools:
        record["tools"] = tools
    return json.dumps(record, ensure_ascii=False) + "\n"


class Statistics:
    def __init__(self):
        self.turns, self.dialogues, self.lengths = {}, {}, {}
        self.characters, self.answer_characters, self.sizes = 0, 0, []
        self.user_patterns, self.answer_patterns = set(), set()

    def add(self, dialogue):
        self.dialogues[dialogue.kind] = self.dialogues.get(dialogue.kind, 0) + 1
        n = dialogue.characters()
        self.characters += n
        self.sizes.append(n)
        self.lengths[len(dialogue.turns)] = self.lengths.get(len(dialogue.turns), 0) + 1
        for turn in dialogue.turns:
            key = (turn.skill, turn.lang)
            self.turns[key] = self.turns.get(key, 0) + 1
            self.answer_characters += len(turn.reply)
            if turn.patterns:
                self.user_patterns.add(turn.patterns[0])
                self.answer_patterns.add(turn.patterns[1])

    def show(self, out):
        n = sum(self.dialogues.values())
        n_turns = sum(self.turns.values())
        self.sizes.sort()
        print("%d conversations, %d exchanges, %.1f million characters (%.0f %% in answers), half of them below %d"
              % (n, n_turns, self.characters / 1e6, 100 * self.answer_characters / self.characters, self.sizes[n // 2]), file=out)
        print("about %.1f million tokens at 3.6 characters each" % (self.characters / 3.6e6), file=out)
        print("kinds: " + ", ".join("%s %d" % item for item in sorted(self.dialogues.items())), file=out)
        print("exchanges: " + ", ".join("%d: %d" % item for item in sorted(self.lengths.items())), file=out)
        for skill in sorted({key[0] for key in self.turns}):
            counts = [self.turns.get((skill, lang), 0) for lang in LANGUAGES]
            print("  %-13s %5.1f %%  (en %d, de %d)" % (skill, 100 * sum(counts) / n_turns, *counts), file=out)
        print("%d patterns of what is asked, %d of answers" % (len(self.user_patterns), len(self.answer_patterns)), file=out)


def write_training(directory, n, seed, near):
    rng = Rng(seed)
    statistics = Statistics()
    shares = [((kind, name), weight) for kind, weight, name in SHARES]
    if near:
        shares.append((("near", "near"), near))
    files = {name: open(os.path.join(directory, name + ".jsonl"), "w", encoding="utf-8", newline="\n")
             for name in {name for (_, name), _ in shares}}
    done = 0
    while done < n:
        kind, name = rng.weighted(shares)
        dialogue = dialogues.make_dialogue(rng, kind)
        if dialogue is None:
            continue
        files[name].write(line(dialogue))
        statistics.add(dialogue)
        done += 1
    for file in files.values():
        file.close()
    return statistics


def write_heldout(directory, n, seed):
    rng = Rng(seed + 1)
    shares = [(kind, weight) for kind, weight, _ in SHARES]
    with open(os.path.join(directory, "heldout.jsonl"), "w", encoding="utf-8", newline="\n") as file:
        while n:
            dialogue = dialogues.make_dialogue(rng, rng.weighted(shares), test=True)
            if dialogue:
                file.write(line(dialogue))
                n -= 1


def single_case(rng, measure, number):
    """A test of one answer."""
    while True:
        intent = rng.weighted(INTENTS[measure]) if measure in INTENTS else None
        for _ in range(100):  # scenes in which it could be asked, from the right side of the split
            record = try_single_case(rng, measure, number, intent)
            if record:
                return record


def try_single_case(rng, measure, number, intent):
    kind = {"sums": "trade", "calls": "calls", "translations": "translate"}.get(measure, "mixed")
    if measure in ("sums", "calls", "translations") and rng.chance(0.35):
        kind = "mixed"

    def accept(turn):
        if measure == "language":
            return turn.skill in (turns.FACTS, turns.REFUSALS, turns.TALKING, trade.SUMS)
        return turn.skill == measure and intent in (None, turn.intent) and turn.key not in translate.FIXED_KEYS

    foreign = rng.chance(0.7) if measure == "language" else None
    call = intent if intent in calls.SIGNATURES else None
    dialogue = dialogues.make_dialogue(rng, kind, True, 1, foreign, accept, call)
    if dialogue is None:
        return None
    turn = dialogue.turns[0]
    check = {"language": turn.lang} if measure == "language" else turn.check
    record = {"id": "%s-%d" % (measure, number), "measure": measure, "messages": dialogue.messages()[:2]}
    if dialogue.schema():
        record["tools"] = dialogue.schema()
    record.update(intent=turn.intent, check=check, reference=turn.reply)
    return record


def dialogue_case(rng, number):
    dialogue = dialogues.make_dialogue(rng, "mixed", test=True, n_turns=10)
    if dialogue is None or len(dialogue.turns) != 10 or any(turn.key in translate.FIXED_KEYS for turn in dialogue.turns):
        return None
    steps = []
    for index, turn in enumerate(dialogue.turns):
        steps.append({"role": "user", "content": turn.user, "intent": turn.intent, "check": turn.check, "reference": turn.reply})
        if index in dialogue.tail:
            steps.append({"role": "tool", "content": turn.result, "check": {"language": turn.lang}, "reference": turn.closing})
    record = {"id": "dialogue-%d" % number, "measure": "dialogues", "messages": dialogue.messages()[:1]}
    if dialogue.schema():
        record["tools"] = dialogue.schema()
    record["turns"] = steps
    return record


def write_cases(directory, n, seed):
    rng = Rng(seed + 2)
    counts = {}
    with open(os.path.join(directory, "cases.jsonl"), "w", encoding="utf-8", newline="\n") as file:
        for measure in MEASURES + ["dialogues"]:
            wanted = max(1, n // 8) if measure == "dialogues" else n
            while counts.get(measure, 0) < wanted:
                number = counts.get(measure, 0) + 1
                record = dialogue_case(rng, number) if measure == "dialogues" else single_case(rng, measure, number)
                if record:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    counts[measure] = number
    return counts


def check_all():
    """What must be so for the tests to be fair: one translation for each sentence, nothing held out in training."""
    for table in (GOODS, OBJECTS, BEINGS, PLACES):
        for forms in ("en", "de"):
            words = [getattr(noun, forms) for noun in table]
            assert len(set(words)) == len(words), "a word of two meanings"
    nouns = [noun for table in (GOODS, OBJECTS, BEINGS, PLACES) for noun in table]
    for forms in ("en", "de"):
        words = [getattr(noun, forms) for noun in nouns]
        assert len(set(words)) == len(words), sorted(word for word in words if words.count(word) > 1)
    rng = Rng(5)
    to_german, to_english = {}, {}
    for _ in range(30000):
        english, german, _ = translate.sentence(rng)
        assert to_german.setdefault(english, german) == german, (english, german, to_german[english])
        assert to_english.setdefault(german, english) == english, (german, english, to_english[german])
    for test in (False, True):
        for _ in range(1000):
            dialogue = dialogues.make_dialogue(rng, rng.pick(sorted(dialogues.KINDS)), test)
            for turn in dialogue.turns if dialogue else ():
                assert turn.key is None or held_out(turn.key) == test, turn.key
                assert turn.user and turn.reply and "{" not in turn.user, turn.user
    print("%d sentences, each with one translation; no exchange on the wrong side of the split" % len(to_german))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="folder to write to")
    parser.add_argument("--check", action="store_true", help="instead: check the words, the sentences and the split")
    parser.add_argument("--dialogues", type=int, default=120000, help="conversations for training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=400, help="tests of each measure")
    parser.add_argument("--heldout", type=int, default=1000, help="conversations for the held-out loss")
    parser.add_argument("--absent", type=float, default=trade.absent_share, help="share of sums with a thing that is not for sale")
    parser.add_argument("--near", type=float, default=0,
                        help="weight of conversations that ask for absent things beside present ones; the others weigh 100")
    arguments = parser.parse_args()
    trade.absent_share = arguments.absent
    if arguments.check:
        check_all()
        return
    if not arguments.out:
        parser.error("--out: expected a folder")
    os.makedirs(arguments.out, exist_ok=True)
    statistics = write_training(arguments.out, arguments.dialogues, arguments.seed, arguments.near)
    write_heldout(arguments.out, arguments.heldout, arguments.seed)
    counts = write_cases(arguments.out, arguments.cases, arguments.seed)
    statistics.show(sys.stdout)
    print("tests: " + ", ".join("%s %d" % item for item in sorted(counts.items())))


if __name__ == "__main__":
    main()
