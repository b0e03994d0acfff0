"""What is kept of a fit besides weights and optimiser: its steps, seconds, rays and seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cut_short(state: Mapping[str, Any]) -> list[str]:
    """Say that a fit ended before its steps were made, if it did.

    Args:
        state: of the fit: "step_count" made, "max_steps" planned (0: open), "seconds" at most.
    """
    made, planned = int(state.get("step_count", 0)), int(state.get("max_steps", 0))
    if made >= planned:
        return []
    seconds = float(state.get("seconds", 0))
    budget = f"the time budget of {seconds:g} s ended it" if seconds > 0 else "it was ended"
    return [
        f"the fit has made {made:,} of {planned:,} steps: {budget}. Give it more time "
        "(system.time_budget_s; seconds= from Python), or fewer steps (trainer.max_steps; steps=)."
    ]


def checked_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fit's state as numbers; of earlier versions, without the planned steps or seconds.

    Raises:
        KeyError, TypeError, ValueError: if it is no such state.
    """
    counts = {name: int(state[name]) for name in ("step_count", "rays", "seed")}
    planned = {"max_steps": int(state.get("max_steps", 0))}
    seconds = {"elapsed_s": float(state["elapsed_s"]), "seconds": float(state.get("seconds", 0))}
    known = {name: state[name] for name in ("corrections",) if name in state}
    return {**counts, **planned, **seconds, **known}
