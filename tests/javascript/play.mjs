// vinom.js in Node.js, against a real server: see tests/node/web/test_javascript.py.
//
//     node play.mjs SCENARIO PORT [PORT of another node]

import assert from "node:assert/strict";
import net from "node:net";
import { WebSocket } from "ws";
import { VinomError, connect, mergePatch } from "../../vinom/node/web/static/vinom.js";

const [, , scenario, given, another] = process.argv;
const port = Number(given);
const url = (at = port) => `ws://127.0.0.1:${at}/ws`;

/** Wait until a condition holds; the time limit only bounds liveness. */
function until(room, isSo, names = ["state", "change", "closed"]) {
  return new Promise((resolve, reject) => {
    const alarm = setTimeout(() => reject(new Error(`never: ${isSo}`)), 60_000);
    const offs = names.map((name) => room.on(name, look));
    function look() {
      if (!isSo()) return;
      clearTimeout(alarm);
      for (const off of offs) off();
      resolve();
    }
    look();
  });
}

/** Record the events, and check that none comes twice. */
function record(room) {
  const events = [];
  room.on("event", (event) => {
    assert.ok(!events.length || event.number > events.at(-1).number, "in order, and once");
    events.push(event);
  });
  return events;
}

/** A free cell; the bot may have begun, anywhere. */
function aFreeCell(room) {
  const free = room.view.board.flat().indexOf(null);
  return [Math.floor(free / 3), free % 3];
}

/** Play one round of tic-tac-toe against the bot, on any free cell. */
async function playRound(room, betweenMoves = async () => {}) {
  await until(room, () => room.view !== null);
  const { round } = room.view;
  while (room.view.turn !== null && room.view.round === round) {
    if (room.view.turn !== room.seat) {
      await until(room, () => room.view.turn === room.seat || room.view.turn === null);
      continue;
    }
    const [row, col] = aFreeCell(room);
    await betweenMoves();
    await room.act({ type: "place", row, col });
  }
}

/** Play one round of tic-tac-toe with both seats, on any free cells. */
async function playTogether(...rooms) {
  const [first] = rooms;
  await until(first, () => first.view !== null && first.view.turn !== null);
  const { round } = first.view;
  while (first.view.turn !== null && first.view.round === round) {
    const mover = rooms.find((one) => one.seat === first.view.turn);
    await until(mover, () => mover.version >= first.version);
    const [row, col] = aFreeCell(mover);
    await mover.act({ type: "place", row, col });
    await until(first, () => first.version >= mover.version);
  }
}

