// @ts-check
/** Short, soft sounds, made here without files; the player can mute them. */

import { svg } from "./ui.js";

const KEY = "vinom.muted";
/** How loud the loudest note is, of 1. */
const LOUDNESS = 0.07;

/**
 * The notes of each sound: frequency in hertz, and when it begins and how long it lasts, seconds.
 *
 * @type {Record<string, [number, number, number][]>}
 */
const SOUNDS = {
  turn: [[587, 0, 0.16], [880, 0.09, 0.28]],
  won: [[523, 0, 0.2], [659, 0.11, 0.2], [784, 0.22, 0.2], [1047, 0.33, 0.6]],
  over: [[494, 0, 0.25], [392, 0.16, 0.5]],
};

/** @type {AudioContext | null} */
let audio = null;
/** For browsers that forbid storage. */
let isMuted = false;
try {
  isMuted = localStorage.getItem(KEY) === "1";
} catch {
  // Then nothing is remembered.
}

/**
 * Play a sound, unless the player has muted the page or has not yet pressed anything: before
 * that browsers allow no sound.
 *
 * @param {"turn" | "won" | "over"} name
 */
export function sound(name) {
  if (isMuted || !navigator.userActivation?.hasBeenActive) return;
  audio ??= new AudioContext();
  // Phones suspend it when the page is in the background.
  audio.resume().catch(() => {});
  for (const [frequency, after, length] of SOUNDS[name]) note(audio, frequency, audio.currentTime + after, length);
}

/** @param {AudioContext} on @param {number} frequency @param {number} from @param {number} length */
function note(on, frequency, from, length) {
  const wave = on.createOscillator();
  const loudness = on.createGain();
  wave.type = "triangle";
  wave.frequency.value = frequency;
  // A sudden begin or end would click.
  loudness.gain.setValueAtTime(0.0001, from);
  loudness.gain.exponentialRampToValueAtTime(LOUDNESS, from + 0.02);
  loudness.gain.exponentialRampToValueAtTime(0.0001, from + length);
  wave.connect(loudness).connect(on.destination);
  wave.start(from);
  wave.stop(from + length);
}

const SPEAKER = { d: "M4 9v6h4l5 4.5v-15L8 9z" };
const WAVES = { d: "M16 9a4 4 0 0 1 0 6M18.5 6.5a7.5 7.5 0 0 1 0 11" };
const CROSS = { d: "M16.5 9.5l5 5M21.5 9.5l-5 5" };

/** Let a button of the page switch sounds off and on. @param {HTMLElement} switcher */
export function makeSwitch(switcher) {
  const show = () => {
    const words = isMuted ? "Sound is off. Turn it on" : "Sound is on. Turn it off";
    switcher.setAttribute("aria-label", words);
    switcher.title = words;
    switcher.dataset.muted = String(isMuted);
    switcher.replaceChildren(svg("0 0 24 24", [["path", SPEAKER], ["path", isMuted ? CROSS : WAVES]], "speaker"));
    switcher.hidden = false;
  };
  switcher.addEventListener("click", () => {
    isMuted = !isMuted;
    try {
      localStorage.setItem(KEY, isMuted ? "1" : "0");
    } catch {
      // This tab still keeps it.
    }
    show();
    sound("turn");
  });
  show();
}
