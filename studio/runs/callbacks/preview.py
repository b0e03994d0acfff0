"""Previews during training: what the system makes of unseen inputs, every few steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytorch_lightning as L
from jaxtyping import Float
from torch import Tensor

from studio.io.files import atomic_write
from studio.runs.callbacks.ema import EMA
from studio.runs.folder import RunFolder


def picture_grid(pictures: Float[Tensor, "n 3 h w"], columns: int = 0) -> np.ndarray:
    """Pictures side by side as one uint8 array [H, W, 3].

    Args:
        pictures: in [0, 1].
        columns: pictures in a row; 0 makes the sheet about square.
    """
    count, _, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    pixels = (pictures.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for i, picture in enumerate(pixels):
        y, x = divmod(i, columns)
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width] = picture
    return sheet


class Preview(L.Callback):
    """Writes `save/step=N.png` from the system's `validation_pictures`, using the mean weights.

    Args:
        run: the run folder.
        every: steps between two previews.
    """

    def __init__(self, run: RunFolder, every: int) -> None:
        self.run = run
        self.every = every
        self._made = -1

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Make the pictures when it is time."""
        step = trainer.global_step
        due = step % self.every == 0 or step >= trainer.max_steps
        if due and step != self._made and trainer.is_global_zero:
            self._made = step
            self.make(trainer, pl_module)

    def make(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the pictures and log the numbers that come with them."""
        from PIL import Image

        from studio.runs.callbacks.rng import random_state, set_random_state

        state = random_state()
        modes = {module: module.training for module in pl_module.modules()}
        ema = next((c for c in trainer.callbacks if isinstance(c, EMA)), EMA(0.0))  # type: ignore[attr-defined]
        pl_module.eval()
        with ema.applied(pl_module):
            made = dict(pl_module.validation_pictures())  # type: ignore[operator]
        for module, training in modes.items():  # frozen parts may be in eval mode all the time
            module.training = training
        set_random_state(state)  # previews must not change what is trained
        if "pictures" not in made:
            return
        sheet = picture_grid(made.pop("pictures"), int(made.pop("columns", 0)))
        with atomic_write(self.run.save / f"step={trainer.global_step:08d}.png") as temporary:
            Image.fromarray(sheet).save(temporary)
        numbers = {f"preview/{k}": float(v) for k, v in made.items()}
        if numbers:
            shown = ", ".join(f"{k} {v:.4g}" for k, v in numbers.items())
            print(f"step {trainer.global_step}: {shown}")
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=trainer.global_step)
