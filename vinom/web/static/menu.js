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
 * @property {string} label for screen readers: the words with what they are about
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
        button(
          [h("strong", null, words), h("span.small", null, about)],
          () => {
            element.open = false;
            press();
          },
          { class: "choice", "aria-label": whole, "aria-description": about },
        ),
      ),
    ),
  );
  return element;
}
