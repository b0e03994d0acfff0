"""Options of the mesh exporter."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Annotated, Literal

from studio.errors import ConfigError
from studio.export.files import MOST_LEVELS
from studio.export.world import FRONTS, PIVOTS, WORLDS, Wanted
from studio.plugins.ranges import (
    CountOrZero,
    Factor,
    Installed,
    Length,
    OneOf,
    Range,
    Registered,
    Share,
)

GEOMETRY = {"none": (), "draco": ("DracoPy",)}
"""What compresses triangles, and the package that it needs."""


@dataclass
class ExportConfig:
    """How a surface becomes files."""

    resolution: Annotated[int, Range(8, 4096)] | None = None
    """Grid cells along the longest side of the box around the object. null: as many as pixels of the views lie along it, 192 to 512."""  # noqa: E501
    faces: (
        Annotated[int, Range(0, 1_000_000_000)]
        | Annotated[list[Annotated[int, Range(4, 1_000_000_000)]], Length(1, MOST_LEVELS)]
    ) = 20000
    """Even triangles, about as many or less; 0 keeps the small, uneven ones of the grid. A list, [20000, 5000, 1000], makes levels of detail: model_lod1, model_lod2, ... beside model."""  # noqa: E501
    quads: bool = False
    """Make the surface of half as many quads (Instant Meshes): obj and usdz hold them, all others their halves."""  # noqa: E501
    normal_map: bool = False
    """Bake the unreduced surface into normal maps (glb, obj, usdz): few triangles look like many."""  # noqa: E501
    occlusion_map: bool = False
    """Bake how much of the sky each place sees (ambient occlusion; glb, usdz): shade in creases."""  # noqa: E501
    smooth: Annotated[int, Range(0, 1000)] = 0
    """Rounds of Taubin smoothing before that."""
    keep_components: Share = 0.05
    """Drop loose parts with less than this share of the largest part's area, unless the views' outlines need them; 0 keeps all."""  # noqa: E501
    slope: Annotated[float, Range(1e-3, 1e3)] = 2.0
    """Largest gradient length expected of the field; raise it if parts are missing."""
    memory_gb: Annotated[float, Range(1e-3, 1e6)] = 4.0
    """Refuse resolutions whose sampling grids would need more than this."""
    formats: Annotated[list[Annotated[str, Registered("format")]], Length(1, 100)] = field(
        default_factory=lambda: ["glb", "ply"]
    )
    """Kinds of files, by the names of their plugins; the first one is measured."""
    world: Annotated[str, OneOf(WORLDS)] = "auto"
    """Where the files lie: ground (base at height 0, the input's view in front), capture (where the capture's own cameras are), views (upright, as fitted), or auto: generated objects on the ground, captures where they are, but files of +y up (glb, obj, usdz) upright where the capture is not."""  # noqa: E501
    height: Factor = 0.0
    """Height of the object in metres; 0 keeps the size that views or capture give it. One of their units is a metre; stl and 3mf files count millimetres."""  # noqa: E501
    pivot: Annotated[str, OneOf(PIVOTS)] = "auto"
    """What lies at the origin, around which engines turn the object: base (it stands there), centre (of its box), fitted (what lay there in the views' world), or auto: base on the ground, else fitted."""  # noqa: E501
    front: Annotated[str, OneOf(FRONTS)] = "auto"
    """Axis of +y up files that the front (the input's or first view) faces; in files of +z up, -y stands for +z. auto: +z on the ground, else as fitted."""  # noqa: E501
    texture_size: Annotated[int, Range(0, 1 << 14)] = 0
    """Side of the base colour texture in texels; 0: two texels per pixel of the views."""
    glb_textures: Literal["png", "jpeg", "webp"] = "png"
    """Pictures in glb files: png (exact), jpeg (smaller, read by all), or webp (smallest, for readers of EXT_texture_webp)."""  # noqa: E501
    glb_compression: Annotated[str, Installed(GEOMETRY)] = "none"
    """Of triangles in glb files: draco makes them a tenth as large, for readers of KHR_draco_mesh_compression; positions move by up to a 65,536th of the object's size."""  # noqa: E501
    texture_source: Literal["auto", "field", "views"] = "auto"
    """field: its own colours; views: those, corrected by the pictures; auto: views, if any."""
    texture_margin: Annotated[float, Range(0, 1000)] = 0.0
    """Pixels beside outlines that the texture leaves out; blurred pictures need one."""
    unwrap: Annotated[str, Registered("unwrap")] = "box"
    """What cuts the surface into the charts of its texture."""
    baker: Annotated[str, Registered("baker")] = "texels"
    """What makes the texture."""
    turntable: bool = True
    """Write turntable.mp4 (turntable.gif where ffmpeg is missing)."""
    turntable_frames: Annotated[int, Range(1, 10_000)] = 36
    """Pictures per turn."""
    turntable_size: Annotated[int, Range(16, 4096)] = 256
    """Picture height in pixels; colours and bare shape stand side by side."""
    preview: bool = True
    """Write preview.png: input, views, and the mesh from the same and from unseen sides."""
    inspect: bool = True
    """Write inspect.glb, where there are views: the mesh, all cameras and their pictures."""
    psnr_views: CountOrZero = 16
    """Views that the finished file is compared with, for mesh_psnr; 0 does not compare."""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if isinstance(self.faces, list) and sorted(set(self.faces))[::-1] != self.faces:
            raise ConfigError(
                f"faces is {self.faces}.", allowed="each level with fewer than the one before"
            )
        if self.quads and self.faces == 0:
            raise ConfigError("quads is true and faces 0.", allowed="quads with a number of faces")
        if self.quads and importlib.util.find_spec("pyinstantmeshes") is None:
            raise ConfigError(
                "quads is true, which needs pyinstantmeshes.",
                allowed="triangles: quads=false",
                hint="pip install pyinstantmeshes",
            )
        for named in self.wanted.asked if self.world == "capture" else ():
            raise ConfigError(
                f"{named} is {getattr(self, named)} and world 'capture'.",
                allowed=f"{named} with world auto, ground or views",
                hint="A capture's own world has its own scale, origin and axes.",
            )

    @property
    def wanted(self) -> Wanted:
        """How the object is to stand."""
        return Wanted(self.world, self.height, self.pivot, self.front)
