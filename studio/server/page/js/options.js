// Controls for a method's options, made from what the service tells of them.

import { h, uid } from "./dom.js";
import { fromWhere } from "./words.js";
import { draft, setOption, valueOf } from "./draft.js";

const PICTURE = ["data.background", "data.ratio", "data.elevation_deg"];
const GROUPS = [["data", "Input"], ["system.guidance", "Views"], ["system", "Fit"], ["system.exporter", "Mesh"]];

/** How the picture is prepared: `changed(key)` is called with what was changed. */
export function pictureOptions(method, changed) {
  const known = new Map(method.options.map((option) => [option.key, option]));
  const made = {
    "data.background": background, "data.ratio": ratio, "data.elevation_deg": elevation,
  };
  return PICTURE.filter((key) => known.has(key)).map((key) => made[key](method, known.get(key), changed));
}

/** The other options, plainly, by what they are about. */
export function otherOptions(method, changed) {
  const others = method.options.filter(({ key, choices }) => !PICTURE.includes(key) && choices?.length !== 1);
  return GROUPS.map(([group, words]) => {
    const inside = others.filter(({ key }) => key.slice(0, key.lastIndexOf(".")) === group);
    if (!inside.length) return null;
    return h("fieldset", { class: "others" }, h("legend", { class: "label" }, words), ...inside.map((option) => plain(method, option, changed)));
  });
}

function background(method, option, changed) {
  const id = uid("option");
  const choices = option.choices.map((value) => h("option", { value, selected: value === valueOf(method, option) }, option.words[value] ?? value));
  const select = h("select", { id, onchange: () => set(method, option, select.value, changed) }, ...choices);
  return h("div", { class: "field" }, h("label", { for: id }, option.label), select);
}

function ratio(method, option, changed) {
  const start = valueOf(method, option);
  const [id, number] = [uid("option"), h("output", {})];
  const range = h("input", {
    id, type: "range", min: 0.3, max: 1, step: 0.01, value: start ?? 0.75, disabled: start === null,
    oninput: told,
  });
  const keep = h("input", { type: "checkbox", checked: start === null, onchange: told });
  function told() {
    range.disabled = keep.checked;
    show();
    set(method, option, keep.checked ? null : Number(range.value), changed);
  }
  function show() {
    number.textContent = keep.checked ? "as it is" : `${Math.round(100 * range.value)} %`;
  }
  show();
  return h(
    "div", { class: "field" }, h("label", { for: id }, option.label), number, range,
    option.nullable ? h("label", { class: "tick" }, keep, option.words.null) : null,
  );
}

function elevation(method, option, changed) {
  const start = valueOf(method, option);
  const [id, said] = [uid("option"), uid("said")];
  const number = h("output", {});
  const words = h("p", { id: said, class: "muted hint" });
  const range = h("input", {
    id, type: "range", min: -30, max: 80, step: 1, value: start ?? 30, disabled: start === null,
    "aria-describedby": said, oninput: told,
  });
  const unknown = h("input", { type: "checkbox", checked: start === null, onchange: told });
  function told() {
    range.disabled = unknown.checked;
    show();
    set(method, option, unknown.checked ? null : Number(range.value), changed);
  }
  function show() {
    number.textContent = unknown.checked ? "unknown" : `${range.value}°`;
    words.textContent = unknown.checked ? "" : `Taken ${fromWhere(Number(range.value))}.${draft.kind === "image" ? " The ground should lie under the object." : ""}`;
    range.setAttribute("aria-valuetext", `${range.value} degrees, ${fromWhere(Number(range.value))}`);
  }
  show();
  return h(
    "div", { class: "field" }, h("label", { for: id }, option.label), number, range, words,
    option.nullable ? h("label", { class: "tick" }, unknown, option.words.null) : null,
  );
}

function plain(method, option, changed) {
  const id = uid("option");
  const label = h("label", { for: id }, option.label);
  const help = h("p", { class: "muted hint", id: `${id}-help` }, sentence(spoken(option.help)));
  const described = { id, "aria-describedby": `${id}-help` };
  const value = valueOf(method, option);
  let control;
  const told = () => set(method, option, read(control, option), changed);
  if (option.kind === "boolean") {
    control = h("input", { ...described, type: "checkbox", checked: value === true, onchange: told });
    return h("div", { class: "field" }, h("label", { class: "tick" }, control, option.label), help);
  }
  if (option.kind === "choice") {
    const none = option.nullable ? [h("option", { value: "" }, "–")] : [];
    const choices = option.choices.map((word) => h("option", { value: word, selected: word === value }, option.words[word] ?? word));
    control = h("select", { ...described, onchange: told }, ...none, ...choices);
  } else {
    const numeric = option.kind === "integer" || option.kind === "number";
    control = h("input", {
      ...described, type: numeric ? "number" : "text", value: value ?? "", onchange: told,
      step: option.kind === "integer" ? 1 : numeric ? "any" : null, min: option.low, max: option.high,
      placeholder: option.nullable ? "not given" : null,
    });
  }
  return h("div", { class: "field" }, label, control, help);
}

/** What is said of an option, for people: its values are those of a control. */
const spoken = (text) => text.replace(/\bnull\b/g, "left empty").replace(/\btrue\b/g, "on").replace(/\bfalse\b/g, "off");

function read(control, option) {
  if (option.kind === "boolean") return control.checked;
  if (control.value === "") return option.nullable ? null : option.default;
  return option.kind === "integer" || option.kind === "number" ? Number(control.value) : control.value;
}

function set(method, option, value, changed) {
  setOption(method, option, value);
  changed(option.key);
}

const sentence = (text) => (text ? text.replaceAll("`", "") : "");
