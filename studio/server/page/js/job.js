// One job: how far it is, what is there already, and the mesh.

import { again, cancel, fileAddress, over, remove } from "./api.js";
import { follow } from "./connection.js";
import { announce, complaint, h, icon, put } from "./dom.js";
import { Downloads } from "./downloads.js";
import { readViews } from "./frusta.js";
import { Progress } from "./progress.js";
import { Stage } from "./stage.js";
import { thumbnail } from "./results.js";
import { phaseWord } from "./words.js";

/** Meshes in the order in which they are worth looking at. */
const MESHES = [
  ["model.glb", "Mesh"],
  ["fit.glb", "The fit so far"],
  ["first.glb", "First mesh, from the visual hull"],
];

export async function jobPage(main, id) {
  const page = new JobPage();
  put(main, page.element);
  const stop = follow(id, (job) => page.update(job), (error) => put(main, h("h1", {}, "No such result"), complaint(error), h("p", {}, h("a", { href: "#/" }, "Make a new one"))));
  return () => {
    stop();
    page.stage.dispose();
  };
}

class JobPage {
  constructor() {
    this.stage = new Stage("The mesh in 3D");
    this.progress = new Progress();
    this.downloads = new Downloads();
    this.title = h("h1", {}, "…");
    this.facts = h("p", { class: "muted" });
    this.thumb = h("div", { class: "thumb large" });
    this.trouble = h("div", { class: "trouble" });
    this.alarms = h("div", {});
    this.warnings = h("div", {});
    this.figures = h("div", {});
    this.actions = h("div", { class: "actions" });
    this.strip = h("ul", { class: "strip", "aria-label": "Views", hidden: true });
    this.element = h(
      "div", { class: "job" },
      h("div", { class: "job-stage" }, this.stage.element, this.strip),
      h("aside", { class: "job-side", "aria-label": "About this result" },
        h("div", { class: "job-head" }, this.thumb, h("div", {}, this.title, this.facts)),
        this.trouble, this.progress.element, this.alarms, this.warnings, this.downloads.element, this.figures, this.actions),
    );
  }

  update(job) {
    const before = this.job;
    this.job = job;
    this.title.textContent = job.label || job.method;
    const share = job.phase === "running" && job.total > 1 ? `${Math.round((100 * job.done) / job.total)} % ` : "";
    document.title = `${share}${job.label || job.method} – studio`;
    this.facts.textContent = [job.method, `seed ${job.seed}`].join(" · ");
    this.drawThumbnail(job);
    this.progress.update(job);
    this.drawTrouble(job);
    if (!before || before.phase !== job.phase) this.phaseChanged(job, Boolean(before));
    this.showViews(job);
    this.showMesh(job);
    if (job.phase === "done") this.downloads.update(job);
    if (job.phase === "done" && !this.figures.children.length) put(this.figures, figureList(job.figures));
  }

  phaseChanged(job, seen) {
    put(this.actions, ...this.buttons(job));
    if (seen && over(job)) announce(`${phaseWord(job.phase)}. ${job.error}`);
  }

  drawThumbnail(job) {
    const picture = thumbnail(job);
    const address = picture.getAttribute("src");
    if (address !== this.thumbAddress || !this.thumb.children.length) put(this.thumb, picture);
    this.thumbAddress = address;
  }

  drawTrouble(job) {
    const failed = job.phase === "failed";
    if (failed && !this.trouble.children.length) {
      put(this.trouble, complaint({ message: job.error || "It failed." }), h("p", {}, h("a", { href: "#/" }, "Change the input")));
    }
    this.drawAlarms(job);
    put(this.warnings, ...job.warnings.map((words) => h("p", { class: "warning" }, icon("warning"), h("span", {}, words))));
  }

  /** What contradicts the result, where nobody overlooks it. */
  drawAlarms(job) {
    if (job.alarms.length === this.alarms.children.length) return;
    put(this.alarms, ...job.alarms.map((words) => h(
      "div", { class: "alarm", role: "alert" }, icon("warning"),
      h("div", {}, h("b", {}, "This result contradicts its pictures"), h("p", {}, words),
        h("p", {}, "Look through its cameras: the pictures below the mesh lead to them, ", h("b", {}, "Cameras"), " shows where they stand.")),
    )));
  }

  buttons(job) {
    const action = (drawing, words, done) => h("button", { type: "button", class: "quiet", onclick: () => this.act(done) }, icon(drawing), words);
    if (!over(job)) return [action("close", "Cancel", async () => this.update(await cancel(job.id)))];
    return [
      action("again", "Again with another seed", async () => {
        location.hash = `#/job/${(await again(job.id, job.seed + 1)).id}`;
      }),
      job.phase === "done" ? h("a", { class: "quiet button", href: `#/compare/${job.id}` }, icon("compare"), "Compare") : null,
      action("trash", "Delete", async () => {
        if (!window.confirm("Delete this result and all its files?")) return;
        await remove(job.id);
        location.hash = "#/results";
      }),
    ];
  }

  async act(done) {
    try {
      await done();
    } catch (error) {
      put(this.trouble, complaint(error));
    }
  }

  showMesh(job) {
    const found = MESHES.find(([name]) => job.files.has(name));
    if (!found) {
      this.stage.waitingFor(over(job) ? "There is no mesh." : "The first mesh appears here in a moment.");
      return;
    }
    const [name, words] = found;
    this.stage.show(fileAddress(job, name)).then((told) => {
      if (told) this.stage.say(`${words} · ${Math.round(told.triangles).toLocaleString("en")} triangles`);
    }).catch((error) => this.stage.say(error.message));
  }

  async showViews(job) {
    if (!job.files.has("views/transforms.json") || this.viewsAsked) return;
    this.viewsAsked = true;
    const answer = await fetch(fileAddress(job, "views/transforms.json"));
    if (!answer.ok) return;
    const views = readViews(await answer.json(), (path) => fileAddress(job, `views/${path}`));
    this.stage.setViews(views);
    put(this.strip, views.map((view, index) => h("li", {}, h("button", {
      type: "button", "aria-label": `Look through view ${index + 1}`, title: `View ${index + 1}`,
      onclick: () => this.stage.viewer?.lookThrough(view),
    }, h("img", { src: view.address, alt: "", loading: "lazy" })))));
    this.strip.hidden = false;
  }
}

/** What was measured, folded away. */
function figureList(figures) {
  const rows = Object.entries(figures).filter(([, value]) => Number.isFinite(value));
  if (!rows.length) return [];
  const words = (name) => name.replaceAll("_", " ").replaceAll(".", ": ");
  const rounded = (value) => Number(value.toPrecision(4)).toLocaleString("en");
  const list = rows.flatMap(([name, value]) => [h("dt", {}, words(name)), h("dd", {}, rounded(value))]);
  return [h("details", {}, h("summary", {}, "Figures"), h("dl", {}, ...list))];
}
