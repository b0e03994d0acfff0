"""A batch of twenty pictures under kills, and warm workers against single commands.

    python -m benchmarks.batch kills [options]    # 20 pictures, killed three times, then finished
    python -m benchmarks.batch speed [options]    # the same objects by `studio run` and by a batch
    python -m benchmarks.batch ray [options]      # two nodes on this machine, one of them killed

Of the twenty one is cut off in the middle, one is the copy of another, and one has 900 megapixels.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studio.jobs import Phase, Record
from studio.jobs.machine import cores
from studio.jobs.process import THREADS

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ("car.png", "sofa-blue.png", "sofa-pink.png")
QUICK = (
    "system.guidance.steps=2",
    "system.hull.fit_steps=20",
    "system.exporter.resolution=64",
    "system.exporter.faces=3000",
    "system.exporter.turntable=false",
    "trainer.max_steps=40",
)
"""What makes an object take seconds, where only the log is looked at."""


def pictures(folder: Path, count: int) -> list[Path]:
    """Write so many different pictures of a few objects."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i in range(count):
        source = Image.open(ROOT / "load" / "images" / PICTURES[i % len(PICTURES)]).convert("RGBA")
        pixels = np.asarray(source).copy()
        turn = i // len(PICTURES)
        pixels[..., :3] = np.roll(pixels[..., :3], turn % 3, axis=2)
        pixels[..., :3] = np.clip(pixels[..., :3] * (1.0 - 0.04 * turn), 0, 255)
        made.append(folder / f"{source_name(i)}.png")
        Image.fromarray(pixels).save(made[-1])
    return made


def source_name(i: int) -> str:
    """Name of the i-th picture."""
    return f"{i:02d}-{Path(PICTURES[i % len(PICTURES)]).stem}"


