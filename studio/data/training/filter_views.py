"""`launch.py --filter-views`: which objects of a views_release folder can be trained on.

EscherNet leaves out Objaverse objects that have not all 12 views, or of which at least 3 views show
nothing. Here every file is opened, so broken ones are found, too. What is found out goes line by
line to a progress file, so a scan of days may be stopped and started again. What an earlier run has
moved or struck off its list is known from the list of the others. Needs no torch.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

from studio.config import parse_config
from studio.data.training.moving import move_folders
from studio.data.training.views_files import read_matrix, read_names, read_rgba8
from studio.errors import ConfigError, DataError
from studio.io.files import make_folder, refused, remove, write_json
from studio.io.reading import read_json, read_text, reading
from studio.plugins.ranges import Range
from studio.progress import StageProgress

VALID, FEW, TRANSPARENT, UNREADABLE = "valid", "too_few_views", "transparent", "unreadable"
REASONS = {
    FEW: "not all views are there",
    TRANSPARENT: "too many views are fully transparent",
    UNREADABLE: "a picture or camera cannot be read",
}
Map = Callable[[Callable[[str], "Finding"], Sequence[str]], Iterable["Finding"]]


@dataclass
class FilterConfig:
    """Words of `--filter-views ROOT`; relative paths start from the root."""

    views: Annotated[int, Range(1, 10_000)] = 12
    """Views that an object needs, 000.png with 000.npy and so on."""
    transparent: Annotated[int, Range(1, 10_000)] = 3
    """An object is left out from this number of fully transparent views on."""
    objects: str = ""
    """List of the objects to look at (.json, .npy, text); empty: all folders below the root."""
    out: str = "valid_paths.json"
    """List of the objects that passed, in the order of `objects`, else by name."""
    invalid: str = "invalid_paths.json"
    """Names of the others by reason."""
    move: str = ""
    """Folder outside the root that the others are moved to (official: ../invalid); empty: none is."""  # noqa: E501
    processes: Annotated[int, Range(0, 1024)] = 0
    """Worker processes; 0: one for each core."""


@dataclass(frozen=True)
class Finding:
    """What the scan says of an object.

    Attributes:
        name: folder below the root.
        state: "valid" or one of `REASONS`.
        detail: the first file at fault, or the number of transparent views.
    """

    name: str
    state: str
    detail: str = ""


def run_filter(root: str, words: Sequence[str]) -> int:
    """Scan, write the lists, move what is asked for; returns the exit code.

    Args:
        root: the views_release folder.
        words: `key=value` words, the keys of `FilterConfig`.

    Raises:
        StudioError: if a word or the folder cannot be used, or no object is valid.
    """
    cfg = parse_config(FilterConfig, dict(word.split("=", 1) for word in words))
    folder = Path(root)
    _check(folder, cfg)
    gone = _gone(folder, cfg)
    names = _all_names(folder, cfg, gone)
    if not names:
        raise DataError(f"{folder} holds no object folders.", allowed="<object id>/000.png ...")
    findings = scan(folder, names, cfg, gone)
    valid = [f.name for f in findings if f.state == VALID]
    bad = {why: [f.name for f in findings if f.state == why] for why in REASONS}
    write_json(folder / cfg.invalid, bad)
    write_json(folder / cfg.out, valid)
    if cfg.move:
        others = [f.name for f in findings if f.state != VALID]
        move_folders(folder, folder / cfg.move, others)
    _report(folder, cfg, findings)
    remove(_journal(folder, cfg))
    if not valid:
        raise DataError(f"no object of {folder} is valid.", hint=f"see {folder / cfg.invalid}")
    return 0


def _check(folder: Path, cfg: FilterConfig) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.", allowed="a views_release folder of objects")
    if cfg.move and (folder / cfg.move).resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"move is {cfg.move!r}, which lies in {folder}.", allowed="a folder outside, ../invalid"
        )
    own = (folder / cfg.invalid).exists() or cfg.objects == cfg.out
    if (folder / cfg.out).exists() and not own:
        raise ConfigError(
            f"{folder / cfg.out} exists and was not written by this command.",
            allowed="out=<another name>",
            hint=f"objects={cfg.out} filters that list itself and keeps its order.",
        )


def _gone(root: Path, cfg: FilterConfig) -> dict[str, Finding]:
    """What an earlier run found of objects that it has moved, or struck off its own list."""
    path = root / cfg.invalid
    if not path.is_file():
        return {}
    text = '{"too_few_views": ["id", ...], ...} as this command writes it'
    old = read_json(path, f"{text}, or invalid=<another name>")
    lists = [old[why] for why in REASONS if isinstance(old.get(why), list)]
    names = [name for names in lists for name in names]
    if len(lists) < len(old) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{path} exists and was not written by this command.", allowed="invalid=<another name>"
        )
    listed = read_names(root / cfg.objects, may_be_empty=True) if cfg.objects == cfg.out else names
    away = set(names) - set(listed)
    if cfg.move:
        away |= {n for n in names if (root / cfg.move / n).is_dir() and not (root / n).is_dir()}
    return {n: Finding(n, why, "from before") for why in old for n in old[why] if n in away}


def _all_names(root: Path, cfg: FilterConfig, gone: Mapping[str, Finding]) -> list[str]:
    """The objects to look at, with those that an earlier run has left out or moved already."""
    known = {**gone, **_resumed(_journal(root, cfg), cfg)}
    if not cfg.objects:
        found = {*object_folders(root), *known}
        shards = found & {name.rpartition("/")[0] for name in found}
        emptied = {shard for shard in shards if not any((root / shard).glob("*"))}  # by moving
        return sorted(found - emptied, key=lambda name: name.split("/"))
    names = read_names(root / cfg.objects, may_be_empty=bool(gone))
    more = known if cfg.objects == cfg.out else gone
    left_out = (name for name, finding in more.items() if finding.state != VALID)
    return list(dict.fromkeys([*names, *left_out]))


def object_folders(root: Path) -> Iterator[str]:
    """Yield the objects' folders by name: those below the root, or below folders of folders."""
    for name in sorted(e.name for e in os.scandir(root) if e.is_dir() and e.name[0] != "."):
        entries = list(os.scandir(root / name))
        if entries and all(entry.is_dir() for entry in entries):
            yield from sorted(f"{name}/{entry.name}" for entry in entries)
        else:
            yield name


