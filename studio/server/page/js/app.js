// Which page is shown: #/, #/results, #/job/<id>, #/compare/<id>/<id>.

import { comparePage } from "./compare.js";
import { complaint, h, icon, put } from "./dom.js";
import { takeFiles } from "./draft.js";
import { takeAnywhere } from "./drop.js";
import { jobPage } from "./job.js";
import { resultsPage } from "./results.js";
import { startPage } from "./start.js";

const PAGES = { "": startPage, results: resultsPage, job: jobPage, compare: comparePage };
const main = document.getElementById("main");
let leave = () => {};
let visit = 0;

async function show() {
  visit += 1;
  const mine = visit;
  leave();
  leave = () => {};
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  document.title = "studio";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === (name || "start")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const left = await (PAGES[name] ?? startPage)(main, ...rest);
    if (mine === visit) leave = left;
    else left();
  } catch (error) {
    const retry = h("button", { type: "button", class: "quiet", onclick: show }, "Try again");
    put(main, h("h1", {}, "studio"), complaint(error), retry);
  }
}

const THEMES = { system: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };
const themeButton = document.getElementById("theme");

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  const [drawing, words] = THEMES[theme];
  put(themeButton, icon(drawing));
  themeButton.setAttribute("aria-label", `Theme: ${words}`);
  window.dispatchEvent(new Event("theme"));
  themeButton.title = `Theme: ${words}`;
}

themeButton.addEventListener("click", () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // addresses after # are pages
  main.focus();
});
setTheme(document.documentElement.dataset.theme in THEMES ? document.documentElement.dataset.theme : "system");
takeAnywhere((files) => {
  if (!takeFiles(files)) return;
  if (["", "#/"].includes(location.hash)) show();
  else location.hash = "#/";
});
window.addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
show();
