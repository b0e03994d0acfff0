"""Quality of the shipped nano models, on procedural objects that they have never seen.

    python -m benchmarks.nano                   # all, one after the other
    python -m benchmarks.nano MODEL [options]   # one; -h lists its options

MODEL is epidiff, spad, eschernet, composable or interpolated (both ViewFusions), or base: every
Zero-1-to-3 alone.
"""

from __future__ import annotations

import importlib
import sys

MODELS = ("epidiff", "spad", "eschernet", "composable", "interpolated", "base")


def main(words: list[str]) -> int:
    """Measure one model or all of them."""
    if words and words[0] not in MODELS:
        print(__doc__)
        return 0 if words[0] in ("-h", "--help") else 2
    for model in words[:1] or MODELS:
        print(f"\n## {model}\n", flush=True)
        importlib.import_module(f"benchmarks.nano_{model}").main(words[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
