"""USDZ: an uncompressed zip archive of a USD layer (as text) and its pictures.

After the published descriptions of USDZ packages, of the UsdGeom, UsdShade and UsdPreviewSurface
schemas, and of the text format.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from studio.export.attributes import png_bytes, srgb_to_linear, unit_normals, welded
from studio.export.cleanup import open_edges
from studio.export.formats.base import MeshFormat
from studio.export.notes import GENERATOR, Notes
from studio.export.world import Z_UP_TO_Y_UP
from studio.mesh import Mesh
from studio.plugins.registry import register

ALIGNMENT = 64  # bytes; every file's content begins at a multiple, so that it can be mapped
_LOCAL_HEADER = 30  # bytes of a zip entry's header before its name and extra field
LAYER, TEXTURE = "object.usda", "colour.png"
NORMALS, OCCLUSION = "normals.png", "occlusion.png"


@register("format", "usdz")
class Usdz(MeshFormat):
    """USDZ, UsdPreviewSurface: metres, texture or vertex colours; for Apple's viewers and USD."""

    suffix = ".usdz"
    up = "+y"
    wants_texture = True
    holds_offset = True

    def encode(self, mesh: Mesh, name: str, notes: Notes) -> dict[str, bytes]:
        """Return one file."""
        record = json.dumps(self.record(notes.placement))
        parts = {LAYER: "".join(_layer(mesh, notes, record)).encode()}
        if mesh.texture is not None and mesh.uv is not None:
            parts[TEXTURE] = png_bytes(mesh.texture)
            if mesh.normal_map is not None:
                parts[NORMALS] = png_bytes(mesh.normal_map)
            if mesh.occlusion_map is not None:
                parts[OCCLUSION] = png_bytes(mesh.occlusion_map)
        return {name: _packed(parts)}


def _layer(mesh: Mesh, notes: Notes, record: str) -> Iterator[str]:
    copyright = f"        string copyright = {_quoted(notes.copyright)}\n" * bool(notes.copyright)
    shift = Z_UP_TO_Y_UP @ notes.offset + 0.0
    yield f"""#usda 1.0
(
    defaultPrim = "object"
    doc = {_quoted(GENERATOR)}
    metersPerUnit = 1
    upAxis = "Y"
    customLayerData = {{
        string studio = {_quoted(record)}
{copyright}    }}
)

def Xform "object" (
    displayName = {_quoted(notes.name)}
    kind = "component"
)
{{
    double3 xformOp:translate = ({", ".join(f"{value:.17g}" for value in shift)})
    uniform token[] xformOpOrder = ["xformOp:translate"]

"""
    yield from _mesh(mesh)
    yield from _material(mesh)
    yield "}\n"


def _mesh(mesh: Mesh) -> Iterator[str]:
    turn = Z_UP_TO_Y_UP.T.astype(np.float32)
    points = mesh.vertices @ turn
    is_open = len(open_edges(welded(mesh)[1][mesh.faces])) > 0
    quads, triangles = mesh.polygons()
    counts = ["4"] * len(quads) + ["3"] * len(triangles)
    corners = np.concatenate([quads.reshape(-1), triangles.reshape(-1)]).tolist()
    yield f"""    def Mesh "mesh" (
        prepend apiSchemas = ["MaterialBindingAPI"]
    )
    {{
        uniform bool doubleSided = {int(is_open)}
        float3[] extent = {_tuples(np.stack([points.min(0), points.max(0)]))}
        int[] faceVertexCounts = [{", ".join(counts)}]
        int[] faceVertexIndices = [{", ".join(map(str, corners))}]
        rel material:binding = </object/surface>
        point3f[] points = {_tuples(points)}
        normal3f[] normals = {_tuples(unit_normals(mesh) @ turn)} (
            interpolation = "vertex"
        )
        uniform token subdivisionScheme = "none"
"""
    if mesh.texture is not None and mesh.uv is not None:
        yield _primvar("texCoord2f[] primvars:st", mesh.uv)
    elif mesh.colours is not None:
        yield _primvar("color3f[] primvars:displayColor", srgb_to_linear(mesh.colours))
    yield "    }\n"


