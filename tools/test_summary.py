#!/usr/bin/env python3
"""Counts what ctest and the fuzzers ran, from their logs, and names every skipped test with its reason.

    test_summary.py [--failed-parts N] LastTest.log... witness.log fuzz.log...

A GoogleTest program counts by its cases, any other test as one. The last line reads "N passed, N failed, N skipped";
the exit status is 1 when anything failed or a log is missing.
"""
import argparse
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

SECTION = re.compile(r"^\d+/\d+ Testing: (.+)$", re.M)


def count_ctest(text, label, skipped):
    counts = Counter()
    heads = list(SECTION.finditer(text))
    for i, head in enumerate(heads):
        body = text[head.end() : heads[i + 1].start() if i + 1 < len(heads) else len(text)]
        passed = len(re.findall(r"^\[       OK \] ", body, re.M))
        failed = len(set(re.findall(r"^\[  FAILED  \] (\S+\.\S+)", body, re.M)))
        cases = re.findall(r"^\[  SKIPPED \] (\S+\.\S+) \(", body, re.M)
        verdict = "Test Passed." in body
        for case in cases:
            after = body[body.find(f"[ RUN      ] {case}") :]
            reason = re.search(r"Skipped\n(.*)\n", after)
            skipped[f"{reason.group(1).strip() if reason else 'no reason given'}"].append(f"{label}:{case}")
        if not verdict and failed == 0:
            failed = 1  # a crash, or a test that is no GoogleTest program
        if verdict and passed + len(cases) == 0:
            passed = 1
        counts.update(passed=passed, failed=failed, skipped=len(cases))
    return counts


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--failed-parts", type=int, default=0)
    arguments.add_argument("logs", nargs="+", type=Path)
    options = arguments.parse_args()
    total, skipped = Counter(), defaultdict(list)
    for log in options.logs:
        if not log.is_file():
            print(f"{log}: missing, so its tests did not run")
            total["failed"] += 1
            continue
        text = log.read_text(errors="replace")
        if log.name == "LastTest.log":
            counts = count_ctest(text, log.parts[-4], skipped)
        elif log.name == "witness.log":
            verdicts = re.findall(r"(\d+) passed, (\d+) failed, (\d+) skipped", text)
            sums = [sum(map(int, column)) for column in zip(*verdicts)] or [0, 1, 0]
            counts = Counter(dict(zip(("passed", "failed", "skipped"), sums)))
        else:
            good = "stat::number_of_executed_units" in text and "ERROR: " not in text and "SUMMARY: " not in text
            counts = Counter(passed=int(good), failed=int(not good), skipped=0)
        print(f"{log}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
        total.update(counts)
    for reason, cases in sorted(skipped.items()):
        print(f"skipped ({reason}): {', '.join(cases[:6])}{f' and {len(cases) - 6} more' if len(cases) > 6 else ''}")
    failed = max(total["failed"], options.failed_parts)
    print(f"{total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
