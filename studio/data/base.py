"""The contract of data plugins: views of one scene, a condition for guidance, or training items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor
from torch.utils.data import Dataset

from studio.cameras import Cameras
from studio.views import Condition, ViewSet


class Data(ABC):
    """Base of all data plugins; registered as ``("data", name)``."""

    Config: ClassVar[type]

    def check(self) -> None:  # noqa: B027  # may be left as it is
        """Refuse what cannot be read, before anything is written."""


class SceneData(Data):
    """Posed views of one object, which reconstruction reads.

    Attributes:
        brought: name of the option that says what the user brings, here a folder.
    """

    brought: ClassVar[str] = "root"

    @abstractmethod
    def load(self) -> ViewSet:
        """Return the views to learn from."""

    def test(self) -> ViewSet | None:
        """Return held-out views to measure on, or None where there are none."""
        return None


class ConditionData(Data):
    """What a user asks guidance with: a picture, posed pictures or a text.

    Attributes:
        brought: name of the option that says what the user brings: a picture file, a list of them,
            a folder or a text.
    """

    brought: ClassVar[str] = "image"

    @abstractmethod
    def condition(self) -> Condition:
        """Return the prepared condition."""

    def targets(self) -> Cameras | None:
        """Return the cameras to make views for; None leaves them to the guidance."""
        return None


class ViewPairData(Data):
    """Posed views of many objects, which guidance is trained on.

    An item holds float32 tensors: images [V,3,H,W] in [-1,1] on white; cond_image [3,H,W] in
    [-1,1]; c2w [V,4,4] and cond_c2w [4,4], OpenCV axes; intrinsics [V,3,3] in pixels. Optional:
    latents [V,c,h,w] and cond_latents [c,h,w], posterior means that replace encoding; ref_images
    [R,3,H,W] in [-1,1] and ref_c2w [R,4,4], several references; caption, a text.
    """

    def kinds(self) -> list[str]:
        """Return what the objects are, in words a person knows (plural); empty if unknown."""
        return []

    @abstractmethod
    def dataset(self, split: Literal["train", "val"]) -> Dataset[dict[str, Tensor]]:
        """Return the map-style dataset of a split."""
