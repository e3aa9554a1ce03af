// A client of vinom.js that finds a match on a game server with too much to do.
//
// Standard input: what the node answers to each join_room: "seat", or a code, after which may stand
// why the match ends then: "busy crashed"; with "busy void" another one is found soon.
// Standard output: {asked: the ids of the rooms that were asked for, result: the room's id or the code}.

import { readFileSync } from "node:fs";
import { Client } from "../../vinom/web/static/vinom.js";

const answers = JSON.parse(readFileSync(0, "utf8"));
const asked = [];

class Socket {
  constructor() {
    setTimeout(() => this.onopen());
  }

  send(text) {
    const { type, id, data } = JSON.parse(text);
    if (type === "hello") {
      const who = { player_id: "p1", player_key: "k1", name: "Ann", games: ["maze"] };
      this.tell({ type: "welcome", id, data: who });
    } else if (type === "queue") {
      this.tell({ type: "queue_status", id, data: { state: "queued", game: "maze" } });
      this.find("m1");
    } else if (type === "join_room") {
      asked.push(data.room_id);
      this.answer(id, data.room_id, ...answers.shift().split(" "));
    }
  }

  answer(id, room_id, code, before) {
    if (code === "seat") {
      const place = { room_id, game: "maze", resume: "r", seat: 0, state: "playing", players: [] };
      this.tell({ type: "join_room_result", id, data: { ...place, number: 0, version: 0, acted: 0 } });
      return;
    }
    const details = code === "busy" ? { retry_after: 0.02 } : {};
    this.tell({ type: "error", id, error: { code, message: code, details } });
    if (before) this.tell({ type: "match_ended", data: { match_id: room_id, reason: before } });
    if (before === "void") {
      this.tell({ type: "queue_status", data: { state: "queued", game: "maze" } });
      setTimeout(() => this.find("m2"), 50);
    }
  }

  find(match_id) {
    this.tell({ type: "match_found", data: { match_id, game: "maze" } });
  }

  tell(message) {
    setTimeout(() => this.onmessage({ data: JSON.stringify([message]) }));
  }

  addEventListener(_, call) {
    setTimeout(call);
  }

  close() {
    this.onclose();
  }
}

const client = new Client({ name: "Ann", url: "ws://node", WebSocket: Socket });
await client.ready;
const result = await client.queue("maze").then(
  (room) => room.roomId,
  (error) => error.code,
);
client.close();
process.stdout.write(JSON.stringify({ asked, result }));
