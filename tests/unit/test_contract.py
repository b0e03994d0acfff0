"""What a guidance states and is held to, noise by name, and guidance that only generates."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.cameras import orbit_cameras
from studio.errors import ConfigError
from studio.guidance.base import Guidance, Noise, ViewContract
from studio.guidance.precision import store_at_precision
from studio.mesh import Mesh
from studio.plugins.options import build
from studio.plugins.registry import forget
from studio.rigs import RIGS, Rig
from studio.views import Condition, ViewSet

DOCS = Path(__file__).parents[2] / "docs" / "guidance.md"
IMAGE = torch.full((4, 32, 32), 0.8)
MESH = Mesh(torch.rand(3, 3).numpy(), torch.arange(3)[None].numpy())
VIEWS = ViewSet(IMAGE[None], orbit_cameras([0], 0.0, size=32))
GIVEN = {"image": {"image": IMAGE}, "images": {"views": VIEWS}, "text": {"text": "a car"}}
GIVEN["mesh"] = {"mesh": MESH}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def condition(kinds: str) -> Condition:
    found = Condition(**{k: v for kind in kinds.split("+") for k, v in GIVEN[kind].items()})
    assert set(found.kinds) == set(kinds.split("+"))
    return found


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "good", "bad"),
    [
        (("image",), ["image", "image+text"], ["text", "images", "mesh", "image+mesh"]),
        (("image+mesh", "text+mesh"), ["image+mesh", "text+mesh"], ["mesh", "image", "text"]),
        (("mesh",), ["mesh"], ["image", "text"]),
        (("text", "text+image"), ["text", "text+image"], ["image", "text+mesh"]),
    ],
)
def test_conditions_of_other_kinds_are_refused(
    inputs: tuple[str, ...], good: list[str], bad: list[str]
) -> None:
    contract = ViewContract(inputs)
    for kinds in good:
        contract.check(condition(kinds), None, "mine")
    for kinds in bad:
        with pytest.raises(ConfigError, match="guidance 'mine' cannot start from") as refused:
            contract.check(condition(kinds), None, "mine")
        assert inputs[0].replace("+", " and ") in str(refused.value)


def test_contracts_of_unknown_words_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"picture(.|\n)*image, images, text, mesh"):
        ViewContract(("picture",))


def test_an_unknown_elevation_is_refused_by_who_needs_it() -> None:
    asked = Condition(image=IMAGE, elevation_deg=None)
    with pytest.raises(ConfigError, match=r"elevation(.|\n)*data.elevation_deg"):
        ViewContract().check(asked, None, "mine")
    ViewContract(needs_elevation=False).check(asked, None, "mine")
    with pytest.raises(ConfigError, match=r"data.elevation_deg"):
        asked.camera()


def test_a_picture_smaller_than_the_method_takes_is_spoken_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        ViewContract(input_resolution=32).check(Condition(image=IMAGE), None, "mine")
        assert not caplog.text
        ViewContract(input_resolution=64).check(Condition(image=IMAGE), None, "mine")
    assert "data.resolution=64" in caplog.text


# --- cameras ------------------------------------------------------------------------------------


def test_fixed_rigs_take_no_other_cameras() -> None:
    contract = ViewContract(rig=RIGS["wonder3d"], resolution=48)
    asked = Condition(image=IMAGE, elevation_deg=20.0, azimuth_deg=30.0)
    own = contract.targets(asked, None)
    assert own.size == (48, 48) and len(own) == 6
    assert contract.targets(asked, own.resized(96, 96)).size == (48, 48)
    for others in (orbit_cameras([0.0] * 6, 0.0), contract.cameras(Condition(image=IMAGE))):
        with pytest.raises(ConfigError, match="front_right"):
            contract.targets(asked, others)
        with pytest.raises(ConfigError, match="front_right"):
            contract.check(asked, others, "mine")
    free = replace(contract, rig=replace(contract.rig, fixed=False))
    assert torch.equal(free.targets(asked, others).c2w, others.c2w)


def test_the_inputs_camera_among_the_views() -> None:
    asked = Condition(image=IMAGE, elevation_deg=20.0, azimuth_deg=30.0)

    def eyes(asked: Condition, **options: Any) -> Any:
        guidance = Quiet(None)
        guidance.contract = ViewContract(**options)
        return guidance.condition_cameras(asked)

    turned = eyes(asked, rig=RIGS["zero123plus-v1.2"])
    assert torch.equal(turned.c2w, orbit_cameras([30.0], 20.0, 0.5 / 0.2679491924).c2w)
    unknown = replace(asked, elevation_deg=None)
    assert eyes(unknown, rig=RIGS["zero123plus-v1.2"]) is None
    tilted = eyes(unknown, rig=RIGS["wonder3d"])
    assert tilted.ortho_scale.tolist() == [pytest.approx(1.35)] and tilted.size == (32, 32)
    front = RIGS["wonder3d"].cameras(32, 30.0, None)[[0]]
    torch.testing.assert_close(tilted.c2w, front.c2w, atol=1e-6, rtol=0)
    assert eyes(asked, rig=RIGS["mvadapter"], places_input=False) is None
    posed = Condition(views=VIEWS)
    assert eyes(posed, rig=RIGS["mvadapter"], places_input=False) is VIEWS.cameras


# --- noise --------------------------------------------------------------------------------------


def test_named_noise_follows_from_seed_and_name_alone() -> None:
    like = torch.empty(3, 5)
    one, other = Noise(7), Noise(7)
    other.draw("posterior", like)
    steps = [other.draw("step", like, i) for i in (2, 0, 1)]
    assert torch.equal(one.draw("start", like), other.draw("start", like))
    assert torch.equal(one.draw("step", like, 0), steps[1])
    distinct = [one.draw("start", like), *steps, Noise(8).draw("start", like)]
    assert all((a - b).abs().max() > 0.1 for i, a in enumerate(distinct) for b in distinct[:i])
    many = one.draw("start", torch.empty(40_000))
    assert many.mean().abs() < 0.03 and (many.std() - 1).abs() < 0.03


def test_given_noise_is_taken() -> None:
    steps = torch.rand(4, 3, 5)
    noise = Noise(7, {"step": steps})
    assert torch.equal(noise.draw("step", torch.empty(1, 3, 5), 2), steps[2:3])
    assert torch.equal(noise.draw("start", steps), Noise(7).draw("start", steps))
    assert Noise.of(noise, seeded()) is noise
    start = Noise.of(steps, seeded())
    assert torch.equal(start.draw("start", steps), steps)


def test_a_generator_makes_new_noise_every_time_and_the_same_for_its_seed() -> None:
    like, generator = torch.empty(6), seeded(3)
    first, second = (Noise.of(None, generator).draw("start", like) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, Noise.of(None, seeded(3)).draw("start", like))


def test_noise_in_turn_is_the_generators_own() -> None:
    """What methods draw whose results of a seed are known."""
    noise, plain = Noise.of(None, seeded(3), in_turn=True), seeded(3)
    for name in ("start", "posterior", "start"):
        assert torch.equal(noise.draw(name, torch.empty(4)), torch.randn(4, generator=plain))


# --- guidance that only generates ---------------------------------------------------------------


class Quiet(Guidance):
    """Makes nothing."""

    @dataclass
    class Config:
        """No options."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()

    def generate(self, condition: Condition, cameras: Any = None, **_: Any) -> ViewSet:
        """Return what there is."""
        return VIEWS


