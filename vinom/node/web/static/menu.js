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
  function toggled() {
    if (element.open) opened = element;
    else if (opened === element) opened = null;
    // It opens upwards, unless it would be cut off there.
    element.classList.remove("below");
    const { top } = element.querySelector(".choices").getBoundingClientRect();
    element.classList.toggle("below", element.open && top < 0);
  }

  const element = h(
    "details.menu",
    { ontoggle: toggled },
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
