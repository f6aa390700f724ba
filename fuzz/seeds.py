#!/usr/bin/env python3
"""Writes the seeds: few of the many cases of fixtures/patterns/pairs.jsonl.

    fuzz/seeds.py

A case is kept when it has an operator, a mark of JSON or a refusal that none before it had with the
same verdict. Each seed's name is its number in the order of that file.
"""
import json
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS = os.path.join(HERE, "..", "fixtures", "patterns", "pairs.jsonl")
# Longer ones say little more, and slow a fuzzer down.
BYTES_MAX = 600


OPERATORS = re.compile(r'"(exactly|prefix|suffix|equals-ignore-case|wildcard|numeric|exists|cidr|anything-but|\$or)"')
MARKS = ["[[", "[{", "\\u", "\\\\", "e-", "E", "-", "null", "true", "::", ".", " ", "\n", "é", "*"]


def traits(text):
    return set(OPERATORS.findall(text)) | {mark for mark in MARKS if mark in text}


def write(target, number, text):
    folder = os.path.join(HERE, "seeds", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "%05d" % number), "w", encoding="utf-8", newline="") as out:
        out.write(text)


def main():
    with open(PAIRS, encoding="utf-8") as lines:
        cases = [json.loads(line) for line in lines]
    seen = {"pattern": set(), "event": set(), "rules": set()}
    beside = '{"a":[{"exists":false}]}'
    for number, case in enumerate(cases):
        pattern, event, verdict = case["p"], case.get("e"), case["r"]
        if BYTES_MAX < len(pattern) + len(event or ""):
            continue
        # What varies within one refusal is left out.
        verdict = re.sub(r"[0-9]+|: .*", "", verdict)
        texts = {"pattern": pattern, "event": event}
        if event is not None and "\n" not in pattern + event:
            texts["rules"] = "\n".join([pattern, beside, event])
            beside = pattern
        for target, text in texts.items():
            new = {(verdict, trait) for trait in traits(text or "") | {""}}
            if verdict.startswith("INVALID"):
                new = {(verdict, "")}
            if text is not None and not new <= seen[target]:
                seen[target] |= new
                write(target, number, text)


if __name__ == "__main__":
    main()
