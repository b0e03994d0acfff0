"""`Noise`: all that sampling draws, by name and from one seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Unit noise under names: "start" (latents), "posterior" (of an encoder), "step", ...

    What a name draws follows from the seed and the name alone: it does not matter what else is
    drawn, in which order or in which groups, and asking again gives the same. Drawn on the CPU, so
    that it is the same on every device.

    Attributes:
        seed: what all streams follow from.
        given: noise that is taken instead of drawn.
        source: one generator that all draws are taken from in turn, instead of the streams.
    """

    seed: int = 0
    given: Mapping[str, Tensor] = field(default_factory=dict)
    source: torch.Generator | None = None
    in_turn: bool = False
    """Draw from `source` (None: torch's own generator); names stand for `given` only."""

    @classmethod
    def of(
        cls,
        noise: Tensor | Noise | None,
        generator: torch.Generator | None,
        *,
        in_turn: bool = False,
    ) -> Noise:
        """Return what `Guidance.generate` was given as one source.

        Args:
            noise: a source, which is returned; or start latents; or None.
            generator: its next draw is the seed, so a second call with it makes other views.
            in_turn: draw from the generator itself, one after the other: methods whose results of
                a seed are known by the order of their draws.
        """
        if isinstance(noise, Noise):
            return noise
        given = {} if noise is None else {"start": noise}
        if in_turn:
            return cls(given=given, source=generator, in_turn=True)
        device = "cpu" if generator is None else generator.device
        seed = torch.randint(2**63 - 1, (), generator=generator, device=device)
        return cls(int(seed), given)

    def draw(self, name: str, like: Float[Tensor, "*shape"], *at: int) -> Float[Tensor, "*shape"]:
        """Return the noise of a name, of the shape and on the device of `like`.

        Args:
            name: of the stream.
            like: says shape, device and precision.
            at: which of a name's many, such as the number of the step, then that of the view.
        """
        if name in self.given:
            return self.given[name][at].to(like.device).view_as(like)
        return randn_like(like, self.generator(name, *at))

    def generator(self, name: str, *at: int) -> torch.Generator | None:
        """Return where the noise of a name comes from, at its beginning."""
        if self.in_turn:
            return self.source
        key = "/".join([str(self.seed), name, *map(str, at)])
        digest = hashlib.sha256(key.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def randn_like(
    reference: Float[Tensor, "*shape"], generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Draw unit noise on the generator's own device: a CPU seed gives one result anywhere.

    The noise beside half precision is float32.
    """
    device = reference.device if generator is None else generator.device
    kind = torch.promote_types(reference.dtype, torch.float32)
    draw = torch.randn(reference.shape, generator=generator, device=device, dtype=kind)
    return draw.to(reference.device)
