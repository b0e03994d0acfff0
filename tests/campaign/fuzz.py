"""A campaign of damaged inputs: each has to be read, or refused in one clear message.

    python -m tests.campaign.fuzz count=3000 seed=0 out=FOLDER [kinds=colmap,words] [only=NAME]

Valid tiny inputs of every kind (`tests.campaign.fuzz_kinds`) are damaged by seeded mutators, and
each is read by the program in a process of its own under 6 GB of memory and 20 s. It ends with a
table; inputs that fail stay under out/faults, each with the command that repeats it.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import random
import shlex
import shutil
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from tests.campaign.fuzz_damage import damage
from tests.campaign.fuzz_inputs import Kind
from tests.campaign.fuzz_one import VERDICTS, Outcome, copied, filled, names_in, plugins_in, run
from tests.conftest import REPOSITORY


class Campaign:
    """Damaged inputs of some kinds.

    Args:
        kinds: of inputs.
        out: folder of everything that is written.
        seed: of all draws.
    """

    def __init__(self, kinds: list[Kind], out: Path, seed: int) -> None:
        self.kinds, self.out, self.seed = kinds, out, seed
        self.counts: dict[str, Counter[str]] = {kind.name: Counter() for kind in kinds}
        self.faults: list[tuple[str, str]] = []
        self.seconds: Counter[str] = Counter()
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o755)

    def prepare(self) -> None:
        """Write the valid inputs, and check that each is read."""
        unread = []
        for kind in self.kinds:
            checked = self.out / "valid" / f"{kind.name}.read"
            if checked.exists():
                continue
            valid = self.out / "valid" / kind.name
            if not valid.is_dir():
                valid.mkdir(parents=True)
                try:
                    with contextlib.redirect_stdout(io.StringIO()):
                        kind.make(valid)
                except Exception:
                    unread.append(f"{kind.name}: {traceback.format_exc()[-700:]}")
                    shutil.rmtree(valid)
                    continue
            folder, target = self._folders("control", kind.name)
            copied(valid, folder)
            # the first one compiles kernels
            words = filled(kind, folder, target, list(kind.control))
            outcome = run(kind, words, folder, target, patience=10)
            if outcome.verdict != "read":
                unread.append(f"{kind.name}: {outcome.why}\n{outcome.said}")
            else:
                checked.touch()
        if unread:
            raise RuntimeError("valid inputs fail:\n" + "\n".join(unread))

    def run(self, count: int, only: str = "") -> int:
        """Try so many inputs; returns the number of faults."""
        total = sum(kind.share for kind in self.kinds)
        wanted = {kind.name: max(1, round(count * kind.share / total)) for kind in self.kinds}
        tried = 0
        for number in range(max(wanted.values())):
            for kind in (kind for kind in self.kinds if number < wanted[kind.name]):
                if not only or only.startswith(f"{kind.name}-{number}-"):
                    self.one(kind, number, keep=bool(only))
                    tried += 1
                    if tried % 200 == 0:
                        (self.out / "table.txt").write_text(f"{self.table()}\n")
        return len(self.faults)

    def one(self, kind: Kind, number: int, keep: bool = False) -> None:
        """Damage one input, run it and note what came of it."""
        rng = random.Random(f"{self.seed} {kind.name} {number}")
        folder, target = self._folders(kind.name, str(number))
        copied(self.out / "valid" / kind.name, folder)
        names = names_in(folder) if kind.names and not kind.words else set()
        how, extra = self._damaged(kind, folder, rng)
        words = filled(kind, folder, target, extra)
        started = time.monotonic()
        names |= names_in(folder) if kind.names and not kind.words else set()
        outcome = run(kind, words, folder, target, names)
        silent = [name for name in plugins_in(folder) if name not in outcome.said]
        if kind.lists and outcome.verdict == "read" and silent:
            outcome = Outcome("fault", f"says nothing of {silent[0]}", outcome.said)
        self.seconds[kind.name] += time.monotonic() - started  # type: ignore[assignment]
        self.counts[kind.name][outcome.verdict] += 1
        if outcome.verdict == "fault" or keep:
            name = f"{kind.name}-{number}-{how}"[:120].replace("/", ".").replace(" ", "_")
            self.faults.append((name, outcome.why))
            self._keep(name, kind, folder, extra, outcome)
            print(f"{outcome.verdict:8} {name}: {outcome.why}", flush=True)
        shutil.rmtree(folder.parent, ignore_errors=True)

    def _damaged(self, kind: Kind, folder: Path, rng: random.Random) -> tuple[str, list[str]]:
        if kind.words:
            more = rng.choice(kind.words())(rng)
            return more[-1][:60], more
        if kind.write:
            return kind.write(folder, rng), []
        files = sorted({p for pattern in kind.files for p in folder.glob(pattern) if p.is_file()})
        path = rng.choice(files)
        return f"{path.relative_to(folder)}-{damage(path, rng)}", []

    def _folders(self, *names: str) -> tuple[Path, Path]:
        base = self.out / "work" / "-".join(names)
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        return base / "in", base / "out"

    def _keep(
        self, name: str, kind: Kind, folder: Path, extra: list[str], outcome: Outcome
    ) -> None:
        """Keep a failing input with the command that repeats it."""
        kept = self.out / "faults" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        with contextlib.suppress(OSError):
            folder.rename(kept / "in")
        words = filled(kind, kept / "in", kept / "out", extra)
        setting = [
            f"{k}={v.replace('{in}', str(kept / 'in'))}" for k, v in kind.environment.items()
        ]
        command = shlex.join([*setting, sys.executable, *words])
        (kept / "command.txt").write_text(f"{command}\n", errors="replace")
        (kept / "said.txt").write_text(f"{outcome.why}\n\n{outcome.said}", errors="replace")

    def table(self) -> str:
        """What came of all inputs, by kind."""
        rows = [f"{'kind':28}{'inputs':>8}" + "".join(f"{v:>9}" for v in VERDICTS) + f"{'s':>8}"]
        total: Counter[str] = Counter()
        for name, counts in self.counts.items():
            rows.append(_row(name, counts, self.seconds[name]))
            total += counts
        return "\n".join([*rows, _row("all", total, sum(self.seconds.values()))])


def _row(name: str, counts: Counter[str], seconds: float) -> str:
    numbers = "".join(f"{counts[v]:9}" for v in VERDICTS)
    return f"{name:28}{sum(counts.values()):8}{numbers}{seconds:8.0f}"


def preload() -> None:
    """Import once what every command needs: forked processes have it already."""
    import diffusers  # noqa: F401
    import pytorch_lightning  # noqa: F401
    import torch
    import transformers  # noqa: F401
    import trimesh  # noqa: F401

    from studio.plugins import discovery as plugins
    from studio.plugins.discovery import find

    torch.set_num_threads(1)
    for plugin in plugins.listing():
        if not plugin.error and not plugin.origin.startswith("custom"):
            find(plugin.kind, plugin.name)
    gc.freeze()  # forked processes then share more memory


def main(words: list[str]) -> int:
    """Run the campaign that the words ask for; returns 1 if there are faults."""
    given: dict[str, Any] = dict(word.split("=", 1) for word in words)
    os.chdir(REPOSITORY)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    preload()
    from tests.campaign.fuzz_kinds import KINDS

    wanted = [name for name in given.get("kinds", "").split(",") if name]
    kinds = [k for k in KINDS if not wanted or any(k.name.startswith(w) for w in wanted)]
    out = Path(given.get("out", "outputs/fuzz")).resolve()
    campaign = Campaign(kinds, out, int(given.get("seed", 0)))
    started = time.monotonic()
    campaign.prepare()
    print(f"{len(kinds)} kinds, {time.monotonic() - started:.0f} s to write them", flush=True)
    campaign.run(int(given.get("count", 3000)), given.get("only", ""))
    print(campaign.table())
    print(f"{len(campaign.faults)} faults, {time.monotonic() - started:.0f} s; inputs under {out}")
    return int(bool(campaign.faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