def _primvar(declared: str, values: np.ndarray) -> str:
    return f"""        {declared} = {_tuples(values)} (
            interpolation = "vertex"
        )
"""


def _material(mesh: Mesh) -> Iterator[str]:
    """A rough, not metallic surface; its colour comes from the texture or the vertices."""
    inputs, sources = ["color3f inputs:diffuseColor = (0.5, 0.5, 0.5)"], ""
    if mesh.texture is not None and mesh.uv is not None:
        inputs = ["color3f inputs:diffuseColor.connect = </object/surface/colour.outputs:rgb>"]
        sources = _COORDINATES + _picture("colour", TEXTURE, "sRGB")
        if mesh.normal_map is not None:
            inputs += ["normal3f inputs:normal.connect = </object/surface/normals.outputs:rgb>"]
            sources += _picture("normals", NORMALS, "raw", _SIGNED)
        if mesh.occlusion_map is not None:
            inputs += ["float inputs:occlusion.connect = </object/surface/occlusion.outputs:r>"]
            sources += _picture("occlusion", OCCLUSION, "raw", output="float outputs:r")
    elif mesh.colours is not None:
        inputs = ["color3f inputs:diffuseColor.connect = </object/surface/colour.outputs:result>"]
        sources = _VERTEX_COLOURS
    said = "\n".join(f"            {line}" for line in inputs)
    yield f"""
    def Material "surface"
    {{
        token outputs:surface.connect = </object/surface/preview.outputs:surface>

        def Shader "preview"
        {{
            uniform token info:id = "UsdPreviewSurface"
{said}
            float inputs:metallic = 0
            float inputs:roughness = 1
            token outputs:surface
        }}
{sources}    }}
"""


_COORDINATES = """
        def Shader "coordinates"
        {
            uniform token info:id = "UsdPrimvarReader_float2"
            string inputs:varname = "st"
            float2 outputs:result
        }
"""
_VERTEX_COLOURS = """
        def Shader "colour"
        {
            uniform token info:id = "UsdPrimvarReader_float3"
            string inputs:varname = "displayColor"
            float3 outputs:result
        }
"""
_SIGNED = """            float4 inputs:scale = (2, 2, 2, 1)
            float4 inputs:bias = (-1, -1, -1, 0)
"""
"""What takes a normal map's values, stored in [0, 1], to [-1, 1]."""


def _picture(
    name: str, file: str, space: str, further: str = "", output: str = "float3 outputs:rgb"
) -> str:
    """A shader that looks a picture up."""
    return f"""
        def Shader "{name}"
        {{
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @{file}@
            token inputs:sourceColorSpace = "{space}"
            float2 inputs:st.connect = </object/surface/coordinates.outputs:result>
            token inputs:wrapS = "clamp"
            token inputs:wrapT = "clamp"
{further}            {output}
        }}
"""


def _tuples(values: np.ndarray) -> str:
    row = "(" + ", ".join(["%.9g"] * values.shape[1]) + ")"
    return "[" + ", ".join(row % tuple(value) for value in values.tolist()) + "]"


def _quoted(text: str) -> str:
    """A string of the text format, on one line."""
    return json.dumps(text, ensure_ascii=False)


def _packed(parts: dict[str, bytes]) -> bytes:
    """A zip archive without compression, its contents aligned by padding in their extra fields."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name)
            begin = buffer.tell() + _LOCAL_HEADER + len(name) + 4  # of the content, with no padding
            padding = -begin % ALIGNMENT
            entry.extra = struct.pack("<HH", 0x1986, padding) + bytes(padding)
            archive.writestr(entry, content)
    return buffer.getvalue()
