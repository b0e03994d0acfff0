// Choosing a method: what it makes, its licence, and whether its weights are here.

import { draft } from "./draft.js";
import { h } from "./dom.js";

const FIRST = { image: "epidiff-neus", images: "viewfusion-composable-neus", text: "spad-neus", capture: "reconstruct" };
const SHOWN = 3; // methods that are not folded away

/** The methods for a kind of input, the one to begin with first. */
export function methodsFor(methods, kind) {
  const fitting = methods.filter(({ takes }) => takes === kind);
  return fitting.sort((a, b) => Number(b.name === FIRST[kind]) - Number(a.name === FIRST[kind]));
}

/** The chosen method of the chosen kind, else the first that can be used. */
export function chosenMethod(methods) {
  const fitting = methodsFor(methods, draft.kind);
  return fitting.find(({ name }) => name === draft.method[draft.kind]) ?? fitting.find(({ weights }) => weights.there) ?? fitting[0];
}

/** Radio buttons; `chosen` is called when another is taken. */
export function methodChooser(methods, chosen) {
  const fitting = methodsFor(methods, draft.kind);
  const current = chosenMethod(methods);
  const here = fitting.filter(({ weights }) => weights.there);
  const missing = fitting.filter(({ weights }) => !weights.there);
  const rows = (list) => list.map((method) => row(method, method === current, chosen));
  const more = here.slice(SHOWN);
  return h(
    "fieldset", { class: "methods" }, h("legend", { class: "label" }, "Method"), ...rows(here.slice(0, SHOWN)),
    more.length ? h("details", { open: more.includes(current) }, h("summary", {}, `${more.length} more`), ...rows(more)) : null,
    missing.length ? h("details", {}, h("summary", {}, `${missing.length} more, without weights on this machine`), ...rows(missing)) : null,
  );
}

function row(method, checked, chosen) {
  const input = h("input", {
    type: "radio", name: "method", value: method.name, checked, disabled: !method.weights.there,
    onchange: () => {
      draft.method[draft.kind] = method.name;
      chosen();
    },
  });
  const facts = [licenceWords(method), method.weights.note || "weights are here"].filter(Boolean).join(" · ");
  return h(
    "label", { class: "method" }, input,
    h("span", {}, h("b", {}, method.title, method.scale ? h("span", { class: "tag" }, method.scale) : null),
      h("span", {}, method.summary.replaceAll("->", "→")), h("span", { class: "muted" }, facts)),
  );
}

function licenceWords({ licence }) {
  if (!licence || licence === "none needed") return "";
  return licence === "not stated" ? "licence not stated" : `licence ${licence}`;
}
