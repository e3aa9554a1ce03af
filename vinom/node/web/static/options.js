// @ts-check
/** Forms from JSON Schemas: a game's options, and the actions of an unknown game. */

import { button, h, sentence } from "./ui.js";

/**
 * Follow the references of a schema.
 *
 * @param {any} schema
 * @param {any} root
 * @returns {any}
 */
function resolve(schema, root) {
  if (!schema) return {};
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return resolve(root.$defs?.[name], root);
  }
  return schema;
}

/** @param {string} name */
const labelOf = (name) => name.replaceAll("_", " ");

/**
 * Make a form from the schema of a struct.
 *
 * @param {any} schema
 * @param {string} prefix of the fields' ids in the document
 * @returns {{tag: string | null, about: string, title: string, element: any, count: number, read: () => any}}
 */
export function fieldsOf(schema, prefix) {
  const root = schema ?? {};
  const struct = resolve(root, root);
  /** @type {string | null} */
  let tag = null;
  /** @type {Record<string, () => any>} */
  const readers = {};
  const rows = [];
  for (const [name, given] of Object.entries(struct.properties ?? {})) {
    const field = resolve(given, root);
    if (name === "type" && field.enum?.length === 1) {
      [tag] = field.enum;
      continue;
    }
    const isRequired = (struct.required ?? []).includes(name);
    const [element, read] = inputOf(field, root, /** @type {any} */ (given), isRequired);
    element.id = `${prefix}-${name}`;
    readers[name] = read;
    const range =
      field.minimum !== undefined && field.maximum !== undefined
        ? `${field.minimum} to ${field.maximum}`
        : "";
    rows.push(
      h(
        "div.field",
        null,
        h("label", { for: element.id }, labelOf(name)),
        element,
        range && h("span.small.muted", null, range),
      ),
    );
  }
  return {
    tag,
    title: tag ?? struct.title ?? "",
    about: (struct.description ?? "").split("\n")[0],
    element: h("div.fields", null, rows),
    count: rows.length,
    read() {
      /** @type {Record<string, any>} */
      const found = tag === null ? {} : { type: tag };
      for (const [name, read] of Object.entries(readers)) {
        const value = read();
        if (value !== undefined) found[name] = value;
      }
      return found;
    },
  };
}

/**
 * @param {any} field
 * @param {any} root
 * @param {any} given the schema before references were followed; may have the default
 * @param {boolean} isRequired
 * @returns {[any, () => any]} the input, and a function that reads it
 */
function inputOf(field, root, given, isRequired) {
  const standard = given.default ?? field.default;
  if (field.enum) {
    const one = (/** @type {any} */ value) =>
      h("option", { value, selected: value === standard }, String(value));
    const select = h("select", null, field.enum.map(one));
    return [select, () => field.enum[select.selectedIndex]];
  }
  if (field.type === "boolean") {
    const check = h("input", { type: "checkbox", checked: standard === true });
    return [check, () => check.checked];
  }
  if (field.type === "integer" || field.type === "number") {
    const number = h("input", {
      type: "number",
      inputmode: field.type === "integer" ? "numeric" : "decimal",
      step: field.type === "integer" ? 1 : "any",
      min: field.minimum,
      max: field.maximum,
      required: isRequired,
      value: standard ?? (isRequired ? (field.minimum ?? 0) : ""),
    });
    return [number, () => (number.value === "" ? undefined : Number(number.value))];
  }
  if (field.type === "string") {
    const text = h("input", {
      type: "text",
      maxlength: field.maxLength,
      required: isRequired && (field.minLength ?? 0) > 0,
      value: standard ?? "",
    });
    return [text, () => (text.value === "" && !isRequired ? undefined : text.value)];
  }
  // Lists and other values, as JSON.
  const hint = field.type === "array" ? "[]" : "{}";
  const json = h("input", {
    type: "text",
    class: "code",
    spellcheck: "false",
    placeholder: `JSON, such as ${hint}`,
    value: standard !== undefined ? JSON.stringify(standard) : "",
  });
  json.addEventListener("input", () => {
    let wrong = "";
    try {
      if (json.value) JSON.parse(json.value);
    } catch {
      wrong = "This is not valid JSON.";
    }
    json.setCustomValidity(wrong);
  });
  return [json, () => (json.value === "" ? undefined : JSON.parse(json.value))];
}

/**
 * Ask for a game's options; a game without options starts at once.
 *
 * @param {string} title
 * @param {any} schema
 * @param {(options: any) => void} done
 */
export function optionsDialog(title, schema, done) {
  const fields = fieldsOf(schema, "option");
  if (!fields.count) {
    done(null);
    return;
  }
  /** @param {Event} event */
  const take = (event) => {
    event.preventDefault();
    const options = fields.read();
    dialog.close();
    done(options);
  };
  const dialog = h(
    "dialog.card",
    { "aria-labelledby": "options-title", onclose: () => dialog.remove() },
    h(
      "form",
      { method: "dialog", onsubmit: take },
      h("h2", { id: "options-title" }, `New room: ${title}`),
      fields.about && h("p.muted", null, sentence(fields.about)),
      fields.element,
      h(
        "div.row.end",
        null,
        button("Cancel", () => dialog.close()),
        h("button.primary", { type: "submit" }, "Open the room"),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/** Names of fields that mean a place in a list of lists: row and column, column only, index. */
const ROWS = ["row", "r", "y"];
const COLUMNS = ["column", "col", "c", "x"];
const INDEXES = ["cell", "index", "square", "position", "at"];

/**
 * See whether an action needs nothing but a cell of a grid: its row and column, only its
 * column, or its number.
 *
 * @param {any} schema of the action
 * @returns {{title: string, at: (row: number, column: number, width: number) => any} | null}
 *   `at` makes the action for a cell
 */
export function cellAction(schema) {
  const struct = resolve(schema, schema ?? {});
  const properties = Object.entries(struct.properties ?? {});
  const tag = properties.find(([name, one]) => name === "type" && one.enum?.length === 1)?.[1].enum[0];
  const needed = (struct.required ?? []).filter((/** @type {string} */ name) => name !== "type");
  const areNumbers = needed.every((/** @type {string} */ name) => resolve(struct.properties[name], schema).type === "integer");
  if (!needed.length || !areNumbers) return null;
  const find = (/** @type {string[]} */ names) => needed.find((/** @type {string} */ name) => names.includes(name));
  const [row, column, index] = [find(ROWS), find(COLUMNS), find(INDEXES)];
  const used = needed.length === 2 ? row && column : needed.length === 1 && (column || index);
  if (!used) return null;
  return {
    title: tag ?? struct.title ?? "",
    at(y, x, width) {
      /** @type {Record<string, any>} */
      const action = tag === undefined ? {} : { type: tag };
      if (row) action[row] = y;
      if (column) action[column] = x;
      if (index) action[index] = y * width + x;
      return action;
    },
  };
}
