"""The NMR renderings as tar shards: written complete, shuffled, even, with an index.

Names and members are those of ViewFusion's shards, so that its loader reads them; unlike those,
every object is in a shard, categories are mixed, and files are closed.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from studio.config import parse_config
from studio.data.training.nmr_archive import (
    INFO,
    LISTS,
    SPLITS,
    UNFINISHED,
    Archive,
    open_archive,
    shard_index,
)
from studio.data.training.nmr_index import CAMERAS, VIEWS
from studio.errors import ConfigError, DataError
from studio.io.files import atomic_write, remove, write_json
from studio.io.reading import known_json
from studio.plugins.ranges import OneOf, Range, Seed


@dataclass
class PrepareConfig:
    """Words of `--prepare nmr`."""

    source: str = ""
    """NMR_Dataset.zip, the extracted folder, or a folder of shards to write anew."""
    out: str = ""
    """New folder; by default data/NMR_sharded_<percent>_<shards>, as the authors name it."""
    shards: Annotated[int, Range(1, 100_000)] = 16
    """Shards of each split; fewer where a split has less than two objects for each."""
    percent: Annotated[float, Range(0, 100, above=True)] = 100.0
    """Share of every split's objects that is kept, drawn from all categories."""
    seed: Seed = 0
    """Of the order of objects."""
    withhold: str = ""
    """Categories to leave out, by name or synset, separated by commas."""
    lists: Annotated[str, OneOf(LISTS)] = "official"
    """Splits: official ({split}.lst) or softras (softras_{split}.lst)."""


def run_prepare(words: Sequence[str]) -> int:
    """Write the shards that `key=value` words ask for and print where; returns the exit code.

    Raises:
        StudioError: if a word or the source cannot be used, or the folder holds shards already.
    """
    cfg = parse_config(PrepareConfig, dict(word.split("=", 1) for word in words))
    if not cfg.source:
        raise ConfigError(
            "source=... has to be given.", allowed="NMR_Dataset.zip, its folder, or shards"
        )
    out = Path(cfg.out) if cfg.out else default_folder(cfg)
    if any(out.glob("NMR-*.tar")) and known_json(out / UNFINISHED) != asdict(cfg):
        raise DataError(f"{out} holds shards already.", hint="Give another out=, or remove them.")
    write_shards(
        open_archive(cfg.source, cfg.lists), out, cfg, lambda line: print(line, flush=True)
    )
    print(out)
    return 0


def default_folder(cfg: PrepareConfig) -> Path:
    """Return the folder's name as the authors' program gives it."""
    withheld = "withheld_" if cfg.withhold else ""
    return Path("data") / f"NMR_sharded_{withheld}{cfg.percent:g}_{cfg.shards}"


def write_shards(
    archive: Archive, out: Path, cfg: PrepareConfig, say: Callable[[str], None] = lambda _: None
) -> None:
    """Write the shards of all splits, then what they hold (index.json) and where (index.npz).

    Shards that are there already are taken to be an interrupted run's and are kept.

    Args:
        archive: the source.
        out: folder to write to.
        cfg: options.
        say: is given a line for every shard.

    Raises:
        DataError: if an object is incomplete, or no object is left.
    """
    withhold = [name.strip() for name in cfg.withhold.split(",") if name.strip()]
    chosen = {s: choose(archive.keys(s, (), withhold), cfg, i) for i, s in enumerate(SPLITS)}
    if not any(chosen.values()):
        raise DataError(f"{cfg.source}: no object is left to write.")
    write_json(out / UNFINISHED, asdict(cfg))
    splits = {}
    for split, keys in chosen.items():
        rows = []
        for number, part in enumerate(even_parts(keys, cfg.shards)):
            path = out / f"NMR-{split}-{number:02}.tar"
            if not path.exists():
                with atomic_write(path) as temporary:
                    write_shard(archive, part, temporary)
            rows.append({"file": path.name, "objects": len(part), "sha256": _sha256(path)})
            say(f"{path.name}: {len(part)} objects")
        splits[split] = {"objects": len(keys), "shards": rows}
    info: dict[str, Any] = {
        "lists": cfg.lists,
        "percent": cfg.percent,
        "seed": cfg.seed,
        "withheld": sorted({archive.synset(name) for name in withhold}),
        "names": archive.names,
        "splits": splits,
    }
    write_json(out / INFO, info)
    shard_index(out)
    remove(out / UNFINISHED)  # last: until then, the same command goes on
    open_archive(out, cfg.lists)


def choose(keys: Sequence[str], cfg: PrepareConfig, split: int) -> list[str]:
    """Return the share of a split's objects that is kept, shuffled.

    At least one object stays of a split that has any.
    """
    order = np.random.default_rng([cfg.seed, split]).permutation(len(keys))
    count = min(len(keys), max(1, round(len(keys) * cfg.percent / 100)))
    return [keys[i] for i in order[:count]]


def even_parts(keys: Sequence[str], shards: int) -> list[Sequence[str]]:
    """Cut into shards whose sizes differ by at most 1; of 2 objects or more, if there are 2."""
    count = min(shards, max(1, len(keys) // 2)) if keys else 0
    cuts = [round(i * len(keys) / count) for i in range(count + 1)] if count else []
    return [keys[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


def write_shard(archive: Archive, keys: Sequence[str], path: Path) -> None:
    """Write a tar file of whole objects, whose bytes depend on nothing but theirs."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key in keys:
            for member in (*range(VIEWS), CAMERAS):
                ending = "cameras" if member == CAMERAS else f"{member:04}.png"
                content = archive.read(key, member)
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size, entry.mode = len(content), 0o444
                entry.uname = entry.gname = "bigdata"  # as webdataset's writer sets them
                shard.addfile(entry, io.BytesIO(content))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
