"""The page by keys alone, for screen readers, on a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.acts import CAR, give
from tests.browser.conftest import Made

Visit = Callable[..., Any]
CONTROLS = {"button", "link", "radio", "checkbox", "slider", "spinbutton", "textbox", "combobox"}

FOCUS = """() => {
  const e = document.activeElement;
  const shown = [e, e.nextElementSibling].filter(Boolean).map(getComputedStyle);
  return {
    words: e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.innerText || e.tagName,
    seen: shown.some((s) => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0),
  };
}"""

CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].filter((n) => n.nodeType === 3);
    const text = own.map((n) => n.data.trim()).join("");
    if (!text || !e.checkVisibility({ opacityProperty: true })) continue;
    if (e.closest(".unseen, noscript, option, :disabled, label:has(:disabled)")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgba(style.color)), light(behind(e))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""


def nameless(page: Any) -> list[str]:
    """Return the controls that a screen reader has no name for."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    found = []
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in CONTROLS and not node.get("ignored") and not node["name"].get("value"):
            found.append(str(node))
    return found


def states(page: Any, made: Made | None = None) -> Any:
    """Go through the page's states, yielding the name of each."""
    for kind in ("Picture", "Pictures", "Text", "Capture"):
        give(page, kind)
        yield kind
    give(page, "Picture", CAR)
    page.locator(".prepared img:visible").wait_for()
    for summary in page.locator("summary").all():
        summary.click()
    yield "prepared"
    for name in ("results", "compare"):
        page.goto(page.url.split("#")[0] + f"#/{name}")
        page.locator("h1").wait_for()
        yield name


def test_every_control_has_a_name_and_every_text_is_readable(visit: Visit, made: Made) -> None:
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        for state in states(page):
            assert nameless(page) == [], (scheme, state)
            assert page.evaluate(CONTRAST) == [], (scheme, state)
    assert nameless(made.page) == []
    for scheme in ("dark", "light"):
        made.page.emulate_media(color_scheme=scheme)
        assert made.page.evaluate(CONTRAST) == [], scheme


def test_nothing_is_wider_than_a_phone(visit: Visit, made: Made) -> None:
    page = visit(viewport={"width": 360, "height": 740})
    width = "document.documentElement.scrollWidth"
    for state in states(page):
        assert page.evaluate(width) <= 360, state
    made.page.set_viewport_size({"width": 360, "height": 740})
    assert made.page.evaluate(width) <= 360
    made.page.set_viewport_size({"width": 1280, "height": 860})


def test_keys_alone_lead_to_a_mesh(visit: Visit) -> None:
    page = visit()
    page.get_by_role("radio", name="Picture", exact=True).wait_for()
    page.get_by_role("button", name="Example car.png").wait_for()
    met = []
    for _ in range(30):
        page.keyboard.press("Tab")
        met.append(page.evaluate(FOCUS))
        assert met[-1]["seen"], f"where the focus is cannot be seen: {met[-1]}"
        if met[-1]["words"] == "Example car.png":
            break
    assert met[0]["words"] == "Skip to content"
    page.keyboard.press("Enter")
    page.locator(".prepared img:visible").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        met.append(page.evaluate(FOCUS))
        assert met[-1]["seen"], f"where the focus is cannot be seen: {met[-1]}"
        if met[-1]["words"] == "Make the mesh":
            break
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel").click()


def test_the_theme_is_kept(visit: Visit) -> None:
    page = visit(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(colour) != light
    page.reload()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(colour) != light
