// @ts-check
/**
 * Play in rooms of a Vinom node, from a browser or from Node.
 *
 *     import { connect } from "./vinom.js";
 *     const client = await connect({ name: "ann" });
 *     const room = await client.join("tictactoe");
 *     room.on("state", () => console.log(room.view));
 *     await room.act({ type: "place", row: 0, col: 0 });
 *
 * One module, nothing to build, nothing else to load. The manual has a page about it:
 * docs/howto/javascript-client.rst; what goes over the wire: docs/protocol/rooms.rst.
 */

/** The protocol spoken here. */
export const PROTOCOL = 1;

/** Back-off between attempts to connect, milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** A connection that lasted so long was a good one: the back-off begins anew. */
const STABLE = 5_000;
/** Silence after which we ask whether anybody is there, and how long we wait for it. */
const QUIET = 20_000;
const PATIENCE = 6_000;
/** The same when the machine says that something happened to its network. */
const SHORT_PATIENCE = 2_500;
/** How long a request may take, the wait for a connection included. */
const REQUEST_SECONDS = 15_000;
/** States smaller than this are not worth patches, nor telling that we have them. */
const WORTH_PATCHING = 400;
const ACK_PAUSE = 500;
/** Events kept for one who has not begun to listen. */
const MOST_WAITING = 256;

/**
 * @typedef {any} Json What JSON can say; a game's views and actions.
 *
 * @typedef {"connecting" | "online" | "waiting" | "replaced" | "refused" | "closed"} Status
 * How a client stands. "waiting": the connection was lost, and is tried again by itself.
 * "replaced": the same player came on a newer connection. "refused": the node does not
 * let us in. Only the last three are final.
 *
 * @typedef {object} Member Who has a seat.
 * @property {number} seat
 * @property {string} name
 * @property {string} player_id empty for a bot
 * @property {"here" | "away" | "bot"} state
 *
 * @typedef {object} RoomFacts One room of a list.
 * @property {string} room_id
 * @property {string} game
 * @property {"gathering" | "playing" | "over"} state
 * @property {string} host
 * @property {number} seats
 * @property {number} taken
 * @property {number} spectators
 * @property {boolean} open
 *
 * @typedef {object} Queued How we stand in the queue.
 * @property {string} game
 * @property {"waiting" | "matched"} state "matched": a game server is being made ready
 * @property {number | null} position 1 is the front
 *
 * @typedef {object} FoundMatch A match with a seat of ours.
 * @property {string} match_id
 * @property {string} game
 *
 * @typedef {object} GameEvent Something that happened once in a game.
 * @property {number} number
 * @property {number} version
 * @property {string} kind
 * @property {Json} data
 *
 * @typedef {object} Outcome How a round ended.
 * @property {number} round
 * @property {number[][]} places seats that share first place, then second, and so on
 * @property {number[]} scores
 *
 * @typedef {object} Store Where the player's key is kept, such as `sessionStorage`.
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 *
 * @typedef {object} Options
 * @property {string} [url] of the node's `/ws`; in a browser that of the page's own host
 * @property {string} [name] of a guest
 * @property {Record<string, string>} [credentials] what the node's login wants
 * @property {string} [playerKey] of an earlier client: be that player again
 * @property {Store} [storage] keep the player's key here, and use the one that is here
 * @property {new (url: string) => WebSocket} [WebSocket] where there is none
 * @property {() => number} [random] jitter of the pauses before it tries again; from 0 to 1
 *
 * @typedef {object} JoinOptions
 * @property {string} [roomId] which one; else any that is open, or a new one
 * @property {Json} [options] the game's
 * @property {Json} [loadout] what you bring
 * @property {boolean} [spectate] only watch
 */

/** Why something was not done. `code` is one of the protocol's, or one of ours:
 * "offline", "connection_lost", "timeout", "closed", "cancelled". */
export class VinomError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {Record<string, Json>} [details]
   */
  constructor(code, message, details = {}) {
    super(message || code);
    this.name = "VinomError";
    this.code = code;
    this.details = details;
  }
}

/**
 * Apply a JSON merge patch (RFC 7396); the target stays as it was.
 *
 * @param {Json} target
 * @param {Json} patch
 * @returns {Json}
 */
export function mergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  /** @type {Record<string, Json>} */
  const merged = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

/** @param {Json} value */
const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Tell those who listen.
 *
 * @template {Record<string, any>} Events name to what is told
 */
class Emitter {
  /** @type {Map<keyof Events, Set<(told: any) => void>>} */
  #listeners = new Map();

