#!/usr/bin/env python3
"""Writes tests/golden/chat/llama_cpp.txt: conversations as llama.cpp's built-in chat formats spell them.

    python3 tools/make_chat_golden.py        (llama-cpp-python 0.3.36; no randomness)

For every built-in family of Sterna (src/text/chat_families.cpp) that llama.cpp knows too. llama.cpp's formats leave the BOS token to
the tokenizer. Lines: "conversation" and a JSON object; then per family "== family name_in_llama.cpp" and for each conversation one
JSON string.
"""
import ctypes
import json
import pathlib

import llama_cpp

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "chat" / "llama_cpp.txt"
# Ours, theirs.
FAMILIES = [("chatml", "chatml"), ("llama2", "llama2-sys"), ("llama3", "llama3"), ("mistral-v1", "mistral-v1"),
            ("mistral-v3", "mistral-v3"), ("mistral-v3-tekken", "mistral-v3-tekken"), ("mistral-v7", "mistral-v7"),
            ("mistral-v7-tekken", "mistral-v7-tekken"), ("zephyr", "zephyr"), ("gemma", "gemma"), ("phi3", "phi3"), ("deepseek", "deepseek"), ("deepseek2", "deepseek2"),
            ("deepseek3", "deepseek3"), ("vicuna", "vicuna"), ("command-r", "command-r"), ("granite", "granite"),
            ("falcon3", "falcon3"), ("openchat", "openchat"), ("gpt-oss", "gpt-oss"), ("rwkv-world", "rwkv-world")]
# They stand at the head of the file, for the test.
CONVERSATIONS = [
    ([("user", "Hi")], True),
    ([("system", "Be terse."), ("user", "Hi")], True),
    ([("user", "Hi"), ("assistant", "Yo"), ("user", "Bye")], True),
    ([("system", "Be terse."), ("user", "Hi"), ("assistant", "Yo"), ("user", "Bye")], True),
    ([("system", "Be terse."), ("user", "Hi"), ("assistant", "Yo")], False),
]


def apply(name, messages, add_assistant):
    array = (llama_cpp.llama_chat_message * len(messages))()
    keep = [(role.encode(), content.encode()) for role, content in messages]
    for slot, (role, content) in zip(array, keep):
        slot.role, slot.content = role, content
    size = 1 << 14
    buffer = ctypes.create_string_buffer(size)
    n = llama_cpp.llama_chat_apply_template(name.encode(), array, len(messages), add_assistant, buffer, size)
    return None if n < 0 else buffer.raw[:n].decode()


def main():
    known = (ctypes.c_char_p * 200)()
    n = llama_cpp.llama_chat_builtin_templates(known, 200)
    names = {known[i].decode() for i in range(n)}
    print(sorted(names))
    lines = ["# Made by tools/make_chat_golden.py: llama-cpp-python " + llama_cpp.__version__]
    for messages, add_assistant in CONVERSATIONS:
        lines.append("conversation " + json.dumps({"messages": [{"role": r, "content": c} for r, c in messages],
                                                   "add_generation_prompt": add_assistant}))
    for ours, theirs in FAMILIES:
        if theirs not in names:
            print("llama.cpp does not know", theirs)
            continue
        lines.append(f"== {ours} {theirs}")
        for messages, add_assistant in CONVERSATIONS:
            lines.append(json.dumps(apply(theirs, messages, add_assistant), ensure_ascii=False))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
