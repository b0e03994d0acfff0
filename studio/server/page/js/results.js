// Earlier results, as cards.

import { fileAddress, jobs, over, remove } from "./api.js";
import { complaint, h, icon, iconButton, put } from "./dom.js";
import { ago, phaseWord } from "./words.js";

const PAUSE = 3000; // milliseconds between two looks at what is not over

/** The page of all results. */
export async function resultsPage(main) {
  const list = shelf(await jobs());
  const none = h("p", { class: "muted empty" }, "Nothing yet. ", h("a", { href: "#/" }, "Make the first one."));
  put(main, h("h1", {}, "Results"), list.children.length ? list : none);
  return () => list.stop();
}

/** A list of cards that keeps itself up to date while something runs; `stop()` ends that. */
export function shelf(given) {
  const list = h("ul", { class: "shelf" });
  const shown = new Set(given.map(({ id }) => id));
  let timer = 0;
  draw(given);

  function draw(all) {
    put(list, all.map((job) => card(job)));
    if (all.some((job) => !over(job))) timer = setTimeout(look, PAUSE);
  }
  async function look() {
    try {
      draw((await jobs()).filter(({ id }) => shown.has(id)));
    } catch {
      timer = setTimeout(look, PAUSE);
    }
  }
  list.stop = () => clearTimeout(timer);
  return list;
}

function card(job) {
  const name = h("a", { href: `#/job/${job.id}` }, job.label || job.method);
  const state = job.phase === "done" ? ago(job.created) : phaseWord(job.phase).toLowerCase();
  const facts = [state, `seed ${job.seed}`, job.method].join(" · ");
  const discard = iconButton("trash", `Delete ${job.label || job.method}`, async () => {
    if (!window.confirm(`Delete ${job.label || job.method} and all its files?`)) return;
    try {
      await remove(job.id);
      element.remove();
    } catch (error) {
      element.append(complaint(error));
    }
  });
  const element = h(
    "li", { class: `card-small ${job.phase}` }, h("div", { class: "thumb" }, thumbnail(job)),
    h("div", { class: "card-words" }, name, h("span", { class: "muted" }, facts)), over(job) ? discard : h("span", { class: "spin", title: "at work" }),
  );
  return element;
}

/** A small picture of a job: its mesh's sheet has too much on it, so a view or the input. */
export function thumbnail(job) {
  const name = ["condition.png", "condition-0.png", "views/images/000.png"].find((candidate) => job.files.has(candidate));
  return name ? h("img", { src: fileAddress(job, name), alt: "", loading: "lazy" }) : icon("mesh");
}
