// A picture as the method will see it, shown as soon as something about it changes.

import { prepare } from "./api.js";
import { complaint, h, put } from "./dom.js";
import { ground, lowestRow } from "./ground.js";

const PAUSE = 120; // milliseconds after the last change

/**
 * A figure with `update(file, options, elevation)` and `turn(elevation)`. `refused` says whether the
 * service cannot use the picture as it is; `judged()` is called when it has said so, or not.
 */
export function preparedPicture(judged) {
  const image = h("img", { alt: "", hidden: true });
  const floor = ground();
  const caption = h("figcaption", { class: "muted" });
  const trouble = h("div", {});
  const figure = h("figure", { class: "prepared" }, h("div", { class: "checks" }, floor, image), caption, trouble);
  let latest = new AbortController();
  let timer = 0;
  let bottom = 0.85;
  let degrees = null;
  figure.refused = false;

  async function ask(file, options) {
    latest.abort();
    latest = new AbortController();
    figure.setAttribute("aria-busy", "true");
    try {
      const { picture, notes } = await prepare(file, options, latest.signal);
      await show(picture);
      put(caption, `What the method sees: ${image.naturalWidth} × ${image.naturalHeight} px`, ...notes.map((note) => h("p", {}, note)));
      put(trouble);
      figure.refused = false;
    } catch (error) {
      if (error.name === "AbortError") return;
      figure.refused = error.status === 422;
      image.hidden = true;
      put(floor);
      put(caption);
      put(trouble, complaint(error));
    }
    figure.removeAttribute("aria-busy");
    judged();
  }

  async function show(picture) {
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    await image.decode();
    image.alt = "The prepared picture";
    image.hidden = false;
    bottom = lowestRow(image);
    floor.redraw(degrees, bottom);
  }

  figure.turn = (elevation) => {
    degrees = elevation;
    if (!image.hidden) floor.redraw(degrees, bottom);
  };
  figure.update = (file, options, elevation) => {
    degrees = elevation;
    clearTimeout(timer);
    timer = setTimeout(() => ask(file, options), image.hidden ? 0 : PAUSE);
  };
  return figure;
}
