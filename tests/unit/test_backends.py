"""Backends: which one is chosen, and Triton kernels and adapters against their twins.

Without a CUDA device, Triton kernels run in Triton's interpreter on CPU tensors, which shows that
they compute the right numbers, not that they are fast. All comparisons are in float64: values and
gradients agree to 1e-9 (relative and absolute), sums only differ in their order.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from studio.errors import ConfigError
from studio.ops import backend as backends
from studio.ops.backend import choose_backend, obstacle
from studio.ops.composite import composite, composite_reference, neus_alpha
from studio.ops.hash_grid import HashGridLayout, contract, encode, encode_reference
from studio.ops.ray_march import NEAR, march, march_reference
from tests.unit.test_composite import case
from tests.unit.test_ray_march import random_rays, shell_grid

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
LAYOUTS = (
    HashGridLayout(3, 4, 1.9, 8, 2),  # dense, then hashed
    HashGridLayout(1, 5, 1.0, 10, 2),  # one dense level
    HashGridLayout(2, 8, 1.3, 9, 1),  # 8^3 rows exactly: the border of dense and hashed
    HashGridLayout(2, 4, 2.0, 8, 8),
    HashGridLayout(3, 4, 1.9, 8, 2, "smoothstep"),
    HashGridLayout(2, 4, 2.0, 8, 8, "smoothstep"),
)


@pytest.fixture(scope="module")
def triton_device() -> Iterator[torch.device]:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed; its kernels are not tested")
    with pytest.MonkeyPatch.context() as patch:
        if not torch.cuda.is_available():
            patch.setenv("TRITON_INTERPRET", "1")
        from studio.ops import ray_march_triton

        patch.setattr(ray_march_triton, "BLOCK", 1024)  # the interpreter likes few programs
        yield CUDA if torch.cuda.is_available() else CPU


def encoding_and_gradients(
    layout: HashGridLayout, count: int, backend: str, device: torch.device, *, normals: bool = True
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)

    table = random(layout.offsets[-1], layout.features).requires_grad_()
    points = torch.rand(3, count, generator=generator, dtype=torch.float64).to(device)
    if count > 2:  # corners and an upper face, where dense levels wrap
        points[:, 0], points[:, 1], points[0, 2] = 1, 0, 1
    y, token, encoding = encode(points, table, layout, normals=normals, backend=backend)
    loss = (y * random(*y.shape)).sum()
    outputs = [y]
    if normals:
        outputs.append(contract(torch.tanh(y), token, encoding))
        loss = loss + (outputs[1] * random(3, count)).sum()
    return [*(o.detach() for o in outputs), *torch.autograd.grad(loss, table)]


def assert_same(results: list[Tensor], wanted: list[Tensor]) -> None:
    for result, value in zip(results, wanted, strict=True):
        torch.testing.assert_close(result, value, **CLOSE)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", (0, 1, 31, 1025))
def test_triton_hash_grid_equals_double_backward(triton_device, layout, count) -> None:
    assert_same(
        encoding_and_gradients(layout, count, "triton", triton_device),
        encoding_and_gradients(layout, count, "torch", triton_device),
    )


def test_triton_hash_grid_without_normals(triton_device) -> None:
    run = [
        encoding_and_gradients(LAYOUTS[0], 31, name, triton_device, normals=False)
        for name in ("triton", "torch")
    ]
    assert_same(*run)


@pytest.mark.parametrize("layout", [x for x in LAYOUTS if x.features == 2])
@pytest.mark.parametrize("count", (0, 1, 31, 1025))
def test_numba_hash_grid_equals_double_backward(layout, count) -> None:
    assert_same(
        encoding_and_gradients(layout, count, "cpu", CPU),
        encoding_and_gradients(layout, count, "torch", CPU),
    )


def composite_and_gradients(run, counts: list[int], device: torch.device) -> list[Tensor]:
    alpha, values, offsets = (x.to(device) for x in case(counts))
    if len(alpha) > 40:
        alpha[2] = alpha[40] = 1  # opaque: what lies behind is hidden, gradients stay exact
    alpha.requires_grad_()
    values.requires_grad_()
    outputs = run(alpha, values, offsets)
    generator = torch.Generator().manual_seed(6)
    loss = torch.zeros((), dtype=alpha.dtype, device=device)
    for output in outputs:
        weight = torch.randn(output.shape, generator=generator, dtype=output.dtype)
        loss = loss + (output * weight.to(device)).sum()
    return [*(o.detach() for o in outputs), *torch.autograd.grad(loss, (alpha, values))]


COUNTS = ([], [0], [1], [31, 32, 33, 0, 64, 65], [130, 0, 1025])


@pytest.mark.parametrize("counts", COUNTS)
def test_triton_composite_equals_its_twin(triton_device, counts) -> None:
    assert_same(
        composite_and_gradients(lambda *a: composite(*a, backend="triton"), counts, triton_device),
        composite_and_gradients(composite_reference, counts, triton_device),
    )


@pytest.mark.parametrize("counts", COUNTS)
def test_numba_composite_equals_its_twin_behind_opaque_samples(counts) -> None:
    assert_same(
        composite_and_gradients(lambda *a: composite(*a, backend="cpu"), counts, CPU),
        composite_and_gradients(composite_reference, counts, CPU),
    )


@pytest.mark.parametrize("count", (0, 1, 31, 1025))
def test_triton_alpha_equals_its_twin(triton_device, count) -> None:
    generator = torch.Generator().manual_seed(7)
    results = []
    sdf = (torch.rand(count, generator=generator, dtype=torch.float64) - 0.5) * 0.1
    cosine = -torch.rand(count, generator=generator, dtype=torch.float64)
    for name in ("triton", "torch"):
        a = sdf.to(triton_device).requires_grad_()
        b = cosine.to(triton_device).requires_grad_()
        alpha = neus_alpha(a, b, 0.02, 300.0, backend=name)
        results.append([alpha.detach(), *torch.autograd.grad(alpha.sum(), (a, b))])
    assert_same(*results)


def assert_same_samples(result, wanted) -> None:
    assert torch.equal(result.offsets, wanted.offsets)
    assert torch.equal(result.ray_index, wanted.ray_index)
    for name in ("t", "points", "directions"):
        torch.testing.assert_close(getattr(result, name), getattr(wanted, name), **CLOSE)


@pytest.mark.parametrize("count", (0, 1, 31, 1025))
def test_triton_march_equals_the_dense_twin(triton_device, count) -> None:
    rays = [value.double().to(triton_device) for value in random_rays(count)]
    grid = shell_grid().to(triton_device)
    for limit in (2**15, 3):
        samples = march(*rays, grid, 0.05, limit=limit, backend="triton")
        assert_same_samples(samples, march_reference(*rays, grid, 0.05, limit))


@pytest.mark.parametrize("backend", ("cpu", "triton"))
def test_rays_that_miss_rays_along_an_axis_and_long_rays(backend, request) -> None:
    device = request.getfixturevalue("triton_device") if backend == "triton" else CPU
    origins = torch.tensor([[3.0, 3, 0], [-2, 0.1, 0.1], [0, 0, 0], [-3, -3, -3]]).double()
    directions = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, -1], [3**-0.5] * 3]).double()
    rays = origins.to(device), directions.to(device), torch.full((4,), 0.5).double().to(device)
    full = torch.full((4, 4, 4), NEAR, dtype=torch.uint8, device=device)
    samples = march(*rays, full, 0.01, backend=backend)
    assert_same_samples(samples, march_reference(*rays, full, 0.01))
    assert samples.offsets.diff().tolist() == [0, 200, 100, 346]


def test_auto_means_numba_on_the_cpu_and_triton_on_cuda(monkeypatch) -> None:
    missing: set[str] = set()
    monkeypatch.setattr(backends, "_installed", lambda name: name not in missing)
    monkeypatch.setattr(
        backends, "_import_problem", lambda name: "absent" if name in missing else None
    )
    for operation in backends.CANDIDATES:
        assert choose_backend(operation, "auto", CPU) == "cpu"
        assert choose_backend(operation, "auto", CUDA) == "triton"
        assert choose_backend(operation, "auto", torch.device("mps")) == "torch"
    missing |= {"triton", "numba"}
    assert choose_backend("hash grid", "auto", CPU) == "torch"
    assert choose_backend("hash grid", "auto", CUDA) == "tcnn"
    assert choose_backend("ray_march", "auto", CUDA) == "nerfacc"
    missing |= {"tinycudann", "nerfacc"}
    assert choose_backend("composite", "auto", CUDA) == "torch"


def test_all_choices_are_logged_in_one_line_with_their_reasons(caplog) -> None:
    backends._note.cache_clear()
    backends._unsaid.clear()
    with caplog.at_level(logging.INFO, logger="studio.ops.backend"):
        for _ in range(3):
            choose_backend("ray_march", "auto", CPU)
            choose_backend("hash grid", "auto", CPU, supported=False)
            choose_backend("composite", "cpu", CPU)
        assert not caplog.records
        backends.announce_choices()
        choose_backend("ray_march", "auto", CPU)
        backends.announce_choices()
    assert [record.getMessage() for record in caplog.records] == [
        "backends: numba on cpu for ray march, composite; plain torch on cpu for hash grid "
        "(not numba: numba kernels handle 2 features per level only)"
    ]


def test_details_of_each_choice_are_there_for_those_who_ask(caplog) -> None:
    backends._note.cache_clear()
    with caplog.at_level(logging.DEBUG, logger="studio.ops.backend"):
        choose_backend("ray_march", "auto", CPU)
    assert "ray_march: backend cpu" in caplog.text


@pytest.mark.parametrize("name", ("triton", "tcnn"))
def test_a_backend_that_cannot_work_is_refused_with_a_way_out(name, monkeypatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert obstacle(name, CPU) is not None
    with pytest.raises(ConfigError, match="CUDA") as caught:
        choose_backend("hash grid", name, CPU)
    assert "allowed: auto, cpu, torch" in str(caught.value)
    assert "pip install" in str(caught.value) or "pytorch.org" in str(caught.value)


def test_unknown_backends_are_refused_and_foreign_ones_mean_auto() -> None:
    with pytest.raises(ConfigError, match="'numba'"):
        choose_backend("ray_march", "numba", CPU)
    assert choose_backend("neus_alpha", "nerfacc", CPU) == "cpu"


def test_adapter_hands_our_table_to_tiny_cuda_nn(monkeypatch) -> None:
    """With a stand-in that has the bindings' interface and computes with the twin."""
    from studio.ops import tcnn

    class Encoding(torch.nn.Module):
        def __init__(self, inputs: int, config: dict, dtype: torch.dtype) -> None:
            super().__init__()
            self.layout = HashGridLayout(
                config["n_levels"],
                config["base_resolution"],
                config["per_level_scale"],
                config["log2_hashmap_size"],
                config["n_features_per_level"],
                config["interpolation"].lower(),
            )
            count = self.layout.offsets[-1] * self.layout.features
            self.params = torch.nn.Parameter(torch.zeros(count))

        def forward(self, x: Tensor) -> Tensor:
            table = self.params.view(-1, self.layout.features)
            return encode_reference(x, table, self.layout)

    module = ModuleType("tinycudann")
    module.Encoding = Encoding  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tinycudann", module)
    monkeypatch.setattr(backends, "obstacle", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "device", lambda _: torch.no_grad())
    tcnn._encoding.cache_clear()
    try:
        for layout, count in ((LAYOUTS[0], 0), (LAYOUTS[0], 31), (LAYOUTS[4], 31)):
            assert_same(
                encoding_and_gradients(layout, count, "tcnn", CPU),
                encoding_and_gradients(layout, count, "torch", CPU),
            )
    finally:
        tcnn._encoding.cache_clear()


