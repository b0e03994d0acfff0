"""NMR shards streamed by webdataset, from URLs or slow disks; for training only.

Every process and worker reads shards of its own over and over, so all have as many batches as are
asked for, and no object is in two of them. What a step sees is no function of its number, unlike
with the index: a resumed run goes on with other objects.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from studio.data.training.batches import Batch, OwnBatches, Parts
from studio.data.training.nmr_archive import Archive
from studio.data.training.nmr_index import CAMERAS
from studio.errors import ConfigError, DataError

BUFFER = 1000
"""Objects, as compressed bytes, that one worker draws from; about 75 MB."""
ItemOf = Callable[[Archive, str], dict[str, Any]]


class Sample(Archive):
    """One object as webdataset hands it over."""

    def __init__(self, sample: dict[str, Any]) -> None:
        self.sample, self.source, self.names = sample, Path(str(sample.get("__url__"))), {}

    def listed(self, split: str) -> list[str]:
        """Return the one object, of whichever split."""
        return [str(self.sample["__key__"])]

    def read(self, key: str, member: int) -> bytes:
        """See `Archive`."""
        name = "cameras" if member == CAMERAS else f"{member:04}.png"
        if name not in self.sample:
            raise DataError(f"{self.source} holds no {name} of {key}.")
        return bytes(self.sample[name])


def shard_urls(pattern: str) -> list[str]:
    """Return the URLs of a pattern such as https://host/NMR-train-{00..15}.tar.

    Raises:
        ConfigError: if webdataset is not installed.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise ConfigError(
            f"data.stream is {pattern}, and webdataset is not installed.",
            allowed="an empty data.stream reads shards on disk by their index",
            hint="pip install 'webdataset>=1.0'",
        )
    from braceexpand import braceexpand

    return list(braceexpand(pattern))


class StreamedViews(Dataset[dict[str, Any]], OwnBatches):
    """The training split as a stream; it has no items by number.

    Args:
        urls: the shards.
        wanted: synsets of the objects that are used.
        item: makes an item out of an object.
    """

    def __init__(self, urls: list[str], wanted: set[str], item: ItemOf) -> None:
        self.urls, self.wanted, self.item = urls, wanted, item

    def batches(
        self, batch: int, seed: int, first_step: Callable[[], int], parts: Parts
    ) -> ShardBatches:
        """Return this process's endless batches.

        Raises:
            ConfigError: if there are fewer shards than processes.
        """
        world, process = parts.total // len(parts.own), parts.own[0] // len(parts.own)
        if len(self.urls) < world:
            raise ConfigError(
                f"data.stream has {len(self.urls)} shards for {world} processes.",
                allowed="a shard or more for every process and worker",
            )
        return ShardBatches(self, self.urls[process::world], batch, seed, first_step, parts)


class ShardBatches(IterableDataset[Batch]):
    """Endless batches of one process; see `StreamedViews.batches`."""

    def __init__(
        self,
        views: StreamedViews,
        urls: list[str],
        batch: int,
        seed: int,
        first_step: Callable[[], int],
        parts: Parts,
    ) -> None:
        self.views, self.urls, self.batch = views, urls, batch
        self.seed, self.first_step, self.parts = seed, first_step, parts

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        urls = self.urls[number::workers]
        if not urls:
            raise ConfigError(
                f"system.workers is {workers} with {len(self.urls)} shards for this process.",
                allowed="as many workers as shards, or fewer",
            )
        words = [self.seed, self.first_step(), self.parts.own[0], number]
        objects = self._objects(urls, words)
        own = self.parts.own
        for i in count(number, workers):
            items = [next(objects) for _ in range(self.batch)]
            yield default_collate(items) | {"part": own[i % len(own)]}

    def _objects(self, urls: list[str], words: list[int]) -> Iterator[dict[str, Any]]:
        """Items of these shards, shuffled anew in every round."""
        import webdataset

        found = 1
        for epoch in count():
            if not found:
                raise DataError(f"no object of {', '.join(urls)} is asked for.")
            found = 0
            rng = np.random.default_rng([*words, epoch])
            shards = [urls[i] for i in rng.permutation(len(urls))]
            stream = webdataset.WebDataset(
                shards, shardshuffle=False, nodesplitter=None, workersplitter=None
            )
            for sample in stream.shuffle(BUFFER, rng=random.Random(int(rng.integers(2**62)))):
                if str(sample["__key__"]).partition("-")[0] not in self.views.wanted:
                    continue
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(int(rng.integers(2**62)))
                    item = self.views.item(Sample(sample), str(sample["__key__"]))
                found += 1
                yield item
