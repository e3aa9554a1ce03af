// @ts-check
/** With `vinom dev`, in a room: look back, play over a bad network, lose the connection. */

import { button, h } from "./ui.js";

/** States that can be looked at again. */
const MOST_STATES = 5000;
/** How long a sender waits before it repeats what was lost, milliseconds, besides the delay. */
const REPEAT_AFTER = 200;
const KEPT_AS = "vinom.dev_network";
/** Earlier states of a room, while its page is loaded again for another board. */
const STATES_AS = "vinom.dev_states";

/**
 * The network of this tab: milliseconds there and back, percent of what is sent that is
 * lost, and whether there is none.
 */
const network = { delay: 0, loss: 0, isCut: false };
Object.assign(network, JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "{}"));

const Native = globalThis.WebSocket;

/** A connection over a bad network. What is lost is sent again, and all behind it waits, as over TCP. */
class BadSocket extends Native {
  #until = { in: 0, out: 0 };

  /** @param {any} call */
  set onmessage(call) {
    super.onmessage = (event) => this.#late("in", () => call(event));
  }

  /** @param {any} data */
  send(data) {
    this.#late("out", () => {
      if (this.readyState === Native.OPEN) super.send(data);
    });
  }

  /** @param {"in" | "out"} way @param {() => void} call */
  #late(way, call) {
    const isLost = Math.random() * 100 < network.loss;
    const late = network.delay / 2 + (isLost ? REPEAT_AFTER + network.delay : 0);
    const now = performance.now();
    this.#until[way] = Math.max(this.#until[way], now + late);
    if (this.#until[way] > now) setTimeout(call, this.#until[way] - now);
    else call();
  }
}

/** A connection where there is no network. */
class NoSocket {
  readyState = Native.CLOSED;
  onclose = () => {};
  constructor() {
    setTimeout(() => this.onclose(), 50);
  }
  send() {}
  close() {}
}

/** What the page makes connections with, once an author uses these tools. @type {any} */
const Socket = new Proxy(Native, {
  construct: (_, [url]) => (network.isCut ? new NoSocket() : new BadSocket(url)),
});

/**
 * @param {{room: import("./vinom.js").Room, client: import("./vinom.js").Client, redraw: () => void}} shown
 *   `redraw` draws the board again
 */
export function makeBench({ room, client, redraw }) {
  const [whose, ...kept] = JSON.parse(sessionStorage.getItem(STATES_AS) ?? "[]");
  /** @type {Record<string, any>[]} */
  const states = whose === room.roomId ? kept : [];
  /** The state that is looked at; -1 is the newest. */
  let at = -1;

  /** The room as it was in the state that is looked at: for the board. */
  const seen = new Proxy(room, {
    get(target, key) {
      const past = states.at(at);
      if (at >= 0 && past && key in past) return past[String(key)];
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });

  const back = h("input", { id: "bench-state", type: "range", min: 0, max: 0, value: 0, oninput: look });
  const which = h("output", { for: "bench-state" });
  const newest = button("Newest", () => show(-1));
  const status = h("p.muted", { role: "status" });
  const fault = h("pre.fault", { tabindex: 0, "aria-label": "Traceback", hidden: true });
  const cut = button("", toggleCut);

  function look() {
    const chosen = Number(back.value);
    show(chosen >= states.length - 1 ? -1 : chosen);
  }

  /** @param {number} chosen */
  function show(chosen) {
    at = chosen;
    draw();
    redraw();
  }

  function draw() {
    const last = states.length - 1;
    back.max = String(Math.max(last, 0));
    back.value = String(at < 0 ? last : at);
    back.disabled = last < 1;
    newest.disabled = at < 0;
    const one = states.at(at);
    which.textContent = one ? `version ${one.version}, ${one.time.toFixed(1)} s` : "";
  }

  function keep() {
    if (room.view === null || room.version === states.at(-1)?.version) return;
    const { view, version, time, tick } = room;
    states.push({ view, version, time, tick });
    if (states.length > MOST_STATES) {
      states.shift();
      if (at > 0) at -= 1;
    }
    draw();
  }

  function keepForReload() {
    try {
      sessionStorage.setItem(STATES_AS, JSON.stringify([room.roomId, ...states]));
    } catch {
      // They are too many for the browser.
      sessionStorage.removeItem(STATES_AS);
    }
  }

  /** Use what was set; the first time by a new connection. */
  function apply() {
    sessionStorage.setItem(KEPT_AS, JSON.stringify(network));
    const isNew = globalThis.WebSocket !== Socket;
    globalThis.WebSocket = Socket;
    if (isNew || network.isCut) client._drop();
    if (!network.isCut) client.retryNow();
    cut.textContent = network.isCut ? "Connect again" : "Drop the connection";
  }

  function toggleCut() {
    network.isCut = !network.isCut;
    apply();
  }

  /** @param {"delay" | "loss"} name @param {string} title @param {string} unit @param {number} most @param {number} step */
  function knob(name, title, unit, most, step) {
    const id = `bench-${name}`;
    const shown = h("output", { for: id }, `${network[name]} ${unit}`);
    const set = () => {
      network[name] = Number(slider.value);
      shown.textContent = `${network[name]} ${unit}`;
    };
    const slider = h("input", { id, type: "range", min: 0, max: most, step, value: network[name], oninput: set, onchange: apply });
    return h("div.knob", null, h("label", { for: id }, title), shown, slider);
  }

  /** @param {any} event */
  function tell({ detail }) {
    const words = detail.told[room.roomId];
    const hasFailed = words?.includes("\n") ?? false;
    fault.hidden = !hasFailed;
    fault.textContent = hasFailed ? words : "";
    if (hasFailed) status.textContent = "The game has failed. Save it mended, and this round goes on.";
    else status.textContent = words ? `Version ${detail.build} of the game: ${words}.` : "Save the game, and this round goes on by its new rules.";
  }

  const undo = [
    room.on("state", keep),
    () => removeEventListener("vinom-dev", tell),
    () => removeEventListener("pagehide", keepForReload),
  ];
  addEventListener("vinom-dev", tell);
  addEventListener("pagehide", keepForReload);
  tell({ detail: { told: {} } });
  if (network.delay || network.loss || network.isCut) apply();
  else cut.textContent = "Drop the connection";
  keep();
  draw();

  const element = h(
    "section.card.bench",
    { "aria-labelledby": "bench-title" },
    h("h2", { id: "bench-title" }, "vinom dev"),
    status,
    fault,
    h("div.knob", null, h("label", { for: "bench-state" }, "Look back"), which, back, newest),
    knob("delay", "Delay", "ms", 1000, 25),
    knob("loss", "Loss", "%", 50, 1),
    h("p.muted", null, "Delay and loss are those of this tab’s seat, there and back."),
    h("div.row", null, cut),
  );
  return {
    element,
    seen,
    isPast: () => at >= 0,
    stop: () => undo.forEach((one) => one()),
  };
}
