// Numbers in words.

/** 7 → "7 s", 83 → "1 min 23 s", 4000 → "1 h 7 min". */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** For choosing by: 71 → "1 min 10 s". */
export function rough(seconds) {
  const step = seconds < 60 ? 5 : seconds < 300 ? 10 : 60;
  return duration(Math.ceil(seconds / step) * step);
}

/** For what is still to come: 71 → "about 1 min 10 s". */
export function about(seconds) {
  if (seconds < 5) return "a few seconds";
  return `about ${rough(seconds)}`;
}

/** When something was, as people say it. */
export function ago(time, now = Date.now() / 1000) {
  const passed = now - time;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  const then = new Date(time * 1000);
  const clock = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (passed < 86400 && then.getDate() === new Date(now * 1000).getDate()) return `today ${clock}`;
  return then.toLocaleDateString([], { day: "numeric", month: "short" }) + ` ${clock}`;
}

/** 818708 → "818 kB". */
export function bytes(size) {
  if (size < 1e6) return `${Math.max(1, Math.round(size / 1e3))} kB`;
  return `${(size / 1e6).toFixed(size < 1e7 ? 1 : 0)} MB`;
}

/** From where a camera at this elevation, in degrees, sees its object. */
export function fromWhere(elevation) {
  if (elevation <= -5) return "from below";
  if (elevation < 5) return "level with it";
  if (elevation < 20) return "from slightly above";
  if (elevation < 50) return "from above, as one looks at a thing on a table";
  if (elevation < 75) return "steeply from above";
  return "from the top";
}

const PHASES = { waiting: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };

/** A job's phase as a word. */
export function phaseWord(phase) {
  return PHASES[phase] ?? phase;
}
