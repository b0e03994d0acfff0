"""Many visits to a server, hostile ones among them: `python -m tests.campaign.server out=FOLDER`.

Words: count=200 jobs and refusals, or minutes=60 instead; share=0.4 of them hostile; seed=0;
workers=1; out=FOLDER (emptied first). The server is `studio ui` itself, with a home and a folder
for temporary files of its own, which are looked through afterwards. FOLDER/figures.json and
FOLDER/memory.csv are written; the exit code is 1 if anything was written outside, an answer was
not in words, a good job was not done, or the server went down.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.campaign.server_visitors import GOOD, HOSTILE, OURS, REPOSITORY, Answer, Visits

PAUSE_SECONDS = 1.0
"""Between two tries while the server is busy."""
FULL = 12
"""Jobs that wait, of 16, at which only what should be refused is sent."""
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/etc", "/srv", "/opt", "/root", "/home")
"""Where canaries are looked for beside the campaign's own folders."""


@dataclass
class Seen:
    """What happened.

    Attributes:
        statuses: answers by kind and status.
        faults: what is wrong.
        jobs: accepted ones: visitor's session, id and kind.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    jobs: list[tuple[Visits, str, str]] = field(default_factory=list)
    busy: int = 0


# --- the server ---------------------------------------------------------------------------------


def start(out: Path, workers: int) -> tuple[subprocess.Popen[str], str]:
    """Start `studio ui` in surroundings of its own; returns it and its address."""
    for name in ("home", "tmp", "here"):
        (out / name).mkdir(parents=True)
    cache = os.environ.get("NUMBA_CACHE_DIR")
    environment = {
        **os.environ,
        "HOME": str(out / "home"),
        "TMPDIR": str(out / "tmp"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        **({"NUMBA_CACHE_DIR": cache} if cache else {}),
    }
    words = [f"jobs={out / 'jobs'}", "port=0", "open=false", f"workers={workers}", "keep=100000"]
    log = (out / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "studio", "ui", *words],
        cwd=out / "here",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    assert process.stdout is not None
    found = re.search(r"http://[\d.:]+", process.stdout.readline())
    if found is None:
        raise RuntimeError(f"it did not start: {(out / 'server.log').read_text()}")
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process, found[0]


def family(pid: int) -> Iterator[tuple[int, str]]:
    """A process and all below it, with what each is: server, helper or worker."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        parents.setdefault(parent, []).append(int(path.name))
    todo = [pid]
    while todo:
        one = todo.pop()
        todo += parents.get(one, [])
        try:
            line = Path(f"/proc/{one}/cmdline").read_text()
        except OSError:
            continue
        if "resource_tracker" in line:
            continue
        role = "worker" if "jobs.worker" in line else "helper" if "spawn" in line else "server"
        yield one, role if one != pid else "server"


