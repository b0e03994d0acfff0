"""The NMR renderings on disk: the original archive, extracted or as the zip, and tar shards.

    NMR_Dataset/metadata.yaml                       synset: {id, name}, 13 of them
    NMR_Dataset/<synset>/{train,val,test}.lst       one object a line; softras_*.lst beside them
    NMR_Dataset/<synset>/<object>/image/0000.png    ... 0023.png, 64 px
    NMR_Dataset/<synset>/<object>/cameras.npz       world_mat_i, camera_mat_i, 4x4

    NMR-<split>-<number>.tar                        <synset>-<object>.0000.png ... .cameras

Source: Kato et al. 2018 (the renderings), Niemeyer et al. 2020 (the archive), Spiegl et al. 2024
(the shards). The two kinds of lists differ: ViewFusion reads `train.lst`, SRT `softras_train.lst`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from studio.data.training.nmr_index import (
    CAMERAS,
    MOST_MEMBER,
    MOST_TEXT,
    Index,
    IndexedFiles,
    index_shards,
    index_zip,
    kept_index,
)
from studio.errors import DataError
from studio.io import yaml_text
from studio.io.reading import known_json, read_bytes, read_text, reading

SPLITS = ("train", "val", "test")
LISTS = {"official": "", "softras": "softras_"}
"""Kinds of lists: what stands before `<split>.lst`."""
INFO = "index.json"
UNFINISHED = "unfinished.json"
"""What is being written to a folder of shards; it goes when all of them are there."""
PLACES = "index.npz"
SYNSETS = {
    "02691156": "airplane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "display",
    "03636649": "lamp",
    "03691459": "loudspeaker",
    "04090263": "rifle",
    "04256520": "sofa",
    "04379243": "table",
    "04401088": "telephone",
    "04530566": "watercraft",
}
"""The 13 categories, for shards without an index; the archive's own names are longer."""
_SHARD = re.compile(r"NMR-(\w+)-(\d+)\.tar")
_ALLOWED = "the NMR_Dataset folder (with metadata.yaml), NMR_Dataset.zip, or NMR-*.tar shards"


class Archive(ABC):
    """Objects of every split, and the bytes of their files.

    Attributes:
        names: names of the categories by synset, in the archive's order.
        source: where it lies.
    """

    names: dict[str, str]
    source: Path

    @abstractmethod
    def listed(self, split: str) -> list[str]:
        """Return "<synset>-<object>" of every object of a split, in order."""

    @abstractmethod
    def read(self, key: str, member: int) -> bytes:
        """Return a file of an object: a view's number, or `CAMERAS`.

        Raises:
            DataError: if it is missing or damaged.
        """

    def keys(
        self, split: str, categories: Sequence[str] = (), withhold: Sequence[str] = ()
    ) -> list[str]:
        """Return the objects of a split that belong to some categories.

        Args:
            split: train, val or test.
            categories: synsets or names; empty for all.
            withhold: synsets or names that are left out.

        Raises:
            DataError: if a category or split does not exist, or nothing is left.
        """
        if split not in SPLITS:
            raise DataError(f"the split is {split!r}.", allowed=", ".join(SPLITS))
        wanted = self.synsets(categories, withhold)
        return [key for key in self.listed(split) if key.partition("-")[0] in wanted]

    def synsets(self, categories: Sequence[str] = (), withhold: Sequence[str] = ()) -> set[str]:
        """Return the synsets of some categories, of all where none is given, without others."""
        wanted = {self.synset(c) for c in categories} or set(self.names)
        return wanted - {self.synset(c) for c in withhold}

    def synset(self, category: str) -> str:
        """Return the synset of a category given by synset, full name or one of its words."""
        for synset, name in self.names.items():
            if category in (synset, name, *name.split(",")):
                return synset
        known = ", ".join(f"{name.split(',')[0]} ({s})" for s, name in self.names.items())
        raise DataError(f"{self.source} has no category {category!r}.", allowed=known)


class Original(Archive):
    """The archive as it was published; subclasses say where its files are.

    Args:
        source: where it lies.
        lists: which lists say what belongs to a split, one of `LISTS`.
    """

    def __init__(self, source: Path, lists: str) -> None:
        self.source, self.lists = source, lists
        self.names = _names(self.text("metadata.yaml"), source)
        self._listed = {split: self._list(split) for split in SPLITS}

    @abstractmethod
    def text(self, name: str) -> str:
        """Return a text file of the archive."""

    def listed(self, split: str) -> list[str]:
        """See `Archive`."""
        return self._listed[split]

    def _list(self, split: str) -> list[str]:
        keys = []
        for synset in self.names:
            lines = self.text(f"{synset}/{LISTS[self.lists]}{split}.lst").split()
            keys += [f"{synset}-{name}" for name in lines]
        return keys

    def _no_text(self, name: str) -> DataError:
        return DataError(
            f"{self.source} has no {name}.",
            allowed="every category of metadata.yaml with its lists",
            hint="of a part of the archive, shorten metadata.yaml to the categories it has",
        )


