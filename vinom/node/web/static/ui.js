// @ts-check
/** Small tools of the page: elements, icons, words, toasts. */

/**
 * Make an element.
 *
 * @param {string} name tag, with `.class` after it if wanted
 * @param {Record<string, any> | null} [props] `on…` adds a listener, `data` sets the
 *   dataset; true makes an empty attribute, and false, null or undefined makes none
 * @param {...any} children
 * @returns {any}
 */
export function h(name, props, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value") /** @type {any} */ (element).value = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, String(value));
    }
  }
  element.append(...children.flat(3).filter((one) => one || one === 0));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Draw simple shapes as SVG: `[tag, attributes]` each.
 *
 * @param {string} box the viewBox
 * @param {[string, Record<string, any>][]} shapes
 * @param {string} [classes]
 */
export function svg(box, shapes, classes = "") {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", box);
  drawing.setAttribute("aria-hidden", "true");
  if (classes) drawing.setAttribute("class", classes);
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) {
      shape.setAttribute(name, String(value));
    }
    drawing.append(shape);
  }
  return drawing;
}

/**
 * Replace the children of an element. If one of them had the focus, its successor with
 * the same `data-key` gets it.
 *
 * @param {HTMLElement} parent
 * @param {...any} children
 */
export function swap(parent, ...children) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const key = parent.contains(focused) ? focused?.dataset.key : undefined;
  parent.replaceChildren(...children.flat(3).filter((one) => one || one === 0));
  if (key !== undefined) focusOn(parent, key);
}

/**
 * Move the focus to the descendant with this `data-key`, if there is one.
 *
 * @param {HTMLElement} parent
 * @param {string} key
 */
export function focusOn(parent, key) {
  /** @type {HTMLElement | null} */ (
    parent.querySelector(`[data-key="${CSS.escape(key)}"]`)
  )?.focus({ preventScroll: true });
}

/**
 * @param {any} label
 * @param {() => any} press
 * @param {Record<string, any>} [props] further attributes; `class` selects the style
 */
export function button(label, press, props = {}) {
  return h("button", { type: "button", onclick: press, ...props }, label);
}

/**
 * Show a sentence for some seconds.
 *
 * @param {string} words
 * @param {"bad" | "good"} [mood]
 */
export function toast(words, mood = "bad") {
  const box = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const shown = h(`p.toast.${mood}`, null, words);
  box.append(shown);
  while (box.childElementCount > 3) box.firstElementChild?.remove();
  setTimeout(() => shown.remove(), 6000);
}

/**
 * Announce something to screen readers.
 *
 * @param {string} words
 */
export function say(words) {
  const live = /** @type {HTMLElement} */ (document.getElementById("live"));
  if (live.textContent !== words) live.textContent = words;
}

export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** One colour per seat. Always shown with a name or a number, never alone. */
export const COLOURS = [
  "#d1495b",
  "#2f6fde",
  "#c98a00",
  "#2e9247",
  "#8e5bd0",
  "#dd6b20",
  "#1593a8",
  "#c2489f",
];

/** @param {number} seat */
export const colourOf = (seat) => COLOURS[seat % COLOURS.length];

/**
 * A seat's dot in lists.
 *
 * @param {number} seat
 * @param {string} [colour]
 */
export function dot(seat, colour = colourOf(seat)) {
  return svg(
    "0 0 12 12",
    [["circle", { cx: 6, cy: 6, r: 5, fill: colour }]],
    "dot",
  );
}

