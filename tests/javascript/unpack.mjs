// Packed views, as vinom.js reads them.
//
// Standard input: {layout, steps: [[numbers as base64, others, reset]...]}; each view is made
// from the one before, or with reset from none. Standard output: the views; null for those
// that are refused.

import { readFileSync } from "node:fs";
import { PackedViews, VinomError } from "../../vinom/node/web/static/vinom.js";

const { layout, steps } = JSON.parse(readFileSync(0, "utf8"));
const views = new PackedViews(layout);
let before = null;
const read = [];
for (const [data, others, reset] of steps) {
  try {
    const numbers = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const packed = views.read(numbers, others, reset ? null : before);
    read.push(views.plain(packed));
    before = packed;
  } catch (error) {
    if (!(error instanceof VinomError)) throw error;
    read.push(null);
  }
}
process.stdout.write(JSON.stringify(read));
