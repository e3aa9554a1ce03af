// @ts-check
/**
 * Play in the rooms and matches of a Vinom server, from a browser or from Node.js.
 *
 *     import { connect } from "./vinom.js";
 *     const client = await connect({ name: "ann" });
 *     const room = await client.join("tictactoe");
 *     room.on("state", () => console.log(room.view));
 *     await room.act({ type: "place", row: 0, col: 0 });
 *
 * One module, nothing to build, nothing else to load. Manual:
 * docs/howto/javascript-client.rst; protocol: docs/protocol/rooms.rst.
 */

/** The version of the protocol. */
export const PROTOCOL = 1;

/** Pauses between attempts to connect, milliseconds: the first, and the longest. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;
/** A connection that lasted this long, milliseconds, resets the pauses. */
const STABLE = 5_000;
/** Silence after which the client sends a ping, and how long it waits for the answer, milliseconds. */
const QUIET = 20_000;
const PATIENCE = 6_000;
/** How long it waits after the browser reported a change of the network, milliseconds. */
const SHORT_PATIENCE = 2_500;
/** How long a request may take, including the wait for a connection, milliseconds. */
const REQUEST_SECONDS = 15_000;
/** Views shorter than this, characters of JSON, are not acknowledged: patches would save nothing. */
const WORTH_PATCHING = 400;
/** Least time between two acknowledgements, milliseconds. */
const ACK_PAUSE = 500;
/** How long a connection to the node of a room may take to open, milliseconds. */
const MOVE_PATIENCE = 4_000;
/** How often one client follows to other nodes before a place was taken. */
const MOST_MOVES = 3;
/** Events kept until the first listener is added. */
const MOST_WAITING = 256;
/** Actions of one room that may wait for an answer; more are refused at once. */
const MOST_ACTIONS = 64;

/**
 * @typedef {any} Json Any JSON value, such as a game's views and actions.
 *
 * @typedef {"connecting" | "online" | "waiting" | "replaced" | "refused" | "closed"} Status
 * The status of a client. "waiting": the connection was lost, and the client will retry.
 * "replaced": the same player connected again elsewhere. "refused": the server does not
 * let the client in. The last three are final.
 *
 * @typedef {object} Member A player or bot that has a seat.
 * @property {number} seat
 * @property {string} name
 * @property {string} player_id empty for a bot
 * @property {number | null} [team] counts from 0; that which the host or the match's maker chose
 * @property {"here" | "away" | "bot" | "left"} state "left": only in `Room.former`
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
 * @property {number} connected players and spectators who are connected
 *
 * @typedef {object} OwnGame A room in which the client has a seat; `join` with its id gives it back.
 * @property {string} room_id
 * @property {string} game
 * @property {"gathering" | "playing" | "over"} state
 * @property {number} seat
 * @property {Member[]} players
 * @property {boolean} is_turn does a game that lasts for days wait for the client?
 * @property {number | null} due in how many seconds something happens by itself
 * @property {boolean} lasts does it keep the seat while nobody is connected?
 *
 * @typedef {object} Peek How a room looks to spectators.
 * @property {string} room_id
 * @property {string} game
 * @property {"gathering" | "playing" | "over"} state
 * @property {Member[]} players
 * @property {Json} options
 * @property {Json} setup
 * @property {Json} view null if nothing is played, or nobody watches a game in its own process
 * @property {number} version
 * @property {number} time match time, seconds
 * @property {number} tick the last fixed step before the view; 0 if the game has none
 *
 * @typedef {object} Queued The state of the client in the queue.
 * @property {string} game
 * @property {"waiting" | "matched"} state "matched": a game server is being prepared
 * @property {number | null} position 1 is the front
 * @property {string} [problem] why a match that is "matched" does not start, in a sentence
 *
 * @typedef {object} FoundMatch A match in which the client has a seat.
 * @property {string} match_id
 * @property {string} game
 *
 * @typedef {object} FoundRoom A running room that has seats for the client and its party.
 * @property {string} room_id
 * @property {string} game
 * @property {string} queue the name of the queue
 *
 * @typedef {object} PartyMember A member of a party.
 * @property {string} player_id
 * @property {string} name
 * @property {boolean} ready
 * @property {boolean} connected
 *
 * @typedef {object} Party Players who queue together.
 * @property {string} party_id
 * @property {string} host id of the member who queues, invites and removes
 * @property {PartyMember[]} members in the order in which they joined
 * @property {string} game empty if the host has not said
 * @property {Json} options
 * @property {boolean} open is it listed?
 * @property {boolean} password has it a password?
 * @property {number} size most members
 * @property {"idle" | "in_queue" | "prematch" | "in_game"} state
 * @property {number} version
 *
 * @typedef {object} Prematch A match that waits for the yes of every player.
 * @property {string} id
 * @property {string} game
 * @property {{player_id: string, name: string}[]} players
 * @property {number} endsAt when silence counts as a no, milliseconds since the epoch
 * @property {string[]} accepted ids of the players who have accepted
 *
 * @typedef {object} PrematchOver What came of a prematch.
 * @property {string} id
 * @property {"accepted" | "dissolved"} state
 * @property {number} retry_after how long you may not queue, because you did not accept, seconds
 *
 * @typedef {object} Invitation
 * @property {string} party_id
 * @property {{player_id: string, name: string}} host
 * @property {string} game may be empty
 *
 * @typedef {object} GameEvent Something that happened once in a game.
 * @property {number} number rises, with gaps
 * @property {number} version of the state that it belongs to
 * @property {string} kind
 * @property {Json} data
 *
 * @typedef {object} Outcome How a round ended.
 * @property {number} round
 * @property {number[][]} places seats that share first place, then second, and so on
 * @property {number[]} scores
 *
 * @typedef {object} Store A store for the player's key, such as `sessionStorage`.
 * @property {(key: string) => string | null} getItem
 * @property {(key: string, value: string) => void} setItem
 * @property {(key: string) => void} removeItem
 *
 * @typedef {object} Options
 * @property {string} [url] the server's `/ws`; in a page, the default is its own host's
 * @property {string} [name] a guest's name
 * @property {Record<string, string>} [credentials] what the server's login requires
 * @property {string} [playerKey] the key of an earlier client, to be that player again
 * @property {Store} [storage] where to keep the key, and to look for an earlier one
 * @property {new (url: string) => WebSocket} [WebSocket] a class to use, if there is no global one
 * @property {() => number} [random] returns the jitter of the pauses between attempts, from 0 to 1
 *
 * @typedef {object} JoinOptions
 * @property {string} [roomId] which room; without it any open one, or a new one
 * @property {Json} [options] the game's options
 * @property {Json} [loadout] what you bring, if the game accepts anything
 * @property {boolean} [spectate] watch, without a seat
 * @property {boolean} [public] list a new room that has a `roomId`, as those without are; otherwise only who knows its id finds it
 * @property {boolean} [create] false: fail with "no_such_room" rather than open a room; true: open one even where a game has just ended
 */

