"""Open a GLB, OBJ or PLY in Blender as a person would, say where it is, and render two sides.

    <python with bpy> blender_open.py model.glb OUT

Writes OUT-front.png (from -Y, as numpad 1 does) and OUT-top.png (from above, front below), and
prints one line of JSON: the box of all meshes in Blender's world (+Z up), names of objects,
materials and pictures. Needs no screen: Cycles renders on the processor.
"""

import json
import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

SIDE, SAMPLES = 160, 4


def open_file(path: Path) -> None:
    """Import with the importer's own defaults into an empty scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importers = {
        ".glb": bpy.ops.import_scene.gltf,
        ".obj": bpy.ops.wm.obj_import,
        ".ply": bpy.ops.wm.ply_import,
    }
    importers[path.suffix](filepath=str(path))


def box() -> tuple[Vector, Vector]:
    """Corners of the box around all meshes, in the world."""
    meshes = [o for o in bpy.data.objects if o.type == "MESH"]
    points = [o.matrix_world @ v.co for o in meshes for v in o.data.vertices]
    low = Vector([min(p[i] for p in points) for i in range(3)])
    return low, Vector([max(p[i] for p in points) for i in range(3)])


def show_vertex_colours() -> None:
    """Blender shows a PLY's colours only through a material that asks for them."""
    for mesh in bpy.data.meshes:
        if mesh.color_attributes and not mesh.materials:
            material = bpy.data.materials.new("colours")
            material.use_nodes = True
            nodes, links = material.node_tree.nodes, material.node_tree.links
            colours = nodes.new("ShaderNodeVertexColor")
            colours.layer_name = mesh.color_attributes[0].name
            links.new(colours.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
            mesh.materials.append(material)


def render(name: str, rotation: tuple[float, float, float], target: Path) -> None:
    """Render orthographically onto grey with light from everywhere."""
    low, high = box()
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    bpy.context.collection.objects.link(camera)
    camera.data.type, camera.data.ortho_scale = "ORTHO", 1.2 * max(high - low)
    camera.rotation_euler = rotation
    bpy.context.view_layer.update()
    away = camera.matrix_world.to_3x3() @ Vector((0, 0, 1))
    camera.location = (low + high) / 2 + away * 4 * max(high - low)
    scene = bpy.context.scene
    scene.camera, scene.render.engine = camera, "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = SAMPLES, False
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.view_settings.view_transform = "Standard"
    scene.world = scene.world or bpy.data.worlds.new("light")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.8, 0.8, 0.8, 1)
    scene.render.filepath = str(target)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    source, out = Path(sys.argv[1]), sys.argv[2]
    open_file(source)
    show_vertex_colours()
    low, high = box()
    render("front", (math.pi / 2, 0, 0), Path(f"{out}-front.png"))
    render("top", (0, 0, 0), Path(f"{out}-top.png"))
    answer = {
        "low": list(low),
        "high": list(high),
        "objects": [o.name for o in bpy.data.objects if o.type == "MESH"],
        "materials": [m.name for m in bpy.data.materials],
        "pictures": [i.name for i in bpy.data.images if i.name != "Render Result"],
    }
    print("\n" + json.dumps(answer))