def memory_mb(pid: int) -> float:
    """Resident memory without what is shared with files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


class Memory(threading.Thread):
    """Notes every two seconds how much memory the processes take."""

    def __init__(self, pid: int, file: Path) -> None:
        super().__init__(daemon=True)
        self.pid, self.file = pid, file
        self.rows: list[tuple[float, dict[str, float], int]] = []
        self.over = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        with self.file.open("w") as file:
            print("seconds,server_mb,helper_mb,worker_mb,server_files", file=file)
            while not self.over.wait(2.0):
                told = dict.fromkeys(("server", "helper", "worker"), 0.0)
                for pid, role in family(self.pid):
                    told[role] += memory_mb(pid)
                try:
                    opened = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
                except OSError:
                    continue
                row = time.monotonic() - began, told, opened
                self.rows.append(row)
                values = ",".join(f"{told[role]:.1f}" for role in told)
                print(f"{row[0]:.0f},{values},{opened}", file=file, flush=True)

    def figures(self) -> dict[str, object]:
        """Of each role: means of the second and the last fifth of the time, and the most."""
        told: dict[str, object] = {}
        fifth = max(1, len(self.rows) // 5)
        for role in ("server", "helper", "worker"):
            values = [row[1][role] for row in self.rows]
            early, late = values[fifth : 2 * fifth], values[-fifth:]
            told[role] = {
                "early_mb": round(sum(early) / max(1, len(early)), 1),
                "late_mb": round(sum(late) / max(1, len(late)), 1),
                "most_mb": round(max(values, default=0.0), 1),
            }
        opened = [row[2] for row in self.rows] or [0]
        told["server_files"] = {"early": opened[fifth - 1], "late": opened[-1], "most": max(opened)}
        return told


# --- visits -------------------------------------------------------------------------------------


def visit(on: Visits, kinds: dict[str, object], name: str, seen: Seen) -> None:
    """Make one visit and judge the answer."""
    while True:
        try:
            answer: Answer | None = kinds[name](on)  # type: ignore[operator]
        except Exception as error:
            seen.faults.append(f"{name}: no answer ({type(error).__name__}: {str(error)[:200]})")
            return
        if answer is None:
            seen.statuses[name, 0] += 1
            return
        if answer.status != 429:
            break
        seen.busy += 1
        time.sleep(PAUSE_SECONDS)
    seen.statuses[name, answer.status] += 1
    if answer.status == 201:
        seen.jobs.append((on, answer.job, name))
    elif answer.status >= 500 or answer.status == 0 or not answer.in_words:
        seen.faults.append(f"{name}: {answer.status} {answer.text[:300]}")
    if name in GOOD and answer.status != 201:
        seen.faults.append(f"{name} was refused: {answer.status} {answer.text[:300]}")


def waiting(address: str) -> int:
    """How many jobs wait."""
    return int(requests.get(f"{address}/api/health", timeout=60).json()["waiting"])


def finish(seen: Seen, patience: float) -> Counter[str]:
    """Wait for all jobs; returns how they ended."""
    ends: Counter[str] = Counter()
    end = time.monotonic() + patience
    for on, name, kind in seen.jobs:
        told: dict[str, object] = {"phase": "?"}
        while time.monotonic() < end:
            answer = on.session.get(f"{on.address}/api/jobs/{name}", timeout=60)
            if answer.status_code == 404:  # cancelled and removed
                told = {"phase": "removed"}
                break
            told = answer.json()
            if told["phase"] in ("done", "failed", "cancelled"):
                break
            time.sleep(0.5)
        ends[str(told["phase"])] += 1
        if told["phase"] == "done":
            glb = on.session.get(f"{on.address}/api/jobs/{name}/mesh.glb", timeout=120).content
            if glb[:4] != b"glTF" or len(glb) != int.from_bytes(glb[8:12], "little"):
                seen.faults.append(f"{kind}: job {name} is done, and its GLB is none")
        elif told["phase"] == "failed":
            words = str(told["error"])
            if kind in GOOD or not Answer(422, words).in_words or "mistake" in words:
                seen.faults.append(f"{kind}: job {name} failed: {words[:300]}")
        elif told["phase"] not in ("cancelled", "removed"):
            seen.faults.append(f"{kind}: job {name} is not over: {told['phase']}")
    return ends


def strays(out: Path, canary: str) -> list[str]:
    """Files that should not be: canaries anywhere, others outside the folders of jobs."""
    found = []
    for place in dict.fromkeys([*PLACES, str(REPOSITORY), str(out)]):
        for root, folders, names in os.walk(place):
            folders[:] = [f for f in folders if not (Path(root) / f).is_symlink()]
            found += [str(Path(root) / n) for n in (*names, *folders) if canary in n]
    jobs = out / "jobs"
    plain = re.compile(r"[0-9a-f]{32}/\d{8}-\d{6}-[0-9a-f]{12}/.+")
    for path in (*jobs.rglob("*"), *(out / "tmp").rglob("*"), *(out / "here").rglob("*")):
        inner = path.relative_to(jobs).as_posix() if path.is_relative_to(jobs) else ""
        if path.is_symlink() or (path.is_file() and not plain.fullmatch(inner)):
            found.append(str(path))
    return found


def campaign(out: Path, count: int, minutes: float, share: float, seed: int, workers: int) -> int:
    """Run it; returns the exit code."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    OURS.append(str(out))
    process, address = start(out, workers)
    memory = Memory(process.pid, out / "memory.csv")
    memory.start()
    draw, seen = random.Random(seed), Seen()
    canary = f"canary-{secrets.token_hex(6)}"
    on = Visits(address, canary, draw)
    began, visits, told = time.monotonic(), 0, 0
    order = [*HOSTILE]
    while visits < count if not minutes else time.monotonic() - began < 60 * minutes:
        if visits % 25 == 24:
            on = Visits(address, canary, draw)
        full = waiting(address) > FULL
        if full:
            time.sleep(PAUSE_SECONDS)
        hostile = full or draw.random() < share
        name = order[visits % len(order)] if hostile else draw.choice([*GOOD])
        visit(on, HOSTILE if hostile else GOOD, name, seen)  # type: ignore[arg-type]
        if seen.jobs and draw.random() < 0.05:
            whose, job, _ = draw.choice(seen.jobs[-10:])
            whose.ask(
                *draw.choice([("POST", f"/api/jobs/{job}/cancel"), ("DELETE", f"/api/jobs/{job}")])
            )
        visits += 1
        if process.poll() is not None:
            seen.faults.append(f"the server ended with {process.returncode}")
            break
        for fault in seen.faults[told:]:
            print(fault, flush=True)
        told = len(seen.faults)
        if visits % 20 == 0:
            print(f"{visits} visits, {len(seen.jobs)} jobs, {len(seen.faults)} faults", flush=True)
    ends = finish(seen, 1800) if process.poll() is None else Counter()
    lasted = time.monotonic() - began
    memory.over.set()
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        seen.faults.append("the server did not stop within 30 s")
    left = [pid for pid, _ in family(process.pid)]
    seen.faults += [f"written outside: {path}" for path in strays(out, canary)]
    seen.faults += [f"process {pid} is left" for pid in left]
    if "Traceback" in (log := (out / "server.log").read_text()):
        seen.faults.append(f"server.log: {log[-2000:]}")
    statuses: Counter[int] = Counter()
    for (_, status), times in seen.statuses.items():
        statuses[status] += times
    figures = {
        "visits": visits,
        "hostile": sum(n for (kind, _), n in seen.statuses.items() if kind in HOSTILE),
        "seconds": round(lasted, 1),
        "jobs": dict(ends),
        "statuses": {str(status): times for status, times in sorted(statuses.items())},
        "told_busy": seen.busy,
        "memory": memory.figures(),
        "written_outside": sum("outside" in fault for fault in seen.faults),
        "kinds": {f"{kind} {status}": n for (kind, status), n in sorted(seen.statuses.items())},
        "faults": seen.faults,
    }
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps({k: v for k, v in figures.items() if k != "kinds"}, indent=2))
    return 1 if seen.faults else 0


def main() -> int:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    out = Path(words.pop("out")).resolve()
    count, minutes = int(words.pop("count", 200)), float(words.pop("minutes", 0))
    share, seed = float(words.pop("share", 0.4)), int(words.pop("seed", 0))
    workers = int(words.pop("workers", 1))
    if words:
        raise SystemExit(f"unknown words: {', '.join(words)}")
    return campaign(out, count, minutes, share, seed, workers)


if __name__ == "__main__":
    sys.exit(main())
