"""Recomputed layers have the same loss and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.utils.checkpoint

from studio.guidance import diffusion
from tests.unit import (
    test_epidiff,
    test_eschernet,
    test_spad,
    test_viewfusion_composable,
    test_zero123,
)

METHODS: dict[str, Any] = {
    "zero123": (test_zero123.tiny, test_zero123.batch),
    "epidiff": (test_epidiff.tiny, lambda: test_epidiff.ring_batch(2, 6)),
    "eschernet": (test_eschernet.tiny, test_eschernet.batch),
    "spad": (test_spad.tiny, test_spad.batch),
    "viewfusion-composable": (test_viewfusion_composable.tiny, test_viewfusion_composable.batch),
}


def gradients(name: str, active: bool) -> tuple[float, dict[str, torch.Tensor]]:
    make, batch = METHODS[name]
    torch.manual_seed(0)
    model = make(gradient_checkpointing=active)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # zero maps would hide what lies before them
        for parameter in model.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    torch.manual_seed(2)
    loss = model.training_loss(batch(), generator=generator)["loss"]
    loss.backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return float(loss), found


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_loss, plain = gradients(name, active=False)
    calls = []
    run = torch.utils.checkpoint.checkpoint

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return run(*args, **kwargs)

    monkeypatch.setattr(torch.utils.checkpoint, "checkpoint", counted)
    monkeypatch.setattr(diffusion, "checkpoint", counted)
    loss, found = gradients(name, active=True)
    assert calls, "something is recomputed"
    assert loss == pytest.approx(plain_loss, rel=1e-6)
    assert found.keys() == plain.keys() and len(found) > 5
    for key, value in plain.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-4, msg=key)