  /**
   * Listen; what is returned ends that.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(told: Events[Name]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const listening = this.#listeners.get(name) ?? new Set();
    listening.add(listener);
    this.#listeners.set(name, listening);
    return () => void listening.delete(listener);
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} told
   * @protected
   */
  emit(name, told) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(told);
      } catch (error) {
        // One listener's mistake is not to cost the others anything.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /**
   * @param {keyof Events} name
   * @protected
   */
  isHeard(name) {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }
}

/**
 * @typedef {object} Pending A request that waits for its answer.
 * @property {(value: any) => void} resolve
 * @property {(error: VinomError) => void} reject
 * @property {(data: any) => any} accept makes of the answer what the asker gets
 * @property {ReturnType<typeof setTimeout>} alarm
 * @property {string | null} unsent the message, while there is no connection
 */

/**
 * @typedef {object} Wish A match that is waited for.
 * @property {string} game
 * @property {Json} data
 * @property {(room: Room) => void} resolve
 * @property {(error: any) => void} reject
 */

/**
 * @typedef {object} ClientEvents
 * @property {Status} status
 * @property {RoomFacts[]} rooms the list that is watched, whenever it changes
 * @property {RoomFacts[]} matches the list of matches that is watched, whenever it changes
 * @property {Queued | null} queue how we stand in the queue, whenever it changes
 * @property {FoundMatch | null} match our match: found, found again, or over
 * @property {VinomError} error what nobody asked for: a warning, or the end
 * @property {{type: string, data: Json}} push every message that answers no request
 */

/**
 * One player's connection to a node; it comes back by itself.
 *
 * @extends {Emitter<ClientEvents>}
 */
export class Client extends Emitter {
  /** @type {Status} */
  status = "connecting";
  playerId = "";
  name = "";
  /** The secret that makes us this player again. */
  playerKey = "";
  /** @type {string[]} Names of the games that the node has. */
  games = [];
  /** @type {RoomFacts[]} The list, while it is watched. */
  rooms = [];
  /** When the next attempt is made, milliseconds since the epoch; 0 if none waits. */
  retryAt = 0;
  /** @type {Queued | null} How we stand in the queue; null: we are not in it. */
  queued = null;
  /** @type {FoundMatch | null} The match that we have a seat in. */
  match = null;
  /** @type {Map<string, Room>} The rooms we are in. */
  places = new Map();

