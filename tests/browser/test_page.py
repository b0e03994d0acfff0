"""From a picture, a text and a capture to a mesh, as somebody who never saw a terminal goes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trimesh

from tests.browser.acts import CAR, differ, drag, ended, give, make, shown, sight
from tests.browser.conftest import Made

Visit = Callable[..., Any]


def test_a_picture_becomes_a_mesh_and_a_reload_goes_on_following(made: Made) -> None:
    assert made.prepared == 64, "the picture as the nano model sees it"
    assert not made.early.startswith("Done"), "the views were there before the mesh"
    page = made.page
    assert page.locator(".strip button").count() == 16
    assert "triangles" in page.locator(".stage-note").inner_text()
    files = names(page, made.job)
    assert {"condition.png", "first.glb", "views/transforms.json"} <= files


def names(page: Any, job: str) -> set[str]:
    told = page.evaluate(f"fetch('api/jobs/{job}').then(answer => answer.json())")
    return {file["name"] for file in told["files"]}


def test_the_mesh_turns_by_mouse_and_keys(made: Made) -> None:
    page = made.page
    page.get_by_role("button", name="Back to the first sight").click()
    first = sight(page)
    drag(page, 160, 20)
    assert differ(first, sight(page)) > 0.03
    page.get_by_role("button", name="Back to the first sight").click()
    assert differ(first, sight(page)) < 0.005, "the way back"
    page.locator("canvas.scene").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert differ(first, sight(page)) > 0.03
    page.keyboard.press("Home")
    assert differ(first, sight(page)) < 0.02, "all but the frame that shows the focus"


def test_it_is_drawn_in_four_ways_and_with_its_cameras(made: Made) -> None:
    page = made.page
    seen = [sight(page)]
    for name in ("Shape", "Normals", "Wireframe"):
        page.get_by_role("radio", name=name).check(force=True)
        seen.append(sight(page))
    assert all(differ(a, b) > 0.02 for i, a in enumerate(seen) for b in seen[:i])
    page.get_by_role("radio", name="Texture").check(force=True)
    page.get_by_role("button", name="Cameras").click()
    page.wait_for_timeout(500)  # pictures of the frusta
    assert differ(seen[0], sight(page)) > 0.02
    page.get_by_role("button", name="Cameras").click()
    page.get_by_role("button", name="Back to the first sight").click()
    page.get_by_role("button", name="Look through view 1", exact=True).click()
    assert differ(seen[0], sight(page)) > 0.02


def test_it_downloads_in_every_format(made: Made, tmp_path: Path) -> None:
    from studio.export.readers import read_mesh

    page = made.page
    links = page.locator("[data-format]")
    formats = {links.nth(i).get_attribute("data-format") for i in range(links.count())}
    assert {"glb", "obj", "ply", "stl"} <= formats
    with page.expect_download() as waiting:
        page.locator("[data-format=glb]").click()
    glb = tmp_path / "car.glb"
    waiting.value.save_as(glb)
    assert waiting.value.suggested_filename == "car.glb"
    scene = trimesh.load(glb)
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) > 500 and mesh.visual.material.baseColorTexture is not None
    assert read_mesh(glb).texture is not None, "the project's own reader takes it"
    assert mesh.extents.max() == pytest.approx(1.0, abs=0.4)
    with page.expect_download() as waiting:
        page.locator("[data-format=obj]").click()
    waiting.value.save_as(tmp_path / "car.zip")
    inside = zipfile.ZipFile(tmp_path / "car.zip").namelist()
    assert {Path(name).suffix for name in inside} >= {".obj", ".mtl"}


def test_a_text_becomes_a_mesh(visit: Visit) -> None:
    page = visit()
    give(page, "Text")
    assert page.get_by_role("button", name="Make the mesh").is_disabled()
    page.get_by_role("button", name="a red car").click()
    make(page)
    shown(page, "model.glb")
    ended(page)
    assert page.locator(".strip button").count() == 8


def test_a_capture_becomes_a_mesh(visit: Visit, made: Made, tmp_path: Path) -> None:
    folder = zipped_views(made, tmp_path / "car.zip")
    page = visit()
    give(page, "Capture", folder)
    make(page)
    shown(page, "model.glb")
    ended(page)
    assert page.locator("h1").inner_text() == "car"


def zipped_views(made: Made, path: Path) -> Path:
    """The views of the car as a capture."""
    request, base = made.page.request, f"{made.page.url.split('#')[0]}api/jobs/{made.job}"
    transforms = request.get(f"{base}/files/views/transforms.json").body()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("car/transforms.json", transforms)
        for frame in json.loads(transforms)["frames"]:
            picture = request.get(f"{base}/files/views/{frame['file_path']}").body()
            archive.writestr(f"car/{frame['file_path']}", picture)
    return path


def test_a_job_is_cancelled(visit: Visit) -> None:
    page = visit()
    give(page, "Text")
    page.get_by_role("button", name="a green armchair").click()
    make(page, **{"Steps of the fit": "90000"})
    page.get_by_role("button", name="Cancel").click()
    ended(page, "Cancelled")
    assert page.get_by_role("button", name="Cancel").count() == 0
    page.goto(page.url.split("#")[0] + "#/results")
    page.locator(".card-small", has_text="cancelled").wait_for()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.locator(".card-small").wait_for(state="detached")


def test_a_broken_picture_is_refused_where_it_was_given(visit: Visit, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(CAR.read_bytes()[:700])
    page = visit(expected=2)
    give(page, "Picture", broken)
    said = page.locator(".given .complaint")
    said.wait_for()
    assert "broken.png" in said.inner_text() and "/" not in said.inner_text()
    assert page.get_by_role("button", name="Make the mesh").is_disabled()
    page.get_by_role("button", name="Take another picture").click()
    give(page, "Text")
    page.get_by_role("button", name="a red car").click()
    page.locator("summary", has_text="More options").click()
    page.get_by_label("Grid cells", exact=True).fill("9000")
    page.get_by_role("button", name="Make the mesh").click()
    said = page.locator(".card .complaint")
    said.wait_for()
    assert "9000" in said.inner_text() and "Allowed" in said.inner_text()
    page.goto(page.url.split("#")[0] + "#/results")
    page.get_by_text("Nothing yet").wait_for()


def test_several_pictures_are_prepared_each(visit: Visit, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(CAR.read_bytes()[:700])
    page = visit(expected=1)
    button = page.get_by_role("button", name="Make the mesh")
    give(page, "Pictures", CAR, CAR.with_name("sofa-blue.png"), broken)
    page.locator(".tiles .complaint", has_text="broken.png").wait_for()
    assert button.is_disabled(), "one of them cannot be used"
    page.get_by_role("button", name="Remove broken.png").click()
    page.locator(".tiles .prepared img:visible").nth(1).wait_for()
    assert page.locator(".tiles li").count() == 2 and button.is_enabled()
    assert page.locator(".complaint").count() == 0


def test_a_picture_is_pasted_or_dropped(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Example car.png").wait_for()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("""async () => {
      const blob = await (await fetch("api/examples/car.png")).blob();
      await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    }""")
    page.keyboard.press("Control+v")
    page.locator(".prepared img:visible").wait_for()
    assert page.locator(".given-name b").inner_text() == "image.png", "as browsers call it"
    page.get_by_role("button", name="Take another picture").click()
    dropped = page.evaluate_handle("""async () => {
      const blob = await (await fetch("api/examples/car.png")).blob();
      const data = new DataTransfer();
      data.items.add(new File([blob], "dropped.png", { type: "image/png" }));
      return data;
    }""")
    page.dispatch_event("main", "dragover", {"dataTransfer": dropped})
    assert "dropping" in page.locator("body").get_attribute("class")
    page.dispatch_event("main", "drop", {"dataTransfer": dropped})
    page.locator(".prepared img:visible").wait_for()
    assert page.locator(".given-name b").inner_text() == "dropped.png"
    assert page.get_by_role("button", name="Make the mesh").is_enabled()


def test_what_a_text_asks_in_vain_is_said_before_it_is_sent(visit: Visit) -> None:
    page = visit()
    give(page, "Text")
    page.get_by_label("What it should be").fill("a red unicorn")
    page.locator(".given-place .warning", has_text="does not know 'unicorn'").wait_for()
    assert page.get_by_role("button", name="Make the mesh").is_enabled(), "a remark, no refusal"
    page.get_by_label("What it should be").fill("a red car")
    page.locator(".given-place .warning").wait_for(state="detached")


def test_two_results_turn_together(made: Made) -> None:
    page = made.page.context.new_page()
    page.goto(f"{made.page.url.split('#')[0]}#/compare/{made.job}/{made.job}")
    sides = page.locator("canvas.scene")
    for i in range(2):
        page.locator(f".side >> nth={i} >> canvas[data-shown*='/model.glb?']").wait_for()
    assert page.get_by_label("Right result").input_value() == made.job
    before = [sight(page, i) for i in range(2)]
    assert differ(*before) < 0.01
    drag(page, 160, 20)
    after = [sight(page, i) for i in range(2)]
    assert sides.count() == 2 and differ(*after) < 0.01
    assert differ(before[1], after[1]) > 0.03, "the other one has turned, too"
    page.close()


def test_what_contradicts_a_result_stands_in_a_box(made: Made) -> None:
    page = made.page.context.new_page()
    job = made.page.request.get(f"{made.page.url.split('#')[0]}api/jobs/{made.job}").json()
    job["alarms"] = ["the poses contradict the pictures: 3 of 16 cameras."]
    page.route(
        "**/events",
        lambda route: route.fulfill(
            body=f"data: {json.dumps(job)}\n\n", headers={"content-type": "text/event-stream"}
        ),
    )
    page.goto(made.page.url)
    box = page.get_by_role("alert")
    box.wait_for()
    assert (
        "This result contradicts its pictures" in box.inner_text() and "3 of 16" in box.inner_text()
    )
    assert box.bounding_box()["y"] + box.bounding_box()["height"] < 860, "seen without scrolling"
    page.close()


def test_visitors_do_not_see_each_other(visit: Visit, made: Made) -> None:
    page = visit("#/results", expected=2)
    page.get_by_text("Nothing yet").wait_for()
    page.goto(made.page.url)
    page.get_by_text("No such result").wait_for()
    own = made.page.context.new_page()
    own.goto(made.page.url.split("#")[0] + "#/results")
    own.get_by_role("link", name="car").wait_for()
    own.close()


def test_a_lost_connection_is_said_and_mended(visit: Visit) -> None:
    page = visit(expected=99)
    give(page, "Text")
    page.get_by_role("button", name="a red car").click()
    make(page, **{"Steps of the fit": "90000"})
    page.get_by_role("button", name="Cancel").wait_for()
    page.route("**/api/jobs/**", lambda route: route.abort())
    page.reload()
    page.locator("#connection", has_text="Connection lost").wait_for()
    page.unroute("**/api/jobs/**")
    page.locator("#connection").wait_for(state="hidden")
    page.get_by_role("button", name="Cancel").click()
    ended(page, "Cancelled")
