"""The contact sheet of a batch: one page with a thumbnail, the state and the files of every item.

Nothing in it comes from elsewhere, and no name or text of an input means anything to the browser.
"""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from studio.errors import StudioError
from studio.io.files import write_text
from studio.io.picture_files import opened
from studio.jobs.items import Item
from studio.jobs.record import Phase, Record, State

WIDTH = 320  # px of a thumbnail
LINKED = ("model.glb", "inspect.glb", "turntable.mp4", "preview.png", "evaluation.json")
SHOWN = {"mesh_psnr": "{:.1f} dB", "mesh_faces": "{:,.0f} faces", "seconds.total": "{:.0f} s"}
"""Figures that are shown, and how."""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; }}
h1 {{ font-size: 1.2rem; }}
ul {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem;
     list-style: none; padding: 0; }}
li {{ border: 1px solid #8886; border-radius: .5rem; padding: .7rem; overflow-wrap: anywhere; }}
li.failed {{ border-color: #c33; }}
img {{ width: 100%; border-radius: .3rem; }}
h2 {{ font-size: 1rem; margin: .3rem 0; }}
p {{ margin: .3rem 0; }}
.state {{ font-weight: 600; }}
.failed .state {{ color: #c33; }}
.alarm {{ border: 2px solid #c33; border-radius: .3rem; padding: .4rem; }}
pre {{ white-space: pre-wrap; font: inherit; margin: .3rem 0; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<ul>
{items}
</ul>
</html>
"""


def write_sheet(out: Path, items: Sequence[Item]) -> Path:
    """Write index.html; returns its path.

    Args:
        out: folder of the batch.
        items: in the order in which they are shown; those of other parts are shown as they are now.
    """
    states = {item.name: _state(Record(out / item.name)) for item in items}
    counted = Counter(str(state.phase) for state in states.values())
    summary = f"{len(items)} items: " + ", ".join(f"{n} {phase}" for phase, n in counted.items())
    labels = Counter(item.job.label for item in items)
    shown = "\n".join(
        _card(out, item, states[item.name], _title(item, labels[item.job.label] > 1))
        for item in items
    )
    page = PAGE.format(title=_text(out.resolve().name), summary=_text(summary), items=shown)
    write_text(out / "index.html", page)
    return out / "index.html"


def _state(record: Record) -> State:
    try:
        return record.state if record.exists() else State()
    except StudioError as error:
        return State(error=str(error))


def _title(item: Item, repeated: bool) -> str:
    """What an item is called; where others have its label, with the name of its folder."""
    if not item.job.label or item.job.label == item.name:
        return item.name
    return f"{item.job.label} ({item.name})" if repeated else item.job.label


def _card(out: Path, item: Item, state: State, title: str) -> str:
    """One item."""
    return "".join(
        [
            f'<li class="{_text(state.phase)}">',
            _thumbnail(out / item.name / "result"),
            f"<h2>{_text(title)}</h2>",
            f'<p><span class="state">{_text(state.phase)}</span> {_text(_facts(item, state))}</p>',
            *(f'<pre class="alarm">{_text(line)}</pre>' for line in state.alarms),
            *(f"<pre>{_text(line)}</pre>" for line in (state.error, *state.warnings) if line),
            f"<p>{' '.join(_links(out, item))}</p>",
            "</li>",
        ]
    )


def _facts(item: Item, state: State) -> str:
    told = [f"same as {item.same_as}"] if item.same_as else []
    told += [form.format(state.figures[k]) for k, form in SHOWN.items() if k in state.figures]
    return ", ".join(told if state.phase == Phase.DONE else told[:1])


def _links(out: Path, item: Item) -> Iterator[str]:
    folder = Path(item.name)
    for name in [*(f"result/{name}" for name in LINKED), "log.txt"]:
        if (out / folder / name).is_file():
            address = quote((folder / name).as_posix())
            yield f'<a href="{_text(address)}">{_text(Path(name).name)}</a>'


def _thumbnail(result: Path) -> str:
    """A small picture of the mesh, or of the input where there is none, within the page."""
    for name in ("preview.png", "condition.png"):
        if not (result / name).is_file():
            continue
        try:
            with opened(result / name) as picture:
                small = picture.convert("RGBA")
                small.thumbnail((WIDTH, WIDTH))
                flat = small.convert("RGB") if name == "preview.png" else _on_white(small)
        except StudioError:
            continue
        file = io.BytesIO()
        flat.save(file, "JPEG", quality=80)
        data = base64.b64encode(file.getvalue()).decode()
        return f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{data}">'
    return ""


def _on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _text(words: object) -> str:
    return html.escape(str(words), quote=True)
