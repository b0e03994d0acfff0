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
import re
import resource
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.files import explained
from tests.campaign.fuzz_damage import damage
from tests.campaign.fuzz_inputs import Kind
from tests.conftest import REPOSITORY

MEMORY = 6 << 30
SECONDS = 20
"""Of a processor."""
CLOCK = 8
"""So many times as long on the clock, as others may use the machine."""
MOST_MESSAGE = 3000
MESSAGE = re.compile(
    r"^(?:launch\.py: error"
    r"|(?:Studio|Config|Plugin|Data|Camera|Weights|Export|Training)Error): (.*)$",
    re.MULTILINE,
)
VERDICTS = ("read", "refused", "fault")
NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        verdict: one of `VERDICTS`.
        why: what is wrong with it, for faults.
        said: what it printed.
    """

    verdict: str
    why: str = ""
    said: str = ""


def judged(
    status: int, said: str, kind: Kind, timed_out: bool, names: Collection[str] = ()
) -> Outcome:
    """Judge a command by how it ended and what it printed; a refusal has one of the names."""
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1][:150] if lines else "nothing was printed"
    if timed_out:
        return Outcome("fault", f"more than {SECONDS} s", said)
    if os.WIFSIGNALED(status):
        return Outcome("fault", f"signal {os.WTERMSIG(status)}", said)
    code = os.WEXITSTATUS(status)
    if "Traceback (most recent call last)" in said and not kind.shows:
        return Outcome("fault", f"traceback: {last}", said)
    if ("MemoryError" in said or "RecursionError" in said) and not kind.shows:
        return Outcome("fault", f"memory: {last}", said)
    if code == 0:
        ended = kind.says in said
        return (
            Outcome("read", "", said)
            if ended
            else Outcome("fault", "ended in silence with 0", said)
        )
    if code != 2:
        return Outcome("fault", f"exit code {code}: {last}", said)
    return refusal(said, names) or Outcome("refused", "", said)


def refusal(said: str, names: Collection[str]) -> Outcome | None:
    """What is wrong with a refusal: it is one of our messages, a sentence, and says which file."""
    found = list(MESSAGE.finditer(said))
    if not found:
        return Outcome("fault", f"no message: {said[-150:]}", said)
    message = said[found[-1].start() :]
    if len(message) > MOST_MESSAGE or len(found[-1][1].split()) < 3 or len(message) < 30:
        return Outcome("fault", f"no clear message: {message[:150]}", said)
    if names and not any(name in message for name in names):
        return Outcome("fault", f"names no file: {message[:300]}", said)
    return None


# --- one input ------------------------------------------------------------------------------------


def run(
    kind: Kind,
    words: list[str],
    folder: Path,
    out: Path,
    names: Collection[str] = (),
    patience: int = 1,
) -> Outcome:
    """Run a command in a forked process, under so many times the limit of time, and judge it."""
    log = out.with_suffix(".log")
    child = os.fork()
    if child == 0:
        _work(kind, words, folder, out, log, patience)  # does not return
    end, status, timed_out = time.monotonic() + CLOCK * SECONDS * patience, 0, False
    pause = 0.002
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > end:
            timed_out = True
            os.killpg(child, signal.SIGKILL)
            os.wait4(child, 0)
            break
        time.sleep(pause)
        pause = min(0.05, pause * 1.3)
    timed_out |= os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    return judged(status, log.read_text(errors="replace"), kind, timed_out, names)


def _work(kind: Kind, words: list[str], folder: Path, out: Path, log: Path, patience: int) -> None:
    """The forked process: limits, its own streams, the command; ends with its exit code."""
    os.setpgid(0, 0)
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0), open(1, "w", buffering=1), open(2, "w", buffering=1),  # noqa: PTH123, SIM115
    )  # fmt: skip
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS * patience, SECONDS * patience + 1))
    out.mkdir(parents=True)
    if os.geteuid() == 0 and _closed(folder):
        os.chown(out, NOBODY, NOBODY)
        os.chown(folder, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.environ.pop("STUDIO_RUN_DIR", None)
    os.environ |= {k: v.replace("{in}", str(folder)) for k, v in kind.environment.items()}
    if kind.environment:
        from studio import plugins

        plugins.reset()
    code = 1
    try:
        code = _command(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _closed(folder: Path) -> bool:
    """Whether a file may not be read by others: root would read it all the same."""
    return any(not p.is_symlink() and not p.stat().st_mode & 0o444 for p in folder.rglob("*"))


def _command(words: list[str]) -> int:
    if words[0] != "-c":
        from studio.cli import main

        return main(words[1:])
    try:
        exec(words[1], {"words": words[2:]})
        return 0
    except (StudioError, OSError) as error:  # as the command line does
        clear = explained(error) if isinstance(error, OSError) else error
        if clear is None:
            raise
        print(f"{type(clear).__name__}: {clear}", file=sys.stderr)
        return 2


def filled(kind: Kind, folder: Path, out: Path, extra: list[str]) -> list[str]:
    """The words of a command with its folders in their places."""
    words = [*kind.command, *extra]
    return [w.replace("{in}", str(folder)).replace("{out}", str(out)) for w in words]


def copied(valid: Path, folder: Path) -> None:
    """Copy an input, with links to its larger files."""

    def copy(source: str, target: str) -> str:
        large = os.stat(source, follow_symlinks=False).st_size > 1 << 16  # noqa: PTH116
        (os.link if large else shutil.copy2)(source, target)
        return target

    shutil.copytree(valid, folder, copy_function=copy, symlinks=True)
    for path in folder.rglob("*.yaml"):
        text = path.read_text().replace("VIEWS", str(folder / "views"))
        path.unlink()
        path.write_text(text)


def names_in(folder: Path) -> set[str]:
    """The names of a folder and of all that is in it."""
    return {str(folder), *(path.name for path in folder.rglob("*"))}


def plugins_in(folder: Path) -> list[str]:
    """The files and folders of a folder of plugins that register one."""
    found = []
    for path in folder.rglob("*.py"):
        if path.is_file() and not path.stem.endswith("_disabled"):
            if b"@register(" in path.read_bytes():
                found.append(path.relative_to(folder).parts[0])
    return found


# --- the campaign ---------------------------------------------------------------------------------


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

    from studio import plugins
    from studio.registry import find

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
