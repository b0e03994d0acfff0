// The place where a mesh is looked at: the canvas and what is around it.

import { h, icon, iconButton, put, segments, uid } from "./dom.js";
import { Frusta } from "./frusta.js";
import { SHADINGS } from "./surface.js";
import { Viewer } from "./viewer.js";

const KEYS = "Arrow keys turn, plus and minus zoom, Home returns, 1 to 4 choose how it is drawn, C shows the cameras.";

export class Stage {
  /** label: the viewer's name for screen readers; tools: whether the row of buttons is there. */
  constructor(label, { tools = true } = {}) {
    const help = uid("keys");
    this.canvas = h("canvas", {
      tabindex: 0, role: "application", "aria-label": label, "aria-describedby": help, class: "scene",
    });
    this.note = h("p", { class: "stage-note", hidden: true });
    this.wait = h("div", { class: "stage-wait muted" }, icon("mesh"));
    this.host = h("div", { class: "stage-canvas" }, this.canvas);
    this.tools = tools ? this.toolbar() : null;
    this.element = h("div", { class: "stage" }, this.host, this.wait, this.note, this.tools, h("p", { id: help, class: "unseen" }, KEYS));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.address = "";
    this.listen = new AbortController();
    for (const [target, name] of [[matchMedia("(prefers-color-scheme: dark)"), "change"], [window, "theme"]]) {
      target.addEventListener(name, () => this.viewer?.frusta?.paint(this.colour), { signal: this.listen.signal });
    }
    try {
      this.viewer = new Viewer(this.host, this.canvas);
      this.picking();
    } catch {
      this.canvas.hidden = true;
      put(this.wait, "This browser shows no 3D (WebGL is off). Downloads work all the same.");
    }
  }

  /** Of the frusta's lines, by the theme. */
  get colour() {
    return getComputedStyle(this.canvas).color;
  }

  toolbar() {
    const choices = SHADINGS.map(([value, label], index) => ({ value, label, title: `${label}: key ${index + 1} in the viewer` }));
    this.shadings = segments("Drawn as", uid("shading"), choices, "textured", (mode) => this.shade(mode), { quiet: true });
    this.cameraButton = h("button", {
      type: "button", class: "quiet", "aria-pressed": "false", disabled: true, title: "Cameras: key C in the viewer", onclick: () => this.toggleCameras(),
    }, icon("capture"), "Cameras");
    return h(
      "div", { class: "tools", role: "toolbar", "aria-label": "Viewer" }, this.shadings, this.cameraButton,
      iconButton("home", "Back to the first sight", () => this.viewer?.home()),
      iconButton("full", "Full screen", () => this.fullScreen()),
    );
  }

  /** Show a mesh; an address that is shown already is left alone. Resolves to what viewer.show tells. */
  async show(address) {
    if (!this.viewer || address === this.address) return null;
    this.address = address;
    const told = await this.viewer.show(address);
    if (told) {
      if (this.early) this.toggleCameras(false);
      this.wait.hidden = true;
      this.canvas.dataset.shown = address;
    }
    return told;
  }

  /** A line above the canvas that says what is shown; "" for none. */
  say(words) {
    this.note.textContent = words;
    this.note.hidden = !words;
  }

  /** Words in place of a mesh, while there is none. */
  waitingFor(words) {
    if (this.viewer) put(this.wait, icon("mesh"), h("span", {}, words));
  }

  setViews(views) {
    if (!this.viewer) return;
    this.viewer.setFrusta(new Frusta(views, this.colour));
    if (this.cameraButton) this.cameraButton.disabled = false;
    if (this.address) return;
    this.toggleCameras(true); // all there is to look at before the first mesh
    this.early = true;
    this.wait.hidden = true;
  }

  shade(mode) {
    this.viewer?.shade(mode);
    const input = this.shadings?.querySelector(`input[value=${mode}]`);
    if (input) input.checked = true;
  }

  toggleCameras(shown = !this.viewer?.frusta?.group.visible) {
    const frusta = this.viewer?.frusta;
    if (!frusta) return;
    this.early = false;
    frusta.show(shown);
    if (shown) this.viewer.overview();
    this.cameraButton?.setAttribute("aria-pressed", String(shown));
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.element.requestFullscreen?.();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.viewer) return;
    const { viewer } = this;
    const actions = {
      ArrowLeft: () => viewer.orbit(-1, 0), ArrowRight: () => viewer.orbit(1, 0),
      ArrowUp: () => viewer.orbit(0, 1), ArrowDown: () => viewer.orbit(0, -1),
      "+": () => viewer.zoom(1.15), "=": () => viewer.zoom(1.15), "-": () => viewer.zoom(1 / 1.15),
      Home: () => viewer.home(), c: () => this.toggleCameras(),
    };
    SHADINGS.forEach(([mode], index) => (actions[String(index + 1)] = () => this.shade(mode)));
    const moves = event.key.length > 1; // arrows and Home also move between buttons
    const action = moves && event.target !== this.canvas ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** A click on a view's picture looks through its camera; a drag does not. */
  picking() {
    let down = null;
    this.canvas.addEventListener("pointerdown", (event) => (down = [event.clientX, event.clientY]));
    this.canvas.addEventListener("pointerup", (event) => {
      const still = down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 4;
      const view = still ? this.viewer.viewAt(event) : null;
      if (view) this.viewer.lookThrough(view);
    });
  }

  dispose() {
    this.listen.abort();
    this.viewer?.frusta?.dispose();
    this.viewer?.dispose();
  }
}
