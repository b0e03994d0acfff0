// The views' cameras, drawn as frusta with their pictures. transforms.json holds camera-to-world
// matrices with OpenGL's axes (x right, y up, looking along -z), in the views' world.

import {
  Box3, BufferAttribute, BufferGeometry, DoubleSide, Group, LineBasicMaterial, LineSegments, Matrix4, Mesh,
  MeshBasicMaterial, SRGBColorSpace, TextureLoader, Vector3,
} from "../vendor/three.js";

const REACH = 0.13; // depth of a frustum over its camera's distance from the origin
const SMALLER = 0.25; // pictures of orthographic cameras, which would be as large as the object
const LARGEST = 256;
const EDGES = [0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1];

/** One view: its name, camera and the address of its picture. */
class View {
  constructor(frame, all, index, addressOf) {
    const given = (key) => frame[key] ?? all[key];
    this.name = frame.file_path;
    this.address = addressOf(frame.file_path);
    this.c2w = new Matrix4().set(...frame.transform_matrix.flat());
    this.width = given("w");
    this.height = given("h");
    this.focal = given("fl_x") ?? this.width / (2 * Math.tan(given("camera_angle_x") / 2));
    this.focalY = given("fl_y") ?? this.focal;
    this.centre = [given("cx") ?? this.width / 2, given("cy") ?? this.height / 2];
    const scales = all.studio?.ortho_scale; // world units a picture's height, of orthographic cameras
    this.scale = scales ? (scales[index] ?? scales[0]) : null;
    this.position = new Vector3().setFromMatrixPosition(this.c2w);
    this.forward = new Vector3(0, 0, -1).transformDirection(this.c2w);
  }

  /** Vertical field of view, in degrees, at which a canvas of this aspect shows the whole picture. */
  fovFor(aspect) {
    if (this.scale) return (2 * Math.atan(this.scale / 2 / this.position.length()) * 180) / Math.PI;
    const half = Math.max(this.height / 2 / this.focalY, this.width / 2 / this.focal / aspect);
    return (2 * Math.atan(half) * 180) / Math.PI;
  }

  /** The eye and the picture's corners (top left, top right, bottom right, bottom left) at a depth. */
  corners(depth) {
    const [x, y] = this.scale
      ? [(SMALLER * this.scale) / this.height, (SMALLER * this.scale) / this.height]
      : [depth / this.focal, depth / this.focalY];
    const at = (u, v) => new Vector3((u - this.centre[0]) * x, (this.centre[1] - v) * y, -depth);
    const local = [new Vector3(), at(0, 0), at(this.width, 0), at(this.width, this.height), at(0, this.height)];
    return local.map((point) => point.applyMatrix4(this.c2w));
  }
}

/** The views of a transforms.json. */
export function readViews(transforms, addressOf) {
  return transforms.frames.map((frame, index) => new View(frame, transforms, index, addressOf));
}

export class Frusta {
  /** Pictures are fetched when the frusta are first shown. */
  constructor(views, colour) {
    this.views = views;
    this.changed = () => {};
    this.group = new Group();
    this.group.visible = false;
    this.pictures = views.map((view) => this.picture(view));
    this.lines = this.wires(colour);
    this.group.add(this.lines, ...this.pictures);
  }

  wires(colour) {
    const points = this.views.flatMap((view) => {
      const corners = view.corners(depthOf(view));
      return EDGES.flatMap((index) => corners[index].toArray());
    });
    const geometry = geometryOf(points);
    return new LineSegments(geometry, new LineBasicMaterial({ color: colour }));
  }

  picture(view) {
    const [, ...corners] = view.corners(depthOf(view));
    const geometry = geometryOf(corners.flatMap((corner) => corner.toArray()));
    geometry.setAttribute("uv", new BufferAttribute(new Float32Array([0, 1, 1, 1, 1, 0, 0, 0]), 2));
    geometry.setIndex([0, 3, 1, 1, 3, 2]);
    const material = new MeshBasicMaterial({ side: DoubleSide, transparent: true, premultipliedAlpha: true, alphaTest: 0.02, opacity: 0.1 });
    const mesh = new Mesh(geometry, material);
    mesh.userData.view = view;
    return mesh;
  }

  paint(colour) {
    this.lines.material.color.set(colour);
    this.changed();
  }

  show(shown) {
    this.group.visible = shown;
    if (shown && !this.asked) {
      this.asked = true;
      for (const mesh of this.pictures) this.fetch(mesh);
    }
    this.changed();
  }

  async fetch(mesh) {
    const texture = await new TextureLoader().loadAsync(mesh.userData.view.address).catch(() => null);
    if (!texture) return; // the frustum alone says where the camera is
    texture.image = small(texture.image);
    Object.assign(texture, { colorSpace: SRGBColorSpace, premultiplyAlpha: true, needsUpdate: true });
    Object.assign(mesh.material, { map: texture, opacity: 1, needsUpdate: true });
    this.changed();
  }

  /** Where the cameras are, in the world. */
  get box() {
    return new Box3().setFromPoints(this.views.map((view) => view.position));
  }

  /** The view whose picture a ray meets first, or null. */
  hit(ray) {
    return ray.intersectObjects(this.pictures, false)[0]?.object.userData.view ?? null;
  }

  dispose() {
    this.group.removeFromParent();
    this.group.traverse((node) => {
      node.geometry?.dispose();
      node.material?.map?.dispose();
      node.material?.dispose();
    });
  }
}

/** A picture of at most LARGEST pixels a side: captures have hundreds of large ones. */
function small(image) {
  const scale = LARGEST / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const depthOf = (view) => REACH * (view.position.length() || 1);

function geometryOf(points) {
  return new BufferGeometry().setAttribute("position", new BufferAttribute(new Float32Array(points), 3));
}
