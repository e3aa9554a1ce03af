// How the page words refusals.
//
// Standard input: [[code, message, details]...]. Standard output: the words.

import { readFileSync } from "node:fs";
import { inWords } from "../../vinom/node/web/static/ui.js";
import { VinomError } from "../../vinom/node/web/static/vinom.js";

const refusals = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(refusals.map((one) => inWords(new VinomError(...one)))));
