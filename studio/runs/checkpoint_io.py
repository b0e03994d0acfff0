"""Lightning's access to checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from studio.runs.checkpoints import load_checkpoint, save_checkpoint


class PlainCheckpointIO(TorchCheckpointIO):
    """Lightning's file access: atomic writes, plain contents, clear messages.

    Args:
        allow_pickle: as for `load_checkpoint`.
    """

    def __init__(self, *, allow_pickle: bool = False) -> None:
        super().__init__()
        self.allow_pickle = allow_pickle

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write the checkpoint; the file appears only when it is whole."""
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint without pickle, unless it is allowed."""
        return load_checkpoint(path, allow_pickle=self.allow_pickle)