  /** @type {Options} */
  #options;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<string, Pending>} */
  #pending = new Map();
  #asked = 0;
  #acted = 0;
  #attempts = 0;
  #onlineSince = 0;
  #lastHeard = 0;
  #probeEnds = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watchdog;
  /** @type {{game?: string, state?: string} | null} */
  #watched = null;
  /** @type {{game?: string, state?: string} | null} */
  #watchedMatches = null;
  /** What `queue` promised. @type {Wish | null} */
  #queueing = null;
  /** When we ask again for a seat. @type {ReturnType<typeof setTimeout> | undefined} */
  #seatAlarm;
  /** @type {Map<string, RoomFacts>} */
  #listed = new Map();
  /** @type {Map<string, RoomFacts>} */
  #listedMatches = new Map();
  /** @type {(() => void)[]} */
  #undo = [];
  /** @type {Promise<void>} */
  #ready;
  /** @type {() => void} */
  #admitted = () => {};
  /** @type {(error: VinomError) => void} */
  #turnedAway = () => {};

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    this.#options = options;
    this.playerKey =
      options.playerKey ?? options.storage?.getItem("vinom.player_key") ?? "";
    this.#ready = new Promise((resolve, reject) => {
      this.#admitted = resolve;
      this.#turnedAway = reject;
    });
    this.#ready.catch(() => {});
    this.#listenToMachine();
    this.#open();
  }

  /** Will there never be a connection again? */
  get isOver() {
    return FINAL.has(this.status);
  }

  /** Fires when the node has said welcome for the first time; fails if it never will. */
  get ready() {
    return this.#ready;
  }

  /**
   * Ask the node something; the answer's data. Made while there is no connection, it
   * waits for one.
   *
   * @template [T=any]
   * @param {string} type
   * @param {Json} [data]
   * @param {(data: any) => T} [accept]
   * @returns {Promise<T>}
   */
  request(type, data = {}, accept = (found) => found) {
    if (this.isOver) {
      return Promise.reject(new VinomError("closed", "this client is closed"));
    }
    const id = `q${++this.#asked}`;
    const message = JSON.stringify({ type, id, data });
    const isFirst = type === "hello";
    return new Promise((resolve, reject) => {
      const alarm = setTimeout(() => {
        this.#pending.delete(id);
        const code = this.status === "online" ? "timeout" : "offline";
        reject(new VinomError(code, "the node does not answer"));
      }, REQUEST_SECONDS);
      const isSent = isFirst || this.status === "online";
      const unsent = isSent ? null : message;
      this.#pending.set(id, { resolve, reject, accept, alarm, unsent });
      if (isSent) this.#socket?.send(message);
    });
  }

  /**
   * Take a seat, or come back to it; makes the room if need be.
   *
   * @param {string} game
   * @param {JoinOptions} [how]
   * @returns {Promise<Room>}
   */
  join(game, { roomId, options, loadout, spectate } = {}) {
    /** @type {Record<string, Json>} */
    const data = { game };
    if (roomId !== undefined) data.room_id = roomId;
    if (options !== undefined) data.options = options;
    if (loadout !== undefined) data.loadout = loadout;
    if (spectate) data.spectate = true;
    return this.request("join_room", data, (found) => {
      const room = this.places.get(found.room_id) ?? new Room(this, found.room_id);
      this.places.set(room.roomId, room);
      room._joined(found, false);
      return room;
    });
  }

  /**
   * Have `rooms` list what there is, from now on; `rooms` is told with each change.
   *
   * @param {{game?: string, state?: string}} [filter]
   */
  async watchRooms(filter = {}) {
    this.#watched = filter;
    const data = { ...filter, watch: true, limit: 100 };
    await this.request("list_rooms", data, (found) => {
      this.#listed = byId(found.rooms);
      this.#tellRooms();
    });
  }

  /** Hear no more of the list. */
  async unwatchRooms() {
    this.#watched = null;
    await this.request("list_rooms", { watch: false, limit: 1 });
  }

  /**
   * Have "matches" told, with the list that `matches()` would give, now and with each
   * change.
   *
   * @param {{game?: string, state?: string}} [filter]
   */
  async watchMatches(filter = {}) {
    this.#watchedMatches = filter;
    const data = { ...filter, matches: true, watch: true, limit: 100 };
    await this.request("list_rooms", data, (found) => {
      this.#listedMatches = byId(found.rooms);
      this.#tellMatches();
    });
  }

  /** Hear no more of matches. */
  async unwatchMatches() {
    this.#watchedMatches = null;
    await this.request("list_rooms", { matches: true, watch: false, limit: 1 });
  }

  /**
   * Wait for a match with everybody who queues for the same game and options, whatever
   * they play with, and take our seat in it. It is a room as any other; who has the
   * seats was settled before. Fails with "cancelled" if `cancelQueue` was faster.
   *
   * @param {string} game
   * @param {{options?: Json, loadout?: Json}} [how]
   * @returns {Promise<Room>}
   */
  queue(game, { options, loadout } = {}) {
    if (this.#queueing) {
      const words = "this client waits for a match already";
      return Promise.reject(new VinomError("already_queued", words));
    }
    /** @type {Record<string, Json>} */
    const data = { game };
    if (options !== undefined) data.options = options;
    if (loadout !== undefined) data.loadout = loadout;
    return new Promise((resolve, reject) => {
      this.#queueing = { game, data, resolve, reject };
      this.#askForMatch(false);
    });
  }

  /** Leave the queue. Fails if a match was found meanwhile. */
  async cancelQueue() {
    await this.request("cancel");
    this.#tellQueue(null);
    this.#queueOver(new VinomError("cancelled", "you left the queue"));
  }

  /**
   * Matches of the node that may be watched: `join` with their id and `spectate`.
   *
   * @param {{game?: string, state?: string}} [filter]
   * @returns {Promise<RoomFacts[]>}
   */
  matches(filter = {}) {
    const data = { ...filter, matches: true, limit: 100 };
    return this.request("list_rooms", data, (found) => found.rooms);
  }

  /** Try to connect now, rather than when the back-off is over. */
  retryNow() {
    if (this.status === "waiting") {
      clearTimeout(this.#retry);
      this.#open();
    } else if (this.status === "online") {
      this.#probe(SHORT_PATIENCE);
    }
  }

  /** Leave for good. Seats are kept for a while: who comes back by its key has them. */
  close() {
    this.#finish("closed", new VinomError("closed", "this client is closed"));
  }

  // For rooms only.

  /** The next number of an action: rises over all rooms, so that answers are unmistakable. */
  _nextAction() {
    return ++this.#acted;
  }

  /** @param {number} acted */
  _hasActed(acted) {
    this.#acted = Math.max(this.#acted, acted);
  }

  /**
   * How long to wait before what was refused is asked again, milliseconds: not everybody
   * who was turned away is to come in one moment.
   *
   * @param {VinomError} error
   */
  _pauseAfter(error) {
    const random = this.#options.random ?? Math.random;
    return 1000 * (error.details.retry_after ?? 1) * (1 + random() / 2);
  }

  /** @param {string} matchId */
  _matchOver(matchId) {
    if (this.match?.match_id !== matchId) return;
    this.match = null;
    this.emit("match", null);
  }

  /** @param {Json} message */
  _send(message) {
    if (this.status === "online") this.#socket?.send(JSON.stringify(message));
  }

  // The connection.

  #url() {
    if (this.#options.url) return this.#options.url;
    if (typeof location === "undefined") {
      throw new TypeError("url is needed outside a browser");
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    return `${scheme}//${location.host}/ws`;
  }

  #open() {
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new TypeError("this machine has no WebSocket: give one");
    this.retryAt = 0;
    this.#setStatus("connecting");
    const socket = new Socket(this.#url());
    this.#socket = socket;
    // A connection that never opens nor fails: a network that drops everything.
    const tooLong = setTimeout(() => this.#lost(socket), PATIENCE * 2);
    socket.onopen = () => this.#hello();
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#lastHeard = Date.now();
      this.#probeEnds = 0;
      const found = JSON.parse(String(event.data));
      for (const message of Array.isArray(found) ? found : [found]) {
        this.#received(message);
      }
    };
    socket.onerror = () => {};
    socket.onclose = () => {
      clearTimeout(tooLong);
      this.#lost(socket);
    };
    socket.addEventListener?.("open", () => clearTimeout(tooLong));
  }

  #hello() {
    const { name, credentials, storage } = this.#options;
    const key = this.playerKey;
    /** @type {Record<string, Json>} */
    const data = key ? { player_key: key } : {};
    if (!key && name !== undefined) data.name = name;
    if (!key && credentials !== undefined) data.credentials = credentials;
    this.request("hello", { protocol: PROTOCOL, ...data }, (welcome) => {
      const isSame = welcome.player_id === this.playerId;
      this.playerId = welcome.player_id;
      this.playerKey = welcome.player_key;
      this.name = welcome.name;
      this.games = welcome.games;
      storage?.setItem("vinom.player_key", welcome.player_key);
      this.#online(isSame);
    }).catch((error) => {
      if (error.code === "unknown_player_key" && (name || credentials)) {
        // The node began anew, or forgot us.
        this.playerKey = "";
        storage?.removeItem("vinom.player_key");
        if (this.status === "connecting") this.#hello();
      } else if (REFUSALS.has(error.code)) {
        if (error.code === "unknown_player_key") {
          storage?.removeItem("vinom.player_key");
        }
        this.#finish("refused", error);
      } else {
        this.#drop();
      }
    });
  }

  /** @param {boolean} isSame do they know us as who we were? */
  #online(isSame) {
    this.#onlineSince = this.#lastHeard = Date.now();
    this.#setStatus("online");
    this.#admitted();
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => this.#look(), 1000);
    for (const room of [...this.places.values()]) {
      if (isSame) room._comeBack();
      else room._closed("lost", null);
    }
    for (const waiting of this.#pending.values()) {
      if (waiting.unsent !== null) this.#socket?.send(waiting.unsent);
      waiting.unsent = null;
    }
    if (this.#watched) this.watchRooms(this.#watched).catch(() => {});
    if (this.#watchedMatches) this.watchMatches(this.#watchedMatches).catch(() => {});
    // It may have kept our place. If not, or if a match was over meanwhile, we wait anew.
    if (!isSame) this.match = null;
    if (this.#queueing) this.#askForMatch(true);
    else this.queued = null;
  }

  /** Is the other side still there? A dead network may not say so by itself. */
  #look() {
    const now = Date.now();
    if (this.#probeEnds && now >= this.#probeEnds) this.#drop();
    else if (now - this.#lastHeard >= QUIET) this.#probe(PATIENCE);
  }

  /** @param {number} patience */
  #probe(patience) {
    const ends = Date.now() + patience;
    if (this.#probeEnds) {
      this.#probeEnds = Math.min(this.#probeEnds, ends);
      return;
    }
    this.#probeEnds = ends;
    this.request("ping").catch(() => {});
  }

  /** Give a connection up that may not know yet that it is dead. */
  #drop() {
    const socket = this.#socket;
    if (socket === null) return;
    this.#lost(socket);
    socket.close();
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearInterval(this.#watchdog);
    // With the next connection our match is found again, or another one is.
    clearTimeout(this.#seatAlarm);
    this.#probeEnds = 0;
    if (this.isOver) return;
    const isGood = this.#onlineSince && Date.now() - this.#onlineSince >= STABLE;
    this.#attempts = isGood ? 0 : this.#attempts + 1;
    this.#onlineSince = 0;
    for (const [id, waiting] of [...this.#pending]) {
      if (waiting.unsent !== null) continue;
      this.#pending.delete(id);
      clearTimeout(waiting.alarm);
      const words = "the connection was lost; it may have been done, or not";
      waiting.reject(new VinomError("connection_lost", words));
    }
    // Somewhere between nothing and twice as long as the last time: a thousand clients
    // of a node that began anew are not to come in one moment.
    const most = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempts);
    const random = this.#options.random ?? Math.random;
    const pause = 50 + most * random();
    this.retryAt = Date.now() + pause;
    this.#retry = setTimeout(() => this.#open(), pause);
    this.#setStatus("waiting");
  }

  #listenToMachine() {
    const page = globalThis.document;
    const machine = globalThis.window;
    if (!page || !machine) return;
    const look = () => this.retryNow();
    const shown = () => page.visibilityState === "visible" && look();
    machine.addEventListener("online", look);
    machine.addEventListener("offline", look);
    page.addEventListener("visibilitychange", shown);
    this.#undo.push(
      () => machine.removeEventListener("online", look),
      () => machine.removeEventListener("offline", look),
      () => page.removeEventListener("visibilitychange", shown),
    );
  }

  /**
   * @param {"replaced" | "refused" | "closed"} status
   * @param {VinomError} error
   */
  #finish(status, error) {
    if (this.isOver) return;
    this.#setStatus(status);
    clearTimeout(this.#retry);
    clearInterval(this.#watchdog);
    for (const undo of this.#undo.splice(0)) undo();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const waiting of this.#pending.values()) {
      clearTimeout(waiting.alarm);
      waiting.reject(error);
    }
    this.#pending.clear();
    for (const room of this.places.values()) room._abandon(error);
    this.#queueOver(error);
    this.#turnedAway(error);
    if (status !== "closed") this.emit("error", error);
  }

  /** @param {Status} status */
  #setStatus(status) {
    if (status === this.status) return;
    this.status = status;
    this.emit("status", status);
  }

  // Messages.

  /** @param {any} message */
  #received(message) {
    const { type, id, data } = message;
    const waiting = typeof id === "string" ? this.#pending.get(id) : undefined;
    if (waiting) {
      this.#pending.delete(id);
      clearTimeout(waiting.alarm);
    }
    if (type === "error") {
      const { code, message: words, details } = message.error;
      this.#failed(new VinomError(code, words, details), id, waiting);
    } else if (waiting) {
      // At once, and not when the promise's turn comes: what follows may need it.
      try {
        waiting.resolve(waiting.accept(data));
      } catch (error) {
        waiting.reject(/** @type {VinomError} */ (error));
      }
    } else if (type === "room_list_update") {
      renew(this.#listed, data);
      if (this.#watched) this.#tellRooms();
    } else if (type === "match_list_update") {
      renew(this.#listedMatches, data);
      if (this.#watchedMatches) this.#tellMatches();
    } else {
      if (type === "queue_status") this.#tellQueue(data.state === "idle" ? null : data);
      else if (type === "match_found") this.#found(data);
      else if (type === "match_ended") this._matchOver(data.match_id);
      this.places.get(data?.room_id)?._told(type, data);
      this.emit("push", { type, data });
    }
  }

  /**
   * @param {VinomError} error
   * @param {unknown} id
   * @param {Pending | undefined} waiting
   */
  #failed(error, id, waiting) {
    if (waiting) {
      waiting.reject(error);
      return;
    }
    if (typeof id === "number") {
      for (const room of this.places.values()) if (room._refused(id, error)) return;
      return;
    }
    if (error.code === "replaced") {
      this.#finish("replaced", error);
      return;
    }
    if (error.code === "seat_taken") {
      this.places.get(error.details.room_id)?._closed("replaced", null);
    }
    this.emit("error", error);
  }

  // The queue.

  /** @param {boolean} isAgain is the node's answer that we wait already a good one? */
  #askForMatch(isAgain) {
    const asked = this.#queueing;
    if (!asked) return;
    this.request("queue", asked.data, (told) => this.#tellQueue(told)).catch((error) => {
      if (asked !== this.#queueing || error.code === "connection_lost") return;
      const { code } = error;
      if (code === "already_queued" && (isAgain || this.queued?.game === asked.game)) return;
      // We were told where.
      if (code === "already_in_match" && isAgain) return;
      this.#queueOver(error);
    });
  }

  /** @param {Queued | null} queued */
  #tellQueue(queued) {
    this.queued = queued;
    this.emit("queue", queued);
  }

  /** @param {VinomError} error */
  #queueOver(error) {
    clearTimeout(this.#seatAlarm);
    this.#queueing?.reject(error);
    this.#queueing = null;
  }

  /** @param {FoundMatch} found */
  #found({ match_id, game }) {
    const asked = this.#queueing;
    clearTimeout(this.#seatAlarm);
    this.match = { match_id, game };
    this.#tellQueue(null);
    this.emit("match", this.match);
    if (asked?.game === game) this.#takeSeat(match_id, asked);
  }

  /**
   * @param {string} matchId
   * @param {Wish} asked
   */
  #takeSeat(matchId, asked) {
    // A listener may have changed its mind.
    if (asked !== this.#queueing) return;
    this.join(asked.game, { roomId: matchId }).then(
      (room) => {
        if (asked === this.#queueing) this.#queueing = null;
        asked.resolve(room);
      },
      (error) => {
        // With the next connection it is found again, or another one is.
        if (error.code === "connection_lost" || asked !== this.#queueing) return;
        // Nobody played it: we wait for another one, or have found it already.
        if (this.queued || (this.match && this.match.match_id !== matchId)) return;
        if (error.code === "busy") {
          const pause = this._pauseAfter(error);
          this.#seatAlarm = setTimeout(() => this.#takeSeat(matchId, asked), pause);
        } else {
          this.#queueOver(error);
        }
      },
    );
  }

  #tellRooms() {
    this.rooms = [...this.#listed.values()];
    this.emit("rooms", this.rooms);
  }

  #tellMatches() {
    this.emit("matches", [...this.#listedMatches.values()]);
  }
}

/** @param {RoomFacts[]} listed */
function byId(listed) {
  return new Map(listed.map((one) => [one.room_id, one]));
}

/** @param {Map<string, RoomFacts>} listed @param {{changed: RoomFacts[], gone: string[]}} news */
function renew(listed, { changed, gone }) {
  for (const one of changed) listed.set(one.room_id, one);
  for (const id of gone) listed.delete(id);
}

/** Statuses that nothing follows, and refusals of a hello that trying again will not change. */
const FINAL = new Set(["replaced", "refused", "closed"]);
const REFUSALS = new Set([
  "unauthorized",
  "name_refused",
  "bad_field",
  "protocol_unsupported",
  "unknown_player_key",
]);

/**
 * @typedef {object} RoomEvents
 * @property {Room} state a newer view; some are skipped for one who reads slowly
 * @property {GameEvent} event something happened once: exactly once, in order
 * @property {Room} change players, host or state of the room
 * @property {Room} back the connection was lost, and we are in the room again
 * @property {Room} start play begins, for the first time or again
 * @property {Outcome} round a round has ended
 * @property {{id: number, error: VinomError}} refused an action changed nothing
 * @property {string} closed the room is no more, or no more for us: why
 */

/**
 * A place in a room; it outlives connections.
 *
 * @extends {Emitter<RoomEvents>}
 */
export class Room extends Emitter {
  game = "";
  /** @type {number | null} Our seat; null: we watch. */
  seat = null;
  /** @type {number | null} Whose seat may start, kick and so on. */
  host = null;
  /** @type {Member[]} */
  players = [];
  /** @type {"gathering" | "playing" | "over"} */
  state = "gathering";
  /** @type {Json} The game's options. */
  options = {};
  /** @type {Json} The part of the view that never changes. */
  setup = null;
  /** @type {Json} What the game shows us; null before play begins. */
  view = null;
  version = 0;
  /** Match time of the view, seconds. */
  time = 0;
  /** When the view came, milliseconds of `performance.now()`. */
  receivedAt = 0;
  /** States that we were not sent, in all. */
  skipped = 0;
  /** @type {Outcome | null} Of the latest round. */
  outcome = null;
  /** @type {string | null} Why it is over for us. */
  closed = null;

  #client;
  #resume = "";
  /** @type {Map<number, {action: Json, resolve: () => void, reject: (error: VinomError) => void}>} */
  #actions = new Map();
  /** @type {Map<number, Json>} Views that we said we have, by version: bases of patches. */
  #bases = new Map();
  #ackAt = 0;
  // What is not above #heard has been heard. Announcements overtake events that wait for
  // their state; what came since the last state is therefore kept one by one.
  #heard = 0;
  /** @type {Set<number>} */
  #since = new Set();
  #latest = 0;
  /** What our place's description knew of. */
  #known = 0;
  /** @type {GameEvent[]} */
  #waiting = [];

  /**
   * @param {Client} client
   * @param {string} roomId
   */
  constructor(client, roomId) {
    super();
    this.#client = client;
    this.roomId = roomId;
  }

  /** Is it a match, played in a game server? It has no host, and its seats are given. */
  get isMatch() {
    return /^[a-z2-7]{26}$/.test(this.roomId);
  }

  /** May we start, add bots, remove players, and play again? */
  get isHost() {
    return this.seat !== null && this.seat === this.host;
  }

  /**
   * Play. Fires when the action has been applied, fails with `VinomError` if not: code
   * "rejected" is the game's own no, with `details.reason`. It may be sent twice when a
   * connection is lost, and is applied once.
   *
   * @param {Json} action
   * @returns {Promise<void>}
   */
  act(action) {
    if (this.closed !== null || this.#client.isOver) {
      return Promise.reject(new VinomError("closed", "this room is closed"));
    }
    const id = this.#client._nextAction();
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      this.#actions.set(id, { action, resolve, reject });
    });
    // Who does not wait for it need not look either; there is `refused` as well.
    done.catch(() => {});
    this.#sendAction(id, action);
    return done;
  }

  /** Give the seat up for good. */
  async leave() {
    try {
      await this.#ask("leave_room");
    } finally {
      this._closed("left", null);
    }
  }

  /** Begin with those who are there. Host only. */
  start() {
    return this.#ask("start_room");
  }

  /** Let the game's bot take a free seat. Host only. */
  addBot() {
    return this.#ask("add_bot");
  }

  /**
   * Remove whoever has a seat. Host only.
   *
   * @param {number} seat
   */
  kick(seat) {
    return this.#ask("kick", { seat });
  }

  /** When a round is over, play anew. Host only. */
  rematch() {
    return this.#ask("rematch");
  }

  /**
   * @template {keyof RoomEvents} Name
   * @param {Name} name
   * @param {(told: RoomEvents[Name]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const off = super.on(name, listener);
    // What came together with the answer to `join`, before anybody could listen.
    if (name === "event") {
      for (const event of this.#waiting.splice(0)) this.emit("event", event);
    }
    return off;
  }

  /**
   * @param {string} type
   * @param {Json} [data]
   */
  async #ask(type, data = {}) {
    await this.#client.request(type, { room_id: this.roomId, ...data });
  }

  /**
   * @param {number} id
   * @param {Json} action
   */
  #sendAction(id, action) {
    /** @type {Record<string, Json>} */
    const message = { type: "action", id, room_id: this.roomId, data: action };
    if (this.#bases.size) {
      message.seen = this.version;
      this.#bases.set(this.version, this.view);
    }
    this.#client._send(message);
  }

  // For the client only.

  /**
   * @param {any} facts
   * @param {boolean} isBack
   */
  _joined(facts, isBack) {
    this.game = facts.game;
    this.#resume = facts.resume;
    this.seat = facts.seat;
    this.state = facts.state;
    this.host = facts.host;
    this.players = facts.players;
    this.options = facts.options;
    this.setup = facts.setup;
    this.closed = null;
    this.#bases.clear();
    this.#latest = this.#known = facts.number;
    if (!isBack) {
      this.version = facts.version;
      this.#heard = 0;
      this.#since.clear();
    }
    this.#client._hasActed(facts.acted);
    for (const [id, one] of [...this.#actions]) {
      if (id <= facts.acted) {
        this.#actions.delete(id);
        one.resolve();
      } else {
        this.#sendAction(id, one.action);
      }
    }
    this.emit("change", this);
    if (isBack) this.emit("back", this);
  }

  /** There is a connection again. */
  _comeBack() {
    if (this.closed !== null) return;
    const asked = { resume: this.#resume, heard: this.#heard };
    this.#client
      .request("reconnect", asked, (facts) => this._joined(facts, true))
      .catch((error) => this.#cannotComeBack(error));
  }

  /** @param {VinomError} error */
  #cannotComeBack(error) {
    switch (error.code) {
      case "connection_lost":
      case "offline":
      case "timeout":
        return; // Once more with the next connection.
      case "rate_limited":
        setTimeout(() => this._comeBack(), this.#client._pauseAfter(error));
        return;
      case "bad_resume":
        // Its answer was lost together with the connection. The node knows us.
        this.#joinAgain();
        return;
      case "no_such_room":
        this._closed(error.details.reason ?? "lost", error.details.outcome ?? null);
        return;
      default:
        this._closed(error.code, null);
    }
  }

  #joinAgain() {
    const had = this.version;
    /** @type {Record<string, Json>} */
    const asked = { game: this.game, room_id: this.roomId };
    if (this.seat === null) asked.spectate = true;
    this.#client
      .request("join_room", asked, (facts) => {
        if (facts.version < had) {
          // Not ours: that one is gone, and we just made a new one of its name.
          this.#client.request("leave_room", { room_id: this.roomId }).catch(() => {});
          this._closed("lost", null);
        } else {
          this._joined(facts, true);
        }
      })
      .catch((error) => {
        if (error.code !== "connection_lost" && error.code !== "offline") {
          this._closed(error.code, null);
        }
      });
  }

  /**
   * @param {string} type
   * @param {any} data
   */
  _told(type, data) {
    if (type === "game_state") {
      this.#newState(data);
      return;
    }
    if (typeof data.number === "number") {
      if (data.number <= this.#heard || this.#since.has(data.number)) return;
      this.#since.add(data.number);
      this.#latest = Math.max(this.#latest, data.number);
    }
    // Of what we missed, our place's description knows already what became.
    const isPast = data.number <= this.#known;
    if ("host" in data && !isPast) this.host = data.host;
    switch (type) {
      case "client_joined":
        if (!isPast) this.#seated(data, data.how === "bot" ? "bot" : "here");
        break;
      case "client_left":
        if (isPast) break;
        if (data.reason === "lost") this.#seated(data, "away");
        else this.players = this.players.filter((one) => one.seat !== data.seat);
        break;
      case "room_started":
        if (!isPast) {
          this.seat = data.seat;
          this.players = data.players;
          this.setup = data.setup;
          this.state = "playing";
        }
        this.outcome = null;
        this.emit("start", this);
        break;
      case "round_over":
        this.outcome = data.outcome;
        if (!isPast) this.state = "over";
        this.emit("round", data.outcome);
        break;
      case "kicked":
        this._closed("kicked", null);
        return;
      case "room_closed":
        this._closed(data.reason, data.outcome);
        return;
      default:
        return;
    }
    this.emit("change", this);
  }

  /**
   * @param {any} data
   * @param {Member["state"]} state
   */
  #seated({ seat, name, player_id }, state) {
    if (seat === null) return;
    const others = this.players.filter((one) => one.seat !== seat);
    this.players = [...others, { seat, name, player_id, state }];
    this.players.sort((one, other) => one.seat - other.seat);
  }

  /** @param {any} data */
  #newState(data) {
    let view = data.view;
    if ("patch" in data) {
      if (!this.#bases.has(data.base)) return;
      view = mergePatch(this.#bases.get(data.base), data.patch);
      for (const older of this.#bases.keys()) {
        if (older < data.base) this.#bases.delete(older);
      }
    }
    this.view = view;
    this.version = data.version;
    this.time = data.time;
    this.receivedAt = performance.now();
    this.skipped += data.skipped ?? 0;
    if (this.state === "gathering") this.state = "playing";
    const acked = this.seat === null ? 0 : (data.ack[this.seat] ?? 0);
    for (const [id, one] of [...this.#actions]) {
      if (id > acked) break;
      this.#actions.delete(id);
      one.resolve();
    }
    this.#ackIfWorth(data);
    /** @type {GameEvent[]} */
    const events = data.events.filter(
      (/** @type {GameEvent} */ one) =>
        one.number > this.#heard && !this.#since.has(one.number),
    );
    for (const one of data.events) this.#latest = Math.max(this.#latest, one.number);
    // Every state brings all events until its own moment.
    this.#heard = this.#latest;
    this.#since.clear();
    this.emit("state", this);
    for (const event of events) {
      if (this.isHeard("event")) this.emit("event", event);
      else if (this.#waiting.push(event) > MOST_WAITING) this.#waiting.shift();
    }
  }

  /**
   * Say which state we have, so that the next ones can be patches to it.
   *
   * @param {any} data
   */
  #ackIfWorth(data) {
    const now = performance.now();
    if (now < this.#ackAt) return;
    this.#ackAt = now + ACK_PAUSE;
    if (JSON.stringify(this.view).length < WORTH_PATCHING) return;
    this.#bases.set(data.version, this.view);
    const said = { seen: data.version, room_id: this.roomId };
    this.#client._send({ type: "ack", data: said });
  }

  /**
   * @param {number} id
   * @param {VinomError} error
   */
  _refused(id, error) {
    const one = this.#actions.get(id);
    if (!one) return false;
    this.#actions.delete(id);
    one.reject(error);
    this.emit("refused", { id, error });
    return true;
  }

  /**
   * @param {string} reason
   * @param {Outcome | null} outcome
   */
  _closed(reason, outcome) {
    if (this.closed !== null) return;
    this.closed = reason;
    if (outcome !== null) this.outcome = outcome;
    this.#client.places.delete(this.roomId);
    // Whoever has our seat now, it is still ours.
    if (reason !== "replaced") this.#client._matchOver(this.roomId);
    this._abandon(new VinomError("closed", "this room is closed"));
    this.emit("closed", reason);
  }

  /** @param {VinomError} error */
  _abandon(error) {
    for (const one of this.#actions.values()) one.reject(error);
    this.#actions.clear();
  }
}

/**
 * Connect to a node; fires when it has said welcome, and goes on trying until then.
 *
 * @param {Options} [options]
 * @returns {Promise<Client>}
 */
export async function connect(options = {}) {
  const client = new Client(options);
  await client.ready;
  return client;
}
