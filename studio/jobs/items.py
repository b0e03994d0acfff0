"""The pieces of a batch: a folder of pictures or captures, or a list, as jobs with stable names."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from studio.errors import DataError
from studio.io.file_hash import file_hash
from studio.io.paths import existing
from studio.io.reading import reading
from studio.jobs.record import Job
from studio.jobs.rows import LISTS, jobs_of_list

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic")
LONGEST_NAME = 80  # bytes

Takes = Callable[[Job], str]
"""Says what the config of a job takes: the name of the data plugin's option."""


@dataclass(frozen=True)
class Item:
    """A piece of a batch.

    Attributes:
        name: of its folder; safe, and the same whenever the same inputs are listed.
        job: what is to be done.
        same_as: name of an earlier item that is equal to the last bit of its files; "" mostly.
        where: its place in a list, for messages; "" where a folder was given.
    """

    name: str
    job: Job
    same_as: str = ""
    where: str = ""


def collect(inputs: Path, base: Job, takes: Takes) -> list[Item]:
    """List what is to be done.

    Args:
        inputs: a folder of pictures or of captures, or a CSV or JSONL file.
        base: what all jobs have in common.
        takes: see `Takes`.

    Raises:
        DataError: if there is nothing, or a list holds what cannot be meant.
    """
    existing(inputs)
    if inputs.is_file():
        if inputs.suffix.lower() not in LISTS:
            raise DataError(
                f"{inputs} is a single file.",
                allowed=f"a folder of pictures or captures, or a list ({', '.join(LISTS)})",
                hint="one picture needs no batch: studio run CONFIG data.image=...",
            )
        placed = jobs_of_list(inputs, base)
    else:
        placed = [
            ("", replace(base, inputs=[str(p) for p in paths], label=label))
            for label, paths in _in_folder(inputs, takes(base))
        ]
    if not placed:
        raise DataError(f"{inputs} lists nothing to do.")
    called = names([job for _, job in placed])
    rows = zip(called, placed, strict=True)
    return _marked([Item(name, job, where=where) for name, (where, job) in rows])


def _in_folder(folder: Path, takes: str) -> list[tuple[str, list[Path]]]:
    """Label and files of every item in a folder."""
    with reading(folder, raised=OSError):
        inner = sorted(p for p in folder.resolve().iterdir() if not p.name.startswith("."))
    pictures = [p for p in inner if p.suffix.lower() in PICTURES and not p.is_dir()]
    folders = [p for p in inner if p.is_dir()]
    if takes == "text":
        raise DataError(
            f"{folder} is a folder, and the config takes texts.",
            hint="list them in a CSV file with a column `text`",
        )
    if takes in ("image", "images") and pictures:
        return [(p.stem, [p]) for p in pictures]
    if takes == "images" and folders:
        within = [(p.name, sorted(q for q in p.iterdir() if _picture(q))) for p in folders]
        return [(name, found) for name, found in within if found]
    if takes == "root" and folders and not any(folder.glob("transforms*.json")):
        return [(p.name, [p]) for p in folders]
    wanted = {
        "image": f"pictures ({', '.join(PICTURES)})",
        "images": "pictures, or folders of some pictures of one object each",
        "root": "captures, a folder each",
    }
    raise DataError(
        f"{folder} holds {len(pictures)} pictures and {len(folders)} folders"
        f"{'' if takes in wanted else f', and the config takes `{takes}`'}.",
        allowed=wanted.get(takes, f"a list ({', '.join(LISTS)})"),
    )


def _picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()


# --- names ----------------------------------------------------------------------------------------


def names(jobs: Sequence[Job]) -> list[str]:
    """Names of folders by what people call the jobs; equal ones get numbers."""
    wanted = [folder_name(job.label) for job in jobs]
    taken = {name.casefold() for name in wanted}
    seen: Counter[str] = Counter()
    found = []
    for name in wanted:
        key, chosen = name.casefold(), name
        seen[key] += 1
        while seen[key] > 1 and chosen.casefold() in taken:
            chosen = f"{name}-{seen[key]}"
            seen[key] += chosen.casefold() in taken
        taken.add(chosen.casefold())
        found.append(chosen)
    return found


def folder_name(text: str) -> str:
    """A short name of letters, digits, _ and - that any file system takes."""
    plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", text)).strip("-_")
    return plain.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-_") or "item"


# --- equal ones -----------------------------------------------------------------------------------


def _marked(items: list[Item]) -> list[Item]:
    """Find the items that are equal to earlier ones; only files of equal size are read."""
    alike: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        if (key := _sizes(item.job)) is not None:
            alike[key].append(i)
    found = list(items)
    for group in alike.values():
        firsts: dict[str, str] = {}
        for i in group if len(group) > 1 else ():
            content = _content(items[i].job)
            if content is not None and content in firsts:
                found[i] = replace(items[i], same_as=firsts[content])
            elif content is not None:
                firsts[content] = items[i].name
    return found


def _sizes(job: Job) -> str | None:
    """What equal jobs have in common at first sight; None where inputs are no files."""
    try:
        files = [Path(p) for p in job.inputs]
        if not all(p.is_file() for p in files):
            return None
        return _decisive(job, [str(p.stat().st_size) for p in files])
    except (OSError, ValueError):
        return None


def _content(job: Job) -> str | None:
    try:
        return _decisive(job, [file_hash(Path(p)).hex() for p in job.inputs])
    except OSError:
        return None


def _decisive(job: Job, inputs: list[str]) -> str:
    return json.dumps(asdict(replace(job, inputs=inputs, label="")), sort_keys=True)