def test_what_is_not_written_says_so() -> None:
    guidance = Quiet(None)
    for use, what in (
        (lambda: guidance.training_loss({}), "training_loss"),
        (guidance.refuse_training, "training_loss"),
        (lambda: guidance.save_pretrained("folder"), "save_pretrained"),
        (lambda: Quiet.from_pretrained("folder"), "from_pretrained"),
    ):
        with pytest.raises(ConfigError, match=rf"Quiet(.|\n)*only generates(.|\n)*Quiet.{what}"):
            use()


# --- the example of the docs --------------------------------------------------------------------


@pytest.fixture
def ball() -> Any:
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    forget("docs_guidance")
    exec(compile(code[0], str(DOCS), "exec"), {"__name__": "docs_guidance"})
    rig = eval(code[1], {"Rig": Rig})
    assert isinstance(rig, Rig)
    yield build("guidance", "ball")
    forget("docs_guidance")


def test_the_example_makes_views_with_alpha_and_normals(ball: Guidance, tmp_path: Path) -> None:
    """Grey 0.5 behind it is cut out; the normals outlive the folder of views."""
    asked = Condition(image=IMAGE, elevation_deg=None, azimuth_deg=15.0)
    ball.contract.check(asked, None, "ball")
    store_at_precision(ball)  # as systems do; it keeps no options
    views = ball.generate(asked, generator=seeded())
    assert torch.equal(views.images, ball.generate(asked, generator=seeded()).images)
    share = torch.pi * 0.3**2 / 1.35**2
    assert (views.mask > 0.5).float().mean() == pytest.approx(share, rel=0.05)
    assert_outward(views)
    views.save(tmp_path)
    assert_outward(ViewSet.load(tmp_path))
    with pytest.raises(ConfigError, match="its rig"):
        ball.generate(asked, orbit_cameras([0.0], 0.0))
    with pytest.raises(ConfigError, match=r"BallGuidance(.|\n)*cannot be trained"):
        ball.refuse_training()


def assert_outward(views: ViewSet) -> None:
    """Every view's middle looks straight back at its camera."""
    assert views.normals is not None and views.cameras.ortho_scale is not None
    middle: Tensor = views.normals[:, :, 31:33, 31:33].mean((2, 3))
    cosine = -(middle * views.cameras.c2w[:, :3, 2]).sum(1)
    assert cosine.min() > 0.98
    assert views.normals[:, :, 0].abs().max() < 0.02
