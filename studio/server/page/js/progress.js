// How far a job is: what is done, what is being done, and for how long still.

import { over } from "./api.js";
import { announce, h, icon, put } from "./dom.js";
import { about, duration } from "./words.js";

/** Steps on the way, each done once its file is there. */
const STEPS = [
  ["Input", (files) => files.has("condition.png") || files.has("condition-0.png") || files.has("views/transforms.json")],
  ["Views", (files) => files.has("views/transforms.json")],
  ["First mesh", (files) => files.has("first.glb") || files.has("model.glb")],
  ["Fit", (files) => files.has("model.glb")],
  ["Texture", (files) => files.has("model.glb")],
];

export class Progress {
  constructor() {
    this.bar = h("progress", { max: 1, "aria-label": "Progress of this stage" });
    this.words = h("p", { class: "progress-words" });
    this.time = h("p", { class: "muted" });
    this.steps = h("ol", { class: "steps" });
    this.element = h("section", { class: "progress", "aria-label": "Progress" }, h("div", { class: "progress-line" }, this.words, this.time), this.bar, this.steps);
  }

  update(job) {
    this.element.hidden = job.phase === "failed";
    this.element.classList.toggle("over", over(job));
    this.words.textContent = stageWords(job);
    this.time.textContent = timeWords(job);
    this.bar.hidden = over(job);
    if (job.total > 0) this.bar.value = job.done / job.total;
    else this.bar.removeAttribute("value");
    this.drawSteps(job);
    this.tell(job);
  }

  drawSteps(job) {
    const done = STEPS.map(([, there]) => there(job.files));
    const now = job.phase === "running" ? done.indexOf(false) : -1;
    const key = `${done}${now}`;
    if (key === this.key) return;
    this.key = key;
    put(this.steps, STEPS.map(([name], index) => h(
      "li", { class: done[index] ? "done" : index === now ? "now" : "", "aria-current": index === now ? "step" : null },
      done[index] ? icon("check") : h("i", {}), name,
    )));
  }

  /** Aloud only when the stage changes or half of it is done. */
  tell(job) {
    const half = job.total > 0 && job.done * 2 >= job.total ? "half done" : "";
    const key = `${job.phase}${job.stage}${half}`;
    if (key === this.told || over(job)) return;
    this.told = key;
    announce([stageWords(job), half, timeWords(job)].filter(Boolean).join(", "));
  }
}

function stageWords(job) {
  if (job.phase === "waiting") {
    const ahead = job.position > 1 ? `, ${job.position - 1} before it` : "";
    return `Waiting${ahead}`;
  }
  if (job.phase === "cancelled") return "Cancelled";
  if (job.phase === "done") return `Done in ${duration(job.seconds)}`;
  const stage = job.stage ? job.stage[0].toUpperCase() + job.stage.slice(1) : "At work";
  return job.total > 1 ? `${stage} · ${job.done} of ${job.total}` : stage;
}

function timeWords(job) {
  if (job.phase !== "running") return "";
  const left = typeof job.seconds_left === "number" ? `${about(job.seconds_left)} left` : "";
  return [duration(job.seconds), left].filter(Boolean).join(" · ");
}
