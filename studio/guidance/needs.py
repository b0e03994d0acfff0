"""The files of a folder or repository that a model is read from.

A method lists its parts; of each, the files that the reader would open are chosen by their names
alone. So nothing else is fetched from the hub, and what is missing is told before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.errors import WeightsError
from studio.guidance.json_files import read_json
from studio.guidance.licences import CARD
from studio.guidance.weight_files import choose_weights, shards_of

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
ALLOW_DOWNLOAD = "system.guidance.allow_download=true"
"""What a user types to let weights be fetched."""
TOKENIZER_FILES = (
    "words.json", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One network, tokenizer or schedule.

    Attributes:
        folders: where it may lie; the first that has one of the files.
        files: what has to be there.
        optional: what is read where it is there.
        weights: whether there are weights beside them.
        stem: name of their file, see `find_weights`.
        elsewhere: the option of the model's config.json that names where it lies, if not there.
    """

    folders: tuple[str, ...] = ("",)
    files: tuple[str, ...] = ("config.json",)
    optional: tuple[str, ...] = ()
    weights: bool = True
    stem: str = ""
    elsewhere: str = ""


VAE = Part(("vae",), elsewhere="vae_weights")
"""A model's picture auto-encoder, which several models may have in common."""


def model(*parts: Part | str, config: bool = False, schedule: bool = False) -> tuple[Part, ...]:
    """Return the parts of a model's folder: those given, its own options and its schedule."""
    top = ("knows.json", CARD)
    needed = ("config.json",) if config else ()
    own = Part(files=needed, optional=top if config else ("config.json", *top), weights=False)
    scheduler = Part(("scheduler",), (), ("scheduler_config.json",), weights=False)
    named = [part if isinstance(part, Part) else Part((part,)) for part in parts]
    return (own, *((scheduler,) if schedule else ()), *named)


def part(name: str) -> tuple[Part, ...]:
    """Return one network that lies in a model's folder `name`, or in a folder of its own."""
    return (Part((name, ""), optional=(CARD,)),)


TOKENIZER = (Part(("", "tokenizer"), (), TOKENIZER_FILES, weights=False),)


def choose(
    names: Collection[str],
    parts: Sequence[Part],
    variant: str,
    where: str,
    fetched: Callable[[str], Path],
) -> tuple[list[str], list[str]]:
    """Choose the files that are read.

    Args:
        names: paths of all files that are there, from the folder or repository down.
        parts: of the model.
        variant: see `find_weights`.
        where: of the folder or repository, for messages.
        fetched: from one of `names` to a local copy, for the index of sharded weights.

    Returns:
        the files, and what is missing, in words.
    """
    files: list[str] = []
    missing: list[str] = []
    for one in parts:
        folder = _folder_of(one, names)
        here = _inside(names, folder)
        if one.elsewhere and not here and "config.json" in names:
            if read_json(fetched("config.json")).get(one.elsewhere):
                continue  # whoever reads it looks there
        files += [folder + name for name in (*one.files, *one.optional) if name in here]
        missing += [f"{where}/{folder}{name} is missing" for name in one.files if name not in here]
        if not one.weights:
            continue
        try:
            found = choose_weights(
                here,
                variant,
                one.stem,
                f"{where}/{folder}".rstrip("/"),
                lambda name, folder=folder: shards_of(fetched(folder + name)),  # type: ignore[misc]
            )
        except WeightsError as error:
            missing.append(str(error).splitlines()[0])
            continue
        files += [folder + str(file) for file in found.files]
        files += [folder + found.index] if found.index else []
    return files, missing


def is_laid_out(names: Collection[str], parts: Sequence[Part]) -> bool:
    """Whether a folder holds any of the model's own files; a repository may be one big file."""
    known = {name for one in parts for name in (*one.files, *one.optional)} - {CARD, "knows.json"}
    return any(n in known for one in parts for n in _inside(names, _folder_of(one, names)))


def _folder_of(one: Part, names: Collection[str]) -> str:
    """The folder of a part, "" or with a slash at its end."""
    paths = [f"{folder}/" if folder else "" for folder in one.folders]
    known = one.files or one.optional
    return next((p for p in paths if any(p + name in names for name in known)), paths[0])


def _inside(names: Collection[str], folder: str) -> list[str]:
    below = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    return [name for name in below if "/" not in name]


def names_in(folder: Path, parts: Sequence[Part]) -> list[str]:
    """The files of a local folder that may belong to a model's parts."""
    found: list[str] = []
    for name in dict.fromkeys(f for one in parts for f in one.folders):
        place = folder / name
        if place.is_dir():
            found += [(Path(name) / p.name).as_posix() for p in place.iterdir() if p.is_file()]
    return found


def check_there(
    folder: Path,
    parts: Sequence[Part],
    variant: str = "",
    of: str = "",
    option: str = "weights",
) -> None:
    """Refuse a folder that misses files, before any of them is read.

    Args:
        folder: local, or of a repository in the hub's cache.
        parts: what is read of it.
        variant: see `find_weights`.
        of: the method that the weights should be of, where they are a whole model.
        option: of the guidance that names the folder.

    Raises:
        WeightsError: naming all that is missing.
    """
    names = names_in(folder, parts)
    _, missing = choose(names, parts, variant, folder.as_posix(), lambda name: folder / name)
    if not missing:
        return
    if "models--" in folder.as_posix():
        hint = f"{ALLOW_DOWNLOAD} fetches what is missing from the hub."
    elif of:
        hint = (
            f"Copy what is missing into it, or name weights of {of}: system.guidance.{option}=..."
        )
    else:
        hint = "Copy what is missing into it, or name another folder."
    inside = [text.replace(f"{folder.as_posix()}/", "") for text in missing]
    raise incomplete(str(folder), inside, hint, of)


def incomplete(source: str, missing: Sequence[str], hint: str, of: str = "") -> WeightsError:
    """The error for a model that misses files."""
    what = f"is incomplete as weights of {of}" if of else "is incomplete"
    said = "; ".join(text.rstrip(".") for text in missing)
    return WeightsError(f"{source} {what}: {said}.", hint=hint)
