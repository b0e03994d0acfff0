"""Every parity case whose method has an adapter, held against the authors' numbers.

The small cases beside this file always run; `STUDIO_PARITY_CASES` names a folder with more.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.parity.__main__ import main
from tests.parity.case import Case, compute, find_adapter, load_case
from tests.parity.settings import Settings, Unsupported

OWN = Path(__file__).parent / "cases"


def case_folders() -> list[Path]:
    """All case folders, the environment's after our own copies."""
    roots = [OWN]
    if os.environ.get("STUDIO_PARITY_CASES"):
        roots.append(Path(os.environ["STUDIO_PARITY_CASES"]))
    return [path.parent for root in roots for path in sorted(root.glob("*/*/case.json"))]


def errors_over_tolerance(case: Case, got: dict[str, Tensor]) -> dict[str, float]:
    """Worst |error| / (atol + rtol |expected|) of every tensor that is expected and computed.

    Pictures in 8 bits may differ by one level in one pixel of a thousand: which way a value that
    lies half-way is rounded depends on the processor.
    """
    expected = load_file(case.folder / "outputs.safetensors")
    worst = {}
    for name in expected.keys() & got.keys():
        limits = {**case.meta, **case.meta.get("tolerances", {}).get(name, {})}
        want, have = expected[name].double().flatten(), got[name].detach().double().flatten()
        assert have.shape == want.shape, name
        tolerance = float(limits.get("atol", 1e-5)) + float(limits.get("rtol", 1e-4)) * want.abs()
        if expected[name].dtype == torch.uint8 and ((have != want).double().mean() <= 1e-3):
            tolerance = tolerance.clamp(min=1.0)
        ratio = (have - want).abs() / tolerance.clamp(min=1e-300)
        same = (have == want) | (have.isnan() & want.isnan())
        worst[name] = ratio.nan_to_num(nan=float("inf")).masked_fill(same, 0.0).max().item()
    return worst


@pytest.mark.parametrize("folder", case_folders(), ids=lambda f: f"{f.parent.name}/{f.name}")
def test_case(folder: Path) -> None:
    case = load_case(folder)
    if find_adapter(case) is None:
        pytest.skip(f"no adapter for {case.method}/{case.kind}")
    if not (folder / "outputs.safetensors").exists():
        pytest.skip("the case has no expected numbers")
    worst = errors_over_tolerance(case, compute(case))
    assert worst, "none of the expected tensors was computed"
    assert {name: value for name, value in worst.items() if value > 1} == {}


def test_comparison_sees_an_error() -> None:
    case = load_case(OWN / "viewfusion_interpolated" / "pose_vector")
    right = load_file(case.folder / "outputs.safetensors")
    assert max(errors_over_tolerance(case, right).values()) == 0
    wrong = {**right, "T": right["T"] + 1e-3}
    assert errors_over_tolerance(case, wrong)["T"] > 1
    assert errors_over_tolerance(case, {"T": right["T"] * float("nan")})["T"] == float("inf")


def _case(folder: Path, method: str, kind: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps({"method": method, "case": kind, "config": {}}))
    save_file({"x": torch.zeros(1)}, folder / "inputs.safetensors")
    return folder


def test_command_writes_results_and_says_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = OWN / "viewfusion_interpolated" / "pose_vector"
    unknown = _case(tmp_path / "a" / "other", "viewfusion-interpolated", "no_such_kind")
    foreign = _case(tmp_path / "no_such_method" / "sample", "no-such-method", "sample")
    broken = _case(tmp_path / "b" / "pose_vector", "viewfusion-interpolated", "pose_vector")
    out = tmp_path / "out"

    assert main([str(good), "--out", str(out)]) == 0
    assert "T" in load_file(out / "viewfusion_interpolated" / "pose_vector.safetensors")
    assert main([str(good), str(unknown), str(foreign), "--out", str(out)]) == 3
    assert "unsupported a/other\nunsupported no_such_method/sample\n" in capsys.readouterr().out
    assert main([str(unknown), str(broken), "--out", str(out)]) == 1


def test_held_out_kinds_match_the_longest_known_name(tmp_path: Path) -> None:
    for kind, found in {
        "sample_zero123_b": "sample_zero123",
        "pose_vector": "pose_vector",
        "pose_vectors": None,
    }.items():
        adapter = find_adapter(load_case(_case(tmp_path / kind, "viewfusion-interpolated", kind)))
        assert (adapter.__name__ if adapter else None) == found


def test_runner_never_needs_expected_numbers(tmp_path: Path) -> None:
    source = OWN / "viewfusion_interpolated" / "pose_vector"
    copy = tmp_path / "viewfusion_interpolated" / "pose_vector"
    copy.mkdir(parents=True)
    for file in source.iterdir():
        if file.name != "outputs.safetensors":
            (copy / file.name).write_bytes(file.read_bytes())
    assert main([str(copy), "--out", str(tmp_path / "out")]) == 0


# --- settings that nobody uses -------------------------------------------------------------------


def test_settings_remember_what_was_read() -> None:
    given = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": [{"f": 3}, {"f": 4, "g": 5}], "h": {"i": {}}}
    config = Settings(given)
    assert config.unused() == ["a", "b.c", "b.d", "e.0.f", "e.1.f", "e.1.g", "h.i"]
    assert "a" in config and config.get("missing") is None and len(config) == 4
    assert config["b"]["c"] == 2 and [run["f"] for run in config["e"]] == [3, 4]
    assert config.unused() == ["a", "b.d", "e.1.g", "h.i"]
    changed = config.having(a=7)
    assert changed["a"] == 7 and changed["b"].all() == given["b"]
    assert config.unused() == ["e.1.g", "h.i"]
    config.about("e", "h", "missing")
    assert config.unused() == []


def test_settings_refuse_values_without_meaning() -> None:
    config = Settings({"kind": "Linear", "list": [1, 2], "eta": 0.5})
    assert config.choice("kind", {"Linear": "linear"}) == "linear"
    assert config.choice("absent", {}, "default") == "default"
    config.only(list=[1, 2], eta=(0.0, 0.5), absent=3)
    for refused in ({"list": [1, 3]}, {"eta": 1.0}, {"kind": ("a", "b")}):
        with pytest.raises(Unsupported, match=next(iter(refused))):
            config.only(**refused)


def test_a_setting_without_use_is_unsupported_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = OWN / "viewfusion_interpolated" / "pose_vector"
    copy = tmp_path / "viewfusion_interpolated" / "pose_vector"
    copy.mkdir(parents=True)
    for file in source.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    meta = json.loads((source / "case.json").read_text())
    meta["config"]["twist"] = {"by": 3}
    (copy / "case.json").write_text(json.dumps(meta))
    assert main([str(copy), "--out", str(tmp_path / "out")]) == 3
    printed = capsys.readouterr()
    assert printed.out == "unsupported viewfusion_interpolated/pose_vector\n"
    assert "twist.by" in printed.err and not (tmp_path / "out").exists()
