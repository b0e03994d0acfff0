// Following a job, also over a connection that drops.

import { eventsAddress, job as fetchJob, ordered, over, Refused } from "./api.js";

const LONGEST_WAIT = 10; // seconds between two attempts

/** Say whether the service can be reached; "" when it can. */
export function saidOf(words) {
  const banner = document.getElementById("connection");
  if (banner.textContent === words) return;
  banner.textContent = words;
  banner.hidden = !words;
}

/**
 * Call `changed` with a job at each of its changes until it is over.
 * Returns a function that stops following. `refused` is called where there is no such job.
 */
export function follow(id, changed, refused) {
  let stopped = false;
  let source = null;
  let timer = 0;
  let wait = 1;

  function open() {
    source = new EventSource(eventsAddress(id));
    source.onmessage = (event) => {
      wait = 1;
      saidOf("");
      taken(ordered(JSON.parse(event.data)));
    };
    source.onerror = lost;
    source.addEventListener("gone", lost);
  }

  function taken(job) {
    if (stopped) return;
    if (over(job)) stop();
    changed(job);
  }

  async function lost() {
    source.close();
    if (stopped) return;
    try {
      const job = await fetchJob(id); // the stream may simply have ended with the job
      saidOf("");
      taken(job);
      if (!stopped) timer = setTimeout(open, 1000);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) {
        stop();
        refused(error);
        return;
      }
      saidOf(`Connection lost. Trying again in ${wait} s. What runs goes on.`);
      timer = setTimeout(open, wait * 1000);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  }

  function stop() {
    stopped = true;
    clearTimeout(timer);
    source?.close();
    saidOf("");
  }

  open();
  return stop;
}
