// A game server of Vinom in plain JavaScript (Node.js 20, no packages), for a node with `udp = "relay"`:
// the node has the players' connections, checks their tokens, and sends us their actions over one link.
//
//     [games.nim]
//     command = ["node", "/path/to/examples/javascript/game-server.mjs"]
//     seats = [2, 2]
//     options = { sticks = 21 }
//
// Each message is described in docs/protocol/control.rst and docs/protocol/game-servers.rst.

import { createHash } from "node:crypto";
import net from "node:net";
import { pack, unpack } from "./msgpack.mjs";
import { nim as game, Rejected } from "./nim.mjs";

const PROTOCOL = 6;
const LONGEST = 1024 * 1024;
const { VINOM_CONTROL, VINOM_SERVER_ID, VINOM_ROOMS, VINOM_SETTINGS } = process.env;
if (!VINOM_CONTROL || !VINOM_SERVER_ID) {
  console.error("a node starts this program: see the comment at its beginning");
  process.exit(2);
}
const settings = JSON.parse(VINOM_SETTINGS ?? "{}");
const JOIN_MS = 1000 * (settings.join_seconds ?? 10);
/** How long a match waits without connected players, and stays open after its round. */
const AWAY_MS = 60_000;
const LINGER_MS = 2_000;

const link = net.createConnection(VINOM_CONTROL);

function send(t, fields) {
  const payload = pack({ t, ...fields });
  const size = Buffer.alloc(4);
  size.writeUInt32BE(payload.length);
  link.write(Buffer.concat([size, payload]));
}

// A match.

class Room {
  constructor(plan, isOfNode) {
    this.id = plan.match_id;
    const options = JSON.parse(Buffer.from(plan.options).toString("utf8"));
    this.state = game.start(plan.seats.length, options);
    this.seats = plan.seats.map(() => ({
      how: "awaited", epoch: 0, acted: 0, applied: 0, isTold: false,
    }));
    this.version = 0;
    this.phase = "gathering";
    this.outcome = null;
    // A room of the node is relayed from its beginning, in JSON, and may stay empty.
    this.isOfNode = isOfNode;
    this.isWatched = isOfNode;
    this.packed = false;
    this.shown = -1;
    this.startedAt = 0;
    this.timer = isOfNode ? undefined : setTimeout(() => this.close("void"), JOIN_MS);
  }

  write(value) {
    return this.packed ? pack(value) : Buffer.from(JSON.stringify(value));
  }

  read(data) {
    return this.packed ? unpack(data) : JSON.parse(Buffer.from(data).toString("utf8"));
  }

  seatChanged(number, state) {
    send("seat_changed", { match_id: this.id, seat: number, state });
  }

  watch({ is_on, packed }) {
    this.isWatched = is_on;
    this.packed = packed ?? false;
    this.shown = -1;
    // Players over UDP are sent the setup when they join, so the node waits for it.
    if (is_on && this.packed) this.send({ version: 0, setup: this.write(game.setup(this.state)) });
  }

  send(fields) {
    const time = this.startedAt ? (Date.now() - this.startedAt) / 1000 : 0;
    // A number without a fraction would be written as an integer; both are fine.
    send("relay_state", {
      match_id: this.id, version: this.version, phase: this.phase, time, applied: new Map(), ...fields,
    });
  }

  seat({ seat: number, how, epoch, number: acted }) {
    const seat = this.seats[number];
    if (seat === undefined || seat.how === "left" || this.phase === "closed") return;
    if (how === "join") {
      this.seatChanged(number, seat.how === "awaited" ? "joined" : "returned");
      Object.assign(seat, { how: "here", epoch, acted, isTold: false });
      this.shown = -1;
      if (this.phase === "gathering" && this.seats.every((each) => each.how === "here")) this.begin();
    } else if (epoch && epoch !== seat.epoch) {
      return; // About an older connection.
    } else if (how === "drop") {
      seat.how = "away";
      this.seatChanged(number, "dropped");
    } else if (how === "leave") {
      seat.how = "left";
      this.seatChanged(number, "left");
      this.change(game.left(this.state, number));
    }
    this.watchTheEmpty();
  }

  watchTheEmpty() {
    if (this.isOfNode || this.phase === "over" || this.phase === "gathering") return;
    clearTimeout(this.timer);
    if (this.seats.every((each) => each.how === "left")) this.close("abandoned");
    else if (!this.seats.some((each) => each.how === "here")) {
      this.timer = setTimeout(() => this.close("abandoned"), AWAY_MS);
    }
  }

  begin() {
    clearTimeout(this.timer);
    this.phase = "playing";
    this.version = 1;
    this.startedAt = Date.now();
    send("match_started", { match_id: this.id });
  }

