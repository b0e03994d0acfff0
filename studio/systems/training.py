"""The common part of training systems: data by step number, optimiser, EMA, validation, weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from studio.data.base import ViewPairData
from studio.data.training.batches import Batch, ItemBatches, OwnBatches, Parts
from studio.data.training.ring_views import RingBatches, RingData, RingViews
from studio.errors import ConfigError, WeightsError
from studio.io.files import atomic_write
from studio.io.whole_folders import written_whole
from studio.ops.random import step_generator
from studio.plugins.ranges import CountOrZero, Length, Range, Seed, StepsOrZero
from studio.runs.hashing import bits_hash
from studio.systems.base import System
from studio.systems.optim import (
    OptimizerConfig,
    make_optimizer,
    rate_by_step,
)


@dataclass
class TrainingConfig:
    """Options of every training system."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimiser and learning-rate schedule."""
    batch_size: Annotated[int, Range(1, 100_000)] = 8
    """Objects per step."""
    targets: Annotated[int, Range(1, 1000)] = 4
    """Target views per object; the ring's size for methods that make all views together."""
    references: Annotated[int, Range(0, 1000)] = 0
    """Posed references per object, for methods that take several; 0: the condition alone."""
    copied_steps: Annotated[list[StepsOrZero], Length(2, 2)] = field(default_factory=lambda: [0, 0])
    """[a, b]: in steps a to b - 1 the targets are drawn from the references, at most as many: a
    small network learns to copy what it is shown before it interpolates."""
    frame: Literal["condition", "object"] = "condition"
    """Azimuth 0 of every item: the condition's (condition) or the object's front (object)."""
    workers: Annotated[int, Range(0, 1024)] = 0
    """Processes that load data beside the training; for data on disk."""
    ema_decay: Annotated[float, Range(0, 0.9999999)] = 0.999
    """Decay of the averaged weights that are validated and exported; 0 switches averaging off."""
    seed: Seed | None = None
    """Of the order of data and of all noise; step s is a function of (seed, s). null: the
    experiment's."""
    validation_objects: CountOrZero = 4
    """Unseen objects shown in every validation."""
    output: str = ""
    """Folder of the exported weights, which is replaced; the run's export folder where empty."""
    half: bool = True
    """Export weights in half precision."""


