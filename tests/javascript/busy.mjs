// A client of vinom.js that finds a match on a game server with too much to do.
//
// Standard input: what the node answers to each join_room: "seat", or a code, after which may
// stand why the match ends then: "busy crashed"; with "busy void" another one is found soon.
// Standard output: {asked: the rooms that were asked for, result: the room's id or the code}.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/web/static/vinom.js";
import { socketsTo } from "./socket.mjs";

const answers = JSON.parse(readFileSync(0, "utf8"));
const rooms = [];
const queued = { type: "queue_status", data: { state: "queued", game: "maze" } };

function answer({ type, id, data }, socket) {
  if (type === "queue") {
    socket.tell({ ...queued, id });
    find(socket, "m1");
  } else if (type === "join_room") {
    rooms.push(data.room_id);
    const [code, end] = answers.shift().split(" ");
    if (code === "seat") sit(socket, id, data.room_id);
    else refuse(socket, id, data.room_id, code, end);
  }
}

function find(socket, match_id) {
  socket.tell({ type: "match_found", data: { match_id, game: "maze" } });
}

function sit(socket, id, room_id) {
  const place = { room_id, game: "maze", resume: "r", seat: 0, state: "playing", players: [] };
  const data = { ...place, number: 0, version: 0, acted: 0 };
  socket.tell({ type: "join_room_result", id, data });
}

function refuse(socket, id, match_id, code, end) {
  const details = code === "busy" ? { retry_after: 0.02 } : {};
  socket.tell({ type: "error", id, error: { code, message: code, details } });
  if (end) socket.tell({ type: "match_ended", data: { match_id, reason: end } });
  if (end === "void") {
    socket.tell(queued);
    setTimeout(() => find(socket, "m2"), 50);
  }
}

const client = new Client({ name: "Ann", url: "ws://node", WebSocket: socketsTo(answer) });
await client.ready;
const result = await client.queue("maze").then(
  (room) => room.roomId,
  (error) => error.code,
);
client.close();
process.stdout.write(JSON.stringify({ asked: rooms, result }));
