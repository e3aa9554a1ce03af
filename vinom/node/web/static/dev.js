// @ts-check
/** With `vinom dev`: reload when the game is saved, and show its errors. */

import { h, swap } from "./ui.js";

/**
 * For a page of your own: with `vinom dev`, reload when the game or the page is saved. On
 * any other server it does nothing.
 */
export async function reloadWhenSaved() {
  const answer = await fetch("/games.json");
  const { dev } = await answer.json();
  if (dev) watchDevelopment(dev);
}

/** @param {{pages: number, error: string}} first */
export function watchDevelopment(first) {
  const panel = h("section.dev-error", { "aria-live": "assertive", hidden: true });
  document.body.append(panel);
  /** @param {{pages: number, error: string, game: string}} dev */
  const show = (dev) => {
    dispatchEvent(new CustomEvent("vinom-dev", { detail: dev }));
    panel.hidden = !dev.error;
    if (dev.error && panel.dataset.error !== dev.error) {
      panel.dataset.error = dev.error;
      swap(
        panel,
        h("h2", null, `${dev.game} can’t be loaded`),
        h("pre", { tabindex: 0 }, dev.error),
        h("p", null, "Fix and save it. Until then the last working version keeps running."),
      );
    }
  };
  show(/** @type {any} */ (first));
  setInterval(async () => {
    try {
      const answer = await fetch("/games.json");
      const { dev } = await answer.json();
      if (dev.pages !== first.pages) location.reload();
      else show(dev);
    } catch {
      // The server is restarting.
    }
  }, 700);
}
