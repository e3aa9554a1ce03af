// A client of vinom.js that loses its connection in a room, where it has seat 0.
//
// Standard input: {place: the answer to its reconnect, missed: [[type, data]...] pushes right
// after that, then: [[type, data]...] later pushes}.
// Standard output: {seen: [the client's view of the room, after each], heard: [events]}.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/node/web/static/vinom.js";
import { socketsTo } from "./socket.mjs";

const { place, missed, then } = JSON.parse(readFileSync(0, "utf8"));
const facts = { room_id: "r1", game: "pair", resume: "r", seat: 0, version: 0, acted: 0 };
const first = { state: "gathering", players: [], host: 0, number: 1 };
const pushed = (pushes) => pushes.map(([type, data]) => ({ type, data: { room_id: "r1", ...data } }));
let node;

function answer({ type, id }, socket) {
  node = socket;
  if (type === "join_room") {
    socket.tell({ type: "join_room_result", id, data: { ...facts, ...first } });
  } else if (type === "reconnect") {
    const back = { type: "reconnect_result", id, data: { ...facts, ...place } };
    socket.tell(back, ...pushed(missed));
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
const seen = [];
const heard = [];
const client = new Client({
  name: "Ann",
  url: "ws://node",
  random: () => 0,
  WebSocket: socketsTo(answer),
});
const room = await client.join("pair", { roomId: "r1" });
const look = () => {
  const players = room.players.map((one) => `${one.seat} ${one.state}`);
  const { host, isHost, outcome, seat, state } = room;
  seen.push({ host, isHost, outcome, seat, state, players });
};
room.on("start", () => heard.push("start"));
room.on("round", () => heard.push("round"));
const back = new Promise((resolve) => room.on("back", resolve));
node.close();
await back;
await pause();
look();
for (const one of then) {
  node.tell(...pushed([one]));
  await pause();
  look();
}
client.close();
process.stdout.write(JSON.stringify({ seen, heard }));
