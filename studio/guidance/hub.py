"""The place of weights: a file, a folder, or a repository of the Hugging Face hub in its cache."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from studio.errors import WeightsError
from studio.guidance.download import ALLOWED, download, holds_parts, lone_file
from studio.guidance.needs import (
    ALLOW_DOWNLOAD,
    WEIGHT_SUFFIXES,
    Part,
    choose,
    names_in,
)
from studio.io.reading import read_text

_REPOSITORY = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:[:/](.+))?")
_SNAPSHOT = re.compile(
    r"models--(?P<owner>.+?)--(?P<name>.+)/snapshots/(?P<rest>[^/]+)(?:/(?P<inner>.+))?"
)

MOST_REF = 1000  # bytes of the file that names a revision

log = logging.getLogger(__name__)


def locate(
    source: Path | str,
    allow_download: bool = False,
    parts: Sequence[Part] = (),
    variant: str = "",
) -> Path:
    """Return the local path of weights.

    Args:
        source: a file, a folder, or "owner/name" of a hub repository; "owner/name:path" is a
            folder or file in it. What is in the hub's cache is taken from there.
        allow_download: fetch what is not in the cache over the network: the files that are read,
            no others.
        parts: of the model; which files of a folder are read. Without them, all.
        variant: which of several files of weights, see `find_weights`.

    Raises:
        WeightsError: if nothing is there, or the hub would be needed and is not allowed or reached.
    """
    text, path = str(source), Path(source).expanduser()
    if _exists(path):
        return path
    named = repository_in(text)
    if named is None:
        raise _missing(text, path)
    repository, inner = named
    snapshot = cached(repository)
    if snapshot is not None and not (allow_download and _lacks(snapshot, inner, parts, variant)):
        log.info("weights %s: from the hub's cache, %s", text, snapshot)
        return _inside(snapshot, inner, text, parts)
    if not allow_download:
        raise _missing(text, path)
    return _inside(download(repository, inner, text, parts, variant), inner, text, parts)


def repository_in(text: str) -> tuple[str, str] | None:
    """Return the repository that a text may name and the path in it, None if it is a local path.

    A path whose first folder is here, and a file of weights without a repository, are local,
    but for repositories in the cache and those followed by a colon.
    """
    match = _REPOSITORY.fullmatch(text)
    if match is None or (not match[2] and Path(text).suffix in WEIGHT_SUFFIXES):
        return None
    here = _exists(Path(match[1].split("/")[0]))
    if here and not text.startswith(f"{match[1]}:") and cached(match[1]) is None:
        return None
    return match[1], (match[2] or "").strip("/")


def in_cache(text: str) -> Path | None:
    """Return where a repository, or what is meant in it, lies in the hub's cache; else None."""
    named = repository_in(text)
    snapshot = cached(named[0]) if named else None
    path = snapshot / named[1] if snapshot and named else None
    return path if path is not None and _exists(path) else None


def beside(folder: Path, relative: str, *, near: bool = False) -> str:
    """Return what a folder's config.json means by a path relative to the folder.

    Where the folder lies in the hub's cache, a folder of the same repository may not be there yet.

    Args:
        folder: of the config.json.
        relative: the path; from a repository it may not lead out of it.
        near: whether it may lead to the folder's neighbours and into the folder, no further.

    Raises:
        WeightsError: if it leads elsewhere.
    """
    path = Path(os.path.normpath(folder.absolute() / relative))
    found, ours = (_SNAPSHOT.search(p.as_posix()) for p in (path, folder.absolute()))
    root = ours.string[: ours.end("rest")] if ours else folder.absolute().parent
    if (near or ours) and not path.is_relative_to(root):
        raise WeightsError(
            f"{folder / 'config.json'} names {relative}, which leads out of {root}.",
            allowed="a path within it" if ours else "../NAME, for a folder beside this one",
        )
    if _exists(path) or found is None or not found["inner"]:
        return str(path)
    return f"{found['owner']}/{found['name']}:{found['inner']}"


def cache_folder() -> Path:
    """Return the hub's cache as its own client finds it: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if found := os.environ.get(variable):
            return Path(found).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches)) / "huggingface" / "hub"  # noqa: PTH111


def cached(repository: str) -> Path | None:
    """Return the folder of a repository's files in the hub's cache, None if it is not there.

    The revision is that of refs/main; where that one is not there, the newest.
    """
    folder = cache_folder() / f"models--{repository.replace('/', '--')}"
    try:
        found = {p.name: p for p in (folder / "snapshots").iterdir() if p.is_dir()}
    except OSError:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError):
        return found[read_text(folder / "refs" / "main", MOST_REF).strip()]
    return max(found.values(), key=lambda p: p.stat().st_mtime, default=None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or forbidden
        return False


def _inside(snapshot: Path, inner: str, text: str, parts: Sequence[Part]) -> Path:
    """Return what is meant in a repository: a path in it, its only file of weights, or itself."""
    if inner:
        if (snapshot / inner).exists():
            return snapshot / inner
        raise WeightsError(
            f"weights {text}: there is no {inner} in {snapshot}.",
            allowed=", ".join(sorted(p.name for p in snapshot.iterdir())[:8]) or None,
            hint=f"{ALLOW_DOWNLOAD} fetches what is missing.",
        )
    if holds_parts(names_in(snapshot, parts) if parts else _all_names(snapshot), parts):
        return snapshot
    single = lone_file(_all_names(snapshot), text)
    return snapshot / single if single else snapshot


def _all_names(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def _missing(text: str, path: Path) -> WeightsError:
    names: list[str] = []
    if _exists(path.parent):
        names = [p.name for p in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {path.parent / near[0]}?" if near else None
    said = "do not exist."
    if hint is None and repository_in(text):
        said = f"are neither here nor in the hub's cache, {cache_folder()}."
        hint = (
            f"{ALLOW_DOWNLOAD} fetches a repository from the hub; `--doctor` tells sizes and "
            "licences."
        )
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return WeightsError(f"weights {shown} {said}", allowed=ALLOWED, hint=hint)


def _lacks(snapshot: Path, inner: str, parts: Sequence[Part], variant: str) -> bool:
    """Whether a snapshot misses something that is read."""
    place = snapshot / inner if inner else snapshot
    if not _exists(place):
        return True
    if place.is_file():
        return False
    names = names_in(place, parts) if parts else _all_names(place)
    if not holds_parts(names, parts):
        return not any(Path(name).suffix in WEIGHT_SUFFIXES for name in _all_names(place))
    _, missing = choose(names, parts, variant, place.as_posix(), lambda name: place / name)
    return bool(missing)
