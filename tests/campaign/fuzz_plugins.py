"""Plugins that do not load or are not what they say, in every way that we know of."""

from __future__ import annotations

import random
from pathlib import Path

from tests.campaign.fuzz_damage import BYTES, place

Random = random.Random

GOOD = '''
from dataclasses import dataclass
from studio.geometry.hash_sdf import HashSDF
from studio.plugins import register
@register("geometry", "broken")
class Broken(HashSDF):
    """The hash grid under another name."""
    @dataclass
    class Config(HashSDF.Config):
        a: int = 1
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
    "itself": "import studio.app.cli; studio.app.cli.main(['--list'])\n" + GOOD,
    "twice": GOOD + GOOD,
    "odd-kind": GOOD.replace('"geometry"', '"nothing"'),
    "odd-name": GOOD.replace('"broken"', "7"),
    "no-geometry": GOOD.replace("Broken(HashSDF)", "Broken"),
    "half-made": "from studio.geometry.base import Geometry"
    + GOOD.replace("Broken(HashSDF)", "Broken(Geometry)"),
    "other-kind": GOOD.replace('"geometry"', '"renderer"'),
    "odd-config": GOOD.replace("a: int = 1", "a: 'Nowhere' = 1"),
    "takes-epidiff": GOOD.replace('"geometry", "broken"', '"guidance", "epidiff"'),
    "closes": GOOD + "import os\nfor n in (1, 2): os.close(n)",
    "changes-folder": GOOD + "import os; os.chdir('/')",
    "prints": GOOD + "print('x' * 1000)",
    "thread": GOOD + "import threading; threading.Thread(target=lambda: 1/0).start()",
}


def broken_plugin(folder: Path, rng: Random) -> str:
    """Write one plugin that does not load; returns which."""
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
