// Four players who count, in Node.js; see counting.mjs.
//
//     node count.mjs PORT
//
// Prints {"match": id} when all play. For each line that it reads it prints {"ms": ...} when all
// play again; at the end of the input {"seen": [...]}.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { connect } from "../../vinom/node/web/static/vinom.js";
import { startCounting } from "./counting.mjs";

const say = (what) => console.log(JSON.stringify(what));
const url = `ws://127.0.0.1:${process.argv[2]}/ws`;
const counting = await startCounting(connect, { url, WebSocket });
const lines = createInterface({ input: process.stdin });
say({ match: counting.matchId });
for await (const _ of lines) say({ ms: await counting.again() });
say({ seen: await counting.stop() });
process.exit(0);