async function withBot(client) {
  const roomId = `js-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  const room = await client.join("tictactoe", { roomId, public: true });
  assert.equal(room.seat, 0);
  assert.ok(room.isHost);
  await assert.rejects(room.addBot("godlike"), { code: "bad_field" });
  await room.addBot("perfect");
  return room;
}

/** A proxy between a client and the server, which can be cut. */
function makeWay() {
  const open = new Set();
  let isCut = false;
  const server = net.createServer((near) => {
    if (isCut) {
      near.destroy();
      return;
    }
    const far = net.connect(port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on("error", () => {});
      one.on("close", () => (open.delete(one), other.destroy()));
      one.pipe(other);
    }
  });
  return {
    listen: () => new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port))),
    cut() {
      isCut = true;
      for (const one of open) one.destroy();
    },
    mend: () => (isCut = false),
    close: () => server.close(),
  };
}

const scenarios = {
  /** The arena: each state has its tick, and says which action it answers. */
  async ticks() {
    const client = await connect({ url: url(), name: "Ann", WebSocket });
    const room = await client.join("arena", { public: false });
    await room.addBot();
    await until(room, () => room.tick > 5);
    assert.equal(room.tick, room.view.tick);
    const applied = room.act({ type: "move", x: 100, y: 0 }, room.tick - 1.5);
    const number = room.acted;
    assert.ok(room.acked < number);
    await applied;
    assert.equal(room.acked, number);
    await client.close();
  },

  async play() {
    const client = await connect({ url: url(), name: "ann", WebSocket });
    assert.equal(client.name, "ann");
    assert.ok(client.games.includes("tictactoe"));
    const room = await withBot(client);
    const events = record(room);
    await playRound(room);
    assert.equal(room.view.turn, null);
    await until(room, () => room.outcome !== null);
    assert.deepEqual(room.outcome.places.flat().sort(), [0, 1]);
    assert.equal(events.filter((one) => one.kind === "ended").length, 1);
    assert.equal(events[0].kind, "began");
    // Another round, by the game's own action.
    await room.act({ type: "rematch" });
    await until(room, () => room.view.round === 2);
    await playRound(room);
    await room.leave();
    assert.equal(room.closed, "left");
    client.close();
  },

  async refusals() {
    const client = await connect({ url: url(), name: "ann", WebSocket });
    const refused = (code) => (error) => error instanceof VinomError && error.code === code;
    await assert.rejects(client.join("chess"), refused("unknown_game"));
    await assert.rejects(client.join("tictactoe", { roomId: "no room!" }), refused("bad_field"));
    await assert.rejects(client.join("tictactoe", { roomId: "none", spectate: true }), refused("no_such_room"));
    const room = await withBot(client);
    await until(room, () => room.view !== null && room.view.turn === 0);
    await assert.rejects(room.act({ type: "place", row: 7, col: 0 }), refused("bad_action"));
    const [row, col] = aFreeCell(room);
    await room.act({ type: "place", row, col });
    await until(room, () => room.view.turn === 0);
    await assert.rejects(
      room.act({ type: "place", row, col }),
      (error) => error.code === "rejected" && error.details.reason === "taken",
    );
    client.close();
    await assert.rejects(room.act({ type: "rematch" }), VinomError);
    await assert.rejects(
      connect({ url: url(), name: "x".repeat(500), WebSocket }),
      refused("name_refused"),
    );
  },

  async cut() {
    const way = makeWay();
    const at = await way.listen();
    const client = await connect({ url: url(at), name: "ann", WebSocket, random: () => 0.1 });
    const statuses = [];
    client.on("status", (status) => statuses.push(status));
    const room = await withBot(client);
    const events = record(room);
    const { seat } = room;
    let cuts = 0;
    let returns = 0;
    room.on("back", () => (returns += 1));
    await playRound(room, async () => {
      // The move is made while there is no connection, and counts once there is.
      way.cut();
      cuts += 1;
      await until(client, () => client.status === "waiting", ["status"]);
      setTimeout(way.mend, 200);
    });
    assert.ok(cuts >= 2);
    assert.equal(returns, cuts);
    assert.equal(room.seat, seat);
    assert.ok(statuses.filter((one) => one === "online").length >= cuts);
    const mine = events.filter((one) => one.kind === "placed" && one.data.seat === seat);
    assert.equal(mine.length, cuts, "each move once");
    client.close();
    way.close();
  },

  async places() {
    // A second client of the same player: the key alone is enough to get the seat back.
    const kept = new Map();
    const storage = {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, value),
      removeItem: (key) => void kept.delete(key),
    };
    const first = await connect({ url: url(), name: "ann", storage, WebSocket });
    const room = await withBot(first);
    await until(room, () => room.view !== null && room.view.turn === room.seat);
    const [row, col] = aFreeCell(room);
    await room.act({ type: "place", row, col });
    first.close();
    const second = await connect({ url: url(), name: "somebody", storage, WebSocket });
    assert.equal(second.playerId, first.playerId);
    assert.equal(second.name, "ann");
    const again = await second.join("tictactoe", { roomId: room.roomId });
    assert.equal(again.seat, room.seat);
    await until(again, () => again.view !== null);
    assert.equal(again.view.board[row][col], again.seat);
    await playRound(again);
    // A third client replaces the second, which gives up quietly.
    const replaced = until(second, () => second.status === "replaced", ["status"]);
    const third = await connect({ url: url(), storage, WebSocket });
    await replaced;
    third.close();
  },

  async list() {
    const client = await connect({ url: url(), name: "ann", WebSocket });
    await client.watchRooms({ game: "tictactoe" });
    const bob = await connect({ url: url(), name: "bob", WebSocket });
    const room = await withBot(bob);
    const listed = () => client.rooms.find((one) => one.room_id === room.roomId);
    await until(client, () => listed()?.state === "playing", ["rooms"]);
    assert.equal(listed().host, "bob");
    const watched = await client.join("tictactoe", { roomId: room.roomId, spectate: true });
    assert.equal(watched.seat, null);
    await until(watched, () => watched.view !== null);
    await assert.rejects(watched.act({ type: "rematch" }), (error) => error.code === "not_seated");
    await watched.leave();
    await room.leave();
    client.close();
    bob.close();
  },

  async queue() {
    const way = makeWay();
    const at = await way.listen();
    const ann = await connect({ url: url(at), name: "ann", WebSocket, random: () => 0.1 });
    const cancelled = assert.rejects(ann.queue("maze"), (error) => error.code === "cancelled");
    await until(ann, () => ann.queued?.position === 1, ["queue"]);
    await assert.rejects(ann.queue("maze"), (error) => error.code === "already_queued");
    await ann.cancelQueue();
    await cancelled;
    assert.equal(ann.queued, null);
    await assert.rejects(ann.queue("chess"), (error) => error.code === "unknown_game");
    /** @type {any[][]} */
    const lists = [];
    const eve = await connect({ url: url(), name: "eve", WebSocket });
    eve.on("matches", (list) => lists.push(list));
    await eve.watchMatches({ game: "maze" });
    assert.deepEqual(lists, [[]]);
    // Waiting survives a lost connection.
    const options = { rows: 2, cols: 5 };
    const found = ann.queue("maze", { options });
    await until(ann, () => ann.queued !== null, ["queue"]);
    way.cut();
    await until(ann, () => ann.status === "waiting", ["status"]);
    way.mend();
    await until(ann, () => ann.status === "online", ["status"]);
    const bob = await connect({ url: url(), name: "bob", WebSocket });
    const [room, other] = await Promise.all([found, bob.queue("maze", { options })]);
    assert.equal(room.roomId, other.roomId);
    assert.ok(room.isMatch && !room.isHost);
    assert.deepEqual([room.seat, other.seat].sort(), [0, 1]);
    assert.deepEqual(ann.match, { match_id: room.roomId, game: "maze" });
    assert.equal(ann.queued, null);
    // Eve watches.
    await until(eve, () => lists.at(-1)?.[0]?.state === "playing", ["matches"]);
    assert.equal(lists.at(-1)?.[0].room_id, room.roomId);
    const listed = (await eve.matches({ game: "maze" })).map((one) => one.room_id);
    assert.deepEqual(listed, [room.roomId]);
    const watched = await eve.join("maze", { roomId: room.roomId, spectate: true });
    const isOver = (one) => one.outcome !== null || one.closed !== null;
    // Walk in any direction; most are walls.
    const walk = async (one) => {
      await until(one, () => one.view !== null);
      while (!isOver(one)) {
        const direction = ["up", "down", "left", "right"][Math.floor(Math.random() * 4)];
        await one.act({ type: "move", direction, from: one.view.at[one.seat] }).catch(() => {});
      }
    };
    await Promise.all([walk(room), walk(other), until(watched, () => isOver(watched), ["round", "closed"])]);
    assert.deepEqual(room.outcome, watched.outcome);
    await room.leave();
    assert.equal(ann.match, null);
    await other.leave();
    await until(eve, () => lists.at(-1)?.length === 0, ["matches"]);
    await eve.unwatchMatches();
    for (const one of [ann, bob, eve]) one.close();
    way.close();
  },

  // Our room is on another node, whose address its operator has given.
  async sent() {
    const [opened, sockets] = [[], []];
    class Socket extends WebSocket {
      constructor(address) {
        super(address);
        opened.push(address);
        sockets.push(this);
      }
    }
    const ann = await connect({ url: url(), name: "ann", WebSocket });
    const room = await ann.join("tictactoe", { roomId: "sent" });
    const bob = await connect({ url: url(another), name: "bob", WebSocket: Socket });
    const his = await bob.join("tictactoe", { roomId: "sent" });
    assert.deepEqual(opened, [url(another), url()]);
    assert.equal(his.seat, 1);
    assert.equal(bob.status, "online");
    await playTogether(room, his);
    // After a loss the first address counts again; the other node sends us here again.
    const back = new Promise((resolve) => his.on("back", resolve));
    sockets.at(-1).terminate();
    await back;
    assert.deepEqual(opened.slice(2), [url(another), url()]);
    await room.act({ type: "rematch" });
    await his.act({ type: "rematch" });
    await playTogether(room, his);
    // With a second room elsewhere nobody is sent back and forth.
    const eve = await connect({ url: url(another), name: "eve", WebSocket });
    await eve.join("tictactoe", { roomId: "there" });
    await bob.join("tictactoe", { roomId: "there" });
    assert.equal(opened.length, 4);
    for (const one of [ann, bob, eve]) one.close();
  },

  // The address of the other node leads nowhere.
  async nowhere() {
    const ann = await connect({ url: url(), name: "ann", WebSocket });
    const room = await ann.join("tictactoe", { roomId: "nowhere" });
    const bob = await connect({ url: url(another), name: "bob", WebSocket });
    const his = await bob.join("tictactoe", { roomId: "nowhere" });
    assert.equal(his.seat, 1);
    await playTogether(room, his);
    for (const one of [ann, bob]) one.close();
  },

  async party() {
    const join = (name) => connect({ url: url(), name, WebSocket });
    const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map(join));
    const made = await ann.createParty({ game: "tictactoe" });
    await assert.rejects(eve.joinParty(made.party_id, { token: "guess" }), { code: "no_such_party" });
    await bob.joinParty(made.party_id, { token: ann.partyToken });
    await until(ann, () => ann.party.members.length === 2, ["party"]);
    assert.equal(bob.party.host, ann.playerId);
    assert.equal(bob.partyToken, "");
    await bob.readyInParty();
    await until(ann, () => ann.party.members[1].ready, ["party"]);
    await assert.rejects(bob.queue("tictactoe"), { code: "not_host" });

    // One declines: nobody waits any more.
    const offers = new Set();
    bob.on("prematch", (found) => found && offers.add(found.id));
    const over = [];
    bob.on("prematchOver", (found) => over.push(found));
    const refused = assert.rejects(ann.queue("tictactoe"), { code: "not_queued" });
    await until(bob, () => bob.prematch !== null, ["prematch"]);
    assert.equal(bob.prematch.players.length, 2);
    assert.ok(bob.prematch.endsAt > Date.now());
    await bob.decline();
    await refused;
    assert.equal(bob.prematch, null);
    assert.equal(over[0].state, "dissolved");
    assert.equal(over[0].retry_after, 5);
    await until(bob, () => bob.party.state === "idle", ["party"]);
    await assert.rejects(ann.queue("tictactoe"), { code: "not_now" });

    // Both accept, ann by herself: she has no listener.
    await new Promise((resolve) => setTimeout(resolve, 5200));
    const forAnn = ann.queue("tictactoe");
    await until(bob, () => bob.prematch !== null, ["prematch"]);
    const forBob = bob.queue(bob.queued?.game ?? "tictactoe").catch((error) => error);
    await bob.accept();
    const mine = await forAnn;
    const his = await forBob;
    assert.equal(his.roomId, mine.roomId);
    assert.equal(offers.size, 2);
    await until(mine, () => mine.view !== null);
    await until(ann, () => ann.party.state === "in_game", ["party"]);

    // Another connection of the same player is in the same party.
    const again = await connect({ url: url(), playerKey: bob.playerKey, WebSocket });
    await until(again, () => again.party !== null, ["party"]);
    assert.equal(again.party.party_id, made.party_id);
    assert.deepEqual(await eve.parties(), []);
    await again.leaveParty();
    await until(ann, () => ann.party.members.length === 1, ["party"]);
    await ann.inviteToParty(eve.playerId);
    const token = await ann.renewPartyToken();
    assert.equal(token, ann.partyToken);
    for (const client of [ann, again, eve]) client.close();
  },

  async packed() {
    const client = await connect({ url: url(), name: "ann", WebSocket });
    const sizes = [];
    const raw = WebSocket.prototype.emit;
    WebSocket.prototype.emit = function emit(name, data, ...rest) {
      const packed = name === "message" && /"packed":"([^"]*)"/.exec(String(data));
      if (packed) sizes.push(packed[1].length);
      return raw.call(this, name, data, ...rest);
    };
    const room = await client.join("swarm", { roomId: `swarm-${process.pid}` });
    await room.start().catch(() => {});
    await until(room, () => sizes.length > 40);
    const { tick, runners } = room.view;
    assert.equal(runners.length, 40);
    assert.deepEqual(Object.keys(runners[0]), ["x", "y", "angle", "health", "kind"]);
    await until(room, () => room.view.tick > tick + 5);
    const view = JSON.stringify(room.view).length;
    // The message's head is beside the numbers.
    const head = room.bytes - sizes.at(-1);
    assert.ok(head > 20 && head < 200, `${head}`);
    sizes.sort((one, other) => one - other);
    assert.ok(sizes[20] < view / 2, `${sizes[20]} of ${view}`);
    client.close();
  },

  async patches() {
    // RFC 7396, appendix A.
    const examples = [
      [{ a: "b" }, { a: "c" }, { a: "c" }],
      [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
      [{ a: "b" }, { a: null }, {}],
      [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
      [{ a: ["b"] }, { a: "c" }, { a: "c" }],
      [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
      [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
      [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
      [["a", "b"], ["c", "d"], ["c", "d"]],
      [{ a: "b" }, ["c"], ["c"]],
      [{ a: "foo" }, null, null],
      [{ e: null }, { a: 1 }, { e: null, a: 1 }],
      [[1, 2], { a: "b", c: null }, { a: "b" }],
      [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
    ];
    for (const [target, patch, result] of examples) {
      const before = structuredClone(target);
      assert.deepEqual(mergePatch(target, patch), result);
      assert.deepEqual(target, before);
    }
    // And over the network: a maze's view is long enough to be patched.
    const client = await connect({ url: url(), name: "ann", WebSocket });
    let patches = 0;
    client.on("push", () => {});
    const raw = WebSocket.prototype.emit;
    WebSocket.prototype.emit = function emit(name, data, ...rest) {
      if (name === "message") patches += String(data).split('"patch":').length - 1;
      return raw.call(this, name, data, ...rest);
    };
    const room = await client.join("maze", { roomId: `maze-${process.pid}`, options: { rows: 20, cols: 30 } });
    await room.addBot();
    await room.start().catch(() => {});
    await until(room, () => room.view !== null);
    await until(room, () => patches > 5);
    const other = await connect({ url: url(), name: "eve", WebSocket });
    const watched = await other.join("maze", { roomId: room.roomId, spectate: true });
    await until(watched, () => watched.view !== null);
    // Both must have the same state.
    const seen = new Map();
    room.on("state", () => seen.set(room.version, JSON.stringify(room.view)));
    let same = 0;
    await until(watched, () => {
      const mine = seen.get(watched.version);
      if (mine !== undefined) {
        const sorted = (value) => JSON.stringify(Object.entries(JSON.parse(value)).sort());
        assert.equal(sorted(mine), sorted(JSON.stringify(watched.view)));
        same += 1;
      }
      return same > 5;
    }, ["state"]);
    client.close();
    other.close();
  },

  async buckets() {
    const [ann, bob] = await Promise.all(
      ["ann", "bob"].map((name) => connect({ url: url(), name, WebSocket })),
    );
    assert.deepEqual(ann.queues, [{ name: "near", game: "tictactoe" }]);
    assert.deepEqual(ann.regions.map((one) => one.region), ["eu", "far"]);
    await assert.rejects(ann.queue("tictactoe", { queue: "x" }), (error) => error.code === "unknown_queue");
    const rooms = await Promise.all([ann, bob].map((one) => one.queue("tictactoe", { queue: "near" })));
    assert.equal(rooms[0].roomId, rooms[1].roomId);
    assert.notEqual(rooms[0].seat, rooms[1].seat);
    ann.close();
    bob.close();
  },
};

await scenarios[scenario]();
console.log(`${scenario}: done`);
