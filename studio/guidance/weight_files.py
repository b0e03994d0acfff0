"""The files of weights in a folder: whole or sharded, full precision or a variant.

The names are those of diffusers and transformers: `model.safetensors`, `model.fp16.safetensors`,
`model-00001-of-00002.safetensors` with `model.safetensors.index.json`, and `.bin` for pickles.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from studio.errors import WeightsError
from studio.guidance.json_files import read_json

_VARIANT = r"[\w-]+?"
_FILE = re.compile(
    rf"(?P<stem>[^.]+?)(?:\.(?P<variant>{_VARIANT}))?(?:-(?P<number>\d{{5}})-of-(?P<count>\d{{5}}))?"
    rf"(?:\.(?P<old_variant>{_VARIANT}))?\.(?P<kind>safetensors|bin)"
)
_INDEX = re.compile(
    rf"(?P<stem>[^.]+)(?:\.(?P<variant>{_VARIANT}))?\.(?P<kind>safetensors|bin)\.index"
    rf"(?:\.(?P<old_variant>{_VARIANT}))?\.json"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightFiles:
    """One complete set of weights in a folder.

    Attributes:
        stem: the name before all suffixes, such as "diffusion_pytorch_model".
        variant: "" for the plain one, else "fp16" and the like.
        kind: "safetensors" or "bin".
        files: one, or every shard.
        missing: names of shards that ought to be there.
        index: name of the file that lists the shards, where there is one.
    """

    stem: str
    variant: str
    kind: str
    files: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    index: str = ""


def find_weights(folder: Path, variant: str = "", stem: str = "") -> WeightFiles:
    """Choose the weights of a folder.

    Args:
        folder: a part's folder.
        variant: which one is wanted; empty takes the plain one, and where there is none but a
            variant, that one, with a line in the log.
        stem: the name that the file must have before its suffixes; empty: any, *model first.

    Raises:
        WeightsError: if there are none, the variant is not there, or a shard is missing.
    """
    names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    chosen = choose_weights(names, variant, stem, folder, lambda name: shards_of(folder / name))
    return replace(chosen, files=tuple(folder / file for file in chosen.files))


def choose_weights(
    names: Collection[str],
    variant: str,
    stem: str,
    folder: Path | str,
    shards: Callable[[str], list[str]],
) -> WeightFiles:
    """Choose among the files of a folder, here or in a repository, by their names.

    Args:
        names: of the folder's files.
        variant: see `find_weights`.
        stem: see `find_weights`.
        folder: named in errors.
        shards: from the name of an index to the names that it lists.

    Returns:
        the choice, `files` being names.

    Raises:
        WeightsError: as `find_weights`.
    """
    found = [s for s in _sets(sorted(names), shards) if not stem or s.stem == stem]
    if not found:
        raise WeightsError(
            f"{folder} holds no weights{f' {stem}.safetensors' if stem else ''}.",
            allowed=f"{stem or '(diffusion_pytorch_)model'}.safetensors, whole, or sharded with "
            f"its index.json" + ("" if stem else "; or (diffusion_)pytorch_model.bin"),
        )
    variants = sorted({s.variant for s in found})
    if variant and variant not in variants:
        raise WeightsError(
            f"{folder} holds no weights of variant {variant!r}.",
            allowed=", ".join(v or "none (leave variant out)" for v in variants),
        )
    wanted = variant if variant in variants else _fallback(folder, variants)
    chosen = min(
        (s for s in found if s.variant == wanted),
        key=lambda s: (s.kind != "safetensors", not s.stem.endswith("model"), s.stem),
    )
    if chosen.missing:
        raise WeightsError(
            f"{folder} misses {len(chosen.missing)} of {len(chosen.files) + len(chosen.missing)} "
            f"shards of {chosen.stem}: {', '.join(chosen.missing[:4])}.",
            hint="Copy or download them, too.",
        )
    return chosen


def _fallback(folder: Path | str, variants: list[str]) -> str:
    if "" in variants:
        return ""
    chosen = next((v for v in ("fp32", "bf16", "fp16") if v in variants), variants[0])
    log.info("%s: only variants of the weights are there; taking %s", folder, chosen)
    return chosen


def _sets(names: list[str], listed: Callable[[str], list[str]]) -> Iterator[WeightFiles]:
    """Every set of weights in a folder: those of an index, numbered shards, single files."""
    indexed: set[str] = set()
    for name in names:
        if match := _INDEX.fullmatch(name):
            shards = listed(name)
            indexed.update(shards)
            yield replace(_complete(names, match, shards), index=name)
    groups: dict[tuple[str, str, str], list[re.Match[str]]] = {}
    for name in names:
        match = _FILE.fullmatch(name)
        if match is None or name in indexed:
            continue
        if match["number"] is None:
            yield _complete(names, match, [name])
        else:
            groups.setdefault((*_labels(match), match["count"]), []).append(match)  # type: ignore[arg-type]
    for shards_there in groups.values():
        first = shards_there[0]
        numbers = range(1, int(first["count"]) + 1)
        start, end = first.span("number")
        yield _complete(
            names, first, [f"{first[0][:start]}{n:05d}{first[0][end:]}" for n in numbers]
        )


def _labels(match: re.Match[str]) -> tuple[str, str, str]:
    return match["stem"], match["variant"] or match["old_variant"] or "", match["kind"]


def _complete(there: list[str], match: re.Match[str], names: list[str]) -> WeightFiles:
    files = tuple(Path(name) for name in names if name in there)
    missing = tuple(name for name in names if name not in there)
    return WeightFiles(*_labels(match), files, missing)


def shards_of(index: Path) -> list[str]:
    """The file names that an index lists, each once.

    Raises:
        WeightsError: if it is damaged, or names files elsewhere.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, Mapping) or not places:
        raise WeightsError(
            f"{index} has no weight_map.", allowed="names of tensors and their files"
        )
    names = list(dict.fromkeys(str(name) for name in places.values()))
    if elsewhere := [name for name in names if Path(name).name != name]:
        raise WeightsError(
            f"{index} names the file {elsewhere[0]!r}.", allowed="names of files beside it"
        )
    return names