def test_adapter_of_nerfacc_composites_and_marches_as_the_twins(monkeypatch) -> None:
    """With a stand-in for the two functions: it walks through all cells that are not empty."""
    from studio.ops import nerfacc as adapter
    from studio.ops.packed import transmittance

    def traverse_grids(rays_o, rays_d, binaries, box, *, near_planes, step_size, **_):
        low, high = box[0, :3], box[0, 3:]
        index, depths = [], []
        for n in range(len(rays_o)):
            middle = near_planes[n] + (torch.arange(400) + 0.5).double() * step_size
            at = rays_o[n] + middle[:, None] * rays_d[n]
            cell = ((at - low) / (high - low) * len(binaries[0])).floor().long()
            inside = ((cell >= 0) & (cell < len(binaries[0]))).all(-1)
            keep = inside & binaries[0][cell.clamp(0, len(binaries[0]) - 1).unbind(-1)]
            depths.append(middle[keep])
            index.append(torch.full((int(keep.sum()),), n))
        return None, SimpleNamespace(vals=torch.cat(depths), ray_indices=torch.cat(index)), None

    module = ModuleType("nerfacc")
    module.traverse_grids = traverse_grids  # type: ignore[attr-defined]
    module.exclusive_prod = (
        lambda x, packed_info: transmittance(  # type: ignore[attr-defined]
            1 - x, torch.cat([packed_info[:, 0], packed_info[-1:].sum(1)])
        )
    )
    monkeypatch.setitem(sys.modules, "nerfacc", module)
    rays = [value.double() for value in random_rays(31)]
    for limit in (2**15, 3):
        arrays = adapter.march_nerfacc(*rays, shell_grid(), 0.05, limit)
        twin = march_reference(*rays, shell_grid(), 0.05, limit)
        for result, value in zip(
            arrays,
            (twin.points, twin.directions, twin.t, twin.ray_index, twin.offsets),
            strict=True,
        ):
            torch.testing.assert_close(result, value, **CLOSE)
    assert_same(
        composite_and_gradients(adapter.composite_nerfacc, [0, 3, 5], CPU),
        composite_and_gradients(composite_reference, [0, 3, 5], CPU),
    )
