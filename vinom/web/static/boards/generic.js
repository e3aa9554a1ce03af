// @ts-check
/** The board of any game: its state as a tree, and a form for each kind of action. */

import { fieldsOf } from "../options.js";
import { h, sentence } from "../ui.js";

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room, facts } = context;
  const tree = h("div.tree");
  const setup = h("div.tree");
  const heading = h("p.small.muted");
  const events = h("ol.log.code", { "aria-label": "Events" });
  /** Branches that the user closed, by path. @type {Set<string>} */
  const closed = new Set();

  const forms = (facts.actions ?? []).map((/** @type {any} */ schema, /** @type {number} */ at) => {
    const fields = fieldsOf(schema, `action-${at}`);
    /** @param {Event} event */
    const send = (event) => {
      event.preventDefault();
      context.act(fields.read());
    };
    return h(
      "form.action",
      { onsubmit: send },
      h("h3.code", null, fields.title),
      fields.about && h("p.small.muted", null, sentence(fields.about)),
      fields.element,
      h("button", { type: "submit" }, `Send ${fields.title}`),
    );
  });

  /** @param {any} value @param {string} name @param {string} path @returns {any} */
  function branch(value, name, path) {
    const label = h("span.tree-name", null, name);
    if (typeof value !== "object" || value === null) {
      const kind = value === null ? "null" : typeof value;
      return h("li", null, label, h(`span.tree-value.${kind}`, null, JSON.stringify(value)));
    }
    const entries = Object.entries(value);
    const isList = Array.isArray(value);
    const isPlain = entries.every(([, one]) => typeof one !== "object" || one === null);
    if (isPlain && isList) {
      return h("li", null, label, h("span.tree-value", null, JSON.stringify(value).replaceAll(",", ", ")));
    }
    const size = isList ? `${entries.length} entries` : "";
    return h(
      "li",
      null,
      h(
        "details",
        {
          open: !closed.has(path),
          ontoggle: (/** @type {any} */ event) => {
            if (event.target.open) closed.delete(path);
            else closed.add(path);
          },
        },
        h("summary", null, label, h("span.muted", null, size)),
        h("ul", null, entries.map(([key, one]) => branch(one, key, `${path}/${key}`))),
      ),
    );
  }

  /** @param {any} value @param {string} path @returns {any} */
  const roots = (value, path) =>
    h("ul", null, Object.entries(value ?? {}).map(([key, one]) => branch(one, key, `${path}/${key}`)));

  let frame = 0;
  function draw() {
    frame = 0;
    heading.textContent = `Version ${room.version}, match time ${room.time.toFixed(2)} s, your seat: ${room.seat ?? "none"}`;
    tree.replaceChildren(roots(room.view, "view"));
  }
  if (room.setup !== null) setup.replaceChildren(roots(room.setup, "setup"));

  return {
    element: h(
      "div.generic",
      null,
      h("section", null, h("h2", null, "What you see"), heading, tree,
        room.setup !== null && [h("h2", null, "What never changes"), setup]),
      h("section", null, h("h2", null, "What you can do"),
        room.seat === null ? h("p.muted", null, "You are watching.") : forms,
        h("h2", null, "Events"), events),
    ),
    ends: false,
    stop: () => cancelAnimationFrame(frame),
    update() {
      // At most once per animation frame, for games with ticks.
      if (!frame) frame = requestAnimationFrame(draw);
    },
    /** @param {any} event */
    event({ kind, data }) {
      events.prepend(h("li", null, `${kind} ${JSON.stringify(data)}`));
      while (events.childElementCount > 30) events.lastElementChild?.remove();
    },
  };
}
