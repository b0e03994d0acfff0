"""Hostile words of the command line, for every config and option."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Random = random.Random
Words = Callable[[Random], list[str]]
VALUES = (
    "-1", "0", "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "2.5", "x", "null", "[]", "{}",
    "[" * 200, "{a: 1}", "[1, x]", "true", "''", "'", "&a [*a]", "!!python/name:os.system",
    "9" * 400, "99999999", "-99999999", "café", "/dev/zero", "a" * 5000, "???", "*x", "1,2", "[-1]",
    "[nan]", "[1e308, 1e308]", "%s", "~", "@", "`", "-", "[null]", "1e30", "-0", "2147483648",
    "18446744073709551616", "\x01\x07", "\x1b[31m", "\u202e", "..", "../../x", "/", "false",
    "[" + "1," * 2000 + "1]", "{a: {b: {c: []}}}", "12:30", "0o17", "- x", "a\nb: c", "!!int x",
    "!!binary x", "2026-01-01", "<<: x", "[[1, 2], [3]]", "cpu", "auto", ".", "#", "0.5", "1",
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
def options(config: str) -> list[str]:
    """Every option of an experiment, defaults included."""
    from studio.config import load_experiment
    from studio.plugins.options import plain

    cfg = load_experiment(config, ["data.root=x"] if "???" in Path(config).read_text() else [])
    return [key for key in leaves(plain(cfg)) if key not in LONG and key not in PLACES]


def option_words() -> list[Words]:
    """One option of a reconstruction with a hostile value."""
    return [lambda rng: [_hostile("configs/reconstruct.yaml", rng)]]


def _hostile(config: str, rng: Random) -> str:
    return f"{rng.choice(options(config))}={rng.choice(VALUES)}"


def all_configs() -> list[str]:
    """The configs of this program that need no released weights."""
    return sorted(str(p) for top in ("configs", "configs/train") for p in Path(top).glob("*.yaml"))


def config_words() -> list[Words]:
    """A config, and one or two of its options with hostile values."""

    def drawn(rng: Random) -> list[str]:
        config = rng.choice(all_configs())
        return [config, *(_hostile(config, rng) for _ in range(rng.choice((1, 1, 2))))]

    return [drawn]


def checked(config: str, *words: str) -> None:
    """Do with a config what is done before anything is written, with one posed capture for all."""
    from studio.app.early_checks import check_early
    from studio.app.experiment import Experiment
    from studio.config import load_experiment
    from studio.data.base import ConditionData

    check_early(config, words)
    experiment = Experiment(load_experiment(config, words), ["train"], ["launch.py", *words])
    data, system = experiment._build()
    experiment._training(system, None)
    if isinstance(data, ConditionData):
        data.condition()


CHAIN = (
    "system.guidance.steps=1", "data.resolution=64", "system.time_budget_s=2",
    "system.hull.enabled=false",
)  # fmt: skip
TRAINING = (
    "data.objects=2", "data.val_objects=1", "data.categories=[car]", "data.cache_dir={out}/cache",
    "system.output={out}/weights", "system.batch_size=1", "system.cache_latents=false",
)  # fmt: skip
RUNS = {
    "configs/epidiff-neus.yaml": CHAIN,
    "configs/spad-neus.yaml": CHAIN[:1],
    "configs/eschernet-picture.yaml": CHAIN,
    "configs/viewfusion-composable-neus.yaml": CHAIN,
    "configs/viewfusion-interpolated-neus.yaml": CHAIN,
    "configs/train/nano-zero123.yaml": TRAINING,
    "configs/train/nano-vae.yaml": TRAINING[:-1],
    "configs/train/nano-spad.yaml": TRAINING,
    "configs/train/nano-eschernet.yaml": TRAINING,
    "configs/train/nano-viewfusion-composable.yaml": TRAINING,
}
"""Runs of one step that take seconds, and the words that make them small."""


def small_run(config: str) -> tuple[str, ...]:
    """The words of one of `RUNS`."""
    steps = (f"trainer.{k}" for k in ("max_steps=1", "accelerator=cpu", "threads=1"))
    return ("--config", config, *steps, *RUNS[config])


def run_words() -> list[Words]:
    """A chain or a training of one step with one hostile value of the method, system or data."""

    def drawn(rng: Random) -> list[str]:
        config = rng.choice(list(RUNS))
        keys = [k for k in options(config) if k.startswith(("system.", "data."))]
        return [*small_run(config), f"{rng.choice(keys)}={rng.choice(VALUES)}"]

    return [drawn]


def command_words() -> list[Words]:
    """One word of another verb, or none that there is."""
    return [lambda rng: [rng.choice(_commands())(rng)]]


def _commands() -> list[Callable[[Random], str]]:
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
