"""One service and one browser for all tests of the page, gone after them, and watchful visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.acts import CAR, PATIENCE, ended, give, make, shown
from tests.browser.surroundings import browser as started
from tests.browser.surroundings import chromium, service


@dataclass
class Made:
    """A visitor who has made a mesh, and what he saw on the way."""

    page: Any
    job: str
    prepared: int
    """Side of the prepared picture in pixels."""
    early: str
    """What was said of the progress when the views were there."""


NEEDS = ("playwright", "fastapi", "uvicorn", "multipart", "mcp")


@pytest.fixture(scope="package", autouse=True)
def _there() -> None:
    for name in NEEDS:
        pytest.importorskip(name, reason=f"the page needs {name}: pip install -e '.[ui,browser]'")
    if chromium() is None:
        pytest.skip("there is no Chromium; STUDIO_CHROMIUM names one")


@pytest.fixture(scope="package")
def address(_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a service with one worker."""
    with service(tmp_path_factory.mktemp("jobs"), "workers=1") as url:
        yield url


@pytest.fixture(scope="package")
def browser(_there: None) -> Iterator[Any]:
    with started() as chrome:
        yield chrome


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page as a new visitor; his browser's complaints and strange requests fail the test.

    `visit(path="", expected=0, **context)`: `expected` answers may be refusals.
    """
    contexts, found = [], []

    def opened(path: str = "", *, expected: int = 0, **options: Any) -> Any:
        options.setdefault("viewport", {"width": 1280, "height": 860})
        context = browser.new_context(reduced_motion="reduce", accept_downloads=True, **options)
        context.set_default_timeout(1000 * PATIENCE)
        contexts.append(context)
        page = context.new_page()
        refusals = [expected]

        def said(message: Any) -> None:
            if message.type not in ("error", "warning"):
                return
            if message.text.startswith("Failed to load resource") and refusals[0] > 0:
                refusals[0] -= 1
                return
            if "GPU stall" in message.text:  # of the software that draws here
                return
            found.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda request: _own(request.url, address, found))
        page.goto(f"{address}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not found


@pytest.fixture(scope="package")
def made(browser: Any, address: str) -> Iterator[Made]:
    """The car, made into a mesh."""
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 860})
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.goto(address)
    give(page, "Picture", CAR)
    page.locator(".prepared img:visible").wait_for()
    prepared = page.locator(".prepared img").evaluate("image => image.naturalWidth")
    job = make(page)
    page.locator(".strip button").first.wait_for()
    early = page.locator(".progress-words").inner_text()
    page.reload()
    page.locator(".strip button").first.wait_for()
    shown(page, "model.glb")
    ended(page)
    yield Made(page, job, prepared, early)
    context.close()


def _own(url: str, address: str, found: list[str]) -> None:
    if not url.startswith((f"{address}/", f"blob:{address}/", "data:")):
        found.append(f"a request to {url}")
