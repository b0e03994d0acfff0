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

/** Let files be dropped and pasted anywhere; without this a browser leaves the page for them. */
export function takeAnywhere(taken) {
  const lit = (shown) => document.body.classList.toggle("dropping", shown);
  const take = (event, files) => {
    if (!files?.length) return;
    event.preventDefault();
    taken([...files]);
  };
  document.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    lit(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && lit(false));
  document.addEventListener("drop", (event) => {
    lit(false);
    take(event, event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event, event.clipboardData?.files));
}