/** Why a request failed. `code` is one of the protocol's, or one of this module's:
 * "offline", "connection_lost", "timeout", "closed", "cancelled". */
export class VinomError extends Error {
  /**
   * @param {string} code
   * @param {string} message for people; may change
   * @param {Record<string, Json>} [details] facts, by name
   */
  constructor(code, message, details = {}) {
    super(message || code);
    this.name = "VinomError";
    this.code = code;
    this.details = details;
  }
}

/**
 * Apply a JSON merge patch (RFC 7396); the target is not changed.
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

/** How many versions older than a packed view its base may be. */
const OLDEST_BASE = 64;
/** How many bytes one byte of the outer mask of a packed view stands for. */
const BLOCK = 64;

/**
 * A packed view.
 *
 * @typedef {object} Packed
 * @property {number[]} rows the length of each list
 * @property {Uint32Array[]} columns of each column of numbers, the steps
 * @property {Json[][]} others of each field without steps, the values
 */

/** Reads packed views (docs/protocol/packed.rst); throws a `VinomError` for anything else. */
export class PackedViews {
  /** @type {{table: number, steps: number, width: number, read: (step: number) => Json}[]} */
  #columns = [];
  /** @type {number[]} Of each field without steps, its list. */
  #others = [];
  #lists = 0;
  #build;

  /** @param {Json} layout as the server describes it */
  constructor(layout) {
    this.#build = this.#compile(layout, 0);
  }

  /**
   * @param {any} kind
   * @param {number} table
   * @returns {(view: Packed, row: number) => Json}
   */
  #compile(kind, table) {
    const [name, ...more] = Array.isArray(kind) ? kind : [];
    if (name === "int") {
      const [first, step, steps] = more;
      return this.#column(table, steps, (one) => (first + one) * step);
    }
    if (name === "float") {
      const [first, up, down, steps] = more;
      return this.#column(table, steps, (one) => ((first + one) * up) / down);
    }
    if (name === "one_of") return this.#column(table, more[0].length - 1, (one) => more[0][one]);
    if (name === "struct") {
      const fields = /** @type {[string, Json][]} */ (more[0]);
      const parts = fields.map(([field, inner]) => ({ field, part: this.#compile(inner, table) }));
      return (view, row) => {
        /** @type {Record<string, Json>} */
        const built = {};
        for (const { field, part } of parts) built[field] = part(view, row);
        return built;
      };
    }
    if (name === "tuple") {
      const kinds = /** @type {Json[]} */ (more[0]);
      const parts = kinds.map((inner) => this.#compile(inner, table));
      return (view, row) => parts.map((part) => part(view, row));
    }
    if (name === "maybe") {
      const shown = this.#column(table, 1, (one) => one === 1);
      const part = this.#compile(more[0], table);
      return (view, row) => (shown(view, row) ? part(view, row) : null);
    }
    if (name === "list" && table === 0) {
      const list = this.#lists++;
      const part = this.#compile(more[0], list + 1);
      return (view) => Array.from({ length: view.rows[list] }, (_, row) => part(view, row));
    }
    if (name !== "other") throw new VinomError("bad_message", "the layout of the views is unknown");
    const index = this.#others.push(table) - 1;
    return (view, row) => view.others[index][row];
  }

  /**
   * @param {number} table
   * @param {number} steps
   * @param {(step: number) => Json} read
   * @returns {(view: Packed, row: number) => Json}
   */
  #column(table, steps, read) {
    const width = steps < 1 << 8 ? 1 : steps < 1 << 16 ? 2 : 4;
    const index = this.#columns.push({ table, steps, width, read }) - 1;
    return (view, row) => {
      const step = view.columns[index][row];
      if (step > steps) throw new VinomError("bad_message", "a packed view has too high a step");
      return read(step);
    };
  }

  /**
   * @param {Uint8Array} data the numbers
   * @param {Record<string, Json[]>} others the fields without steps that changed
   * @param {Packed | null} before the view that it was made from
   * @returns {Packed}
   */
  read(data, others, before) {
    const rows = Array.from(
      { length: this.#lists },
      (_, list) => (data[2 * list] << 8) | data[2 * list + 1],
    );
    const lengths = [1, ...rows];
    const columns = this.#columns.map(({ table }, index) => {
      const column = new Uint32Array(lengths[table]);
      if (before) column.set(before.columns[index].subarray(0, column.length));
      return column;
    });
    const size = this.#columns.reduce((sum, one) => sum + one.width * lengths[one.table], 0);
    const planes = withZeros(data, 2 * this.#lists, size);
    let start = 0;
    for (const width of [1, 2, 4]) {
      const same = columns.filter((_, index) => this.#columns[index].width === width);
      const lanes = same.reduce((sum, column) => sum + column.length, 0);
      let lane = start;
      for (const column of same) {
        for (let row = 0; row < column.length; row++, lane++) {
          let zigzag = planes[lane];
          if (width > 1) zigzag |= planes[lane + lanes] << 8;
          if (width > 2) zigzag |= (planes[lane + 2 * lanes] << 16) | (planes[lane + 3 * lanes] << 24);
          column[row] = column[row] + ((zigzag >>> 1) ^ -(zigzag & 1));
          if (width < 4) column[row] &= (1 << (8 * width)) - 1;
        }
      }
      start += width * lanes;
    }
    const kept = this.#others.map((table, index) => {
      const values = others[index] ?? before?.others[index];
      if (values?.length !== lengths[table]) {
        throw new VinomError("bad_message", "a packed view lacks a field");
      }
      return values;
    });
    return { rows, columns, others: kept };
  }

  /**
   * Make objects, lists and numbers of a view.
   *
   * @param {Packed} view
   * @returns {Json}
   */
  plain(view) {
    return this.#build(view, 0);
  }
}

/**
 * @param {Uint8Array} data
 * @param {number} start
 * @param {number} size how many bytes there are with the zeros
 */
function withZeros(data, start, size) {
  const blocks = Math.ceil(size / BLOCK);
  let at = start + blocks;
  /** @param {Uint8Array} mask */
  const spread = (mask) => {
    const found = new Uint8Array(8 * mask.length);
    for (let place = 0; place < found.length; place++) {
      if ((mask[place >> 3] << (place & 7)) & 0x80) found[place] = data[at++];
    }
    return found;
  };
  const found = spread(spread(data.subarray(start, at)));
  if (at !== data.length || found.length !== blocks * BLOCK) {
    throw new VinomError("bad_message", "a packed view is cut short or too long");
  }
  return found;
}

/** @param {Json} value */
const isObject = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Calls listeners by the name of an event.
 *
 * @template {Record<string, any>} Events the value that listeners get, by name
 */
class Emitter {
  /** @type {Map<keyof Events, Set<(value: any) => void>>} */
  #listeners = new Map();

