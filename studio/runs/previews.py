"""Previews: what a system makes of unseen inputs, as a sheet of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from studio.io.files import atomic_write
from studio.runs.folder import RunFolder
from studio.runs.random_states import random_state, set_random_state


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


def write_preview(
    run: RunFolder,
    system: Any,
    step: int,
    weights: AbstractContextManager[None],
    loggers: Iterable[Any] = (),
) -> None:
    """Write `save/step=N.png` from a system's `validation_pictures`; log the numbers with them.

    Args:
        run: the run folder.
        system: whose modes and random numbers stay as they are.
        step: of the training.
        weights: a context in which those to be shown are in place.
        loggers: Lightning's, or what logs as they do.
    """
    from PIL import Image

    state = random_state()
    modes = {module: module.training for module in system.modules()}
    system.eval()
    with weights:
        made = dict(system.validation_pictures())
    for module, training in modes.items():  # frozen parts may be in eval mode all the time
        module.training = training
    set_random_state(state)  # previews must not change what is trained
    if "pictures" not in made:
        return
    sheet = picture_grid(made.pop("pictures"), int(made.pop("columns", 0)))
    with atomic_write(run.save / f"step={step:08d}.png") as temporary:
        Image.fromarray(sheet).save(temporary)
    numbers = {f"preview/{k}": float(v) for k, v in made.items()}
    if numbers:
        shown = ", ".join(f"{k} {v:.4g}" for k, v in numbers.items())
        print(f"step {step}: {shown}")
        for logger in loggers:
            logger.log_metrics(numbers, step=step)