  act({ seat: number, number: id, data }) {
    const seat = this.seats[number];
    if (seat === undefined || this.phase === "closed" || id <= seat.acted) return;
    const refuse = (code, reason, message) =>
      send("relay_refusal", { match_id: this.id, seat: number, number: id, code, reason, message });
    seat.acted = id;
    if (this.phase === "gathering") {
      refuse("not_now", "", "the match has not started");
      return;
    }
    try {
      this.change(game.act(this.state, number, this.read(data)));
    } catch (error) {
      if (error instanceof Rejected) refuse("rejected", error.code, error.message);
      else refuse("bad_action", "", String(error.message).slice(0, 200));
    }
  }

  change(state) {
    if (state === this.state || this.phase === "gathering") return;
    this.state = state;
    this.version += 1;
    const outcome = game.outcome(state);
    if (outcome !== null && this.outcome === null) {
      this.outcome = outcome;
      this.phase = "over";
      send("round_ended", { match_id: this.id, outcome });
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.close("finished"), LINGER_MS);
    }
  }

  /** What one turn changed, in one message. */
  endTurn() {
    const applied = new Map();
    this.seats.forEach((seat, number) => {
      if (seat.acted !== seat.applied || !seat.isTold) {
        applied.set(number, (seat.applied = seat.acted));
        seat.isTold = true;
      }
    });
    if (!this.isWatched || this.version === 0) return;
    const isNew = this.version !== this.shown;
    if (!isNew && applied.size === 0) return;
    const fields = { applied };
    if (isNew) {
      // All players see the same: one view, with -1 for spectators.
      fields.views = [this.write(game.view(this.state))];
      fields.shown = new Map([[-1, 0], ...this.seats.map((_, number) => [number, 0])]);
      if (this.shown < 0) fields.setup = this.write(game.setup(this.state));
      this.shown = this.version;
    }
    this.send(fields);
  }

  close(reason) {
    if (this.phase === "closed") return;
    clearTimeout(this.timer);
    this.endTurn();
    this.phase = "closed";
    const view = this.version ? pack(game.view(this.state)) : null;
    const present = this.seats.flatMap((seat, number) => (seat.how === "here" ? [number] : []));
    send("room_ended", {
      end: {
        match_id: this.id,
        reason,
        outcome: this.outcome,
        present,
        version: this.version,
        view_hash: view ? createHash("sha256").update(view).digest("hex").slice(0, 16) : "",
      },
    });
    rooms.delete(this.id);
    if (rooms.size === 0 && left === 0) link.end();
  }
}

// The link.

const rooms = new Map();
let left = Number(VINOM_ROOMS ?? 1);

const handlers = {
  // We have no port: the node has the players' connections.
  bind: ({ port }) =>
    port === 0
      ? send("bound", { port })
      : send("bind_failed", { port, why: 'this program has no DTLS: set udp = "relay"' }),
  open_room({ plan, is_relayed: isOfNode }) {
    left -= 1;
    try {
      rooms.set(plan.match_id, new Room(plan, isOfNode ?? false));
      send("room_opened", { match_id: plan.match_id });
    } catch (error) {
      console.error(error);
      send("room_ended", { end: { match_id: plan.match_id, reason: "crashed" } });
    }
  },
  add_ticket: ({ ticket }) => send("ticket_added", { label: ticket.label }),
  kick: ({ match_id, seat }) => rooms.get(match_id)?.seat({ seat, how: "leave", epoch: 0 }),
  close_room: ({ match_id, reason }) => rooms.get(match_id)?.close(reason),
  heartbeat: ({ number }) => send("alive", { number, figures: { rooms: rooms.size } }),
  token_keys: ({ number }) => send("token_keys_taken", { number }),
  rotate_cookies() {},
  relay_watch: (message) => rooms.get(message.match_id)?.watch(message),
  relay_seat: (message) => rooms.get(message.match_id)?.seat(message),
  relay_action: (message) => rooms.get(message.match_id)?.act(message),
  relay_newcomer: ({ match_id, seat }) =>
    send("relay_refusal", {
      match_id, seat, number: 0, code: "room_full", reason: "", message: "this game has no late joining",
    }),
  stop() {
    for (const room of [...rooms.values()]) room.close("shutdown");
    link.end();
  },
};

let held = Buffer.alloc(0);

link.on("connect", () => {
  send("ready", { server_id: VINOM_SERVER_ID, pid: process.pid, protocol: PROTOCOL });
});
link.on("data", (data) => {
  held = Buffer.concat([held, data]);
  while (held.length >= 4) {
    const size = held.readUInt32BE(0);
    if (size > LONGEST) throw new Error(`a message of ${size} bytes, limit ${LONGEST}`);
    if (held.length < 4 + size) break;
    const message = unpack(held.subarray(4, 4 + size));
    held = held.subarray(4 + size);
    // Unknown kinds are for newer game servers.
    handlers[message.t]?.(message);
  }
  // Everything that arrived together makes one state.
  for (const room of rooms.values()) room.endTurn();
});
link.on("error", (error) => console.error(`the link to the node failed: ${error.message}`));
link.on("close", () => process.exit(0));
process.on("SIGTERM", () => handlers.stop());
