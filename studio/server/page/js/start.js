// The page to begin on: what is given, how it is made, and what was made before.

import { jobs, methods as fetchMethods, submit } from "./api.js";
import { complaint, h, iconButton, put, segments, uid } from "./dom.js";
import { draft, filesOf, KINDS, labelOf, optionsOf, QUALITIES, stepsAsked, stepsFor } from "./draft.js";
import { secondsFor } from "./estimate.js";
import { chosenMethod, methodChooser } from "./methods.js";
import { otherOptions, pictureOptions } from "./options.js";
import { shelf } from "./results.js";
import { source } from "./sources.js";
import { rough } from "./words.js";

const LATEST = 6; // results below the form

/** Fill `main`. Returns what to do when the page is left. */
export async function startPage(main) {
  const [methods, earlier] = await Promise.all([fetchMethods(), jobs()]);
  const page = new Start(methods, earlier);
  put(main, page.element);
  return () => page.leave();
}

class Start {
  constructor(methods, earlier) {
    this.methods = methods;
    this.earlier = earlier;
    this.trouble = h("div", {});
    this.given = h("div", { class: "given-place" });
    this.settings = h("div", { class: "settings" });
    this.button = h("button", { type: "submit", class: "primary" }, "Make the mesh");
    this.results = shelf(earlier.slice(0, LATEST));
    this.form = h(
      "form", { class: "start", onsubmit: (event) => this.submit(event), novalidate: true },
      h("section", { class: "card", "aria-label": "Input" }, this.kinds(), this.given, this.trouble),
      h("section", { class: "card", "aria-label": "Settings" }, this.settings),
    );
    const past = h(
      "section", { class: "past", "aria-labelledby": "past" },
      h("h2", { id: "past" }, "Earlier results"), this.results,
      earlier.length > LATEST ? h("a", { href: "#/results" }, `All ${earlier.length}`) : null,
    );
    this.element = h("div", {}, h("h1", {}, "From pictures or words to a mesh"), this.form, earlier.length ? past : null);
    this.draw();
  }

  kinds() {
    const there = new Set(this.methods.map(({ takes }) => takes));
    const choices = KINDS.map((kind) => ({ ...kind, disabled: !there.has(kind.value) }));
    return segments("Begin with", "kind", choices, draft.kind, (kind) => {
      draft.kind = kind;
      this.draw();
    }, { quiet: true, class: "kinds" });
  }

  draw() {
    put(this.trouble);
    const changed = () => this.draw();
    changed.ready = () => this.ready();
    this.source = source(changed);
    put(this.given, this.source);
    this.drawSettings();
  }

  drawSettings() {
    const method = (this.method = chosenMethod(this.methods));
    const changed = (key) => this.source.update(method, key);
    const others = otherOptions(method, () => {});
    const prepared = draft.kind === "image" || draft.kind === "images" ? pictureOptions(method, changed) : [];
    put(
      this.settings,
      prepared.length && filesOf().length ? h("fieldset", { class: "group" }, h("legend", { class: "label" }, "Preparing the picture"), ...prepared) : null,
      methodChooser(this.methods, () => this.drawSettings()),
      this.quality(method),
      h("details", { class: "more" }, h("summary", {}, "More options"), h("div", { class: "others" }, this.seed(), this.steps(method)), ...others),
      h("div", { class: "act" }, this.button),
    );
    this.ready();
    this.source.update(method);
  }

  quality(method) {
    const choices = QUALITIES.map(({ value, label }) => {
      const seconds = secondsFor(method, stepsFor(method, value), this.earlier);
      return { value, label, note: seconds === null ? `${stepsFor(method, value)} steps` : rough(seconds), seconds };
    });
    const known = choices.every(({ seconds }) => seconds !== null);
    const chooser = segments(known ? "Quality, and roughly how long it takes" : "Quality", "quality", choices, draft.quality, (value) => {
      draft.quality = value;
      draft.steps = null;
      this.drawSteps?.();
    });
    if (known) return chooser;
    return h("div", {}, chooser, h("p", { class: "muted hint" }, "How long it takes here is not known yet: the first one tells."));
  }

  steps(method) {
    const id = uid("steps");
    const input = h("input", {
      id, type: "number", min: 1, step: 1, onchange: () => (draft.steps = input.value === "" ? null : Math.max(1, Math.round(input.value))),
    });
    this.drawSteps = () => {
      input.value = draft.steps ?? "";
      input.placeholder = stepsFor(method);
    };
    this.drawSteps();
    return h("div", { class: "field" }, h("label", { for: id }, "Steps of the fit"), input);
  }

  seed() {
    const id = uid("seed");
    const input = h("input", { id, type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: draft.seed, onchange: () => (draft.seed = Number(input.value) || 0) });
    const dice = iconButton("dice", "Another seed", () => {
      draft.seed = Math.floor(Math.random() * 100000);
      input.value = draft.seed;
    });
    return h("div", { class: "field" }, h("label", { for: id }, "Seed"), h("div", { class: "joined" }, input, dice));
  }

  ready() {
    const given = draft.kind === "text" ? draft.text.trim() : filesOf().length;
    this.button.disabled = !given || !this.method.weights.there || this.source.refused() || this.sending;
  }

  async submit(event) {
    event.preventDefault();
    put(this.trouble);
    put(this.button, "Sending…");
    this.sending = true;
    this.ready();
    const request = {
      method: this.method.name, text: draft.kind === "text" ? draft.text.trim() : "",
      options: optionsOf(this.method), seed: draft.seed, label: labelOf(),
      steps: stepsAsked(this.method),
    };
    try {
      const job = await submit(request, filesOf());
      location.hash = `#/job/${job.id}`;
    } catch (error) {
      put(this.trouble, complaint(error));
      this.trouble.scrollIntoView({ block: "nearest" });
    }
    put(this.button, "Make the mesh");
    this.sending = false;
    this.ready();
  }

  leave() {
    this.results.stop();
  }
}
