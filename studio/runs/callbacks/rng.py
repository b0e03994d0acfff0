"""Random number states in the checkpoint, so that a resumed run goes on as if never stopped."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as L

from studio.runs.random_states import random_state, set_random_state


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