# --- the scan -------------------------------------------------------------------------------------


def inspect(root: Path, cfg: FilterConfig, name: str) -> Finding:
    """Open all files of an object."""
    empty = 0
    for base in (root / name / f"{view:03d}" for view in range(cfg.views)):
        for suffix in (".png", ".npy"):
            if not base.with_suffix(suffix).is_file():
                return Finding(name, FEW, f"no {base.name}{suffix}")
    for base in (root / name / f"{view:03d}" for view in range(cfg.views)):
        try:
            empty += not read_rgba8(base.with_suffix(".png"))[..., 3].any()
            read_matrix(base.with_suffix(".npy"))
        except DataError as error:
            return Finding(name, UNREADABLE, str(error).splitlines()[0])
    if empty >= cfg.transparent:
        return Finding(name, TRANSPARENT, f"{empty} of {cfg.views} views")
    return Finding(name, VALID)


def scan(
    root: Path, names: Sequence[str], cfg: FilterConfig, known: Mapping[str, Finding] | None = None
) -> list[Finding]:
    """Look at all objects, going on from where an earlier scan of the same options stopped.

    Args:
        root: the views_release folder.
        names: of the objects, folders below it.
        cfg: what is asked of them.
        known: findings of objects that are not to be looked at.

    Returns:
        a finding for each name, in the same order.
    """
    journal = _journal(root, cfg)
    resumed = _resumed(journal, cfg)
    found = {**(known or {}), **resumed}
    left = [name for name in names if name not in found]
    if len(left) < len(names):
        print(f"filter-views: {len(names) - len(left)} objects are known from an earlier scan")
    with (
        _appending(journal, cfg, fresh=not resumed) as file,
        _workers(cfg, len(left)) as each,
        StageProgress("filter-views", len(left)) as progress,
    ):
        for done, finding in enumerate(each(partial(inspect, root, cfg), left), 1):
            found[finding.name] = finding
            file.write(json.dumps(asdict(finding)) + "\n")
            progress(done, len(left))
    return [found[name] for name in names]


def _journal(root: Path, cfg: FilterConfig) -> Path:
    return (root / cfg.out).with_suffix(".progress.jsonl")


def _header(cfg: FilterConfig) -> dict[str, int]:
    return {"views": cfg.views, "transparent": cfg.transparent}


def _resumed(journal: Path, cfg: FilterConfig) -> dict[str, Finding]:
    """Findings of an interrupted scan; none if it had other options. A cut last line is dropped."""
    if not journal.is_file():
        return {}
    try:
        with reading(journal):
            lines = read_text(journal).split("\n")
            if lines[0] != json.dumps(_header(cfg)):
                return {}
            findings = [Finding(**json.loads(line)) for line in lines[1:-1] if line]
    except DataError:  # it is made anew
        return {}
    return {finding.name: finding for finding in findings}


@contextlib.contextmanager
def _appending(journal: Path, cfg: FilterConfig, fresh: bool) -> Iterator[TextIO]:
    """Open the progress file for whole lines; a cut one is ended first."""
    make_folder(journal.parent)
    try:
        if not fresh:
            whole = journal.read_bytes()
            journal.write_bytes(whole[: whole.rfind(b"\n") + 1])
        file = journal.open("w" if fresh else "a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise refused(error, journal) from error
    with file:
        if fresh:
            file.write(json.dumps(_header(cfg)) + "\n")
        yield file


@contextlib.contextmanager
def _workers(cfg: FilterConfig, jobs: int) -> Iterator[Map]:
    """A map over worker processes, in any order; over this process where one is enough."""
    processes = min(cfg.processes or os.cpu_count() or 1, max(1, jobs // 8))
    if processes == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield partial(pool.imap_unordered, chunksize=4)


# --- afterwards -----------------------------------------------------------------------------------


def _report(root: Path, cfg: FilterConfig, findings: Sequence[Finding]) -> None:
    count = Counter(finding.state for finding in findings)
    print(f"{count[VALID]} of {len(findings)} objects are valid: {root / cfg.out}")
    for reason, text in REASONS.items():
        if count[reason]:
            first = next(f for f in findings if f.state == reason)
            print(f"  {count[reason]:>8} {text} ({first.name}: {first.detail})")
    if count[VALID] < len(findings):
        print(f"the others by reason: {root / cfg.invalid}")
        if cfg.move:
            print(f"moved to: {root / cfg.move}")
    sys.stdout.flush()
