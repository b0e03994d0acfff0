"""Commands in hostile environments: `python -m tests.campaign.environments out=FOLDER`.

Every command has to work, or to say in a sentence or two why it cannot (exit code 2; for streams
that are gone, any code but a traceback), and to leave no temporary files. Environments that this
machine or user cannot make (mounts want root) are named as not tried. The table is written to
FOLDER/environments.md; the exit code is 1 if a cell of it is a fault.

Words: out=FOLDER (emptied first), only=SUBSTRING of environments' names.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from studio.io.images import save_png
from tests.conftest import REPOSITORY, environment
from tests.unit.test_guidance_training import CONFIG as TRAINING
from tests.unit.test_image_to_3d import CONFIG as CHAIN
from tests.unit.test_image_to_3d import GUIDANCE

NOBODY = 65534
PATIENCE = 180.0  # seconds for one command
COMMANDS = {
    "chain": "--config ball.yaml --train --export",
    "training": "--config tiny.yaml --train --export",
    "list": "--list",
    "doctor": "--doctor",
    "evaluate": "--evaluate pred=cube.ply reference=cube.ply",
}
QUICK = ("chain", "list")  # for environments that touch every command alike
CUBE = """ply
format ascii 1.0
element vertex 4
property float x
property float y
property float z
element face 4
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
0 1 0
0 0 1
3 0 2 1
3 0 1 3
3 0 3 2
3 1 2 3
"""


@dataclass(frozen=True)
class Environment:
    """What is unusual about the surroundings of a command.

    Attributes:
        name: for the table.
        variables: changes of the environment; None takes a variable away.
        folder: name of the working folder.
        shell: what is put around the command, `{}`, for `sh -c`.
        mounts: shell commands in a mount namespace of their own; they want root.
        user: runs as that user.
        before: called in the child before the program starts.
        gone: the program's streams are gone, so that any exit code will do.
        commands: which are tried.
    """

    name: str
    variables: dict[str, str | None] = field(default_factory=dict)
    folder: str | bytes = "project"
    shell: str = "{}"
    mounts: str = ""
    user: int = 0
    before: Callable[[], None] | None = None
    gone: bool = False
    commands: tuple[str, ...] = tuple(COMMANDS)


def limit(kind: int, most: int) -> Callable[[], None]:
    """Return what lowers a limit of the process."""
    return lambda: resource.setrlimit(kind, (most, most))


def environments() -> Iterator[Environment]:
    """Yield every environment."""
    install = [REPOSITORY, Path(sys.prefix)]
    frozen = "; ".join(
        f"mount --bind -o ro {p} {p} && mount -o remount,bind,ro {p}" for p in install
    )
    yield Environment("as usual")
    yield Environment("another user, without a home", {"HOME": "/nonexistent"}, user=NOBODY)
    yield Environment("another user, read-only install", {"HOME": "/"}, mounts=frozen, user=NOBODY)
    yield Environment("no HOME", {"HOME": None})
    yield Environment("HOME that cannot be written", {"HOME": "/proc"})
    yield Environment("read-only install", mounts=frozen)
    yield Environment(
        "full /dev/shm",
        mounts="mount -t tmpfs -o size=4k t /dev/shm; head -c 4k /dev/zero > /dev/shm/x",
    )
    yield Environment("no place for temporary files", {"TMPDIR": "/proc"}, commands=QUICK)
    yield Environment(
        "LC_ALL=C, no UTF-8 mode", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    )
    yield Environment("no TERM, no PATH", {"TERM": None, "PATH": ""}, commands=QUICK)
    yield Environment("spaces and umlauts in the path", folder="my pröject", commands=QUICK)
    yield Environment("a path that is not UTF-8", folder=b"pr\xf6ject", commands=QUICK)
    yield Environment(
        "umask 0777", before=lambda: os.umask(0o777) and None, commands=QUICK, user=NOBODY
    )
    yield Environment("umask 0077", before=lambda: os.umask(0o77) and None, commands=QUICK)
    yield Environment("64 open files", before=limit(resource.RLIMIT_NOFILE, 64))
    yield Environment("files of at most 20 kB", before=limit(resource.RLIMIT_FSIZE, 20_000))
    yield Environment(
        "working folder removed",
        shell="mkdir gone && cd gone && rmdir ../gone && {}",
        commands=QUICK,
    )
    yield Environment("standard output full", shell="{} > /dev/full", gone=True, commands=QUICK)
    yield Environment("standard output closed", shell="{} >&-", gone=True, commands=QUICK)
    yield Environment("standard error closed", shell="{} 2>&-", gone=True, commands=QUICK)
    yield Environment("all streams closed", shell="{} <&- >&- 2>&-", gone=True, commands=QUICK)
    yield Environment("reader gone (| true)", shell="{} | true", gone=True, commands=QUICK)
    for size in (8, 64, 128, 192, 256, 384, 512, 1024, 2048):
        disk = f"mkdir -p outputs && mount -t tmpfs -o size={size}k t outputs"
        yield Environment(f"disk of {size} kB", mounts=disk, commands=("chain", "training"))


def project(folder: bytes) -> None:
    """Fill a working folder with what the commands need."""
    path = Path(os.fsdecode(folder))
    (path / "custom" / "balls").mkdir(parents=True)
    (path / "custom" / "balls" / "__init__.py").write_text(GUIDANCE)
    (path / "ball.yaml").write_text(CHAIN)
    (path / "tiny.yaml").write_text(TRAINING.format(root="outputs"))
    (path / "cube.ply").write_text(CUBE)
    (path / "weights").mkdir()
    (path / "weights" / "model.bin").write_bytes(b"one")
    line = torch.linspace(-1, 1, 32)
    picture = torch.full((4, 32, 32), 0.6)
    picture[3] = (line[:, None].hypot(line) < 0.7).float()
    save_png(path / "ball.png", picture)


def tried(place: Environment, command: str, out: Path) -> str:
    """Run a command in an environment and return what came of it, for the table."""
    folder = os.path.join(os.fsencode(out), os.fsencode(place.folder))  # noqa: PTH118
    shutil.rmtree(folder, ignore_errors=True)
    project(folder)
    if place.user:
        subprocess.run([b"chown", b"-R", str(place.user).encode(), folder], check=True)
    python = shlex.join([sys.executable, str(REPOSITORY / "launch.py"), *COMMANDS[command].split()])
    line = place.shell.format(python)
    if place.user:
        who = f"setpriv --reuid {place.user} --regid {place.user} --clear-groups"
        line = f"{who} sh -c {shlex.quote(line)}"
    if place.mounts:
        line = f"{place.mounts}; {line}"
    start = ["unshare", "-m", "sh", "-c", line] if place.mounts else ["sh", "-c", line]
    start[0] = shutil.which(start[0]) or start[0]
    changed = {**environment(), **{k: v for k, v in place.variables.items() if v is not None}}
    for name in (name for name, value in place.variables.items() if value is None):
        changed.pop(name, None)
    try:
        done = subprocess.run(
            start,
            cwd=folder,
            env=changed,
            capture_output=True,
            timeout=PATIENCE,
            preexec_fn=place.before,
        )
    except subprocess.TimeoutExpired:
        return "FAULT: hangs"
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    (out / "said.txt").open("a").write(f"== {place.name}, {command}: {done.returncode}\n{said}\n")
    left = [p for p in Path(os.fsdecode(folder)).rglob(".*.tmp*")]
    return verdict(
        done.returncode, said, done.stderr.decode(errors="replace"), place.gone, len(left)
    )


def verdict(code: int, said: str, error: str, gone: bool, left: int) -> str:
    """What an exit code and a text amount to."""
    if "Traceback (most recent" in said or code < 0 or code > 128:
        return f"FAULT: exit {code}, {'traceback' if 'Traceback' in said else 'signal'}"
    if left:
        return f"FAULT: {left} temporary files left"
    if code == 0:
        return "works"
    if gone:
        return f"ends, exit {code}"
    lines = [line for line in error.splitlines() if line.strip()]
    if code == 2 and 0 < len(lines) <= 8:
        return f"refused: {lines[-2 if len(lines) > 1 else -1].strip()[:90]}"
    return f"FAULT: exit {code}, {len(lines)} lines"


def possible(place: Environment) -> bool:
    """Whether this user may make the environment."""
    if not place.mounts and not place.user:
        return True
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    probe = [
        "setpriv",
        "--reuid",
        str(NOBODY),
        "--clear-groups",
        sys.executable,
        "-c",
        "import torch",
    ]
    return not place.user or subprocess.run(probe, capture_output=True).returncode == 0


def main(words: list[str]) -> int:
    """Run everything and write the table."""
    options = dict(word.split("=", 1) for word in words)
    out = Path(options["out"]).absolute()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    out.chmod(0o755)
    rows = ["| environment | " + " | ".join(COMMANDS) + " |", "| --- |" + " --- |" * len(COMMANDS)]
    cells: list[str] = []
    for place in environments():
        if options.get("only", "") not in place.name:
            continue
        row = []
        for command in COMMANDS:
            if command not in place.commands:
                row.append("")
            elif not possible(place):
                row.append("not tried")
            else:
                row.append(tried(place, command, out))
        cells += row
        rows.append(f"| {place.name} | " + " | ".join(row) + " |")
        print(rows[-1], flush=True)
    (out / "environments.md").write_text("\n".join(rows) + "\n")
    faults = sum(cell.startswith("FAULT") for cell in cells)
    ran = sum(cell not in ("", "not tried") for cell in cells)
    print(f"{ran} commands tried, {faults} faults; what they said: {out / 'said.txt'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
