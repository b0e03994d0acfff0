"""Hash grid: layout and values of tiny-cuda-nn, and native kernels against the reference twin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from studio.ops.field import sdf_network
from studio.ops.hash_grid import HashGridLayout, contract, encode, encode_reference, growth_for
from tests.conftest import REPOSITORY, environment
from tests.level_sizes import digest

LAYOUT = HashGridLayout(levels=4, base_resolution=4, growth=1.7, log2_rows=8)
SIZES = (0, 1, 7, 2049)


def random_table(layout: HashGridLayout, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(layout.offsets[-1], 2, generator=generator, dtype=dtype)


def random_points(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    points = torch.rand(3, count, generator=torch.Generator().manual_seed(2), dtype=dtype)
    if count > 2:  # faces and corners of the cube, where dense levels wrap
        points[:, 0], points[:, 1] = 0, 1
    return points


@pytest.fixture
def parity_case() -> Path:
    folder = os.environ.get("STUDIO_PARITY_CASES")
    if not folder:
        pytest.skip("STUDIO_PARITY_CASES is not set")
    return Path(folder) / "recon" / "tcnn_hashgrid"


def test_values_are_those_of_tiny_cuda_nn(parity_case: Path) -> None:
    from safetensors.torch import load_file

    cfg = json.loads((parity_case / "case.json").read_text())["config"]
    inputs = load_file(parity_case / "inputs.safetensors")
    wanted = load_file(parity_case / "outputs.safetensors")["encoded"]
    layout = HashGridLayout(
        cfg["n_levels"],
        cfg["base_resolution"],
        cfg["per_level_scale"],
        cfg["log2_hashmap_size"],
    )
    table = inputs["params"].view(-1, 2)
    torch.testing.assert_close(encode_reference(inputs["x"], table, layout), wanted)
    native, _, _ = encode(inputs["x"].T, table, layout, normals=False)
    torch.testing.assert_close(native.T, wanted)


def test_layouts_of_released_models(parity_case: Path) -> None:
    cfg = json.loads((parity_case / "case.json").read_text())["config"]
    for name, size in cfg["full_size_layouts"].items():
        layout = HashGridLayout(
            size["n_levels"],
            size["base_resolution"],
            size["per_level_scale"],
            size["log2_hashmap_size"],
            size["n_features_per_level"],
        )
        assert list(layout.resolutions) == size["resolutions"], name
        assert list(layout.rows) == size["entries"], name
        assert layout.offsets[-1] * layout.features == size["n_params"], name


def test_level_sizes_are_those_of_c_on_every_processor() -> None:
    """With and without AVX512, for which numpy has an exp2 of its own."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    wide = [name for name in __cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.level_sizes"],
        cwd=REPOSITORY,
        env=environment({"NPY_DISABLE_CPU_FEATURES": " ".join(wide)}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [digest(), "True"]


def test_growth_reaches_the_finest_resolution() -> None:
    layout = HashGridLayout(8, 16, growth_for(8, 16, 256))
    assert layout.resolutions[0] == 16
    assert layout.resolutions[-1] in (256, 257)  # float32 rounding of the growth
    assert growth_for(1, 16, 256) == 1.0


def test_some_levels_are_dense_and_some_are_hashed() -> None:
    assert True in LAYOUT.dense and False in LAYOUT.dense


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", SIZES)
def test_native_features_equal_the_reference(count: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        points, table = random_points(count), random_table(LAYOUT)
        native, _, encoding = encode(points, table, LAYOUT, normals=True)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(native.T, encode_reference(points.T, table, LAYOUT))
    assert encoding.jacobian is not None and encoding.jacobian.shape == (LAYOUT.width, 3, count)


@pytest.mark.parametrize("count", SIZES)
def test_gradient_of_features_equals_the_reference(count: int) -> None:
    points, weight = random_points(count), torch.randn(LAYOUT.width, count, dtype=torch.float64)
    gradients = []
    for native in (True, False):
        table = random_table(LAYOUT).requires_grad_()
        y = (
            encode(points, table, LAYOUT, normals=False)[0]
            if native
            else encode_reference(points.T, table, LAYOUT).T
        )
        gradients.append(torch.autograd.grad((y * weight).sum(), table)[0])
    torch.testing.assert_close(*gradients)


def field_and_gradients(count: int, native: bool) -> list[Tensor]:
    """Outputs, normals, and the gradients of all parameters for a loss on both."""
    generator = torch.Generator().manual_seed(3)
    shapes = [(12, LAYOUT.width), (12,), (5, 12), (5,)]
    weights = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    parameters = [w.requires_grad_() for w in (random_table(LAYOUT), *weights)]
    points = random_points(count)
    weight = torch.randn(8, count, generator=generator, dtype=torch.float64)
    y, token, encoding = encode(
        points, parameters[0], LAYOUT, normals=True, backend="cpu" if native else "torch"
    )
    out, g = sdf_network(y, *parameters[1:])
    both = torch.cat([out, contract(g, token, encoding)])
    return [both.detach(), *torch.autograd.grad((both * weight).sum(), parameters)]


@pytest.mark.parametrize("count", (1, 7, 2049))
def test_normals_and_second_order_gradients_equal_double_backward(count: int) -> None:
    for native, twin in zip(
        field_and_gradients(count, True), field_and_gradients(count, False), strict=True
    ):
        torch.testing.assert_close(native, twin, rtol=1e-9, atol=1e-8)


def test_no_points_give_zero_gradients() -> None:
    for value in field_and_gradients(0, True)[1:]:
        assert not value.any()


def test_network_derivative_is_that_of_the_first_output() -> None:
    shapes = [(6, 3), (7, 6), (7,), (4, 7), (4,)]
    y, *weights = (torch.randn(s, dtype=torch.float64) for s in shapes)
    y.requires_grad_()
    out, g = sdf_network(y, *weights)
    (wanted,) = torch.autograd.grad(out[0].sum(), y)
    torch.testing.assert_close(g, wanted)


def test_normals_cannot_be_differentiated_twice() -> None:
    table = random_table(LAYOUT).requires_grad_()
    y, token, encoding = encode(random_points(5), table, LAYOUT, normals=True)
    normal = contract(torch.ones_like(y), token, encoding).sum()
    normal.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        normal.backward()


def test_strided_tables_and_points_are_read_correctly() -> None:
    points = random_points(9).T.contiguous().T  # not contiguous
    table = random_table(LAYOUT).T.contiguous().T
    native, _, _ = encode(points, table, LAYOUT, normals=False)
    torch.testing.assert_close(native.T, encode_reference(points.T, table, LAYOUT))
