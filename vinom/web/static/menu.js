// @ts-check
/** A button that opens a short menu. */

import { button, h } from "./ui.js";

/** The menu that is open. @type {any} */
let opened = null;

addEventListener("click", (event) => {
  if (opened && !opened.contains(event.target)) opened.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !opened) return;
  opened.querySelector("summary").focus();
  opened.open = false;
});

/**
 * @typedef {object} Choice
 * @property {string} words
 * @property {string} label for screen readers: a sentence that contains the words
 * @property {string} about what it does
 * @property {() => any} press
 *
 * @param {string} label of the button
 * @param {(Choice | false | undefined)[]} choices
 */
export function menu(label, choices) {
  const found = /** @type {Choice[]} */ (choices.filter(Boolean));
  const element = h(
    "details.menu",
    { ontoggle: () => (opened = element.open ? element : opened === element ? null : opened) },
    h("summary", { "aria-label": label, title: label }, h("span", { "aria-hidden": "true" }, "⋯")),
    h(
      "div.choices",
      null,
      found.map(({ words, label: whole, about, press }) =>
        h(
          "div.choice",
          null,
          button(
            words,
            () => {
              element.open = false;
              press();
            },
            { "aria-label": whole, "aria-description": about },
          ),
          h("span.small", { "aria-hidden": "true" }, about),
        ),
      ),
    ),
  );
  return element;
}
