"""One input of the campaign: a command under limits in a process of its own, and its verdict."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from studio.errors import StudioError
from studio.io.files import explained
from tests.campaign.fuzz_inputs import Kind

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
    threads = "STUDIO_CUSTOM" in kind.environment and "Exception in thread" in said
    if "Traceback (most recent call last)" in said and not (kind.shows or threads):
        return Outcome("fault", f"traceback: {last}", said)
    if ("MemoryError" in said or "RecursionError" in said) and not kind.shows:
        return Outcome("fault", f"memory: {last}", said)
    if code == 0:
        silent = kind.says not in said
        return Outcome("fault" if silent else "read", "ended in silence with 0" * silent, said)
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
        from studio.plugins import discovery as plugins

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
        from studio.app.cli import main

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
