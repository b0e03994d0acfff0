"""The exporter of meshes: from a scene model to files that other programs open."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from studio.errors import ConfigError
from studio.export.base import Exporter, Meshed, Seen
from studio.export.brought import colour_function, gloss_function, without_seams
from studio.export.cleanup import vertex_normals
from studio.export.clock import Clock
from studio.export.files import mesh_format, remove_others, write_meshes
from studio.export.formats.glb import Glb
from studio.export.levels import coloured_vertices, colours_of, level_texture, reduced
from studio.export.measuring import beside_fit, check_print, file_figures
from studio.export.normal_map import with_normal_map
from studio.export.occlusion import with_occlusion_map
from studio.export.options import ExportConfig
from studio.export.quads import quad_surface
from studio.export.sizes import fitting_cells, fitting_size, texture_figures
from studio.export.texture import Baker, query_colours
from studio.export.unwrap import unwrap
from studio.export.view_colours import Footage
from studio.io.files import atomic_write
from studio.mesh import Mesh, MeshOptions
from studio.metrics.renders import mesh_psnr
from studio.metrics.triangles import triangle_figures
from studio.plugins.discovery import find
from studio.plugins.registry import register
from studio.views import ViewSet

_log = logging.getLogger(__name__)


@register("exporter", "mesh")
class MeshExporter(Exporter):
    """Textured mesh (GLB, PLY, OBJ), turntable video and preview of a scene model."""

    @dataclass
    class Config(ExportConfig):
        """Options of the mesh exporter."""

    def __init__(self, cfg: Config) -> None:
        """Take the options."""
        super().__init__(cfg)
        find("unwrap", cfg.unwrap)
        self.baker: type[Baker] = find("baker", cfg.baker)
        self.formats = {name: mesh_format(name) for name in cfg.formats}
        for kind in self.formats.values():
            if isinstance(kind, Glb):
                kind.pictures, kind.compression = cfg.glb_textures, cfg.glb_compression
        suffixes = [kind.suffix for kind in self.formats.values()]
        if twice := {suffix for suffix in suffixes if suffixes.count(suffix) > 1}:
            raise ConfigError(
                f"exporter.formats is {list(self.formats)}: two of them write model{twice.pop()}.",
                allowed="formats whose files have different suffixes",
            )

    def export(
        self,
        source: Meshed,
        views: ViewSet | None,
        folder: Path | str,
        input_picture: Float[Tensor, "4 h w"] | None = None,
        originals: Sequence[ViewSet] = (),
        notes: Sequence[str] = (),
    ) -> dict[str, Path]:
        """Extract, texture and write everything that the config asks for; see the base class.

        Files of an earlier export that are not written again are removed.

        Returns:
            Path by what it is: names of formats, ``inspect, turntable, preview``. What was measured
            lies in ``figures``: of the first file, read back where that is possible (``measured``
            says), ``mesh_psnr`` against the views and what `solidity` tells; ``mesh_psnr_field`` of
            the field's own colours; what `beside_fit` tells, under its name; ``grid_cells``, faces,
            seconds per part, and under ``files`` where each lies (`Placement.record`); what
            `texture_figures` and `triangle_figures` tell; faces of further levels; ``warnings``,
            sentences on what was lost.

        Raises:
            ExportError: if the model has no surface.
            ConfigError: if colours are to come from views and there are none.
        """
        cfg = self.cfg
        if cfg.texture_source == "views" and views is None:
            raise ConfigError(
                "exporter.texture_source is 'views', but this run has none.", allowed="auto, field"
            )
        clock, self.figures = Clock(), {}
        warnings: list[str] = []
        with clock.stage("surface"):
            cells = self.cells(views)
            mesh, whole = self._surface(source, cells, warnings.append)
        mesh, textured = self._colour(mesh, whole, source, views, originals, clock)
        with clock.stage("levels"):
            levels = [self._level(textured or mesh, whole, faces) for faces in self._faces[1:]]
        with clock.stage("files"):
            meshes = {
                name: (textured or mesh) if kind.wants_texture else mesh
                for name, kind in self.formats.items()
            }
            written, self.figures["files"], files = write_meshes(
                meshes,
                views,
                Path(folder),
                levels=levels,
                inspected=(textured or mesh) if cfg.inspect else None,
                wanted=cfg.wanted,
                kinds=self.formats,
            )
        self._count_faces([mesh, *levels], warnings.append)
        self._check_print(mesh, written, warnings.append)
        with clock.stage("beside the fit"):
            if views is not None and cfg.psnr_views and isinstance(source, Seen):
                fit = beside_fit(source, textured or mesh, views, cfg.psnr_views, warnings.append)
                self.figures["beside_fit"] = fit
        notes = [*notes, *(f"warning: {line}" for line in warnings)]
        with clock.stage("pictures"):
            written |= self._write_pictures(
                textured or mesh, views, Path(folder), input_picture, notes
            )
            remove_others(Path(folder), [*files, *written.values()])
        with clock.stage("measuring"):
            first = cfg.formats[0]
            record = self.figures["files"][written[first].name]
            self.figures |= file_figures(
                written[first], meshes[first], record, views, cfg.psnr_views
            )
        self.figures |= {"mesh_faces": len(mesh.faces), "export_s": clock.laps}
        self.figures["grid_cells"] = cells
        self.figures |= {"level_faces": [len(level.faces) for level in levels]} if levels else {}
        self.figures |= triangle_figures(mesh)
        self.figures["warnings"] = warnings
        _log.debug("seconds: %s", clock)
        seen = self.figures.get("mesh_psnr")
        likeness = "" if seen is None else f", mesh_psnr {seen:.2f} dB against the views"
        _log.info("mesh: %s faces%s", f"{len(mesh.faces):,}", likeness)
        return written

    def mesh(
        self, source: Meshed, views: ViewSet | None = None, originals: Sequence[ViewSet] = ()
    ) -> Mesh:
        """Return the mesh that `export` writes, textured; see the base class."""
        clock = Clock()
        with clock.stage("surface"):
            mesh, whole = self._surface(source, self.cells(views))
        mesh, textured = self._colour(mesh, whole, source, views, originals, clock)
        return textured or mesh

    def cells(self, views: ViewSet | None) -> int:
        """Grid cells along the object: as asked for, or by what the views show."""
        return self.cfg.resolution or fitting_cells(views)

    @property
    def _faces(self) -> list[int]:
        """Of every level, the finest first."""
        return self.cfg.faces if isinstance(self.cfg.faces, list) else [self.cfg.faces]

    def _surface(
        self,
        source: Meshed,
        cells: int,
        report: Callable[[str], None] | None = None,
    ) -> tuple[Mesh, Mesh]:
        """The finest level, and the surface before it is reduced if that is needed any more."""
        cfg, faces = self.cfg, self._faces
        options = MeshOptions(faces[0], cfg.smooth, cfg.keep_components, cfg.slope, cfg.memory_gb)
        if len(faces) == 1 and not cfg.normal_map and not cfg.quads:
            mesh = source.mesh(cells, options, report=report)
            return mesh, mesh
        whole = source.mesh(cells, replace(options, faces=0), report=report)
        if whole.texture is not None:
            return whole, without_seams(whole)
        return self._reduced(whole, faces[0], report) if faces[0] else whole, whole

    def _reduced(
        self, whole: Mesh, faces: int, report: Callable[[str], None] | None = None
    ) -> Mesh:
        return quad_surface(whole, faces, report) if self.cfg.quads else reduced(whole, faces)

    def _level(self, finest: Mesh, whole: Mesh, faces: int) -> Mesh:
        """The surface with fewer faces, and the colours of the finest level."""
        mesh = self._reduced(replace(whole, colours=None), faces)
        if finest.texture is None:
            return coloured_vertices(mesh, finest)
        size = level_texture(len(finest.texture), len(mesh.faces), len(finest.faces))
        baker = self.baker(unwrap(mesh, size, method=self.cfg.unwrap), size)
        made = baker.textured(baker.query(colours_of(finest)))
        return self._detailed(made, whole, size)

    def _colour(
        self,
        mesh: Mesh,
        whole: Mesh,
        source: Meshed,
        views: ViewSet | None,
        originals: Sequence[ViewSet],
        clock: Clock,
    ) -> tuple[Mesh, Mesh | None]:
        """The mesh with vertex colours, and with a texture if a format needs one."""
        cfg, device = self.cfg, source.device
        if mesh.texture is not None:
            return without_seams(mesh), mesh
        colour = colour_function(source, mesh)
        painted = None if cfg.texture_source == "field" else views
        footage = None
        with clock.stage("vertex colours"):
            if painted is not None:
                gloss = gloss_function(source, mesh)
                footage = Footage(mesh, painted, cfg.texture_margin, originals, gloss)
            plain = not all(kind.wants_texture for kind in self.formats.values())
            if plain or footage is not None:
                normals = vertex_normals(mesh)
                colours = query_colours(mesh.vertices, normals, colour, device=device)
                mesh = replace(mesh, colours=colours)
                mesh = mesh if footage is None else footage.refine_vertices(mesh)
        if not any(kind.wants_texture for kind in self.formats.values()):
            return mesh, None
        size = cfg.texture_size or fitting_size(mesh, views, originals if footage else ())
        with clock.stage("unwrap"):
            cut = unwrap(replace(mesh, colours=None), size, method=cfg.unwrap)
        with clock.stage("bake"):
            baker = self.baker(cut, size)
            texels = baker.query(colour, device=device)
        if painted is not None and footage is not None:
            with clock.stage("views"):
                if cfg.psnr_views:
                    field_only = baker.textured(texels)
                    self.figures["mesh_psnr_field"] = mesh_psnr(field_only, painted, cfg.psnr_views)
                texels = baker.refined(texels, footage, mesh)
        textured = baker.textured(texels)
        pictures = [] if painted is None else [painted, *originals]
        self.figures |= texture_figures(cut, size, pictures)
        if textured.texture is not None:
            with clock.stage("details"):
                textured = self._detailed(textured, whole, size)
        return mesh, textured

    def _detailed(self, mesh: Mesh, whole: Mesh, size: int) -> Mesh:
        """A textured mesh with those further maps that are asked for."""
        if self.cfg.normal_map:
            mesh = with_normal_map(mesh, whole, size)
        return with_occlusion_map(mesh, whole, size) if self.cfg.occlusion_map else mesh

    def _count_faces(self, levels: Sequence[Mesh], report: Callable[[str], None]) -> None:
        """Tell of levels with more triangles than asked for."""
        for wanted, level in zip(self._faces, levels, strict=True):
            if not self.cfg.quads and 0 < 1.1 * wanted + 2 < len(level.faces):
                report(
                    f"{wanted:,} faces are too few for this shape, {len(level.faces):,} were kept: "
                    "less would change its volume by more than 3 %, or its holes."
                )

    def _check_print(
        self, mesh: Mesh, written: dict[str, Path], report: Callable[[str], None]
    ) -> None:
        """Measure the solid, if there are files that count millimetres."""
        small = [
            written[name].name for name, kind in self.formats.items() if kind.metres_per_unit != 1
        ]
        if small:
            record = self.figures["files"][small[0]]
            self.figures["print"] = check_print(mesh, record, small, report)

    def _write_pictures(
        self,
        mesh: Mesh,
        views: ViewSet | None,
        folder: Path,
        input_picture: Float[Tensor, "4 h w"] | None,
        notes: Sequence[str],
    ) -> dict[str, Path]:
        from studio.export.contact_sheet import contact_sheet
        from studio.export.turntable import turntable_frames, write_video

        cfg, written = self.cfg, {}
        if cfg.turntable:
            frames = turntable_frames(mesh, cfg.turntable_frames, cfg.turntable_size)
            written["turntable"] = write_video(frames, folder / "turntable.mp4")
        if cfg.preview:
            written["preview"] = folder / "preview.png"
            generated = views is not None and "guidance" in views.meta
            label = "generated views" if generated else "views"
            sheet = contact_sheet(mesh, views, input_picture, views_label=label, notes=notes)
            with atomic_write(written["preview"]) as temporary:
                sheet.save(temporary, optimize=True)
        return written
