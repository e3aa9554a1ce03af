// A client of vinom.js that finds a match on a busy game server.
//
// Standard input: {chance, answers}: the value of random numbers, and what happens after each
// join_room, in this order: "seat", "late" (a seat, some time later), or a code; "crashed",
// "void": the match ends so, and after "void" the player is queued again; "found": match m2 is
// found; "lost": the connection is lost; "cancel": the player queues for dice instead, gets m2.
// Standard output: {asked: the rooms requested, result: the room's id or the code, pauses: how
// long the client waited before it requested a room again, milliseconds}.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/node/web/static/vinom.js";
import { socketsTo } from "./socket.mjs";

const { chance, answers } = JSON.parse(readFileSync(0, "utf8"));
const rooms = [];
const pauses = [];
const RETRY_AFTER = 0.02;
// By then a client that retries has done so, milliseconds.
const LATE = 3000 * RETRY_AFTER;
const queued = { type: "queue_status", data: { state: "queued", game: "maze" } };

function answer({ type, id, data }, socket) {
  if (type === "queue" && data.game === "dice") {
    socket.tell({ ...queued, id });
    setTimeout(() => find(socket, "m2", "dice"), LATE);
  } else if (type === "queue") {
    socket.tell({ ...queued, id });
    find(socket, "m1");
  } else if (type === "cancel") {
    socket.tell({ type: "queue_status", id, data: { state: "idle" } });
  } else if (type === "join_room") {
    rooms.push(data.room_id);
    for (const word of answers.shift().split(" ")) say(word, socket, id, data.room_id);
  }
}

function say(word, socket, id, room_id) {
  if (word === "found") find(socket, "m2");
  else if (word === "lost") setTimeout(() => socket.close());
  else if (word === "cancel") setTimeout(() => client.cancelQueue());
  else if (word === "seat") sit(socket, id, room_id);
  else if (word === "late") setTimeout(() => sit(socket, id, room_id), LATE);
  else if (word === "crashed" || word === "void") end(socket, room_id, word);
  else refuse(socket, id, word);
}

function find(socket, match_id, game = "maze") {
  socket.tell({ type: "match_found", data: { match_id, game } });
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
  const details = code === "busy" ? { retry_after: RETRY_AFTER } : {};
  socket.tell({ type: "error", id, error: { code, message: code, details } });
}

const { setTimeout: wait } = globalThis;
globalThis.setTimeout = (call, pause = 0) => {
  if (pause >= 1000 * RETRY_AFTER && pause <= 1500 * RETRY_AFTER) pauses.push(pause);
  return wait(call, pause);
};

async function play(game) {
  try {
    return (await client.queue(game)).roomId;
  } catch (error) {
    return error.code === "cancelled" ? play("dice") : error.code;
  }
}

const options = { name: "Ann", url: "ws://node", random: () => chance };
const client = new Client({ ...options, WebSocket: socketsTo(answer) });
await client.ready;
const result = await play("maze");
client.close();
process.stdout.write(JSON.stringify({ asked: rooms, result, pauses }));
