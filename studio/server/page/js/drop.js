// Where files come in: chosen, dropped or pasted.

import { h, icon, uid } from "./dom.js";

/** A field that takes files: {accept, multiple, title, note, icon}; `taken` gets File[]. */
export function dropField({ accept, multiple = false, title, note, picture }, taken) {
  const id = uid("files");
  const input = h("input", {
    type: "file", id, class: "unseen", accept, multiple,
    onchange: () => {
      if (input.files.length) taken([...input.files]);
      input.value = "";
    },
  });
  return h(
    "div", { class: "drop" }, input,
    h("label", { for: id }, icon(picture), h("b", {}, title), h("span", { class: "muted" }, note)),
  );
}

/** Let files be dropped and pasted anywhere on the page while `element` is in it. */
export function takeAnywhere(element, taken) {
  const listen = new AbortController();
  const on = (name, listener) => document.addEventListener(name, listener, { signal: listen.signal });
  const gone = () => !element.isConnected && (listen.abort(), true);
  const lit = (shown) => document.body.classList.toggle("dropping", shown);
  on("dragover", (event) => {
    if (gone() || ![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    lit(true);
  });
  on("dragleave", (event) => event.relatedTarget === null && lit(false));
  on("drop", (event) => {
    lit(false);
    if (gone() || !event.dataTransfer.files.length) return;
    event.preventDefault();
    taken([...event.dataTransfer.files]);
  });
  on("paste", (event) => {
    if (gone() || !event.clipboardData?.files.length) return;
    event.preventDefault();
    taken([...event.clipboardData.files]);
  });
}
