// What a visitor has put together so far; it outlives a look at another page, not a reload.

/** Ways to begin: what a method takes → how it is called and drawn. */
export const KINDS = [
  { value: "image", label: "Picture", icon: "picture" },
  { value: "images", label: "Pictures", icon: "pictures" },
  { value: "text", label: "Text", icon: "text" },
  { value: "capture", label: "Capture", icon: "capture" },
];

/** Shares of the fit's usual steps. */
export const QUALITIES = [
  { value: "quick", label: "Quick", share: 0.2 },
  { value: "normal", label: "Normal", share: 1 },
  { value: "full", label: "Full", share: 2 },
];

export const draft = {
  kind: "image",
  image: null,
  images: [],
  capture: null,
  text: "",
  method: {}, // by kind
  options: {}, // by method, then by key; only what differs from the default
  quality: "normal",
  steps: null, // of the fit, given by hand
  seed: 0,
};

const MOST_STEPS = 100000; // that the service takes

/** Steps of the fit for a quality. */
export function stepsFor(method, quality = draft.quality) {
  const { share } = QUALITIES.find(({ value }) => value === quality);
  const most = Math.max(method.steps, MOST_STEPS);
  return Math.min(most, Math.max(1, Math.round(method.steps * share)));
}

/** The same as the service wants it: 0 for as many as the config says. */
export function stepsAsked(method) {
  if (draft.steps !== null) return draft.steps;
  return draft.quality === "normal" ? 0 : Math.min(stepsFor(method), MOST_STEPS);
}

/** The options given for a method. */
export function optionsOf(method) {
  return (draft.options[method.name] ??= {});
}

/** Value of an option: given, else the default. */
export function valueOf(method, option) {
  const given = optionsOf(method);
  return option.key in given ? given[option.key] : option.default;
}

/** Set an option; its default is as good as nothing given. */
export function setOption(method, option, value) {
  const given = optionsOf(method);
  if (value === option.default) delete given[option.key];
  else given[option.key] = value;
}

/** Files that go with the request. */
export function filesOf() {
  if (draft.kind === "image") return draft.image ? [draft.image] : [];
  if (draft.kind === "images") return draft.images;
  return draft.kind === "capture" && draft.capture ? [draft.capture] : [];
}

/** What the result will be called. */
export function labelOf() {
  if (draft.kind === "text") return draft.text.trim();
  const [first, ...rest] = filesOf().map((file) => file.name.replace(/\.[^.]+$/, ""));
  return rest.length ? `${first} and ${rest.length} more` : (first ?? "");
}

/** Take dropped or pasted files: pictures or a zip, whichever they are. Returns whether any fits. */
export function takeFiles(files) {
  const zip = files.find((file) => /\.zip$/i.test(file.name));
  const pictures = files.filter((file) => file !== zip && !/\.zip$/i.test(file.name));
  if (zip) Object.assign(draft, { kind: "capture", capture: zip });
  else if (draft.kind === "images" && pictures.length) draft.images = [...draft.images, ...pictures];
  else if (pictures.length > 1) Object.assign(draft, { kind: "images", images: pictures });
  else if (pictures.length) Object.assign(draft, { kind: "image", image: pictures[0] });
  else return false;
  return true;
}
