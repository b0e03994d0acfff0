"""Half precision held against the authors' float32 on every small case of a network or sampler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity import epidiff
from tests.parity.case import load_case
from tests.parity.half import KINDS, OWN, TOLERANCES, computes_networks, error, errors, method

FOLDERS = [folder for folder in sorted(OWN.glob("*/*")) if computes_networks(folder)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_half_precision_is_near_the_authors_numbers(folder: Path, kind: torch.dtype) -> None:
    case = load_case(folder)
    found = errors(case, kind)
    allowed = TOLERANCES[method(case)][KINDS.index(kind)]
    assert {name: off for name, off in found.items() if not off <= allowed} == {}
    assert max(found.values()) > allowed / 20, "it was computed in float32"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_epidiffs_fast_arithmetic_is_as_near(
    kind: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epidiff, "ARITHMETIC", "fast")
    found = errors(load_case(OWN / "epidiff" / "feature_aggregator"), kind)
    assert max(found.values()) <= TOLERANCES["epidiff"][KINDS.index(kind)]


def test_every_method_is_held() -> None:
    assert {method(load_case(folder)) for folder in FOLDERS} == set(TOLERANCES)


def test_the_error_is_relative_and_sees_everything() -> None:
    wanted = torch.tensor([3.0, -4.0, float("-inf")])
    assert error(wanted, wanted) == 0
    assert error(torch.tensor([3.0, -3.0, float("-inf")]), wanted) == pytest.approx(
        3**-0.5 / 12.5**0.5
    )
    assert not error(torch.tensor([3.0, float("nan"), float("-inf")]), wanted) <= 1e9
    assert not error(torch.tensor([3.0, -4.0, 1.0]), wanted) <= 1e9
