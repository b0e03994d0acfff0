// How long a job takes here: by what the service has measured, else by this visitor's last one of the
// method. Nobody knows before the first.

/** Seconds of a job with so many steps of the fit, or null where nothing was measured. */
export function secondsFor(method, steps, earlier) {
  if (method.pace) return method.pace.beside + method.pace.step * steps;
  const done = earlier.find((job) => job.method === method.name && job.phase === "done" && job.figures["seconds.fit"]);
  if (!done) return null;
  const fit = done.figures["seconds.fit"];
  return done.seconds - fit + (fit * steps) / (done.steps || method.steps);
}