  /**
   * Add a listener; the function returned removes it.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(value: Events[Name]) => void} listener
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
   * @param {Events[Name]} value
   * @protected
   */
  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        // An error in one listener must not stop the others.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /**
   * Does the event have a listener?
   *
   * @param {keyof Events} name
   * @protected
   */
  isHeard(name) {
    return (this.#listeners.get(name)?.size ?? 0) > 0;
  }
}

/**
 * @typedef {object} Pending A request without an answer yet.
 * @property {(value: any) => void} resolve
 * @property {(error: VinomError) => void} reject
 * @property {(data: any) => any} accept turns the answer into the value of the promise
 * @property {ReturnType<typeof setTimeout>} alarm
 * @property {string} message
 * @property {boolean} isUnsent
 */

/**
 * @typedef {object} Wish A call of `queue` that waits for a match.
 * @property {string} game
 * @property {Json} data
 * @property {(room: Room) => void} resolve
 * @property {(error: any) => void} reject
 */

/**
 * @typedef {object} ClientEvents
 * @property {Status} status
 * @property {RoomFacts[]} rooms the watched list of rooms, whenever it changes
 * @property {RoomFacts[]} matches the watched list of matches, whenever it changes
 * @property {Queued | null} queue the state in the queue, whenever it changes
 * @property {FoundMatch | null} match your match, when it is found or found again; null when it is over
 * @property {Party | null} party your party, whenever it changes; null when you are in none
 * @property {Invitation} invite a host invites you: `joinParty` needs no token
 * @property {Prematch | null} prematch a match that waits for your yes, whenever it changes; null when it is over. If nobody listens, it is accepted.
 * @property {PrematchOver} prematchOver what came of it
 * @property {FoundRoom} roomFound a running room has seats for you, and you left the queue for it
 * @property {VinomError} error a failure that answers no request: a warning, or the end of the connection
 * @property {{type: string, data: Json}} push every message that answers no request
 */

/**
 * Measure the median of five echoes; the request before them opens the connection.
 *
 * @param {string} url
 * @returns {Promise<number | null>} milliseconds; null if the answer takes too long
 */
async function medianEcho(url) {
  const alarm = new AbortController();
  const timer = setTimeout(() => alarm.abort(), 3000);
  const times = [];
  try {
    for (let number = 0; number <= 5; number++) {
      const began = performance.now();
      const answer = await fetch(url, { cache: "no-store", credentials: "omit", signal: alarm.signal });
      await answer.arrayBuffer();
      if (number) times.push(performance.now() - began);
    }
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
  return Math.round(times.sort((a, b) => a - b)[2] * 10) / 10;
}

/**
 * One player's connection to a server; it reconnects by itself.
 *
 * @extends {Emitter<ClientEvents>}
 */
export class Client extends Emitter {
  /** @type {Status} */
  status = "connecting";
  playerId = "";
  name = "";
  /** Secret: a later client with this key is the same player. */
  playerKey = "";
  /** @type {string[]} Names of the games that the server plays. */
  games = [];
  /** @type {RoomFacts[]} The list of rooms, while it is watched. */
  rooms = [];
  /** @type {{name: string, game: string}[]} Queues with names, beside the default one of each game. */
  queues = [];
  /** @type {{region: string, url: string}[]} Regions to which echoes are measured before a queue is entered. */
  regions = [];
  /** Time of the next attempt to connect, milliseconds since the epoch; 0 if none is planned. */
  retryAt = 0;
  /** @type {Queued | null} Your state in the queue; null if you are not in it. */
  queued = null;
  /** @type {FoundMatch | null} The match in which you have a seat. */
  match = null;
  /** @type {Party | null} Your party. */
  party = null;
  /** Secret: the invite token of your party, if you know it. */
  partyToken = "";
  /** @type {Prematch | null} The match that waits for your yes, or for others'. */
  prematch = null;
  /** @type {Map<string, Room>} The rooms that you are in, by id. */
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
  /** Where the node of our room is, if we are there, or on the way. */
  #movedTo = "";
  /** How often we moved without taking a place since. */
  #moves = 0;
  /** Can we go where the server sends us? */
  #canMove = true;
  /** Handshakes that failed, since one succeeded. */
  #refusals = 0;
  #onlineSince = 0;
  #lastHeard = 0;
  #probeEnds = 0;
  /** Whether the browser has left this page, and only keeps it. */
  #isLeft = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watchdog;
  /** @type {{game?: string, state?: string} | null} */
  #watched = null;
  /** @type {{game?: string, state?: string} | null} */
  #watchedMatches = null;
  /** Echoes that were measured. @type {Record<string, number> | null} */
  #echoes = null;
  /** The call of `queue` that waits. @type {Wish | null} */
  #queueing = null;
  /** The invite token of the party that we made. @type {{party_id: string, token: string} | null} */
  #token = null;
  /** Asks for the seat again after "busy". @type {ReturnType<typeof setTimeout> | undefined} */
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

  /**
   * Start connecting.
   *
   * @param {Options} [options]
   */
  constructor(options = {}) {
    super();
    this.#options = options;
    this.playerKey =
      options.playerKey ?? options.storage?.getItem("vinom.player_key") ?? "";
    this.#token = JSON.parse(options.storage?.getItem("vinom.party_token") ?? "null");
    this.#ready = new Promise((resolve, reject) => {
      this.#admitted = resolve;
      this.#turnedAway = reject;
    });
    this.#ready.catch(() => {});
    this.#listenToMachine();
    this.#open();
  }

  /** Is the status final? Then there will be no further connection. */
  get isOver() {
    return FINAL.has(this.status);
  }

  /** Resolves once the server has accepted the client; fails if the client gives up. */
  get ready() {
    return this.#ready;
  }

  /**
   * Send a request; resolves with the data of the answer. A request made while
   * disconnected waits for the connection.
   *
   * @template [T=any]
   * @param {string} type
   * @param {Json} [data]
   * @param {(data: any) => T} [accept] makes the value of the promise from the data
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
        reject(new VinomError(code, "the server does not answer"));
      }, REQUEST_SECONDS);
      const isSent = isFirst || this.status === "online";
      const isUnsent = !isSent;
      this.#pending.set(id, { resolve, reject, accept, alarm, message, isUnsent });
      if (isSent) this.#socket?.send(message);
    });
  }

  /**
   * Take a seat in a room, or return to yours; opens the room if it does not exist.
   *
   * @param {string} game
   * @param {JoinOptions} [how]
   * @returns {Promise<Room>}
   */
  join(game, { roomId, options, loadout, spectate, create, public: isPublic } = {}) {
    /** @type {Record<string, Json>} */
    const data = { game };
    if (roomId !== undefined) data.room_id = roomId;
    if (options !== undefined) data.options = options;
    if (loadout !== undefined) data.loadout = loadout;
    if (spectate) data.spectate = true;
    if (isPublic) data.public = true;
    if (create !== undefined) data.create = create;
    return this.request("join_room", data, (found) => {
      const room = this.places.get(found.room_id) ?? new Room(this, found.room_id);
      this.places.set(room.roomId, room);
      room._joined(found, false);
      return room;
    });
  }

  /**
   * Keep `rooms` up to date from now on, and emit "rooms" with each change.
   *
   * @param {{game?: string, state?: string}} [filter]
   */
  async watchRooms(filter = {}) {
    this.#watched = filter;
    const data = { ...filter, watch: true, limit: 100 };
    await this.request("list_rooms", data, (found) => {
      this.#listed = byId(found.rooms);
      this.#emitRooms();
    });
  }

