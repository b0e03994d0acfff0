// Making and finding elements. Styles are set through classes and properties only: the page's
// content security policy knows no inline styles.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: h("button", {class: "quiet", onclick: f, "aria-label": "Close"}, icon("close")).
 * Functions become listeners, true an empty attribute; false, null and undefined are left out.
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing from icons.svg; the words beside it or the button's label say what it means. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `icons.svg#${name}` }));
}

/** A button with a drawing alone; `label` is its name and its tooltip. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", class: "quiet icon", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/**
 * One of several, as radio buttons that look like one control.
 * choices: [{value, label, note?, title?, disabled?}]; `chosen` is called with the value.
 */
export function segments(legend, name, choices, value, chosen, props = {}) {
  const options = choices.map((choice) => {
    const input = h("input", {
      type: "radio", name, value: choice.value, checked: choice.value === value,
      disabled: choice.disabled, onchange: () => chosen(choice.value),
    });
    const note = choice.note ? h("small", {}, choice.note) : null;
    return h("label", { title: choice.title }, input, h("span", {}, choice.icon ? icon(choice.icon) : null, h("b", {}, choice.label), note));
  });
  const shown = props.quiet ? "unseen" : "label";
  return h("fieldset", { class: `segments ${props.class ?? ""}` }, h("legend", { class: shown }, legend), ...options);
}

let count = 0;

/** An id that no other element has. */
export function uid(stem) {
  count += 1;
  return `${stem}-${count}`;
}

/** Put these, and nothing else, into an element. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}

/** Say something to a screen reader, without moving the focus. */
export function announce(words) {
  document.getElementById("announce").textContent = words;
}

/** What went wrong, as the service says it, beside the place where it was given. */
export function complaint(error) {
  const more = [error.allowed && `Allowed: ${error.allowed}`, error.hint].filter(Boolean);
  return h(
    "div", { class: "complaint", role: "alert" }, icon("warning"),
    h("div", {}, h("p", {}, error.message), ...more.map((line) => h("p", { class: "muted" }, line))),
  );
}
