"""Weights fetched from the Hugging Face hub: the files that are read, no others."""

from __future__ import annotations

import difflib
import fnmatch
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.errors import WeightsError
from studio.guidance.licences import CARD
from studio.guidance.needs import (
    WEIGHT_SUFFIXES,
    Part,
    choose,
    incomplete,
    is_laid_out,
)

ALLOWED = (
    "a folder, a .ckpt, .pt or .safetensors file, or a repository of the hub, owner/name, "
    "with a folder or file in it owner/name:path"
)

log = logging.getLogger(__name__)


def holds_parts(names: Sequence[str], parts: Sequence[Part]) -> bool:
    """Whether files are a model's folder: its parts, or any config.json where none are named."""
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


def download(repository: str, inner: str, text: str, parts: Sequence[Part], variant: str) -> Path:
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
    if parts and holds_parts(names, parts):
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