  /**
   * Show a room once, as spectators see it, without entering it. Not for matches.
   *
   * @param {string} roomId
   * @returns {Promise<Peek>}
   */
  peek(roomId) {
    return this.request("peek_room", { room_id: roomId });
  }

  /**
   * List the rooms in which you have a seat, with any device that has your key or account;
   * those that wait for you first.
   *
   * @returns {Promise<OwnGame[]>}
   */
  myGames() {
    return this.request("my_games", {}, (found) => found.games);
  }

  /** Stop watching the list of rooms. */
  async unwatchRooms() {
    this.#watched = null;
    await this.request("list_rooms", { watch: false, limit: 1 });
  }

  /**
   * Emit "matches" with the list that `matches()` returns, now and with each change.
   *
   * @param {{game?: string, state?: string}} [filter]
   */
  async watchMatches(filter = {}) {
    this.#watchedMatches = filter;
    const data = { ...filter, matches: true, watch: true, limit: 100 };
    await this.request("list_rooms", data, (found) => {
      this.#listedMatches = byId(found.rooms);
      this.#emitMatches();
    });
  }

  /** Stop watching the list of matches. */
  async unwatchMatches() {
    this.#watchedMatches = null;
    await this.request("list_rooms", { matches: true, watch: false, limit: 1 });
  }

  /**
   * Wait for a match with players who queue for the same game and options, over
   * WebSocket or UDP, and take your seat in it. Resolves with the room, once you have your
   * seat. Fails with "cancelled" if you call `cancelQueue` first.
   *
   * @param {string} game
   * @param {{options?: Json, loadout?: Json, queue?: string}} [how] queue: one of `queues`
   * @returns {Promise<Room>}
   */
  queue(game, { options, loadout, queue } = {}) {
    if (this.#queueing) {
      const words = "this client is already waiting for a match";
      return Promise.reject(new VinomError("already_queued", words));
    }
    /** @type {Record<string, Json>} */
    const data = { game };
    if (options !== undefined) data.options = options;
    if (loadout !== undefined) data.loadout = loadout;
    if (queue !== undefined) data.queue = queue;
    return new Promise((resolve, reject) => {
      const asked = { game, data, resolve, reject };
      this.#queueing = asked;
      // The server has our place already: we had it before, or our party's host queued.
      if (this.queued?.game === game) return;
      if (queue === undefined || !this.regions.length) this.#askForMatch(false);
      else {
        this.#measure().then((echoes) => {
          data.echoes = echoes;
          if (this.#queueing === asked) this.#askForMatch(false);
        });
      }
    });
  }

  /**
   * Measure the medians of five echoes, once.
   *
   * @returns {Promise<Record<string, number>>} milliseconds by region; without those that do not answer
   */
  async #measure() {
    if (this.#echoes) return this.#echoes;
    /** @type {Record<string, number>} */
    const measured = {};
    const measure = async (/** @type {{region: string, url: string}} */ { region, url }) => {
      const echo = await medianEcho(url);
      if (echo !== null) measured[region] = echo;
    };
    await Promise.all(this.regions.map(measure));
    this.#echoes = measured;
    return measured;
  }

  /** Leave the queue. Fails if a match has been found in the meantime. */
  async cancelQueue() {
    await this.request("cancel");
    this.#setQueued(null);
    this.#queueOver(new VinomError("cancelled", "you left the queue"));
  }

  /**
   * Form a party; you are its host, and `queue` and `cancelQueue` are for all members.
   *
   * @param {{game?: string, options?: Json, password?: string, open?: boolean, loadout?: Json}} [how]
   * @returns {Promise<Party>} `partyToken` has its invite token
   */
  createParty(how = {}) {
    return this.request("create_party", how, (found) => {
      this.#keepToken(found);
      this.#setParty(found.party);
      return found.party;
    });
  }

  /**
   * Join a party by its invite token or password; with neither, if you are invited, or
   * it is open to all.
   *
   * @param {string} partyId
   * @param {{token?: string, password?: string, loadout?: Json}} [how]
   * @returns {Promise<Party>}
   */
  joinParty(partyId, how = {}) {
    return this.#askParty("join_party", { party_id: partyId, ...how });
  }

