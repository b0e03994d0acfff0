"""The time from the start of the program to the first denoising step, and that of compiling.

    python -m benchmarks.start [RUNS]
    python -m benchmarks.start compile

From Python (`import studio`, `studio.load("epidiff-neus")`, a call) and from the command line
(`studio run epidiff-neus`), each in a process of its own; the table tells the processor's seconds
of the quickest run, its wall seconds, and which of the larger packages are loaded by then.

``compile`` fits a few steps twice: in the first run, in an empty cache, kernels are compiled. The
difference is what the first fit on a machine takes longer, on as many threads as torch uses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "pytorch_lightning", "numba", "scipy", "trimesh")
UNTIL = f"""
import json, os, sys, time
began = time.perf_counter()

def tell(done, total, label):
    if label == "views" and done:
        loaded = [name for name in {PACKAGES} if name in sys.modules]
        print(json.dumps([time.perf_counter() - began, time.process_time(), loaded]), flush=True)
        os._exit(0)
"""
PYTHON = f"""{UNTIL}
import studio
studio.load("epidiff-neus")("load/images/car.png", progress=tell)
"""
COMMAND = f"""{UNTIL}
from studio.app.cli import main
from studio.progress import listening

with listening(tell):
    main(["run", "epidiff-neus", "data.image=load/images/car.png", "exp_root_dir=" + sys.argv[1]])
"""


def fit_seconds(folder: str) -> float:
    """CPU seconds of the demo with few steps, whose kernels are kept in a folder."""
    command = [sys.executable, "launch.py", "--config", "configs/epidiff-neus.yaml", "--train"]
    command += [f"exp_root_dir={folder}", "trainer.max_steps=20", "trainer.checkpoint_every=20"]
    before = os.times()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder, "kernels"))}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    after = os.times()
    user, system = after.children_user, after.children_system
    return user - before.children_user + system - before.children_system


def compiling() -> None:
    """Print what compiling takes."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = fit_seconds(folder), fit_seconds(folder)
    print(
        f"compiling      CPU {first - second:5.1f} s: {first:.1f} s at first, then {second:.1f} s"
    )


def main(runs: int = 3) -> None:
    """Print the table."""
    for name, code in (("import studio", PYTHON), ("studio run", COMMAND)):
        found = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-c", code, folder]
                answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert answer.returncode == 0, answer.stderr
            found.append(json.loads(answer.stdout.splitlines()[-1]))
        wall, worked, loaded = min(found, key=lambda row: row[1])
        print(f"{name:<15}CPU {worked:5.2f} s, wall {wall:5.2f} s: {', '.join(loaded)}", flush=True)


if __name__ == "__main__":
    compiling() if sys.argv[1:2] == ["compile"] else main(*map(int, sys.argv[1:2]))
