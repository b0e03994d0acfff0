"""Random number states in the checkpoint, so that a resumed run goes on as if never stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as L
import torch


def random_state() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators, as plain values."""
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002
    name, keys, position, has_gauss, cached = numpy_state
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state.get("cuda", [])) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


class RngState(L.Callback):
    """Saves and restores the global generators.

    The checkpoint holds the states of the first process. Further processes of a distributed run
    are seeded anew by (step, rank), so only runs on one process resume exactly.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The states at this moment."""
        return random_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts: making the data loader draws numbers, too."""
        self._loaded = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the states back where the interrupted run had them."""
        if self._loaded is None:
            return
        if trainer.global_rank == 0:
            set_random_state(self._loaded)
        else:
            L.seed_everything((trainer.global_step << 10) + trainer.global_rank, verbose=False)
        self._loaded = None
