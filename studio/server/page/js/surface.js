// The ways to look at one mesh.

import {
  DoubleSide, LineBasicMaterial, LineSegments, MeshNormalMaterial, MeshStandardMaterial,
  WireframeGeometry,
} from "../vendor/three.js";

/** [value, label] of every way. */
export const SHADINGS = [["textured", "Texture"], ["shape", "Shape"], ["normals", "Normals"], ["wireframe", "Wireframe"]];

const matt = (options) => new MeshStandardMaterial({ roughness: 1, metalness: 0, side: DoubleSide, ...options });

export class Surface {
  /** Take over the meshes below a group. */
  constructor(root) {
    this.root = root;
    this.meshes = [];
    root.traverse((node) => node.isMesh && this.meshes.push(node));
    this.clay = matt({ color: 0xc9c7c2, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
    this.normals = new MeshNormalMaterial({ side: DoubleSide });
    this.lines = new LineBasicMaterial({ color: 0x27406f, transparent: true, opacity: 0.55 });
    this.own = this.meshes.map((mesh) => this.coloursOf(mesh));
    this.wires = null;
  }

  get triangles() {
    return this.meshes.reduce((sum, { geometry }) => sum + (geometry.index ?? geometry.attributes.position).count / 3, 0);
  }

  /** Whether the file brings colours, be they a texture or the vertices'. */
  get coloured() {
    return this.own.some((material) => material !== this.clay);
  }

  coloursOf(mesh) {
    const map = mesh.material.map ?? null;
    const vertexColors = Boolean(mesh.geometry.attributes.color);
    if (!mesh.geometry.attributes.normal) mesh.geometry.computeVertexNormals();
    return map || vertexColors ? matt({ map, vertexColors }) : this.clay;
  }

  shade(mode) {
    this.meshes.forEach((mesh, index) => {
      if (mode === "textured") mesh.material = this.own[index];
      else mesh.material = mode === "normals" ? this.normals : this.clay;
    });
    if (mode === "wireframe") this.wires ??= this.meshes.map((mesh) => this.wire(mesh));
    this.wires?.forEach((wire) => (wire.visible = mode === "wireframe"));
  }

  wire(mesh) {
    const wire = new LineSegments(new WireframeGeometry(mesh.geometry), this.lines);
    mesh.add(wire);
    return wire;
  }

  /** Take it out of the scene and free what the graphics card holds of it. */
  remove() {
    this.root.removeFromParent();
    for (const wire of this.wires ?? []) wire.geometry.dispose();
    for (const mesh of this.meshes) mesh.geometry.dispose();
    for (const material of [this.clay, this.normals, this.lines, ...this.own]) {
      material.map?.dispose();
      material.dispose();
    }
  }
}
