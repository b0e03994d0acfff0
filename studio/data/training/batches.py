"""Streams of training batches that are functions of the seed and the step number alone.

The joint batch of a step is cut into equal parts. A process among W, which accumulates A parts
before every update, works on A of the W * A parts; so two processes, and one that accumulates two
parts, see the same data, and a run that is resumed goes on with the batch it would have seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

Batch = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """Which parts of every joint batch this process works on.

    Attributes:
        own: numbers of the parts, in order.
        total: parts of a joint batch.
    """

    own: tuple[int, ...] = (0,)
    total: int = 1

    @classmethod
    def of_process(cls, rank: int, world: int, accumulate: int = 1) -> Parts:
        """Return the parts of process `rank` of `world`, each accumulating `accumulate` parts."""
        first = rank * accumulate
        return cls(tuple(range(first, first + accumulate)), world * accumulate)


class OwnBatches(ABC):
    """A training split that makes its batches itself, instead of having items by number."""

    @abstractmethod
    def batches(
        self, batch: int, seed: int, first_step: Callable[[], int], parts: Parts
    ) -> IterableDataset[Batch]:
        """Return the endless batches of one process; arguments as for `StepBatches`."""


class StepBatches(IterableDataset[Batch]):
    """Endless batches; each holds its part's number under "part".

    Args:
        batch: objects per part.
        seed: of the draw.
        first_step: called when iteration starts; the step to go on from.
        parts: the parts that are yielded.
    """

    def __init__(
        self, batch: int, seed: int, first_step: Callable[[], int], parts: Parts | None = None
    ) -> None:
        self.batch, self.seed, self.first_step = batch, seed, first_step
        self.parts = parts or Parts()

    @abstractmethod
    def at(self, step: int, part: int = 0) -> Batch:
        """Return a part of the batch of a step."""

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()  # worker w of n yields batches w, w + n, ...
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        own = self.parts.own
        for i in count(self.first_step() * len(own) + offset, stride):
            part = own[i % len(own)]
            yield self.at(i // len(own), part) | {"part": part}


class ItemBatches(StepBatches):
    """Batches from the items of a map-style dataset, shuffled anew in every epoch.

    Args:
        dataset: its items are dicts; their random draws must come from torch's global generator,
            which is seeded for each.
        batch: items per part.
        seed: of order and draws.
        first_step: called when iteration starts; the step to go on from.
        parts: the parts that are yielded.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        batch: int,
        seed: int,
        first_step: Callable[[], int],
        parts: Parts | None = None,
    ) -> None:
        super().__init__(batch, seed, first_step, parts)
        self.dataset = dataset
        self._order: tuple[int, np.ndarray] | None = None  # of an epoch

    def at(self, step: int, part: int = 0) -> Batch:
        """Return a part of the batch of a step."""
        first = (step * self.parts.total + part) * self.batch
        return default_collate([self._item(p) for p in range(first, first + self.batch)])

    def _item(self, position: int) -> dict[str, Any]:
        """Item at a position of the endless shuffled stream."""
        epoch, place = divmod(position, len(self.dataset))  # type: ignore[arg-type]
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.dataset))  # type: ignore[arg-type]
            self._order = epoch, order
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.default_rng([self.seed, 1, position]).integers(2**62)))
            return self.dataset[int(self._order[1][place])]


class MixedBatches(StepBatches):
    """Steps of one stream of batches, and at random some of another in their place.

    All parts of a step are of the same stream.

    Args:
        main: the stream; seed, first step and parts are its own.
        other: the other one, of the same seed and parts.
        share: of the steps that are the other one's, in [0, 1].
    """

    def __init__(self, main: StepBatches, other: StepBatches, share: float) -> None:
        super().__init__(main.batch, main.seed, main.first_step, main.parts)
        self.main, self.other, self.share = main, other, share

    def at(self, step: int, part: int = 0) -> Batch:
        """Return a part of the batch of a step."""
        drawn = np.random.default_rng([self.seed, 2, step]).random()
        return (self.other if drawn < self.share else self.main).at(step, part)


def to_float(batch: Batch) -> Batch:
    """Return the batch with its tensors in float32."""
    return {k: v.float() if isinstance(v, Tensor) else v for k, v in batch.items()}
