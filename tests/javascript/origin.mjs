// A client of vinom.js whose handshakes all fail, and a server that gives the reason to
// those who ask over HTTP.
//
// Standard input: {code: of the error in that answer}.
// Standard output: {rejected: the code of `ready`'s error, or null, message, errors: [codes],
// tries: how many handshakes, asked: [addresses], status}.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/node/web/static/vinom.js";

const { code } = JSON.parse(readFileSync(0, "utf8"));
let tries = 0;
const asked = [];
const errors = [];

class Closed {
  constructor() {
    tries += 1;
    setTimeout(() => this.onclose(), 1);
  }
  close() {}
}
globalThis.fetch = async (address) => {
  asked.push(String(address));
  const message = "if they may connect, set origin=localhost:5500";
  const error = { code, message, details: { origin: "http://localhost:5500" } };
  return { json: async () => ({ error }) };
};

const client = new Client({ name: "Ann", url: "ws://node/ws", random: () => 0, WebSocket: Closed });
client.on("error", (error) => errors.push(error.code));
const pause = new Promise((resolve) => setTimeout(resolve, 1000));
let rejected = null;
await Promise.race([client.ready.catch((error) => (rejected = error)), pause]);
await new Promise((resolve) => setTimeout(resolve, 200));
const found = { rejected: rejected?.code ?? null, message: rejected?.message, status: client.status };
process.stdout.write(JSON.stringify({ ...found, errors, tries, asked }));
process.exit();
