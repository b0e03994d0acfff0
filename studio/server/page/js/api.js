// The HTTP interface of the service (api/openapi.json), as functions. Addresses are relative, so that
// the page also works below a path of another server.

/** A message without the options, in square brackets, that programs set instead of the page's controls. */
const forPeople = (text) => (text ?? "").replace(/ ?\[(?:(?:data|system)\.[^\]]*|null)\]/g, "");

/** What the service refused, in its own words. */
export class Refused extends Error {
  constructor(status, said) {
    super(forPeople(said.error ?? said.detail ?? `The service answered ${status}.`));
    this.status = status;
    this.allowed = forPeople(said.allowed);
    this.hint = forPeople(said.hint);
  }
}

/** The service did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("The service does not answer.");
    this.hint = "Is studio ui still running? This is tried again when you press the button once more.";
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

const json = async (path, options) => (await ask(path, options)).json();
const post = (path, body) => json(path, { method: "POST", body });
const sent = (value) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

export const methods = () => json("methods");
export const formats = () => json("formats");
export const examples = () => json("examples");
export const jobs = async () => (await json("jobs")).map(ordered);
export const job = async (id) => ordered(await json(`jobs/${id}`));
export const cancel = async (id) => ordered(await json(`jobs/${id}/cancel`, { method: "POST" }));
export const again = async (id, seed) => ordered(await json(`jobs/${id}/again`, sent({ seed })));
export const remove = (id) => ask(`jobs/${id}`, { method: "DELETE" });

/** Begin a job: request {method, text, options, seed, steps, label}, files: File[]. */
export async function submit(request, files) {
  const form = new FormData();
  form.append("request", JSON.stringify(request));
  for (const file of files) form.append("files", file, file.name);
  return ordered(await post("jobs", form));
}

/** The picture as the method will see it: {picture: Blob, notes: string[]}. */
export async function prepare(file, options, signal) {
  const form = new FormData();
  form.append("files", file, file.name);
  form.append("options", JSON.stringify(options));
  const answer = await ask("prepare", { method: "POST", body: form, signal });
  const notes = JSON.parse(answer.headers.get("X-Studio-Warnings") ?? "[]");
  return { picture: await answer.blob(), notes: notes.map(forPeople) };
}

/** What is to be known of a text before it is sent: sentences. */
export async function remarks(method, text, signal) {
  const form = new FormData();
  form.append("options", JSON.stringify({ method, text }));
  return (await json("prepare", { method: "POST", body: form, signal })).warnings.map(forPeople);
}

/** Where a file of a job's result lies; its version makes a replaced file another address. */
export function fileAddress(job, name) {
  return `api/jobs/${job.id}/files/${name}?v=${job.files.get(name) ?? 0}`;
}

export const meshAddress = (job, format) => `api/jobs/${job.id}/mesh.${format}`;

/** The finished mesh in a format: {blob, name}, the name as the service gives it (OBJ comes as a zip). */
export async function mesh(job, format) {
  const answer = await ask(`jobs/${job.id}/mesh.${format}`);
  const given = answer.headers.get("Content-Disposition") ?? "";
  const coded = given.match(/filename\*=utf-8''([^;]+)/i)?.[1];
  const name = coded ? decodeURIComponent(coded) : given.match(/filename="([^"]+)"/)?.[1];
  return { blob: await answer.blob(), name: name ?? `mesh.${format}` };
}
export const eventsAddress = (id) => `api/jobs/${id}/events`;

/** A job with its files as a map of name → version. */
export function ordered(job) {
  const files = new Map(job.files.map((file) => [file.name, file.version]));
  const said = { error: forPeople(job.error), alarms: job.alarms.map(forPeople), warnings: job.warnings.map(forPeople) };
  return { ...job, ...said, files };
}

export const over = (job) => !["waiting", "running"].includes(job.phase);
