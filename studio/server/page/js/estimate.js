// How long a job takes here: by what the service or earlier jobs of the method say, else by what two
// processor cores take.

const BESIDE = 0.3; // share of a usual job that is not the fit: views, texture, files
const USUAL = { nano: [16, 0.03], "": [16, 0.015] }; // seconds beside the fit and for each step, by scale
const FOR_A_GPU = /\bGPU:|for a GPU|[Ww]ants a GPU/;

/** Seconds of a job with so many steps of the fit, or null where nothing is known. */
export function secondsFor(method, steps, earlier) {
  if (typeof method.seconds_hint === "number") return scaled(method.seconds_hint, method.steps, steps);
  const done = earlier.find((job) => job.method === method.name && job.phase === "done");
  if (done) return scaled(done.seconds, done.steps || method.steps, steps);
  const usual = USUAL[method.scale];
  return usual && !FOR_A_GPU.test(method.summary) ? usual[0] + usual[1] * steps : null;
}

function scaled(seconds, usual, steps) {
  return seconds * (BESIDE + ((1 - BESIDE) * steps) / usual);
}
