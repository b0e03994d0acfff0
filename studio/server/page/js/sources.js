// The four ways to begin, each with what is shown once something was given.

import { examples, remarks } from "./api.js";
import { h, icon, iconButton, put, uid } from "./dom.js";
import { draft, optionsOf } from "./draft.js";
import { dropField } from "./drop.js";
import { preparedPicture } from "./prepared.js";
import { bytes } from "./words.js";

const PAUSE = 300; // milliseconds after the last letter
const PICTURES = "image/*,.heic,.tif,.tiff,.avif";
const IDEAS = ["a red car", "a red van with white stripes", "a blue armchair with white cushions", "a green armchair"];

/**
 * Element for the chosen kind; `changed()` when something else was given, `changed.ready()` when it is
 * known whether it can be used. It has `update(method)`, and `refused()`: it cannot.
 */
export function source(changed) {
  return { image: picture, images: pictures, text, capture }[draft.kind](changed);
}

function picture(changed) {
  const taken = ([file]) => {
    draft.image = file;
    changed();
  };
  if (!draft.image) {
    const field = dropField({
      accept: PICTURES, picture: "picture", title: "Drop a picture here", note: "or paste it, or click to choose a file",
    }, taken);
    return with_(h("div", {}, field, exampleStrip(taken)), () => {});
  }
  const shown = preparedPicture(changed.ready);
  const clear = iconButton("close", "Take another picture", () => {
    draft.image = null;
    changed();
  });
  const element = h("div", { class: "given" }, h("div", { class: "given-name" }, h("b", {}, draft.image.name), clear), shown);
  return with_(element, (method, key) => {
    if (key === "data.elevation_deg") shown.turn(elevationOf(method));
    else shown.update(draft.image, preparation(method), elevationOf(method));
  }, () => shown.refused);
}

function pictures(changed) {
  const add = (files) => {
    draft.images = [...draft.images, ...files];
    changed();
  };
  const shown = draft.images.map((file, index) => {
    const figure = preparedPicture(changed.ready);
    const clear = iconButton("close", `Remove ${file.name}`, () => {
      draft.images = draft.images.filter((_, place) => place !== index);
      changed();
    });
    return { file, figure, tile: h("li", {}, figure, h("div", { class: "given-name" }, h("span", {}, file.name), clear)) };
  });
  const field = dropField({
    accept: PICTURES, multiple: true, picture: "pictures",
    title: shown.length ? "Add more" : "Drop pictures of one object here", note: "from all around; cameras are not needed",
  }, add);
  const element = h("div", {}, h("ul", { class: "tiles" }, ...shown.map(({ tile }) => tile)), field);
  return with_(element, (method) => {
    for (const { file, figure } of shown) figure.update(file, preparation(method), null);
  }, () => shown.some(({ figure }) => figure.refused));
}

function text(changed) {
  const [id, said] = [uid("text"), uid("said")];
  const notes = h("div", { id: said, "aria-live": "polite" });
  const written = () => {
    draft.text = area.value;
    changed.ready();
    look();
  };
  const area = h("textarea", { id, rows: 3, placeholder: IDEAS[0], maxlength: 500, "aria-describedby": said, oninput: written });
  const look = looker((words) => put(notes, words.map((note) => h("p", { class: "warning" }, icon("warning"), h("span", {}, note)))));
  area.value = draft.text;
  const ideas = IDEAS.map((idea) => h("button", {
    type: "button", class: "chip",
    onclick: () => {
      area.value = idea;
      written();
      area.focus();
    },
  }, idea));
  const element = h("div", { class: "field" }, h("label", { for: id }, "What it should be"), area, notes, h("div", { class: "chips" }, ...ideas));
  return with_(element, (method) => look(method));
}

/** A function that asks, a moment after it was last called, what is to be known of the text. */
function looker(tell) {
  let [method, asked, timer, latest] = [null, "", 0, new AbortController()];
  async function ask() {
    asked = `${method.name} ${draft.text}`;
    latest.abort();
    latest = new AbortController();
    try {
      tell(draft.text.trim() ? await remarks(method.name, draft.text, latest.signal) : []);
    } catch (error) {
      if (error.name !== "AbortError") tell([]); // what is wrong with it is said when it is sent
    }
  }
  return (chosen = method) => {
    method = chosen;
    clearTimeout(timer);
    if (method?.weights.there && `${method.name} ${draft.text}` !== asked) timer = setTimeout(ask, PAUSE);
  };
}

function capture(changed) {
  const taken = ([file]) => {
    draft.capture = file;
    changed();
  };
  if (!draft.capture) {
    const field = dropField({
      accept: ".zip,application/zip", picture: "capture", title: "Drop a zip of a capture here",
      note: "pictures with their cameras: transforms.json, COLMAP and others",
    }, taken);
    return with_(field, () => {});
  }
  const clear = iconButton("close", "Take another capture", () => {
    draft.capture = null;
    changed();
  });
  const row = h("div", { class: "given-name" }, h("b", {}, draft.capture.name), h("span", { class: "muted" }, bytes(draft.capture.size)), clear);
  return with_(h("div", { class: "given" }, row), () => {});
}

function exampleStrip(taken) {
  const strip = h("ul", { class: "examples", "aria-label": "Examples" });
  examples().then((list) => {
    put(strip, list.map(({ name, url }) => h("li", {}, h("button", {
      type: "button", "aria-label": `Example ${name}`, title: name,
      onclick: async () => taken([new File([await (await fetch(url)).blob()], name, { type: "image/png" })]),
    }, h("img", { src: url, alt: "", width: 72, height: 72, loading: "lazy" })))));
  }).catch(() => strip.remove());
  return h("div", { class: "example-row" }, h("span", { class: "muted" }, "or take one of these"), strip);
}

function with_(element, update, refused = () => false) {
  return Object.assign(element, { update, refused });
}

/** What the service must know to prepare a picture. */
function preparation(method) {
  const given = optionsOf(method);
  const keys = Object.keys(given).filter((key) => key.startsWith("data."));
  return { method: method.name, options: Object.fromEntries(keys.map((key) => [key, given[key]])) };
}

function elevationOf(method) {
  const option = method.options.find(({ key }) => key === "data.elevation_deg");
  if (!option) return null;
  const given = optionsOf(method);
  return option.key in given ? given[option.key] : option.default;
}
