// @ts-check
/** The board of any game: its view as data, and a form for each kind of action. */

import { cellAction, fieldsOf } from "../options.js";
import { h, sentence, swap } from "../ui.js";

/** Longest side of a list of lists that is shown as a grid. */
const MOST = 40;

/** Is it a list of lists of equal lengths, with plain values in them? @param {any} value */
function isGrid(value) {
  if (!Array.isArray(value) || value.length < 2 || value.length > MOST) return false;
  const width = value[0]?.length;
  return (
    value.every((row) => Array.isArray(row) && row.length === width) &&
    width >= 2 &&
    width <= MOST &&
    value.flat().every((cell) => typeof cell !== "object" || cell === null)
  );
}

/** Round what arithmetic has made long: 33.001476637999986. @param {any} value */
const rounded = (value) =>
  typeof value === "number" && !Number.isInteger(value) ? Number(value.toFixed(2)) : value;

/** @param {any} value @returns {string} */
const asText = (value) =>
  JSON.stringify(value, (_, one) => rounded(one))?.replaceAll(",", ", ") ?? "";

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room, facts, colourOf, nameOf } = context;
  const tree = h("div.tree");
  const setup = h("div.tree");
  const heading = h("p.small.muted");
  /** Branches that the user closed, by path. @type {Set<string>} */
  const closed = new Set();
  /** The first action that needs nothing but a cell of a grid, or a column. */
  const onCell = (facts.actions ?? []).map(cellAction).find(Boolean);

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
      return h("li", null, label, h(`span.tree-value.${kind}`, null, asText(value)));
    }
    if (isGrid(value)) return h("li", null, label, grid(value, name));
    const entries = Object.entries(value);
    const isList = Array.isArray(value);
    const isPlain = entries.every(([, one]) => typeof one !== "object" || one === null);
    if (isPlain && isList) {
      return h("li", null, label, chips(value));
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

  /** Show a plain list as chips. @param {any[]} values */
  function chips(values) {
    if (!values.length) return h("span.muted", null, "empty");
    return h("span.chips", null, values.map((value) => h("span.chip", null, asText(value))));
  }

  /** @param {any} value */
  const isSeat = (value) => Number.isInteger(value) && value >= 0 && value < room.players.length;

  /** Show a list of lists as rows of cells. @param {any[][]} rows @param {string} name */
  function grid(rows, name) {
    const canPlay = onCell && room.seat !== null;
    const values = rows.flat();
    // Numbers of seats beside free cells are probably pieces of the players.
    const arePieces = values.includes(null) && values.every((value) => value === null || isSeat(value));
    const shown = rows.flatMap((row, y) =>
      row.map((value, x) => {
        const words = value === null ? "" : String(rounded(value));
        const where = `row ${y}, column ${x}`;
        const props = {
          title: `${where}: ${asText(value)}`,
          "aria-label": `${where}: ${asText(value)}`,
          data: { key: `${name} ${y} ${x}` },
        };
        const cell = canPlay
          ? h("button.grid-cell", { ...props, type: "button", onclick: () => context.act(onCell.at(y, x, row.length)) }, words)
          : h("span.grid-cell", { ...props, role: "img" }, words);
        if (isSeat(value)) cell.style.borderColor = colourOf(value);
        if (isSeat(value) && arePieces) cell.classList.add("piece");
        return cell;
      }),
    );
    const element = h("div.grid", { role: "group", "aria-label": name }, shown);
    element.style.gridTemplateColumns = `repeat(${rows[0].length}, minmax(0, 1fr))`;
    return [element, canPlay && h("p.small.muted", null, `Press a cell to send ${onCell.title}.`)];
  }

  /** @param {any} value @param {string} path @returns {any} */
  const roots = (value, path) =>
    h("ul", null, Object.entries(value ?? {}).map(([key, one]) => branch(one, key, `${path}/${key}`)));

  let frame = 0;
  function draw() {
    frame = 0;
    heading.textContent = `Version ${room.version}, match time ${room.time.toFixed(2)} s, your seat: ${room.seat ?? "none"}`;
    swap(tree, roots(room.view, "view"));
  }
  if (room.setup !== null) setup.replaceChildren(roots(room.setup, "setup"));

  /** Write an event as words: "placed: Ann, row 2". @param {any} data */
  function inWords(data) {
    if (data === null || data === undefined) return "";
    if (typeof data !== "object" || Array.isArray(data)) return asText(data);
    return Object.entries(data)
      .map(([name, value]) => {
        const isSeat = name === "seat" || name === "winner";
        if (isSeat && Number.isInteger(value)) return name === "seat" ? nameOf(value) : `${name} ${nameOf(value)}`;
        return `${name.replaceAll("_", " ")} ${asText(value)}`;
      })
      .join(", ");
  }

  return {
    element: h(
      "div.generic",
      null,
      h("section", null, h("h2", null, "What you see"), heading, tree,
        room.setup !== null && [h("h2", null, "What never changes"), setup]),
      h("section", null, h("h2", null, "What you can do"),
        room.seat === null ? h("p.muted", null, "You are watching.") : forms),
    ),
    ends: false,
    stop: () => cancelAnimationFrame(frame),
    update() {
      // At most once per animation frame, for games with ticks.
      if (!frame) frame = requestAnimationFrame(draw);
    },
    /** @param {any} event */
    event({ kind, data }) {
      const words = inWords(data);
      context.note(words ? `${kind.replaceAll("_", " ")}: ${words}` : kind.replaceAll("_", " "));
    },
  };
}