def twenty(folder: Path) -> None:
    """Write 17 pictures, and one that is cut off, one twice, one enormous."""
    good = pictures(folder, 17)
    content = good[0].read_bytes()
    (folder / "17-cut-off.png").write_bytes(content[: len(content) // 2])
    (folder / "18-again.png").write_bytes(content)
    Image.new("1", (30_000, 30_000), 1).save(folder / "19-enormous.png")


def command(inputs: Path, out: Path, words: list[str]) -> list[str]:
    """The batch, as a user types it."""
    return [
        *(sys.executable, str(ROOT / "launch.py"), "batch", str(inputs)),
        *("config=epidiff-neus", f"out={out}", *words),
    ]


def environment() -> dict[str, str]:
    """That of a plain shell: single commands take the threads that torch chooses."""
    plain = {key: value for key, value in os.environ.items() if key not in THREADS}
    return {**plain, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def lines(out: Path) -> list[dict[str, Any]]:
    """The whole lines of a batch's log."""
    log = out / "results.jsonl"
    content = log.read_bytes() if log.is_file() else b""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


# --- kills ----------------------------------------------------------------------------------------


def kills(options: argparse.Namespace, folder: Path) -> int:
    """Kill a batch of twenty at random points, finish it, and say what was done how often."""
    inputs, out = folder / "in", folder / "out"
    twenty(inputs)
    random.seed(options.seed)
    points = sorted(random.sample(range(1, 17), options.kills))
    words = [*QUICK, f"workers={options.workers or cores()}"]
    kept: list[dict[str, Any]] = []
    began = time.monotonic()
    for point in points:
        started = subprocess.Popen(
            command(inputs, out, words),
            env=environment(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while len(lines(out)) < point and started.poll() is None:
            time.sleep(0.05)
        time.sleep(random.uniform(0, 2))
        started.send_signal(signal.SIGKILL)
        started.wait()
        now = lines(out)
        same = now[: len(kept)] == kept
        print(f"killed at {len(now)} of 20; the {len(kept)} lines of before: {same}", flush=True)
        kept = now
    code = subprocess.run(command(inputs, out, words), env=environment()).returncode
    rows = lines(out)
    meshes = [row for row in rows if row["result"] and (out / row["result"]).is_file()]
    attempts = Counter(row["attempts"] for row in rows)
    again = [r for r in rows if Record(out / r["name"]).state.attempt != r["attempts"]]
    print(f"exit code {code}, {time.monotonic() - began:.0f} s")
    print(f"lines {len(rows)}, names {len({row['name'] for row in rows})}, meshes {len(meshes)}")
    print(f"attempts: {dict(sorted(attempts.items()))} (0: a copy of an equal item's result)")
    print(f"first {len(kept)} lines untouched: {rows[: len(kept)] == kept}")
    print(f"begun again after their line was written: {len(again)}")
    for row in rows:
        if row["state"] != Phase.DONE:
            print(f"  {row['name']}: {row['error'].splitlines()[0]}")
        elif row["same_as"]:
            print(f"  {row['name']}: the same as {row['same_as']}")
    exact = (len(rows), len(meshes), len(again)) == (20, 18, 0)
    return 0 if exact and rows[: len(kept)] == kept else 1


# --- speed ----------------------------------------------------------------------------------------


def speed(options: argparse.Namespace, folder: Path) -> int:
    """The same objects at equal settings, by commands one after the other and by a batch."""
    inputs = folder / "in"
    made = pictures(inputs, options.objects)
    words = [f"trainer.max_steps={options.steps}"] if options.steps else []
    words += ["system.exporter.turntable=false", *options.words]
    began = time.monotonic()
    for i, picture in enumerate(made):
        single = [
            *(sys.executable, str(ROOT / "launch.py"), "run", "epidiff-neus", *words),
            *(f"data.image={picture}", "use_timestamp=false", f"tag=t{i}"),
            f"exp_root_dir={folder / 'single'}",
        ]
        subprocess.run(single, env=environment(), check=True, stdout=subprocess.DEVNULL)
    alone = time.monotonic() - began
    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    began = time.monotonic()
    many = command(inputs, folder / "out", [*words, f"workers={options.workers}"])
    subprocess.run(many, env=environment(), check=True, stdout=subprocess.DEVNULL)
    together = time.monotonic() - began
    rates = [3600 * len(made) / seconds for seconds in (alone, together)]
    print(f"load {os.getloadavg()[0]:.1f}, {cores()} cores, {len(made)} objects, {' '.join(words)}")
    print("| | seconds | objects an hour |\n| --- | --- | --- |")
    print(f"| `studio run`, one after the other | {alone:.0f} | {rates[0]:.0f} |")
    print(f"| `studio batch`, warm workers | {together:.0f} | {rates[1]:.0f} |")
    print(f"{rates[1] / rates[0]:.2f} times as many")
    return 0


# --- Ray ------------------------------------------------------------------------------------------


def ray(options: argparse.Namespace, folder: Path) -> int:
    """Two nodes on this machine; one is killed in the middle. The same by the local executor."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    inputs = folder / "in"
    made = pictures(inputs, options.objects)
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    second = cluster.add_node(**node)
    words = [*QUICK, "executor=ray", f"address={cluster.address}"]
    started = subprocess.Popen(command(inputs, folder / "ray", words), env=environment())
    while len(lines(folder / "ray")) < len(made) // 3 and started.poll() is None:
        time.sleep(0.1)
    cluster.remove_node(second, allow_graceful=False)
    print(f"a node killed at {len(lines(folder / 'ray'))} of {len(made)}", flush=True)
    code = started.wait()
    cluster.shutdown()
    words = [*QUICK, "workers=2"]
    subprocess.run(command(inputs, folder / "local", words), env=environment(), check=True)
    rows = {row["name"]: row for row in lines(folder / "ray")}
    equal = [
        (folder / "ray" / row["result"]).read_bytes()
        == (folder / "local" / row["result"]).read_bytes()
        for row in lines(folder / "local")
    ]
    processes = {
        line.split("process ")[1]
        for name in rows
        for line in Record(folder / "ray" / name).log.read_text().splitlines()
        if line.startswith("--- attempt")
    }
    print(f"exit code {code}; {len(rows)} lines, {sum(equal)} of {len(equal)} meshes equal")
    print(f"attempts: {dict(Counter(row['attempts'] for row in rows.values()))}")
    print(f"processes that worked: {len(processes)}")
    return 0 if all(equal) and len(equal) == len(made) and code == 0 else 1


def main(given: list[str]) -> int:
    """Run one of the three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["kills", "speed", "ray"])
    parser.add_argument("--seed", type=int, default=0, help="of the points of the kills")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--steps", type=int, default=0, help="of a fit; 0: the config's")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("words", nargs="*", metavar="key=value", help="for both sides of `speed`")
    options = parser.parse_intermixed_args(given)
    with tempfile.TemporaryDirectory(prefix="studio-batch-") as folder:
        what = {"kills": kills, "speed": speed, "ray": ray}[options.what]
        return what(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
