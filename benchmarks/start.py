"""The time from the start of the program to the first denoising step.

    python -m benchmarks.start [RUNS]

From Python (`import studio`, `studio.load("epidiff-neus")`, a call) and from the command line
(`studio run epidiff-neus`), each in a process of its own; the table tells the processor's seconds
of the quickest run, its wall seconds, and which of the larger packages are loaded by then.
"""

from __future__ import annotations

import json
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
    main(*map(int, sys.argv[1:2]))
