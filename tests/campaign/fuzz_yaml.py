"""Config files that are hostile as YAML: nested, repeated, tagged, endless, in other encodings."""

from __future__ import annotations

import random
from pathlib import Path

from tests.campaign.fuzz_words import all_configs

Random = random.Random
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}], k{b}: 1}}\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
LINES: tuple[str, ...] = (
    BOMB, MERGES, "a: &a [*a]\n", "a: &a {b: *a}\n", "<<: *nowhere\n", "<<: 3\n", "<<: [1]\n",
    "seed: !!python/object/apply:os.system [true]\n", "seed: !!binary AAA\n", "seed: !x y\n",
    "seed: !!set {a, b}\n", "seed: !!int x\n", "seed: 1" + "0" * 5000 + "\n",
    "seed: 0x" + "f" * 99 + "\n",
    "seed: [" * 60 + "]" * 60 + "\n", "seed: " + "[" * 100_000, "system: {" + "a: {" * 5000,
    "- " * 20_000 + "x\n", "seed: 1\nseed: 2\n", "? [a, b]\n: c\n", "? {a: 1}\n", "null: 1\n",
    "seed: |\n" + "  x\n" * 50_000, "seed: " + "x" * 400_000 + "\n",
    "seed: '" + "\n" * 9000 + "'\n",
    "seed: \x07\n", "seed: \"\\uD800\"\n", "seed: \"\\x00\"\n", "\tseed: 1\n", "seed:\t1\n",
    "...\n---\n",
    "--- 1\n--- 2\n", "%YAML 9.9\n---\n", "%TAG ! x\n", "seed: 2026-13-45\n", "seed: .nan\n",
    "seed: -.inf\n", "seed: 1e400\n", "seed: 190:20:30\n", "seed: ~\n", "seed: =\n", "seed: <<\n",
    "".join(f"k{i}: {i}\n" for i in range(9000)), "seed: [" + "1, " * 150_000 + "1]\n",
    "name: ../../x\n", "name: /\n", "name: ''\n", "name: " + "n" * 300 + "\n", "tag: \"a\\nb\"\n",
    "system: []\n", "data: x\n", "trainer: 7\n", "system_type: [a]\n", "data_type: {a: 1}\n",
    "system_type: ../x\n", "system: {loss: {colour: {a: 1}}}\n", "checkpoint: /dev/zero\n",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-32", "latin-1", "cp037", "utf-8-sig")


def hostile_config(folder: Path, rng: Random) -> str:
    """Write c.yaml: one of this program's configs with hostile lines; returns which."""
    base = Path(rng.choice(all_configs())) if rng.random() < 0.5 else folder / "c.yaml"
    lines = base.read_text(encoding="utf-8").splitlines(keepends=True)
    number = rng.randrange(len(LINES))
    way = rng.choice(("before", "behind", "within", "alone", "encoding", "endings", "indent"))
    text = "".join(lines)
    if way in ("before", "behind", "alone"):
        text = {"before": LINES[number] + text, "behind": text + LINES[number]}.get(
            way, LINES[number]
        )
    elif way == "within":
        at = rng.randrange(len(lines) + 1)
        text = "".join([*lines[:at], LINES[number], *lines[at:]])
    elif way == "endings":
        text = text.replace("\n", rng.choice(("\r\n", "\r", "\n\n", "\u2028", "\x85", "\x0b")))
    elif way == "indent":
        text = text.replace("  ", rng.choice((" ", "\t", "   ", "\u00a0\u00a0")))
    code = rng.choice(ENCODINGS) if way == "encoding" else "utf-8"
    path = folder / "c.yaml"
    path.write_bytes(("# \u00e9\n" + text).encode(code, errors="replace"))
    return f"{way}-{code if way == 'encoding' else number}"
