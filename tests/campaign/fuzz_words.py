"""Hostile words of the command line, and plugins that do not load."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Random = random.Random
Word = Callable[[Random], str]
VALUES = (
    "-1", "0", "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "2.5", "x", "null", "[]", "{}",
    "[" * 200, "{a: 1}", "[1, x]", "true", "''", "'", "&a [*a]", "!!python/name:os.system",
    "9" * 400, "99999999", "-99999999", "café", "/dev/zero", "a" * 5000, "???", "*x", "1,2", "[-1]",
    "[nan]", "[1e308, 1e308]", "%s", "~", "@", "`", "-", "[null]",
)  # fmt: skip
LONG = ("trainer.max_steps", "trainer.threads", "trainer.devices", "trainer.accelerator")
"""Options whose large values are a long run, or a use of the machine, not a mistake."""
PLACES = ("exp_root_dir", "name", "tag", "data.root")


def leaves(tree: dict[str, Any], key: str = "") -> list[str]:
    """The dotted keys of all options."""
    found: list[str] = []
    for name, value in tree.items():
        dotted = f"{key}.{name}" if key else name
        found.append(dotted)
        if isinstance(value, dict):
            found += leaves(value, dotted)
    return found


@functools.cache
def options() -> list[str]:
    """Every option of a reconstruction, defaults included."""
    from studio.config import load_experiment
    from studio.options import plain

    cfg = load_experiment("configs/reconstruct.yaml", ["data.root=x"])
    return [key for key in leaves(plain(cfg)) if key not in LONG and key not in PLACES]


def option_words() -> list[Word]:
    """One option of the experiment with a hostile value."""
    return [lambda rng: f"{rng.choice(options())}={rng.choice(VALUES)}"]


def command_words() -> list[Word]:
    """One word of another verb, or none that there is."""
    flags = ("--list", "--doctor", "--version", "--help", "--config", "--prepare", "--evaluate",
             "--filter-views", "--visualise-epipolar", "--trian", "--config=", "-", "--", "-h",
             "--prepare=nmr", "--train", "--export", "--verbose", "--evaluate=1")  # fmt: skip
    keys = ("pred", "reference", "protocol", "out", "lpips", "match", "rotate_deg", "source",
            "shards", "percent", "seed", "withhold", "lists", "views", "objects",
            "data.root")  # fmt: skip
    return [
        lambda rng: rng.choice(flags),
        lambda rng: f"{rng.choice(keys)}={rng.choice(VALUES)}",
        lambda rng: rng.choice(VALUES),
        lambda rng: "".join(
            chr(rng.choice((0x20, 0x3D, 0x2E, 0x61, 0xE9, 0x1F600))) for _ in "abcd"
        ),
    ]


# --- plugins --------------------------------------------------------------------------------------

GOOD = '''
from dataclasses import dataclass
from studio.registry import register
@register("geometry", "broken")
class Broken:
    """A plugin."""
    @dataclass
    class Config:
        a: int = 1
    def __init__(self, cfg, **more):
        raise ValueError("a plugin's own fault")
'''


def no_plugin(folder: Path) -> None:
    (folder / "nothing_disabled.py").write_text("")


PLUGINS: dict[str, str | bytes] = {
    "raises": GOOD + "raise RuntimeError('at import')",
    "exits": GOOD + "import sys; sys.exit(3)",
    "exits-silently": GOOD + "import sys; sys.exit(0)",
    "os-exit": GOOD + "import os; os._exit(0)",
    "recursion": GOOD + "def f(): f()\nf()",
    "memory": GOOD + "x = bytes(1 << 36)",
    "base-exception": GOOD + "class E(BaseException): pass\nraise E",
    "generator-exit": GOOD + "raise GeneratorExit",
    "deep": GOOD + "x = " + "(" * 5000 + "1" + ")" * 5000,
    "deep-2": GOOD + "x = " + "-" * 100_000 + "1",
    "deep-3": GOOD + "x = " + "+".join("1" * 30_000),
    "syntax": GOOD + "def (",
    "null": GOOD + "\0",
    "latin": GOOD.encode() + b"# \xe9\xff",
    "empty": "",
    "missing": "import not_there_at_all\n" + GOOD,
    "relative": "from . import nowhere\n" + GOOD,
    "itself": "import studio.cli; studio.cli.main(['--list'])\n" + GOOD,
    "twice": GOOD + GOOD,
    "odd-kind": GOOD.replace('"geometry"', '"nothing"'),
    "odd-name": GOOD.replace('"broken"', "7"),
    "odd-config": GOOD.replace("a: int = 1", "a: 'Nowhere' = 1"),
    "takes-epidiff": GOOD.replace('"geometry", "broken"', '"guidance", "epidiff"'),
    "closes": GOOD + "import os\nfor n in (1, 2): os.close(n)",
    "changes-folder": GOOD + "import os; os.chdir('/')",
    "prints": GOOD + "print('x' * 1000)",
    "thread": GOOD + "import threading; threading.Thread(target=lambda: 1/0).start()",
}


def broken_plugin(folder: Path, rng: Random) -> str:
    """Write one plugin that does not load; returns which."""
    from tests.campaign.fuzz_damage import BYTES, place

    name = rng.choice((*PLUGINS, "damaged", "damaged", "place", "package"))
    path = folder / f"{rng.choice(('plugin', 'my plugin', '7', 'émile', 'a-b.c'))}.py"
    folder.mkdir(exist_ok=True)
    if name == "place":
        path.write_text(GOOD)
        return f"place-{place(path, rng)}"
    if name == "package":
        inner = folder / "method" / "deeper"
        inner.mkdir(parents=True)
        name = rng.choice(tuple(PLUGINS))
        path = inner / "code.py"
    if name == "damaged":
        way = rng.choice(BYTES)
        path.write_bytes(way(GOOD.encode(), rng))
        return f"damaged-{way.__name__}"
    content = PLUGINS[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name
