"""Messages of the program as somebody reads them who has a page and no terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.captures.even_background import ADVICE
from studio.errors import ConfigError, DataError
from studio.jobs import Job, Phase, State
from studio.server.methods import methods
from studio.server.options import MOST
from studio.server.paces import Measured
from studio.server.wording import in_words

PAGE = Path(__file__).parents[2] / "studio" / "server" / "page" / "js"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "2 holes (data.holes=false keeps them)",
            '2 holes ("Holes" off [data.holes=false] keeps them)',
        ),
        (
            str(DataError("uneven.", hint=ADVICE)),
            "uneven.\n  Give a picture with an alpha channel or on an even background.",
        ),
        (
            "ended. Give it more time (system.time_budget_s; seconds= from Python), or wait.",
            "ended. Give it more time, or wait.",
        ),
        (
            str(ConfigError("no angle.", hint="Add data.elevation_deg=<degrees>; or 0.")),
            'no angle.\n  Add "Elevation of the camera" [data.elevation_deg=<degrees>]; or 0.',
        ),
        (
            str(DataError("none.", allowed="any (data_type: a)", hint="Say it: data_type=<name>.")),
            "none.\n  allowed: any",
        ),
        ("prepared at 64 px: data.resolution=256 keeps detail", "prepared at 64 px."),
        (
            str(DataError("no cameras.", hint="Run this:\n  pip install pycolmap\nor go on.")),
            "no cameras.\nor go on.",
        ),
        (
            "the picture is empty.\n  Or choose data.background=none.",
            'the picture is empty.\n  Or choose "Background": "None: keep the picture" '
            "[data.background=none].",
        ),
        ("as it is: nothing to mend; see 3 of 4.", "as it is: nothing to mend; see 3 of 4."),
        ("", ""),
    ],
)
def test_what_nobody_can_do_here_is_left_out(given: str, told: str) -> None:
    assert in_words(given) == told


def test_the_page_leaves_out_what_programs_are_told() -> None:
    (pattern,) = re.findall(r"replace\(/(.*)/g", (PAGE / "api.js").read_text())
    said = re.sub(pattern, "", in_words("holes (data.holes=false keeps them)"))
    assert said == 'holes ("Holes" off keeps them)'
    method = methods()["epidiff-neus"]
    (elevation,) = (one for one in method.settings if one.key == "data.elevation_deg")
    with pytest.raises(ConfigError) as caught:
        elevation.value(100)
    assert "a number, -89.9 to 89.9; or null" in str(caught.value)  # as on the command line
    said = re.sub(pattern, "", in_words(str(caught.value)))
    assert said.endswith("allowed: a number, -89.9 to 89.9; or left empty")


def test_limits_are_the_servers() -> None:
    method = methods()["epidiff-neus"]
    known = {setting.key: setting for setting in method.settings}
    for key, most in MOST.items():
        if key in known:
            with pytest.raises(ConfigError, match=rf"to {most}\b|to {most:,}"):
                known[key].value(most + 1)
            with pytest.raises(ConfigError, match=rf"to {most}\b|to {most:,}"):
                known[key].value(10**12)
            assert known[key].value(most) == most


def test_how_long_a_job_takes_is_measured_and_not_guessed() -> None:
    paces, job = Measured(), Job(config="epidiff-neus", steps=200)
    assert paces.expected(job, 1000) is None
    done = State(phase=Phase.DONE, began=100.0, ended=130.0, figures={"seconds.fit": 20.0})
    paces.add(job, done, 1000)
    assert paces.pace(Job(config="epidiff-neus")) == (10.0, 0.1)
    assert paces.expected(Job(config="epidiff-neus"), 1000) == 110.0
    assert paces.expected(Job(config="epidiff-neus", steps=50), 1000) == 15.0
    assert paces.pace(Job(config="spad-neus")) is None
