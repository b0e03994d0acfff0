"""Pictures of the page for the documentation.

    python -m tests.browser.screenshots out=docs/images

Makes the shipped car into a mesh with the real service, as a visitor does. `quality=Quick` takes
less time; `all=true` leaves every page in both themes and sizes, for looking at.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.acts import CAR, ended, give, shown
from tests.browser.surroundings import browser, service

DESKTOP = {"width": 1360, "height": 820}
PHONE = {"width": 390, "height": 780}
QUALITY = 86
KEPT = {
    "desktop-light-mesh": "ui-mesh",
    "desktop-dark-start": "ui-start",
    "phone-light-mesh": "ui-phone",
}


def main(words: list[str]) -> None:
    """Take the pictures."""
    options = {"out": "docs/images", "quality": "Normal", "all": "false"}
    options.update(dict(word.split("=", 1) for word in words))
    out = Path(options["out"])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as jobs, service(Path(jobs), "workers=1") as address:
        with browser() as chrome:
            everything = options["all"] == "true"
            for name, page in _pages(chrome, address, options["quality"], everything):
                if everything:
                    page.screenshot(path=out / f"{name}.png")
                if name in KEPT:
                    _compressed(page, out / f"{KEPT[name]}.webp")


def _pages(chrome: Any, address: str, quality: str, everything: bool) -> Iterator[tuple[str, Any]]:
    """Yield pages in every form, with their names; everything: also those that need two results."""
    context = chrome.new_context(reduced_motion="reduce")
    context.set_default_timeout(1_200_000)
    page = context.new_page()
    for seed in (0, 1) if everything else (0,):
        page.goto(f"{address}/#/")
        page.reload()
        give(page, "Picture", CAR)
        page.locator(".prepared img:visible").wait_for()
        for form in _forms(page, "start"):
            yield form, page
        page.get_by_role("radio", name=quality).check(force=True)
        page.locator("summary", has_text="More options").click()
        for part in ("Seed", "Front faces") if everything and not seed else ():
            page.get_by_label(part, exact=True).scroll_into_view_if_needed()
            for form in _forms(page, f"options-{part.split()[0].lower()}"):
                page.get_by_label(part, exact=True).scroll_into_view_if_needed()
                yield form, page
        page.get_by_label("Seed", exact=True).fill(str(seed))
        page.get_by_role("button", name="Make the mesh").click()
        page.locator(".strip button").first.wait_for()
        shown(page, "first.glb")
        for form in _forms(page, "progress"):
            yield form, page
        shown(page, "model.glb", 1200)
        ended(page, seconds=1200)
    for name in ("results", "compare") if everything else ():
        page.goto(f"{address}/#/{name}")
        page.locator("h1").wait_for()
        page.wait_for_timeout(3000)
        for form in _forms(page, name):
            yield form, page
    page.goto(f"{address}/#/results")
    page.locator(".card-words a").last.click()
    shown(page, "model.glb")
    page.get_by_role("button", name="Cameras").click()
    page.wait_for_timeout(1500)
    for form in _forms(page, "mesh"):
        yield form, page


def _forms(page: Any, name: str) -> Iterator[str]:
    for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
        for scheme in ("light", "dark"):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(400)
            yield f"{size}-{scheme}-{name}"
    page.set_viewport_size(DESKTOP)


def _compressed(page: Any, path: Path) -> None:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
