"""COLMAP's camera models: pinhole intrinsics and lens, by our own formulas or by `pycolmap`."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from studio.captures.lens import Distortion, Lens

# number in binary files: name, parameters
MODELS: dict[int, tuple[str, int]] = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: ("SIMPLE_DIVISION", 4),
    13: ("DIVISION", 5),
    14: ("SIMPLE_FISHEYE", 3),
    15: ("FISHEYE", 4),
    16: ("EUCM", 6),
    17: ("EQUIRECTANGULAR", 0),
}
PARAMETERS = dict(MODELS.values())
SUPPORTED = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
NO_PINHOLE = ("EQUIRECTANGULAR",)  # sees all around


@dataclass(frozen=True)
class ColmapCamera:
    """A lens and picture size; the parameters' meaning depends on the model.

    Raises:
        ValueError: if the parameters are too few, too many or no camera's.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.params) != PARAMETERS.get(self.model, len(self.params)):
            raise ValueError(f"{self.model} has {len(self.params)} parameters")
        sides = 0 < self.width < 2**31 and 0 < self.height < 2**31
        if not sides or not all(abs(p) < 1e9 for p in self.params):
            raise ValueError(f"a camera of {self.width}x{self.height} px with {self.params}")
        if self.model in SUPPORTED and min(self._focal) <= 0:
            raise ValueError(f"a focal length of {min(self._focal):g}")

    @property
    def is_readable(self) -> bool:
        """Whether its pictures can be undistorted on this machine."""
        return self.model in SUPPORTED or (
            self.model not in NO_PINHOLE and importlib.util.find_spec("pycolmap") is not None
        )

    @property
    def intrinsics(self) -> Float[Tensor, "3 3"]:
        """Pixel intrinsics, pixel centres at half-integers."""
        if self.model not in SUPPORTED:
            return _ByPycolmap(self).intrinsics
        (fx, fy), (cx, cy) = self._focal, self.params[self._singles : self._singles + 2]
        rows = [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def lens(self) -> Distortion:
        """Distortion."""
        if self.model not in SUPPORTED:
            return _ByPycolmap(self)
        return Lens(*self.params[self._singles + 2 :])

    @property
    def _singles(self) -> int:
        """How many focal lengths there are."""
        return 1 if self.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL") else 2

    @property
    def _focal(self) -> tuple[float, float]:
        return self.params[0], self.params[self._singles - 1]


@dataclass(frozen=True)
class _ByPycolmap:
    """The lens of any model that the installed `pycolmap` knows."""

    camera: ColmapCamera

    @property
    def is_pinhole(self) -> bool:
        return False

    @property
    def intrinsics(self) -> Float[Tensor, "3 3"]:
        return torch.from_numpy(self._model().calibration_matrix().copy()).double()

    def distort(self, positions: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        flat = positions.reshape(-1, 2).double()
        rays = torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)
        pixels = torch.from_numpy(self._model().img_from_cam(rays.numpy()).copy())
        k = self.intrinsics
        bent = (pixels - k[:2, 2]) / k.diagonal()[:2]
        return bent.nan_to_num(nan=1e3).to(positions).reshape(positions.shape)  # seen by no pixel

    def _model(self):  # type: ignore[no-untyped-def]
        import pycolmap

        given = self.camera
        return pycolmap.Camera(
            model=given.model, width=given.width, height=given.height, params=list(given.params)
        )
