// Two results side by side; turning one turns the other.

import { fileAddress, job as fetchJob, jobs } from "./api.js";
import { complaint, h, put, segments, uid } from "./dom.js";
import { readViews } from "./frusta.js";
import { Stage } from "./stage.js";
import { SHADINGS } from "./surface.js";
import { ago, duration } from "./words.js";

/** `left` and `right` are ids; what is not given is chosen among the latest. */
export async function comparePage(main, left, right) {
  const done = (await jobs()).filter((job) => job.phase === "done");
  if (!done.length || (done.length < 2 && !left)) {
    put(main, h("h1", {}, "Compare"), h("p", { class: "muted empty" }, "Two finished results are needed. ", h("a", { href: "#/" }, "Make one.")));
    return () => {};
  }
  const first = left ?? done[0].id;
  const second = right ?? done.find(({ id }) => id !== first)?.id ?? first;
  const sides = [new Side(done, first, "Left"), new Side(done, second, "Right")];
  const choices = SHADINGS.map(([value, label]) => ({ value, label }));
  const shading = segments("Drawn as", uid("shading"), choices, "textured", (mode) => sides.forEach((side) => side.stage.shade(mode)), { quiet: true });
  const cameras = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => {
    sides.forEach((side) => side.stage.toggleCameras());
    cameras.setAttribute("aria-pressed", String(cameras.getAttribute("aria-pressed") !== "true"));
  } }, "Cameras");
  put(main, h("div", { class: "compare" }, h("h1", {}, "Compare"), h("div", { class: "tools" }, shading, cameras), h("div", { class: "pair" }, ...sides.map((side) => side.element))));
  link(sides);
  const address = () => history.replaceState(null, "", `#/compare/${sides[0].id}/${sides[1].id}`);
  sides.forEach((side) => (side.changed = address));
  await Promise.all(sides.map((side) => side.show()));
  return () => sides.forEach((side) => side.stage.dispose());
}

function link(sides) {
  let leading = false; // the other's own change must not come back
  sides.forEach((side, index) => {
    if (!side.stage.viewer) return;
    side.stage.viewer.moved = (pose) => {
      const other = sides[1 - index].stage.viewer;
      if (leading || !other) return;
      leading = true;
      other.place(pose);
      leading = false;
    };
  });
}

class Side {
  constructor(done, id, words) {
    this.id = id;
    this.changed = () => {};
    const field = uid("side");
    this.select = h("select", { id: field, onchange: () => this.choose(this.select.value) }, ...done.map((job) => h(
      "option", { value: job.id, selected: job.id === id }, `${job.label || job.method} · ${job.method} · seed ${job.seed} · ${ago(job.created)}`,
    )));
    this.stage = new Stage(`${words} mesh in 3D`, { tools: false });
    this.trouble = h("div", {});
    this.element = h("section", { class: "side", "aria-label": words }, h("label", { for: field, class: "unseen" }, `${words} result`), this.select, this.stage.element, this.trouble);
  }

  choose(id) {
    this.id = id;
    this.changed();
    this.show();
  }

  async show() {
    put(this.trouble);
    try {
      const job = await fetchJob(this.id);
      const told = await this.stage.show(fileAddress(job, "model.glb"));
      if (told) this.stage.say(`${Math.round(told.triangles).toLocaleString("en")} triangles · ${duration(job.seconds)}`);
      const answer = await fetch(fileAddress(job, "views/transforms.json"));
      if (answer.ok) this.stage.setViews(readViews(await answer.json(), (path) => fileAddress(job, `views/${path}`)));
    } catch (error) {
      put(this.trouble, complaint(error));
    }
  }
}
