// The finished mesh in every format.

import { fileAddress, formats as fetchFormats, mesh, meshAddress } from "./api.js";
import { complaint, h, icon, put } from "./dom.js";

const FOR = {
  glb: "Blender, engines, the web", obj: "every program", ply: "MeshLab, CloudCompare", stl: "slicers, CAD",
  "3mf": "slicers, in colour", usdz: "Apple's viewers",
};
const ORDER = Object.keys(FOR);
const BESIDE = [["preview.png", "Sheet of pictures"], ["turntable.mp4", "Turntable"]];

export class Downloads {
  constructor() {
    this.list = h("div", { class: "downloads" });
    this.trouble = h("div", {});
    this.element = h("section", { "aria-label": "Downloads", hidden: true }, this.list, this.trouble);
  }

  async update(job) {
    if (this.drawn) return;
    this.drawn = true;
    const formats = await fetchFormats().catch(() => [{ name: "glb" }]);
    const names = formats.map((format) => format.name);
    const [first, ...others] = names.sort((a, b) => rank(a) - rank(b));
    const beside = BESIDE.filter(([name]) => job.files.has(name));
    put(
      this.list, this.link(job, first, true),
      h("div", { class: "formats" }, ...others.map((name) => this.link(job, name, false))),
      h("p", { class: "beside" }, ...beside.map(([name, words]) => h("a", { href: fileAddress(job, name), download: `${stem(job)}-${name}` }, words))),
    );
    this.element.hidden = false;
  }

  link(job, format, main) {
    const words = main ? `Download ${format.toUpperCase()}` : format.toUpperCase();
    return h("a", {
      class: main ? "primary button" : "quiet button", href: meshAddress(job, format), title: FOR[format] ?? "",
      download: `${stem(job)}.${format}`, "data-format": format, onclick: (event) => this.fetch(event, job, format),
    }, main ? icon("down") : null, words);
  }

  /** Fetched first, so that a refusal is told here and not in a file. */
  async fetch(event, job, format) {
    event.preventDefault();
    const link = event.currentTarget;
    put(this.trouble);
    link.classList.add("busy");
    try {
      const { blob, name } = await mesh(job, format);
      save(blob, name);
    } catch (error) {
      put(this.trouble, complaint(error));
    }
    link.classList.remove("busy");
  }
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

/** Known formats first, in the order in which they are asked for. */
const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

/** A file's name from what a result is called. */
function stem(job) {
  return (job.label || job.method).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "mesh";
}
