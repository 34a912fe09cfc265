#!/usr/bin/env python3
"""Writes the conversations that the tavern model learns from, and the tests that it is measured by (docs/tavern.md).

    python3 tools/tavern/generate.py --out DIR [--dialogues N] [--seed S] [--cases N]

DIR/mixed.jsonl, trade.jsonl, calls.jsonl, translate.jsonl: conversations for training, {"messages": [...], "tools": [...]}.
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
from split import Rng
from words import LANGUAGES

# Kind of conversation: (weight, file).
SHARES = [("mixed", 58, "mixed"), ("trade", 12, "trade"), ("calls", 14, "calls"), ("translate", 13, "translate"), ("drill", 3, "trade")]
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


def write_training(directory, n, seed):
    rng = Rng(seed)
    statistics = Statistics()
    files = {name: open(os.path.join(directory, name + ".jsonl"), "w", encoding="utf-8", newline="\n")
             for name in ("mixed", "trade", "calls", "translate")}
    shares = [((kind, name), weight) for kind, weight, name in SHARES]
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
    """A test of one answer; None when this try gave none of the kind."""
    kind = {"sums": "trade", "calls": "calls", "translations": "translate"}.get(measure, "mixed")
    if measure in ("sums", "calls", "translations") and rng.chance(0.35):
        kind = "mixed"
    foreign = rng.chance(0.7) if measure == "language" else None
    dialogue = dialogues.make_dialogue(rng, kind, test=True, n_turns=1, foreign=foreign)
    if dialogue is None:
        return None
    turn = dialogue.turns[0]
    check = turn.check
    if measure == "language":
        if turn.skill not in (turns.FACTS, turns.REFUSALS, turns.TALKING, trade.SUMS) or turn.intent == "drill":
            return None
        check = {"language": turn.lang}
    elif turn.skill != measure or check is None or turn.intent == "drill":
        return None
    record = {"id": "%s-%d" % (measure, number), "measure": measure, "messages": dialogue.messages()[:2]}
    if dialogue.schema():
        record["tools"] = dialogue.schema()
    record.update(intent=turn.intent, check=check, reference=turn.reply)
    return record


def dialogue_case(rng, number):
    dialogue = dialogues.make_dialogue(rng, "mixed", test=True, n_turns=10)
    if dialogue is None or len(dialogue.turns) != 10:
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--dialogues", type=int, default=120000, help="conversations for training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=400, help="tests of each measure")
    parser.add_argument("--heldout", type=int, default=1000, help="conversations for the held-out loss")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    statistics = write_training(arguments.out, arguments.dialogues, arguments.seed)
    write_heldout(arguments.out, arguments.heldout, arguments.seed)
    counts = write_cases(arguments.out, arguments.cases, arguments.seed)
    statistics.show(sys.stdout)
    print("tests: " + ", ".join("%s %d" % item for item in sorted(counts.items())))


if __name__ == "__main__":
    main()
