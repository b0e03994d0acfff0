"""Where weights lie: a file, a folder, or a repository of the Hugging Face hub in its cache."""

from __future__ import annotations

import difflib
import logging
import os
import re
from pathlib import Path

from studio.errors import WeightsError

ALLOWED = "a folder, a .ckpt or .safetensors file, or a repository of the hub, owner/name[/file]"
WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_REPOSITORY = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(?:/(.+))?")
_CARD = "README.md"  # says the licence
_DOWNLOADED = ("*.json", "*.safetensors", "*.bin", "*.txt", _CARD)  # txt: a tokenizer's merges

log = logging.getLogger(__name__)


def resolve(source: Path | str, allow_download: bool = False) -> Path:
    """Return the local path of weights.

    Args:
        source: a file, a folder, or "owner/name" of a hub repository with, where wanted, the path
            of a file or folder in it. What is in the hub's cache is taken from there.
        allow_download: fetch (or complete) a repository over the network.

    Raises:
        WeightsError: if nothing is there, or the hub would be needed and is not allowed or reached.
    """
    text, path = str(source), Path(source).expanduser()
    if _exists(path):
        return path
    match = _REPOSITORY.fullmatch(text)
    named = match is not None and (match[2] or path.suffix not in WEIGHT_SUFFIXES)
    if match is None or not named:
        raise _missing(text, path)
    repository, inner = match[1], match[2] or ""
    if allow_download and not Path(repository.split("/")[0]).is_dir():
        return _inside(_download(repository, inner), inner, text)
    snapshot = cached(repository)
    if snapshot is None:
        raise _missing(text, path)
    log.info("weights %s: from the hub's cache, %s", text, snapshot)
    return _inside(snapshot, inner, text)


def cache_folder() -> Path:
    """Return the hub's cache as its own client finds it: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if found := os.environ.get(variable):
            return Path(found).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def cached(repository: str) -> Path | None:
    """Return the folder of a repository's files in the hub's cache, None if it is not there.

    The revision is that of refs/main; where that one is not there, the newest.
    """
    folder = cache_folder() / f"models--{repository.replace('/', '--')}"
    main = folder / "refs" / "main"
    try:
        snapshot = folder / "snapshots" / main.read_text().strip()
        if main.is_file() and snapshot.is_dir():
            return snapshot
    except (OSError, ValueError):
        pass
    found = [p for p in (folder / "snapshots").glob("*") if p.is_dir()]
    return max(found, key=lambda p: p.stat().st_mtime, default=None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or forbidden
        return False


def _inside(snapshot: Path, inner: str, text: str) -> Path:
    """Return what is meant in a repository: a path in it, its only file of weights, or itself."""
    if inner:
        if (snapshot / inner).exists():
            return snapshot / inner
        there = ", ".join(sorted(p.name for p in snapshot.iterdir())[:8])
        raise WeightsError(
            f"weights {text}: there is no {inner} in {snapshot}.",
            allowed=there or None,
            hint="To fetch what is missing give allow_download=true.",
        )
    single = [p for p in snapshot.glob("*") if p.suffix in WEIGHT_SUFFIXES]
    if len(single) == 1 and not any(snapshot.glob("*/config.json")):
        only_file = not any(snapshot.glob("*.json"))
        return single[0] if only_file else snapshot
    return snapshot


def _missing(text: str, path: Path) -> WeightsError:
    names: list[str] = []
    if _exists(path.parent):
        names = [p.name for p in path.parent.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"did you mean {path.parent / near[0]}?" if near else None
    repository = _REPOSITORY.fullmatch(text)
    if hint is None and repository and not _exists(Path(text.split("/")[0])):
        hint = (
            "A repository of the hub that is not in its cache is fetched with allow_download=true."
        )
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return WeightsError(f"weights {shown} do not exist.", allowed=ALLOWED, hint=hint)


def _download(repository: str, inner: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [inner, f"{inner}/*", _CARD] if inner else list(_DOWNLOADED)
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # the hub client raises its own and its transport's errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"hub repository {repository} could not be fetched: {reason}",
            hint="Check the name and the network, or give a local folder.",
        ) from error
