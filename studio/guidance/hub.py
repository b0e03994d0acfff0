"""Where weights lie: a file, a folder, or a repository of the Hugging Face hub in its cache."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.errors import WeightsError
from studio.guidance.licences import CARD
from studio.guidance.needs import (
    ALLOW_DOWNLOAD,
    WEIGHT_SUFFIXES,
    Part,
    choose,
    incomplete,
    is_laid_out,
    names_in,
)
from studio.io.reading import read_text

ALLOWED = (
    "a folder, a .ckpt, .pt or .safetensors file, or a repository of the hub, owner/name, "
    "with a folder or file in it owner/name:path"
)
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
    return _inside(_download(repository, inner, text, parts, variant), inner, text, parts)


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
    if _holds_parts(names_in(snapshot, parts) if parts else _all_names(snapshot), parts):
        return snapshot
    single = lone_file(_all_names(snapshot), text)
    return snapshot / single if single else snapshot


def _all_names(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def _holds_parts(names: Sequence[str], parts: Sequence[Part]) -> bool:
    if parts:
        return is_laid_out(names, parts)
    return any(name.rpartition("/")[2] == "config.json" for name in names)


def lone_file(names: Sequence[str], text: str) -> str:
    """Return the only file of weights of a repository that is no model's folder, "" without any.

    Raises:
        WeightsError: if there are several.
    """
    files = [name for name in sorted(names) if Path(name).suffix in WEIGHT_SUFFIXES]
    if len(files) > 1 and not any(name.endswith(".json") for name in names):
        raise WeightsError(
            f"weights {text}: the repository holds {len(files)} files of weights.",
            allowed=", ".join(f"{text}:{name}" for name in files[:6]),
        )
    return files[0] if len(files) == 1 else ""


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


# --- the network ----------------------------------------------------------------------------------


def _lacks(snapshot: Path, inner: str, parts: Sequence[Part], variant: str) -> bool:
    """Whether a snapshot misses something that is read."""
    place = snapshot / inner if inner else snapshot
    if not _exists(place):
        return True
    if place.is_file():
        return False
    names = names_in(place, parts) if parts else _all_names(place)
    if not _holds_parts(names, parts):
        return not any(Path(name).suffix in WEIGHT_SUFFIXES for name in _all_names(place))
    _, missing = choose(names, parts, variant, place.as_posix(), lambda name: place / name)
    return bool(missing)


def _download(repository: str, inner: str, text: str, parts: Sequence[Part], variant: str) -> Path:
    """Fetch what is read of a repository, and its card; returns the snapshot."""
    sizes = _asked(text, _listing, repository)
    files = _wanted(repository, inner, text, sizes, parts, variant)
    files += [CARD] if CARD in sizes and CARD not in files else []
    total = sum(sizes[name] or 0 for name in files)
    log.info("weights %s: fetching %d files, %.2f GB", text, len(files), total / 1e9)
    return _asked(text, _fetch, repository, files)


def _wanted(
    repository: str,
    inner: str,
    text: str,
    sizes: dict[str, Any],
    parts: Sequence[Part],
    variant: str,
) -> list[str]:
    """The files of a repository that are read.

    Raises:
        WeightsError: if it does not hold them.
    """
    if inner in sizes:
        return [inner]
    below = f"{inner}/" if inner else ""
    names = [name.removeprefix(below) for name in sizes if name.startswith(below)]
    if not names:
        near = difflib.get_close_matches(inner, list(sizes), n=3, cutoff=0.3)
        raise WeightsError(
            f"weights {text}: there is no {inner} in the hub's {repository}.",
            allowed=", ".join(near or list(sizes)[:8]),
        )
    if parts and _holds_parts(names, parts):
        chosen, missing = choose(
            names,
            parts,
            variant,
            text,
            lambda name: _asked(text, _fetch, repository, [below + name]) / (below + name),
        )
        if missing:
            raise incomplete(text, missing, "The repository on the hub does not hold it.")
        return [below + name for name in chosen]
    single = lone_file(names, text)
    if parts and not single:
        raise WeightsError(
            f"weights {text}: the repository holds none of this model's files.",
            allowed=", ".join(f.files[0] for f in parts if f.files) or None,
        )
    return [below + single] if single else [below + name for name in names]


def _listing(repository: str) -> dict[str, Any]:
    from huggingface_hub import model_info

    siblings = model_info(repository, files_metadata=True).siblings or []
    return {file.rfilename: file.size for file in siblings}


def _fetch(repository: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    escaped = [re.sub(r"([\[*?])", r"[\1]", name) for name in files]  # they are patterns
    assert all(fnmatch.fnmatch(n, p) for n, p in zip(files, escaped, strict=True))
    return Path(snapshot_download(repository, allow_patterns=escaped))


def _asked(text: str, ask: Any, *args: Any) -> Any:
    """Ask the hub.

    Raises:
        WeightsError: naming what it said.
    """
    try:
        return ask(*args)
    except Exception as error:  # the hub client raises its own and its transport's errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"weights {text} are neither here nor to be had from the hub: {reason}",
            allowed=ALLOWED,
            hint="Check the name and the network.",
        ) from error
