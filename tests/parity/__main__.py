"""Compute parity cases: `python -m tests.parity CASE_FOLDER... --out OUT_FOLDER`.

Writes `OUT_FOLDER/<method>/<case>.safetensors` for each case folder. Exit code: 1 if a case failed,
else 3 if a case is of a kind that is not supported, else 0.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.parity.case import compute, load_case
from tests.parity.settings import Unsupported


def run(folder: Path, out: Path) -> str:
    """Compute one case and write its tensors; returns "ok" or "unsupported"."""
    try:
        made = compute(load_case(folder))
    except Unsupported as reason:
        print(f"{folder.parent.name}/{folder.name}: {reason}", file=sys.stderr)
        return "unsupported"
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in made.items()}
    target = out / folder.parent.name / f"{folder.name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target)
    return "ok"


def main(argv: list[str] | None = None) -> int:
    """Run every case named on the command line; one line of text each."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE_FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="OUT_FOLDER")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # sums do not depend on how many cores there are
    states = []
    for folder in args.cases:
        folder = folder.resolve()
        try:
            state = run(folder, args.out)
        except Exception:
            traceback.print_exc()
            state = "failed"
        states.append(state)
        print(f"{state} {folder.parent.name}/{folder.name}", flush=True)
    if "failed" in states:
        return 1
    return 3 if "unsupported" in states else 0


if __name__ == "__main__":
    sys.exit(main())