class TrainingSystem(System):
    """Base of the systems that train weights; subclasses say what a step's loss is."""

    Config: ClassVar[type] = TrainingConfig
    reads = ViewPairData
    train_data: Any
    """Training objects: `RingViews`, or a map-style dataset of items."""
    val_data: Any
    """Validation objects, of the same kind."""

    def __init__(self, cfg: Any, *, run: Any = None) -> None:
        super().__init__(cfg, run=run)
        check_output(cfg.output)
        self._fingerprint: str | None = None

    def prepare(self, data: Any) -> None:
        """Read the training and validation objects of a data plugin."""
        read = data.ring_views if isinstance(data, RingData) else data.dataset
        self.train_data, self.val_data = read("train"), read("val")

    def train_dataloader(self) -> DataLoader:
        """Return endless batches that go on from the step the trainer stands at."""
        batches = self.batches(self.train_data)
        return DataLoader(batches, batch_size=None, num_workers=self.cfg.workers)

    def batches(self, data: Any) -> IterableDataset[Batch]:
        """Return this process's stream of batches over objects."""
        cfg, trainer = self.cfg, self.trainer
        parts = Parts.of_process(
            trainer.global_rank, trainer.world_size, trainer.accumulate_grad_batches
        )
        common = (self.seed, lambda: trainer.global_step, parts)
        if isinstance(data, RingViews):
            return RingBatches(
                data,
                cfg.batch_size,
                cfg.targets,
                *common,
                references=cfg.references,
                frame=cfg.frame,
                copied=cfg.copied_steps,
            )
        if isinstance(data, OwnBatches):
            return data.batches(cfg.batch_size, *common)
        return ItemBatches(data, cfg.batch_size, *common)

    def losses(self, batch: dict[str, Any], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of a batch; "loss" is minimised."""
        raise NotImplementedError

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        """Lightning's hook: the loss of one batch, whose noise is its part's and step's own."""
        part = int(batch.pop("part"))
        generator = step_generator(self.seed, self.global_step, stream=part)
        losses = self.losses(batch, generator)
        numbers = {f"train/{k}": v.detach() for k, v in losses.items() if v.numel() == 1}
        self.log_dict(numbers, prog_bar=True)
        return losses["loss"]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups {"params", "lr_scale"}."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def configure_optimizers(self) -> Any:
        """Lightning's hook: optimiser and schedule."""
        cfg, trainer = self.cfg.optimizer, self.trainer
        batch = self.cfg.batch_size * trainer.world_size * trainer.accumulate_grad_batches
        fused = trainer.precision != "16-mixed"
        optimizer = make_optimizer(self.parameter_groups(), cfg, fused=fused, batch=batch)
        factor = rate_by_step(cfg, self.trainer.max_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Lightning's hook: clip by norm; its own way refuses fused optimisers under autocast."""
        if self.cfg.optimizer.grad_clip > 0:
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, self.cfg.optimizer.grad_clip)

    # --- checkpoints ------------------------------------------------------------------------------

    def frozen(self) -> dict[str, Tensor]:
        """Return the weights that are not trained, by name: checkpoints do not store them."""
        return {n: p for n, p in self.named_parameters() if not p.requires_grad}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: in place of frozen weights goes their fingerprint."""
        checkpoint["frozen"] = self._frozen_hash()
        for name in self.frozen():
            checkpoint["state_dict"].pop(name, None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: this config's frozen weights complete the stored ones.

        Raises:
            WeightsError: if they are not those that were trained with.
        """
        if "frozen" not in checkpoint:  # of an earlier version, which stored everything
            return
        if checkpoint["frozen"] != self._frozen_hash():
            raise WeightsError(
                "the checkpoint was trained around other frozen weights than this config names.",
                hint="give the weights (and the seed) of its run folder's configs/config.yaml",
            )
        checkpoint["state_dict"] = {**self.frozen(), **checkpoint["state_dict"]}

    def _frozen_hash(self) -> str:
        """The fingerprint of the frozen weights, which is worked out once."""
        if self._fingerprint is None:
            self._fingerprint = bits_hash(self.frozen())
        return self._fingerprint

    # --- the result -------------------------------------------------------------------------------

    def callbacks(self) -> list[Any]:
        """Return the callbacks this system needs beside the usual ones."""
        from studio.runs.callbacks.ema import EMA

        return [EMA(self.cfg.ema_decay)] if self.cfg.ema_decay > 0 else []

    @property
    def output(self) -> Path:
        """The folder of the exported weights."""
        return Path(self.cfg.output) if self.cfg.output else Path(self.run.export)

    def export(self) -> Path:
        """Write the trained weights (their mean over training, where it is kept)."""
        folder = self.output
        with written_whole(folder) as new:
            self.save(new)
            if self.cfg.half:
                for path in sorted(new.rglob("*.safetensors")):
                    halve(path)
        return folder

    def save(self, folder: Path) -> None:
        """Write the weights into a folder, as safetensors and configs."""
        raise NotImplementedError


def check_output(output: str) -> None:
    """Refuse to replace what is no folder of weights.

    Raises:
        ConfigError: naming the folder.
    """
    folder = Path(output)
    if not output or not folder.exists() or (folder / "config.json").is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ConfigError(
            f"system.output is {output}, which is there and holds no weights; it would be lost.",
            allowed="a new or empty folder, or one of weights, which is replaced",
        )


def halve(path: Path) -> None:
    """Rewrite a safetensors file with its float32 tensors in half precision."""
    tensors = load_file(path)
    small = {k: v.half() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(small, temporary)