/** @type {Record<string, string>} */
const WORDS = {
  offline: "You’re not connected. Try again in a moment.",
  connection_lost: "Connection lost. Check whether your move went through.",
  timeout: "The server took too long to answer.",
  closed: "This room is closed.",
  busy: "The server is too busy to let you in. Try again in a moment.",
  already_in_match: "You are already in a match. Return to it, or leave it first.",
  already_queued: "You are already waiting for a match.",
  no_such_party: "This party doesn’t exist any more, or the invitation is no longer valid.",
  already_in_party: "You are in a party already. Leave it first.",
  party_full: "There are too many players for this.",
  too_many_parties: "There are too many parties right now.",
  not_in_party: "You are no longer in this party.",
  no_such_prematch: "It is too late: this match is over.",
  not_queued: "You are no longer waiting for a match.",
  store_unavailable: "The server’s storage doesn’t answer. Try again in a moment.",
  unavailable: "The server can’t do this right now. Try again in a moment.",
  room_full: "Every seat in this room is taken.",
  room_started: "The game has already begun, and nobody can join it now.",
  no_such_room: "This room doesn’t exist. It may have closed.",
  kicked: "You were removed from this room.",
  not_now: "That can’t be done right now.",
  not_host: "Only the host can do that.",
  not_seated: "You are watching. Only players can do that.",
  too_many_rooms: "There are too many rooms right now.",
  rate_limited: "Too many requests. Wait a moment.",
  draining: "The server is about to stop, so it opens no new rooms.",
  no_bot: "This game has no bot.",
  unknown_queue: "This server doesn’t have that queue.",
  unknown_game: "This server doesn’t have that game.",
  unauthorized: "This server requires you to log in.",
  name_refused: "You can’t use this name. Choose another one.",
  internal: "Something went wrong on the server. Its log has the details.",
};

/**
 * Describe an error in plain words.
 *
 * @param {any} error
 */
export function inWords(error) {
  if (error.code === "not_now" && error.details?.retry_after) {
    const seconds = plural(Math.ceil(error.details.retry_after), "second");
    return `${sentence(error.message)} Try again in ${seconds}.`;
  }
  const known = WORDS[error.code];
  if (known) return known;
  const words = String(error.message || error);
  return sentence(words);
}

/** Begin with a capital letter, and end with a full stop. @param {string} words */
export function sentence(words) {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/**
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (count, one, many = `${one}s`) =>
  `${count} ${count === 1 ? one : many}`;

/**
 * A random name for a player who has not chosen one yet.
 *
 * @returns {string}
 */
export function someName() {
  const kinds = ["Quiet", "Brave", "Swift", "Merry", "Clever", "Lucky", "Sunny", "Gentle"];
  const who = ["Otter", "Heron", "Lynx", "Badger", "Robin", "Marten", "Hare", "Finch"];
  /** @param {string[]} words */
  const one = (words) => words[Math.floor(Math.random() * words.length)];
  return `${one(kinds)} ${one(who)}`;
}

/**
 * The address of a room on this page.
 *
 * @param {string} room
 * @param {string} game
 * @param {boolean} [watch]
 */
export function addressOf(room, game, watch = false) {
  return `#${new URLSearchParams({ room, game, ...(watch ? { watch: "1" } : {}) })}`;
}

/** A random room id: easy to read out, hard to guess. */
export function someRoom() {
  const letters = "abcdefghjkmnpqrstuvwxyz23456789";
  const drawn = crypto.getRandomValues(new Uint8Array(10));
  return [...drawn].map((byte) => letters[byte % letters.length]).join("");
}

/**
 * A bar that shrinks until a turn ends.
 *
 * @returns {{element: any, show: (room: any, due: number | null, whole: number) => void, stop: () => void}}
 */
export function countdown() {
  const bar = h("span.countdown-bar");
  const text = h("span.countdown-text");
  const element = h("div.countdown", { "aria-hidden": "true" }, bar, text);
  /** @type {any} */
  let timer;
  const stop = () => clearInterval(timer);
  return {
    element,
    stop,
    show(room, due, whole) {
      stop();
      element.classList.toggle("idle", due === null);
      if (due === null) return;
      const tick = () => {
        // Without a connection nobody knows how much time is left.
        if (document.documentElement.dataset.status === "waiting") {
          text.textContent = "–";
          return;
        }
        const passed = (performance.now() - room.receivedAt) / 1000;
        const left = Math.max(0, due - room.time - passed);
        bar.style.transform = `scaleX(${Math.min(1, left / whole)})`;
        element.classList.toggle("soon", left < 6);
        text.textContent = `${Math.ceil(left)} s`;
      };
      tick();
      timer = setInterval(tick, 250);
    },
  };
}