class Extracted(Original):
    """The extracted archive."""

    def text(self, name: str) -> str:
        """See `Original`."""
        path = self.source / name
        if not path.is_file():
            raise self._no_text(name)
        with reading(path):
            return read_text(path, MOST_TEXT)

    def read(self, key: str, member: int) -> bytes:
        """See `Archive`."""
        synset, _, name = key.partition("-")
        file = "cameras.npz" if member == CAMERAS else f"image/{member:04d}.png"
        path = self.source / synset / name / file
        with reading(path):
            return read_bytes(path, MOST_MEMBER)


class Zipped(Original):
    """The zip itself, read in place; its index is kept in a file beside it."""

    def __init__(self, source: Path, lists: str) -> None:
        kept = source.with_name(f"{source.name}.index.npz")
        index = kept_index(kept, [source], lambda: index_zip(source))
        self.texts, self.files = index.texts, IndexedFiles(source.parent, index)
        super().__init__(source, lists)
        self.files.require(key for split in SPLITS for key in self.listed(split))

    def text(self, name: str) -> str:
        """See `Original`."""
        if name not in self.texts:
            raise self._no_text(name)
        return self.texts[name]

    def read(self, key: str, member: int) -> bytes:
        """See `Archive`."""
        return self.files.read(key, member)


def shard_index(source: Path) -> Index:
    """Where in a folder's shards everything lies; kept beside them."""
    files = sorted(p for p in source.glob("NMR-*.tar") if _SHARD.fullmatch(p.name))
    return kept_index(source / PLACES, files, lambda: index_shards(source, [p.name for p in files]))


class Shards(Archive):
    """Tar shards, ours or the authors'; their index is kept in the same folder.

    Attributes:
        info: what index.json says; empty for the authors' shards.
    """

    def __init__(self, source: Path, lists: str) -> None:
        if (source / UNFINISHED).exists():
            raise DataError(
                f"{source} was not written to its end.",
                hint="Give the same --prepare nmr command again: it goes on where it stopped.",
            )
        self.source, self.info = source, known_json(source / INFO)
        made_from = self.info.get("lists", "official")
        if lists != made_from:
            raise DataError(
                f"{source} was made from the {made_from} lists, not from the {lists} ones.",
                hint=f"Give data.lists={made_from}, or prepare shards from the others.",
            )
        index = shard_index(source)
        with reading(source / INFO, "an object of names by synset"):
            self.names = {str(k): str(v) for k, v in dict(self.info.get("names", SYNSETS)).items()}
        self.files = IndexedFiles(source, index)
        self.files.require(index.keys)
        split_of = [str(_SHARD.sub(r"\1", name)) for name in index.files]
        self._listed: dict[str, list[str]] = {split: [] for split in SPLITS}
        for key, file in zip(index.keys, index.file.tolist(), strict=True):
            self._listed.setdefault(split_of[file], []).append(key)

    def listed(self, split: str) -> list[str]:
        """See `Archive`."""
        return self._listed[split]

    def read(self, key: str, member: int) -> bytes:
        """See `Archive`."""
        return self.files.read(key, member)


def open_archive(root: Path | str, lists: str = "official") -> Archive:
    """Open the data set in whichever form it is there.

    Args:
        root: the extracted folder or the one above it, the zip, or a folder of shards.
        lists: one of `LISTS`.

    Raises:
        DataError: if it is none of these, or a file of it is missing or damaged.
    """
    root = Path(root)
    if lists not in LISTS:
        raise DataError(f"the lists are {lists!r}.", allowed=", ".join(LISTS))
    if root.is_file() and root.suffix == ".zip":
        return Zipped(root, lists)
    for folder in (root, root / "NMR_Dataset"):
        if (folder / "metadata.yaml").is_file():
            return Extracted(folder, lists)
    if root.is_dir() and any(_SHARD.fullmatch(p.name) for p in root.glob("NMR-*.tar")):
        return Shards(root, lists)
    state = "holds nothing of the kind" if root.exists() else "does not exist"
    raise DataError(f"{root} {state}.", allowed=_ALLOWED)


def _names(text: str, source: Path) -> dict[str, str]:
    """Names by synset; without types, as 02958343 unquoted would be an octal number."""
    with reading(f"{source}: metadata.yaml", "synset: {id, name}", problem="is of another kind"):
        content = yaml_text.read(text)
        return {str(synset): str(entry["name"]) for synset, entry in content.items()}
