"""Rehearse the released models at full size: `python -m tests.fullsize [MODEL ...] --out FOLDER`.

Writes each model's files with random numbers in them, runs its official config on the CPU with one
step and few views to a GLB, prints a row of the table, and deletes the files. Needs 20 GB of disk.
Exit code: 1 if a chain failed or took more memory than allowed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HEAD = (
    "| model | files, GB | write s | start and load s | views, s | mesh s | again s "
    "| peak GB | anonymous GB | result |"
)


def main(argv: list[str] | None = None) -> int:
    """Run the chains that are named, all by default; one row of the table each."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from tests.fullsize.rehearsal import CHAINS, rehearse

    parser = argparse.ArgumentParser(prog="python -m tests.fullsize", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(CHAINS))
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--limit", type=float, default=13.0, help="GB a chain may take")
    parser.add_argument("--keep", action="store_true", help="leave the written weights")
    args = parser.parse_args(argv)
    if unknown := sorted(set(args.models) - set(CHAINS)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CHAINS)}")
    print(HEAD, "|" + " --- |" * (HEAD.count("|") - 1), sep="\n", flush=True)
    failed = False
    for name in args.models or CHAINS:
        r = rehearse(name, args.out.resolve(), limit=args.limit, keep=args.keep)
        failed |= bool(r.fault)
        views = f"{CHAINS[name].views}, {r.sample:.0f}"
        cells = [f"`{name}`", f"{r.size:.2f}", f"{r.write:.0f}", f"{r.load:.0f}", views]
        cells += [f"{r.mesh:.0f}", f"{r.again:.0f}", f"{r.peak:.1f}", f"{r.anonymous:.1f}"]
        cells.append(r.fault or f"GLB, {r.faces} faces")
        print(f"| {' | '.join(cells)} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
