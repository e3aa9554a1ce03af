// A client of vinom.js that finds a match on a game server with too much to do.
//
// Standard input: what the node says to each join_room, in this order: "seat", or a code;
// "crashed", "void": so its match ends, and who played it waits anew; "found": there is m2.
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
    for (const word of answers.shift().split(" ")) say(word, socket, id, data.room_id);
  }
}

function say(word, socket, id, room_id) {
  if (word === "found") find(socket, "m2");
  else if (word === "seat") sit(socket, id, room_id);
  else if (word === "crashed" || word === "void") end(socket, room_id, word);
  else refuse(socket, id, word);
}

function find(socket, match_id) {
  socket.tell({ type: "match_found", data: { match_id, game: "maze" } });
}

function sit(socket, id, room_id) {
  const place = { room_id, game: "maze", resume: "r", seat: 0, state: "playing", players: [] };
  const data = { ...place, number: 0, version: 0, acted: 0 };
  socket.tell({ type: "join_room_result", id, data });
}

function end(socket, match_id, reason) {
  socket.tell({ type: "match_ended", data: { match_id, reason } });
  if (reason === "void") socket.tell(queued);
}

function refuse(socket, id, code) {
  const details = code === "busy" ? { retry_after: 0.02 } : {};
  socket.tell({ type: "error", id, error: { code, message: code, details } });
}

const client = new Client({ name: "Ann", url: "ws://node", WebSocket: socketsTo(answer) });
await client.ready;
const result = await client.queue("maze").then(
  (room) => room.roomId,
  (error) => error.code,
);
client.close();
process.stdout.write(JSON.stringify({ asked: rooms, result }));
