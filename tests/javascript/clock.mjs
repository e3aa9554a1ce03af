// Time that passes when the script says so: timers, performance.now and Date.now.

let now = 1000;
let ahead = 0;
let number = 0;
const timers = new Map();

function start(call, pause, every) {
  timers.set(++number, { at: now + pause, call, every });
  return number;
}

globalThis.setTimeout = (call, pause = 0) => start(call, pause, 0);
globalThis.setInterval = (call, pause) => start(call, pause, pause);
globalThis.clearTimeout = globalThis.clearInterval = (id) => timers.delete(id);
performance.now = () => now;
Date.now = () => 1e12 + now + ahead;

/** Set the time of day. @param {number} by milliseconds */
export function setClock(by) {
  ahead += by;
}

/** Let time pass. @param {number} milliseconds */
export async function pass(milliseconds) {
  const end = now + milliseconds;
  for (;;) {
    // What was promised comes before the next timer.
    for (let turn = 0; turn < 20; turn++) await null;
    const [next] = [...timers].filter(([, one]) => one.at <= end).sort(([, a], [, b]) => a.at - b.at);
    if (!next) break;
    const [id, one] = next;
    now = Math.max(now, one.at);
    if (one.every) one.at += one.every;
    else timers.delete(id);
    one.call();
  }
  now = end;
}
