// A client of vinom.js that has to come back to its room, on a clock of its own.
//
// Standard input: the name of one of the scenes below. Standard output: what it returns.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/node/web/static/vinom.js";
import { pass, setClock } from "./clock.mjs";
import { socketsTo } from "./socket.mjs";

const place = { room_id: "r", game: "maze", resume: "r", seat: 0, state: "playing", players: [] };
const facts = { ...place, number: 1, version: 1, acted: 0 };
const sockets = [];
const asked = [];
// What the server answers, by type; each is called with the request and the socket.
const answers = {
  ping: ({ id }, socket) => socket.tell({ type: "pong", id, data: {} }),
  join_room: ({ id }, socket) => socket.tell({ type: "join_room_result", id, data: facts }),
  reconnect: ({ id }, socket) => socket.tell({ type: "reconnect_result", id, data: facts }),
};

function answer(message, socket) {
  if (!sockets.includes(socket)) sockets.push(socket);
  if (message.type !== "ping") asked.push(message);
  answers[message.type]?.(message, socket);
}

/** @param {string} code */
const refusal = (code) => ({ id }, socket) =>
  socket.tell({ type: "error", id, error: { code, message: code, details: { retry_after: 1 } } });

/** Give one answer, and after it the usual one. */
function once(type, other) {
  const usual = answers[type];
  answers[type] = (message, socket) => {
    answers[type] = usual;
    other(message, socket);
  };
}

let Socket = socketsTo(answer);
const open = () => new Client({ name: "Ann", url: "ws://node", random: () => 0.5, WebSocket: Socket });

async function sit() {
  const client = open();
  let room;
  client.join("maze", { roomId: "r" }).then((found) => (room = found));
  await pass(100);
  return { client, room };
}

const scenes = {
  /** The time of day is set back by an hour, and the network dies silently. */
  async clock_set_back() {
    const { client } = await sit();
    answers.ping = () => {};
    setClock(-3600e3);
    await pass(60e3);
    return { sockets: sockets.length, status: client.status };
  },
  /** A WebSocket class that has nothing but onopen and its kin. */
  async bare_socket() {
    Socket.prototype.addEventListener = undefined;
    const { client } = await sit();
    await pass(60e3);
    return { sockets: sockets.length, status: client.status };
  },
  /** The answer to a reconnect never comes, though the connection works. */
  async lost_answer() {
    const { client, room } = await sit();
    let isBack = false;
    room.on("back", () => (isBack = true));
    once("reconnect", () => {});
    sockets[0].close();
    await pass(60e3);
    return { status: client.status, closed: room.closed, isBack };
  },
  /** The server refuses for a moment what a client asks that comes back. */
  async refused_for_a_moment() {
    const { room } = await sit();
    once("reconnect", refusal("unavailable"));
    sockets[0].close();
    await pass(10e3);
    once("reconnect", refusal("bad_resume"));
    once("join_room", refusal("rate_limited"));
    sockets.at(-1).close();
    await pass(10e3);
    return { closed: room.closed, sockets: sockets.length, asked: asked.map(({ type }) => type) };
  },
  /** The room has ended, and no other may be opened in its place. */
  async ended() {
    const { room } = await sit();
    once("reconnect", refusal("bad_resume"));
    once("join_room", ({ id }, socket) =>
      socket.tell({ type: "error", id, error: { code: "no_such_room", message: "", details: { reason: "finished" } } }),
    );
    sockets[0].close();
    await pass(10e3);
    return { closed: room.closed, create: asked.at(-1).data.create };
  },
  /** A player acts all the time while there is no connection. */
  async many_actions() {
    const { room } = await sit();
    answers.reconnect = () => {};
    sockets[0].close();
    await pass(10);
    const codes = [];
    for (let n = 0; n < 100; n++) room.act({ n }).catch((error) => codes.push(error.code));
    await pass(10);
    answers.reconnect = ({ id }, socket) => socket.tell({ type: "reconnect_result", id, data: facts });
    await pass(60e3);
    const numbers = asked.filter(({ type }) => type === "action").map(({ data }) => data.n);
    return { codes: [...new Set(codes)], refused: codes.length, sent: [...new Set(numbers)].length };
  },
};

const found = await scenes[JSON.parse(readFileSync(0, "utf8"))]();
process.stdout.write(JSON.stringify(found));
process.exit(0);
