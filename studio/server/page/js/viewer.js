// A mesh in 3D: orbit by mouse, touch and keys. The scene is the views' world, +Z up; a mesh comes in
// by the similarity that its file states, so that it stays where it is when a better one replaces it.

import {
  Box3, DirectionalLight, GridHelper, HemisphereLight, OrbitControls,
  PerspectiveCamera, Raycaster, Scene, Vector2, Vector3, WebGLRenderer,
} from "../vendor/three.js";
import { loadMesh } from "./glb.js";
import { Surface } from "./surface.js";

const FIELD_OF_VIEW = 40; // degrees, vertical
const START = new Vector3(1.55, 0.9, 0.95); // the front, from its left, a little from above
const CLOSE = 0.82; // of the distance at which a sphere about the object fits
const STEP = Math.PI / 18; // of an arrow key
const FLIGHT = 450; // milliseconds from one place to another
const POLE = 0.02; // radians that a camera keeps from the zenith

export class Viewer {
  /** Make a canvas in `host`. Throws where the browser has no WebGL. */
  constructor(host, canvas) {
    this.host = host;
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: false });
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.01, 100);
    this.camera.up.set(0, 0, 1);
    this.camera.position.copy(START);
    this.lights();
    this.frusta = null;
    this.surface = null;
    this.shading = "textured";
    this.latest = 0;
    this.moved = () => {};
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.enablePan = true;
    this.controls.minDistance = 0.2;
    this.controls.maxDistance = 12;
    this.controls.addEventListener("change", () => this.changed());
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(host);
    this.resize();
  }

  lights() {
    const sky = new HemisphereLight(0xffffff, 0xb9b4ac, 2.3);
    sky.position.set(0, 0, 1);
    const lamp = new DirectionalLight(0xffffff, 1.1);
    lamp.position.set(-0.6, 0.8, 1); // over the shoulder: it moves with the camera
    this.camera.add(lamp);
    this.grid = new GridHelper(2.4, 12, 0x808488, 0x808488);
    this.grid.rotation.x = Math.PI / 2;
    this.grid.material.transparent = true;
    this.grid.material.opacity = 0.22;
    this.grid.visible = false;
    this.scene.add(sky, this.camera, this.grid);
  }

  /** Show a GLB in place of the one before. Resolves to {triangles, coloured}, null if overtaken. */
  async show(address) {
    this.latest += 1;
    const mine = this.latest;
    const root = await loadMesh(address);
    if (mine !== this.latest) return null;
    const first = this.surface === null;
    this.surface?.remove();
    this.surface = new Surface(root);
    this.surface.shade(this.shading);
    this.scene.add(root);
    const box = new Box3().setFromObject(root);
    this.grid.position.z = box.min.z;
    this.grid.visible = true;
    if (first) this.place((this.start = this.before(box)));
    this.draw();
    return { triangles: this.surface.triangles, coloured: this.surface.coloured };
  }

  /** A place from which all of a box is seen, on a line from its middle. */
  before(box, line = START) {
    const target = box.getCenter(new Vector3());
    const radius = box.getSize(new Vector3()).length() / 2 || 1;
    const narrow = Math.min(1, this.camera.aspect);
    const distance = (CLOSE * radius) / Math.sin((FIELD_OF_VIEW * Math.PI) / 360) / narrow;
    this.controls.maxDistance = Math.max(this.controls.maxDistance, 4 * distance);
    return { target, position: line.clone().setLength(distance).add(target), fov: FIELD_OF_VIEW };
  }

  /** Step back until all cameras are seen, where they are not. */
  overview() {
    const line = this.camera.position.clone().sub(this.controls.target);
    const goal = this.before(this.frusta.box, line);
    if (goal.position.distanceTo(goal.target) > line.length()) this.fly(goal);
  }

  /** Where the camera is: {position, target, fov}. */
  get pose() {
    return { position: this.camera.position.clone(), target: this.controls.target.clone(), fov: this.camera.fov };
  }

  /** Put the camera somewhere at once. */
  place({ position, target, fov }) {
    this.camera.position.copy(position);
    this.controls.target.copy(target);
    this.camera.fov = fov;
    this.camera.updateProjectionMatrix();
    this.controls.update();
    this.changed();
  }

  /** Move the camera there, in a moment, or at once where motion is not wanted. */
  fly(goal) {
    const from = this.pose;
    const began = performance.now();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (now) => {
      const t = still ? 1 : Math.min(1, (now - began) / FLIGHT);
      const ease = t * t * (3 - 2 * t);
      const target = from.target.clone().lerp(goal.target, ease);
      const away = from.position.clone().sub(from.target).lerp(goal.position.clone().sub(goal.target), ease);
      const length = (1 - ease) * from.position.distanceTo(from.target) + ease * goal.position.distanceTo(goal.target);
      this.place({ target, position: away.setLength(length).add(target), fov: from.fov + ease * (goal.fov - from.fov) });
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Back to where the camera was at first. */
  home() {
    if (this.start) this.fly(this.start);
  }

  /** textured, shape, normals or wireframe. */
  shade(mode) {
    this.shading = mode;
    this.surface?.shade(mode);
    this.draw();
  }

  /** Show the views' cameras (see frusta.js), or none. */
  setFrusta(frusta) {
    if (this.frusta) this.scene.remove(this.frusta.group);
    this.frusta = frusta;
    if (frusta) {
      frusta.changed = () => this.draw();
      this.scene.add(frusta.group);
    }
    this.draw();
  }

  /** Look through a view's camera. */
  lookThrough(view) {
    const centre = this.start?.target ?? new Vector3();
    const far = Math.max(0.1, centre.clone().sub(view.position).dot(view.forward));
    const target = view.position.clone().addScaledVector(view.forward, far);
    this.fly({ position: view.position.clone(), target, fov: view.fovFor(this.camera.aspect) });
  }

  /** The view whose picture is at this point of the canvas, or null. */
  viewAt(event) {
    if (!this.frusta?.group.visible) return null;
    const box = this.canvas.getBoundingClientRect();
    const at = new Vector2(((event.clientX - box.left) / box.width) * 2 - 1, 1 - ((event.clientY - box.top) / box.height) * 2);
    const ray = new Raycaster();
    ray.setFromCamera(at, this.camera);
    return this.frusta.hit(ray);
  }

  /** Turn about the object by steps to the right and up. */
  orbit(right, up) {
    const away = this.camera.position.clone().sub(this.controls.target);
    const length = away.length();
    const azimuth = Math.atan2(away.y, away.x) + right * STEP;
    const limit = Math.PI / 2 - POLE;
    const elevation = Math.min(limit, Math.max(-limit, Math.asin(away.z / length) + up * STEP));
    const flat = Math.cos(elevation);
    away.set(flat * Math.cos(azimuth), flat * Math.sin(azimuth), Math.sin(elevation)).multiplyScalar(length);
    this.place({ ...this.pose, position: away.add(this.controls.target) });
  }

  /** Come nearer (above 1) or go away. */
  zoom(factor) {
    const away = this.camera.position.clone().sub(this.controls.target).divideScalar(factor);
    away.clampLength(this.controls.minDistance, this.controls.maxDistance);
    this.place({ ...this.pose, position: away.add(this.controls.target) });
  }

  resize() {
    const { clientWidth, clientHeight } = this.host;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  changed() {
    this.draw();
    this.moved(this.pose);
  }

  /** Draw at the next frame; nothing is drawn while nothing changes. */
  draw() {
    if (this.due || this.gone) return;
    this.due = requestAnimationFrame(() => {
      this.due = 0;
      this.renderer.render(this.scene, this.camera);
    });
  }

  dispose() {
    this.gone = true;
    cancelAnimationFrame(this.due);
    this.latest += 1;
    this.sizes.disconnect();
    this.controls.dispose();
    this.surface?.remove();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }
}