  /** Leave your party; if it waits for a match, it stops. */
  async leaveParty() {
    await this.request("leave_party", {}, () => this.#setParty(null));
  }

  /** Remove a member for good; only the host can. @param {string} playerId */
  kickFromParty(playerId) {
    return this.#askParty("kick_from_party", { player_id: playerId });
  }

  /** Make another member the host; only the host can. @param {string} playerId */
  promoteInParty(playerId) {
    return this.#askParty("promote_in_party", { player_id: playerId });
  }

  /** Invite a player; only the host can. @param {string} playerId */
  inviteToParty(playerId) {
    return this.#askParty("invite_to_party", { player_id: playerId });
  }

  /**
   * Make a new invite token; the old one is no longer valid. Only the host can.
   *
   * @returns {Promise<string>}
   */
  renewPartyToken() {
    return this.request("invite_to_party", {}, (found) => this.#keepToken(found));
  }

  /**
   * Show the others whether you are ready, and set what you bring.
   *
   * @param {boolean} [ready]
   * @param {Json} [loadout]
   */
  readyInParty(ready = true, loadout) {
    return this.#askParty("ready_in_party", loadout === undefined ? { ready } : { ready, loadout });
  }

  /**
   * List parties that you could join, the newest first.
   *
   * @param {{game?: string, password?: boolean, limit?: number}} [filter]
   * @returns {Promise<{party_id: string, host: string, game: string, options: Json, members: number, size: number, password: boolean}[]>}
   */
  parties(filter = {}) {
    return this.request("list_parties", filter, (found) => found.parties);
  }

  /** Accept the match that waits for your yes. */
  async accept() {
    await this.#answer("accept");
  }

  /** Decline it; you leave the queue, and cannot queue for a while. */
  async decline() {
    await this.#answer("decline");
  }

  /**
   * List the matches that you may watch. To watch one, `join` it with its id and `spectate`.
   *
   * @param {{game?: string, state?: string}} [filter]
   * @returns {Promise<RoomFacts[]>}
   */
  matches(filter = {}) {
    const data = { ...filter, matches: true, limit: 100 };
    return this.request("list_rooms", data, (found) => found.rooms);
  }

  /** Try to connect now; while connected, check that the connection works. */
  retryNow() {
    if (this.status === "waiting") {
      clearTimeout(this.#retry);
      this.#open();
    } else if (this.status === "online") {
      this.#probe(SHORT_PATIENCE);
    }
  }

  /** Disconnect for good. Seats are kept for a while: a client with the same key has them. */
  close() {
    this.#finish("closed", new VinomError("closed", "this client is closed"));
  }

  // For rooms only.

  /** The next number of an action. It rises over all rooms, so that each answer has one action. */
  _nextAction() {
    return ++this.#acted;
  }

  /** @param {number} acted */
  _hasActed(acted) {
    this.#acted = Math.max(this.#acted, acted);
  }

  /**
   * How long to wait before repeating a refused request, milliseconds. Random, so that
   * clients refused together do not return together.
   *
   * @param {VinomError} error
   */
  _pauseAfter(error) {
    const random = this.#options.random ?? Math.random;
    return 1000 * (error.details.retry_after ?? 1) * (1 + random() / 2);
  }

  /** A place was taken: wherever we are now is right. */
  _arrived() {
    this.#moves = 0;
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
      throw new TypeError("url is required outside of a browser");
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    return `${scheme}//${location.host}/ws`;
  }

  #open() {
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new TypeError("there is no global WebSocket: pass the option WebSocket");
    this.retryAt = 0;
    this.#setStatus("connecting");
    const isMove = this.#movedTo !== "";
    /** @type {WebSocket} */
    let socket;
    try {
      socket = new Socket(this.#movedTo || this.#url());
    } catch (error) {
      if (!isMove) throw error;
      // It is no URL, or a page over https may not use it.
      this.#stay();
      socket = new Socket(this.#url());
    }
    this.#socket = socket;
    // In a network that drops everything, a connection neither opens nor fails.
    const tooLong = setTimeout(() => this.#lost(socket), isMove ? MOVE_PATIENCE : PATIENCE * 2);
    let isOpen = false;
    socket.onopen = () => {
      clearTimeout(tooLong);
      isOpen = true;
      this.#refusals = 0;
      this.#hello();
    };
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#lastHeard = performance.now();
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
      if (!isOpen && !isMove) this.#askWhy();
    };
  }

  /**
   * A browser gives no reason for a failed handshake. After the second one, ask the
   * server whether its settings refuse pages of this origin: then retrying is useless.
   */
  async #askWhy() {
    this.#refusals += 1;
    // Now and then again: the server may have been down.
    const isDue = this.#refusals === 2 || this.#refusals % 10 === 0;
    if (!isDue || typeof fetch !== "function") return;
    try {
      const answer = await fetch(this.#url().replace(/^ws/, "http"));
      const { error } = await answer.json();
      if (error?.code !== "origin_refused" || this.status === "online") return;
      const words = `the server refuses pages of ${error.details.origin}: ${error.message}`;
      this.#finish("refused", new VinomError(error.code, words, error.details));
    } catch {
      // The server is down, or another one.
    }
  }

  #hello() {
    const { name, credentials, storage } = this.#options;
    const key = this.playerKey;
    /** @type {Record<string, Json>} */
    const data = key ? { player_key: key } : {};
    if (!key && name !== undefined) data.name = name;
    if (!key && credentials !== undefined) data.credentials = credentials;
    // Rooms on several nodes would send us back and forth.
    const moves = this.#canMove && this.#moves < MOST_MOVES && this.places.size < 2;
    if (moves) data.moves = "websocket";
    this.request("hello", { protocol: PROTOCOL, ...data }, (welcome) => {
      const isSame = welcome.player_id === this.playerId;
      this.playerId = welcome.player_id;
      this.playerKey = welcome.player_key;
      this.name = welcome.name;
      this.games = welcome.games;
      this.queues = welcome.queues ?? [];
      this.regions = welcome.regions ?? [];
      storage?.setItem("vinom.player_key", welcome.player_key);
      this.#online(isSame);
    }).catch((error) => {
      if (this.#movedTo || (moves && error.code === "bad_field")) {
        // That node does not know us; or this one is older than `moves`.
        const isOld = !this.#movedTo;
        this.#stay();
        if (isOld && this.status === "connecting") this.#hello();
        else this._drop();
      } else if (error.code === "unknown_player_key" && (name || credentials)) {
        // The server restarted, or forgot this player.
        this.playerKey = "";
        storage?.removeItem("vinom.player_key");
        if (this.status === "connecting") this.#hello();
      } else if (REFUSALS.has(error.code)) {
        if (error.code === "unknown_player_key") {
          storage?.removeItem("vinom.player_key");
        }
        this.#finish("refused", error);
      } else {
        this._drop();
      }
    });
  }

  /** @param {boolean} isSame did the server recognize us as the same player? */
  #online(isSame) {
    this.#onlineSince = this.#lastHeard = performance.now();
    this.#setStatus("online");
    this.#admitted();
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => this.#look(), 1000);
    for (const room of [...this.places.values()]) {
      if (isSame) room._comeBack();
      else room._closed("lost", null);
    }
    for (const waiting of this.#pending.values()) {
      if (waiting.isUnsent) this.#socket?.send(waiting.message);
      waiting.isUnsent = false;
    }
    if (this.#watched) this.watchRooms(this.#watched).catch(() => {});
    if (this.#watchedMatches) this.watchMatches(this.#watchedMatches).catch(() => {});
    // The server may have kept our place. If not, or if the match is over, queue again.
    if (!isSame) this.match = null;
    // It sends them right after this, if they are still there.
    if (this.prematch) this.#setPrematch(null);
    if (this.party) this.#setParty(null);
    if (this.#queueing) this.#askForMatch(true);
    else this.queued = null;
  }

  /**
   * Go to the node of our room, and ask there again.
   *
   * @param {string} url
   * @param {Pending} waiting
   * @param {string} id
   */
  #move(url, waiting, id) {
    const asked = JSON.parse(waiting.message);
    const isPlaced = asked.type !== "join_room" || this.places.has(asked.data.room_id);
    if (isPlaced) {
      // The room itself asks again on each new connection.
      clearTimeout(waiting.alarm);
      waiting.reject(new VinomError("connection_lost", "the room is on another node"));
    } else {
      waiting.isUnsent = true;
      this.#pending.set(id, waiting);
    }
    this.#moves += 1;
    // Our key must not leave an encrypted connection for a plain one.
    const isPlain = /^wss:/.test(this.#url()) && !/^wss:/.test(url);
    if (isPlain) this.#stay();
    else this.#movedTo = url;
    const socket = this.#socket;
    if (socket === null) return;
    this.#leave(socket);
    socket.close();
    this.#open();
  }

  /** Go to no other node any more: this one cannot be reached from here. */
  #stay() {
    this.#canMove = false;
    this.#movedTo = "";
  }

  /** Check that the connection works: a network can die silently. */
  #look() {
    const now = performance.now();
    if (this.#probeEnds && now >= this.#probeEnds) this._drop();
    else if (now - this.#lastHeard >= QUIET) this.#probe(PATIENCE);
  }

  /** @param {number} patience */
  #probe(patience) {
    const ends = performance.now() + patience;
    if (this.#probeEnds) {
      this.#probeEnds = Math.min(this.#probeEnds, ends);
      return;
    }
    this.#probeEnds = ends;
    this.request("ping").catch(() => {});
  }

  /** Give up a connection that may be dead without having closed. */
  _drop() {
    const socket = this.#socket;
    if (socket === null) return;
    this.#lost(socket);
    socket.close();
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (socket !== this.#socket) return;
    const wasOnline = this.#onlineSince > 0;
    const isGood = wasOnline && performance.now() - this.#onlineSince >= STABLE;
    this.#leave(socket);
    if (this.isOver) return;
    if (this.#movedTo) {
      if (!wasOnline) this.#stay();
      this.#movedTo = "";
    }
    this.#attempts = isGood ? 0 : this.#attempts + 1;
    // Random, up to twice the last limit: the clients of a server that restarts must not
    // all return at once.
    const most = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempts);
    const random = this.#options.random ?? Math.random;
    const pause = 50 + most * random();
    this.retryAt = Date.now() + pause;
    this.#retry = setTimeout(() => this.#isLeft || this.#open(), pause);
    this.#setStatus("waiting");
  }

  /**
   * The connection is over: fail what was asked on it.
   *
   * @param {WebSocket} socket
   */
  #leave(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearInterval(this.#watchdog);
    // With the next connection the server sends this match again, or another one.
    clearTimeout(this.#seatAlarm);
    this.#probeEnds = this.#onlineSince = 0;
    if (this.isOver) return;
    for (const [id, waiting] of [...this.#pending]) {
      if (waiting.isUnsent) continue;
      this.#pending.delete(id);
      clearTimeout(waiting.alarm);
      const words = "the connection was lost; the outcome of the request is unknown";
      waiting.reject(new VinomError("connection_lost", words));
    }
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
    // A browser may keep a page that was left, with its connection: to the others we
    // would still be here.
    const hide = () => {
      this.#isLeft = true;
      this.#socket?.close();
    };
    const back = () => {
      this.#isLeft = false;
      shown();
    };
    machine.addEventListener("pagehide", hide);
    machine.addEventListener("pageshow", back);
    this.#undo.push(
      () => machine.removeEventListener("online", look),
      () => machine.removeEventListener("offline", look),
      () => page.removeEventListener("visibilitychange", shown),
      () => machine.removeEventListener("pagehide", hide),
      () => machine.removeEventListener("pageshow", back),
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
    if (waiting) this.#pending.delete(id);
    if (waiting && type === "moved") {
      this.#move(data.address, waiting, id);
      return;
    }
    if (waiting) clearTimeout(waiting.alarm);
    if (type === "error") {
      const { code, message: words, details } = message.error;
      this.#failed(new VinomError(code, words, details), id, waiting);
    } else if (waiting) {
      // Now rather than in a later microtask: the next message may depend on it.
      try {
        waiting.resolve(waiting.accept(data));
      } catch (error) {
        waiting.reject(/** @type {VinomError} */ (error));
      }
    } else if (type === "room_list_update") {
      renew(this.#listed, data);
      if (this.#watched) this.#emitRooms();
    } else if (type === "match_list_update") {
      renew(this.#listedMatches, data);
      if (this.#watchedMatches) this.#emitMatches();
    } else {
      if (type === "queue_status") this.#queueStatus(data);
      else if (type === "party_update") this.#setParty(data.party);
      else if (type === "party_closed") this.#setParty(null);
      else if (type === "party_invite") this.emit("invite", data);
      else if (type === "prematch") this.#offered(data);
      else if (type === "prematch_update") this.#prematchUpdate(data);
      else if (type === "match_found") this.#found(data);
      else if (type === "room_found") this.#roomFound(data);
      else if (type === "match_ended") this._matchOver(data.match_id);
      this.places.get(data?.room_id)?._pushed(type, data);
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

  /** @param {boolean} isAgain does the server's "already_queued" count as success? */
  #askForMatch(isAgain) {
    const asked = this.#queueing;
    if (!asked) return;
    this.request("queue", asked.data, (queued) => this.#setQueued(queued)).catch((error) => {
      if (asked !== this.#queueing || error.code === "connection_lost") return;
      const { code } = error;
      if (code === "already_queued" && (isAgain || this.queued?.game === asked.game)) return;
      // "match_found" has said which.
      if (code === "already_in_match" && isAgain) return;
      this.#queueOver(error);
    });
  }

  /** @param {any} status */
  #queueStatus(status) {
    if (status.state !== "idle") {
      this.#setQueued(status);
      return;
    }
    this.#setQueued(null);
    // Not at our request: a member of our party left, or we did not accept in time.
    this.#queueOver(new VinomError("not_queued", "you are no longer waiting for a match"));
  }

  /**
   * @param {string} type
   * @param {Json} data
   * @returns {Promise<Party>}
   */
  #askParty(type, data) {
    return this.request(type, data, ({ party }) => {
      this.#setParty(party);
      return party;
    });
  }

  /** @param {Party | null} party */
  #setParty(party) {
    const isHost = party !== null && party.host === this.playerId;
    this.partyToken = isHost && this.#token?.party_id === party.party_id ? this.#token.token : "";
    this.party = party;
    this.emit("party", party);
  }

  /**
   * Keep a token while the connection, or the page, is made again.
   *
   * @param {{party_id: string, token: string}} found
   */
  #keepToken({ party_id, token }) {
    this.#token = { party_id, token };
    this.#options.storage?.setItem("vinom.party_token", JSON.stringify(this.#token));
    return (this.partyToken = token);
  }

  /** @param {any} found */
  #offered({ seconds, ...found }) {
    this.#setPrematch({ ...found, endsAt: Date.now() + 1000 * seconds });
    // Programs that do not know of this are matched as before.
    if (!this.isHeard("prematch")) this.accept().catch(() => {});
  }

  /** @param {string} type */
  async #answer(type) {
    const data = this.prematch ? { prematch_id: this.prematch.id } : {};
    await this.request(type, data, (found) => this.#prematchUpdate(found));
  }

  /** @param {any} update */
  #prematchUpdate({ id, state, accepted, retry_after }) {
    const mine = this.prematch;
    if (mine && mine.id === id) this.#setPrematch(state === "open" ? { ...mine, accepted } : null);
    if (state !== "open") this.emit("prematchOver", { id, state, retry_after });
  }

  /** @param {Prematch | null} prematch */
  #setPrematch(prematch) {
    this.prematch = prematch;
    this.emit("prematch", prematch);
  }

  /** @param {Queued | null} queued */
  #setQueued(queued) {
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
    this.#setQueued(null);
    this.emit("match", this.match);
    if (asked?.game === game) this.#takeSeat(match_id, asked);
  }

  /** @param {FoundRoom} found */
  #roomFound(found) {
    const asked = this.#queueing;
    clearTimeout(this.#seatAlarm);
    this.match = null;
    this.#setQueued(null);
    this.emit("roomFound", found);
    if (asked?.game === found.game) this.#takeSeat(found.room_id, asked, false);
  }

  /**
   * @param {string} matchId
   * @param {Wish} asked
   * @param {boolean} [create]
   */
  #takeSeat(matchId, asked, create) {
    // A listener may have left the queue.
    if (asked !== this.#queueing) return;
    this.join(asked.game, { roomId: matchId, create }).then(
      (room) => {
        if (asked === this.#queueing) this.#queueing = null;
        asked.resolve(room);
      },
      (error) => {
        // With the next connection the server sends this match again, or another one.
        if (error.code === "connection_lost" || asked !== this.#queueing) return;
        // The match was void: we are waiting for another one, or have already found it.
        if (this.queued || (this.match && this.match.match_id !== matchId)) return;
        if (error.code === "busy") {
          const pause = this._pauseAfter(error);
          this.#seatAlarm = setTimeout(() => this.#takeSeat(matchId, asked, create), pause);
        } else {
          this.#queueOver(error);
        }
      },
    );
  }

  #emitRooms() {
    this.rooms = [...this.#listed.values()];
    this.emit("rooms", this.rooms);
  }

  #emitMatches() {
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

/** Final statuses, and the refusals of a hello after which retrying is useless. */
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
 * @property {Room} state a newer view; slow clients may skip some
 * @property {GameEvent} event something that happened; exactly once, in order
 * @property {Room} change players, host or state have changed
 * @property {Room} back the connection was lost, and you are in the room again
 * @property {Room} start play begins, for the first time or again
 * @property {Outcome} round a round has ended
 * @property {{id: number, error: VinomError}} refused an action was refused, and changed nothing
 * @property {{seat: number | null, name: string, reason: string}} left a player or spectator has left for good
 * @property {string} closed the room is gone, or closed to you; the reason
 */

/**
 * A seat in a room, or a spectator's place; it survives lost connections.
 *
 * @extends {Emitter<RoomEvents>}
 */
export class Room extends Emitter {
  game = "";
  /** @type {number | null} Your seat; null if you watch. */
  seat = null;
  /** @type {number | null} The seat of the host, who may start, kick and so on. */
  host = null;
  /** @type {Member[]} */
  players = [];
  /** @type {Member[]} Players of this game who have left it. */
  former = [];
  /** @type {"gathering" | "playing" | "over"} */
  state = "gathering";
  /** @type {[number, number] | null} The fewest and the most players with these options; null if the server does not say. */
  seats = null;
  /** @type {Json} The game's options. */
  options = {};
  /** @type {Json} The part of the view that never changes. */
  setup = null;
  /** @type {Json} What the game shows you; null before play begins. */
  view = null;
  version = 0;
  /** Match time of the view, seconds. */
  time = 0;
  /** The last fixed step before the view; 0 if the game has none. */
  tick = 0;
  /** The number of your latest action; `acked` reaches it when a view answers it. */
  acted = 0;
  /** The number of your latest action that the view answers. */
  acked = 0;
  /** When the view arrived, milliseconds of `performance.now()`. */
  receivedAt = 0;
  /** How many states the server has skipped in all, because this client was slow. */
  skipped = 0;
  /** @type {Outcome | null} Of the latest round; null again when another one begins. */
  outcome = null;
  /** @type {string | null} Why the room is over for you; null while it is not. */
  closed = null;
  /** Does play stand still, because the server cannot keep what happens? It goes on by itself. */
  isPaused = false;
  /** With `vinom dev`: the lines of the game at which it failed. */
  fault = "";

  #client;
  #resume = "";
  /** @type {Map<number, {action: Json, tick: number, resolve: () => void, reject: (error: VinomError) => void}>} */
  #actions = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #backAlarm;
  /** @type {Map<number, Json>} Acknowledged views by version: the bases of patches. */
  #bases = new Map();
  /** @type {PackedViews | null} Reads packed views. */
  #views = null;
  /** @type {Map<number, Packed>} Those of the latest versions, which others may be made from. */
  #packed = new Map();
  /** The newest state, as it came. */
  #newest = {};
  #ackAt = 0;
  // Numbers up to #heard have been received. Announcements overtake events, which wait for
  // their state; numbers received since the last state are therefore kept one by one.
  #heard = 0;
  /** @type {Set<number>} */
  #since = new Set();
  #latest = 0;
  /** The number up to which the answer to `join` or "reconnect" described the room. */
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

  /** Is it a match, played in a game server? It has no host, and nobody can join it. */
  get isMatch() {
    return /^[a-z2-7]{26}$/.test(this.roomId);
  }

  /** May you start, add bots, remove players, and play again? */
  get isHost() {
    return this.seat !== null && this.seat === this.host;
  }

  /** How long the newest state was, as it came: bytes of JSON, without the message around it. */
  get bytes() {
    return JSON.stringify(this.#newest).length;
  }

  /**
   * Play. Resolves when the action has been applied, and fails with `VinomError` if not:
   * code "rejected" means that the rules forbid it, and `details.reason` says why. If the
   * connection is lost the action may be sent twice, but is applied once. While 64 wait
   * for an answer it fails with "rate_limited".
   *
   * @param {Json} action the game's own
   * @param {number} [tick] the tick that you were shown, which may lie between two states; that of the view if it is missing
   * @returns {Promise<void>}
   */
  act(action, tick = this.tick) {
    if (this.closed !== null || this.#client.isOver) {
      return Promise.reject(new VinomError("closed", "this room is closed"));
    }
    if (this.#actions.size >= MOST_ACTIONS) {
      const words = `${MOST_ACTIONS} of your actions wait for an answer; wait for a state`;
      return Promise.reject(new VinomError("rate_limited", words));
    }
    const id = (this.acted = this.#client._nextAction());
    tick = Math.max(0, Math.round(tick));
    /** @type {Promise<void>} */
    const done = new Promise((resolve, reject) => {
      this.#actions.set(id, { action, tick, resolve, reject });
    });
    // A caller who does not await the promise can listen for "refused" instead.
    done.catch(() => {});
    this.#sendAction(id, action, tick);
    return done;
  }

  /** Give up the seat for good. */
  async leave() {
    try {
      await this.#ask("leave_room");
    } finally {
      this._closed("left", null);
    }
  }

  /** Begin with the players who are here. Host only. */
  start() {
    return this.#ask("start_room");
  }

  /**
   * Let the game's bot take a free seat. Host only.
   *
   * @param {string} [level] at which it plays; the game's first without it
   */
  addBot(level) {
    return this.#ask("add_bot", level ? { level } : {});
  }

  /**
   * Remove the player or bot in a seat. Host only.
   *
   * @param {number} seat
   */
  kick(seat) {
    return this.#ask("kick", { seat });
  }

  /**
   * Choose the team of a seat for the next start. Host only.
   *
   * @param {number} seat
   * @param {number | null} team counts from 0; null lets the server choose
   */
  setTeam(seat, team) {
    return this.#ask("set_team", { seat, team });
  }

  /** Play again, when a round is over. Host only. */
  rematch() {
    return this.#ask("rematch");
  }

  /**
   * Add a listener; the function returned removes it. The first listener of "event" gets
   * the events that arrived before it.
   *
   * @template {keyof RoomEvents} Name
   * @param {Name} name
   * @param {(value: RoomEvents[Name]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const off = super.on(name, listener);
    // They arrived with the answer to `join`, before a listener could be added.
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
   * @param {number} tick
   */
  #sendAction(id, action, tick) {
    /** @type {Record<string, Json>} */
    const message = { type: "action", id, room_id: this.roomId, data: action };
    if (tick) message.tick = tick;
    if (this.#packed.has(this.version)) message.seen = this.version;
    else if (this.#bases.size) {
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
    this.#client._arrived();
    this.game = facts.game;
    this.#resume = facts.resume;
    this.seat = facts.seat;
    this.state = facts.state;
    this.host = facts.host;
    this.players = facts.players;
    this.former = facts.former ?? [];
    this.seats = facts.seats ?? null;
    this.options = facts.options;
    this.setup = facts.setup;
    this.closed = null;
    this.isPaused = false;
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
        this.#sendAction(id, one.action, one.tick);
      }
    }
    this.emit("change", this);
    if (isBack) this.emit("back", this);
  }

  /** The client has reconnected. */
  _comeBack() {
    clearTimeout(this.#backAlarm);
    // The next connection calls this again.
    if (this.closed !== null || this.#client.status !== "online") return;
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
        return; // The next connection tries again.
      case "timeout":
        // Have we our place now or not? On another connection we get it in any case.
        this.#client._drop();
        return;
      case "rate_limited":
      case "busy": // Its node died a moment ago; another one takes it over.
      case "unavailable":
      case "store_unavailable":
        clearTimeout(this.#backAlarm);
        this.#backAlarm = setTimeout(() => this._comeBack(), this.#client._pauseAfter(error));
        return;
      case "bad_resume":
        // The last answer, with its new token, was lost with the connection. The player key
        // still identifies us.
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
    const asked = { game: this.game, room_id: this.roomId, create: false };
    if (this.seat === null) asked.spectate = true;
    this.#client
      .request("join_room", asked, (facts) => {
        if (facts.version < had) {
          // Our room is gone, and somebody has made a new one with its id.
          this.#client.request("leave_room", { room_id: this.roomId }).catch(() => {});
          this._closed("lost", null);
        } else {
          this._joined(facts, true);
        }
      })
      .catch((error) => this.#cannotComeBack(error));
  }

  /**
   * @param {string} type
   * @param {any} data
   */
  _pushed(type, data) {
    if (type === "game_state") {
      this.#newState(data);
      return;
    }
    if (typeof data.number === "number") {
      if (data.number <= this.#heard || this.#since.has(data.number)) return;
      this.#since.add(data.number);
      this.#latest = Math.max(this.#latest, data.number);
    }
    // Changes up to #known are already part of what `_joined` received.
    const isPast = data.number <= this.#known;
    if ("host" in data && !isPast) this.host = data.host;
    switch (type) {
      case "client_joined":
        if (!isPast) this.#seated(data, data.how === "bot" ? "bot" : "here");
        break;
      case "client_left":
        if (isPast) break;
        if (data.reason === "lost") {
          this.#seated(data, "away");
          break;
        }
        this.players = this.players.filter((one) => one.seat !== data.seat);
        if (data.reason === "vacated" && data.seat === this.seat) this.seat = null;
        if (data.seat !== null && this.state !== "gathering") {
          const { seat, name, player_id } = data;
          this.former = [...this.former.filter((one) => one.seat !== seat), { seat, name, player_id, state: "left" }];
        }
        this.emit("left", { seat: data.seat, name: data.name, reason: data.reason });
        break;
      case "team_set":
        if (isPast) break;
        this.players = this.players.map((one) => (one.seat === data.seat ? { ...one, team: data.team } : one));
        break;
      case "room_started":
        if (!isPast) {
          this.seat = data.seat;
          this.players = data.players;
          this.former = [];
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
      case "round_began":
        if (!isPast) this.state = "playing";
        this.outcome = null;
        break;
      case "room_paused":
        this.isPaused = data.is_paused;
        break;
      case "kicked":
        this._closed("kicked", null);
        return;
      case "room_closed":
        this.fault = data.fault ?? "";
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
  #seated({ seat, name, player_id, team }, state) {
    if (seat === null) return;
    team ??= this.players.find((one) => one.seat === seat && one.player_id === player_id)?.team;
    const others = this.players.filter((one) => one.seat !== seat);
    if (state !== "away") this.former = this.former.filter((one) => one.seat !== seat);
    this.players = [...others, { seat, name, player_id, state, team }];
    this.players.sort((one, other) => one.seat - other.seat);
  }

  /** @param {any} data */
  #newState(data) {
    let view = data.view;
    if ("packed" in data) {
      view = this.#unpack(data);
      if (view === undefined) return;
    } else if ("patch" in data) {
      if (!this.#bases.has(data.base)) return;
      view = mergePatch(this.#bases.get(data.base), data.patch);
      for (const older of this.#bases.keys()) {
        if (older < data.base) this.#bases.delete(older);
      }
    }
    this.#newest = data;
    this.view = view;
    this.version = data.version;
    this.time = data.time;
    this.tick = data.tick ?? 0;
    this.receivedAt = performance.now();
    this.skipped += data.skipped ?? 0;
    if (this.state === "gathering") this.state = "playing";
    const acked = (this.acked = this.seat === null ? 0 : (data.ack[this.seat] ?? 0));
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
    // A state comes with all events up to its own time.
    this.#heard = this.#latest;
    this.#since.clear();
    this.emit("state", this);
    for (const event of events) {
      if (this.isHeard("event")) this.emit("event", event);
      else if (this.#waiting.push(event) > MOST_WAITING) this.#waiting.shift();
    }
  }

  /**
   * Read a packed view.
   *
   * @param {any} data
   * @returns {Json | undefined} undefined if its base is not here
   */
  #unpack(data) {
    if ("layout" in data) {
      this.#views = new PackedViews(data.layout);
      this.#packed.clear();
      this.#bases.clear();
    }
    const before = this.#packed.get(data.base) ?? null;
    if (this.#views === null || (data.base && !before)) return undefined;
    const numbers = Uint8Array.from(atob(data.packed), (one) => one.charCodeAt(0));
    const packed = this.#views.read(numbers, data.others ?? {}, before);
    const view = this.#views.plain(packed);
    this.#packed.set(data.version, packed);
    for (const older of this.#packed.keys()) {
      if (older < data.version - OLDEST_BASE) this.#packed.delete(older);
    }
    return view;
  }

  /**
   * Acknowledge a state, so that the server can send patches to it.
   *
   * @param {any} data
   */
  #ackIfWorth(data) {
    const now = performance.now();
    if (now < this.#ackAt) return;
    this.#ackAt = now + ACK_PAUSE;
    if (!("packed" in data)) {
      if (JSON.stringify(this.view).length < WORTH_PATCHING) return;
      this.#bases.set(data.version, this.view);
    }
    const held = { seen: data.version, room_id: this.roomId, packed: true };
    this.#client._send({ type: "ack", data: held });
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
    // A newer connection of this player has the seat: the match goes on.
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
 * Connect to a server; resolves once it has accepted the client, retrying until then.
 *
 * @param {Options} [options]
 * @returns {Promise<Client>}
 */
export async function connect(options = {}) {
  const client = new Client(options);
  await client.ready;
  return client;
}
