// A ground below the prepared picture, as a camera at the chosen elevation would see it: where it
// does not lie under the object, the elevation is wrong.

import { h, s, put } from "./dom.js";

const DISTANCE = 1.5; // of the canonical camera from an object whose longest side is 1
const HALF = Math.tan((49.1 * Math.PI) / 360);
const RINGS = [0.25, 0.42, 0.6];
const POINTS = 48;

/** Where a point of the world (camera at azimuth 0) is in a picture of side 1. */
function project([x, y, z], elevation) {
  const [c, sn] = [Math.cos(elevation), Math.sin(elevation)];
  const depth = DISTANCE - (c * x + sn * z);
  return [0.5 + y / depth / (2 * HALF), 0.5 - (c * z - sn * x) / depth / (2 * HALF)];
}

function ring(radius, height, elevation) {
  const points = Array.from({ length: POINTS }, (_, index) => {
    const angle = (2 * Math.PI * index) / POINTS;
    return project([radius * Math.cos(angle), radius * Math.sin(angle), height], elevation);
  });
  return points.map(([u, v]) => `${(100 * u).toFixed(2)},${(100 * v).toFixed(2)}`).join(" ");
}

/** Height of the ground whose middle ring ends where the object does, at `bottom` of the picture. */
function groundHeight(bottom, elevation) {
  let [low, high] = [-0.9, 0.5];
  for (let turn = 0; turn < 24; turn += 1) {
    const middle = (low + high) / 2;
    const near = elevation >= 0 ? RINGS[1] : -RINGS[1];
    if (project([near * 0.8, 0, middle], elevation)[1] > bottom) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** An SVG to lie behind a picture; `draw(degrees, bottom)` draws the ground for an elevation. */
export function ground() {
  const element = s("svg", { class: "ground", viewBox: "0 0 100 100", "aria-hidden": "true" });
  element.redraw = (degrees, bottom) => {
    if (degrees === null) return put(element);
    const elevation = (degrees * Math.PI) / 180;
    const height = groundHeight(bottom, elevation);
    const rings = RINGS.map((radius) => s("polygon", { points: ring(radius, height, elevation) }));
    const axes = [[1, 0], [0, 1]].map(([x, y]) => {
      const [a, b] = [-1, 1].map((side) => project([side * 0.6 * x, side * 0.6 * y, height], elevation));
      return s("line", { x1: 100 * a[0], y1: 100 * a[1], x2: 100 * b[0], y2: 100 * b[1] });
    });
    return put(element, ...rings, ...axes);
  };
  return element;
}

/** The lowest row of a picture that shows something, as a share of its height. */
export function lowestRow(image) {
  const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let row = height - 1; row >= 0; row -= 1) {
    for (let column = 0; column < width; column += 1) {
      if (data[4 * (row * width + column) + 3] > 127) return (row + 1) / height;
    }
  }
  return 0.85;
}
