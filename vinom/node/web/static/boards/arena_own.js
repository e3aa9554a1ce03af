// @ts-check
/**
 * The player's own figure in the arena, drawn where the server will have it when the
 * current input arrives there: the newest state, with the inputs not yet acknowledged
 * applied again by the same rules.
 */

/** The largest component of a direction. */
const FULL = 100;
/** How far to predict beyond the newest state, ticks; after that the figure stands still. */
const MOST_AHEAD = 12;
/** The half-life of a correction, milliseconds. */
const HALVED = 70;
const KEPT = 40;

/**
 * @typedef {{x: number, y: number, vx: number, vy: number, dash: number, rest: number, toX: number, toY: number}} Body
 * @typedef {{type: string, x?: number, y?: number, n: number}} Action
 */

/**
 * The distance of one tick.
 *
 * @param {number} x @param {number} y @param {number} speed
 * @returns {[number, number]}
 */
function velocity(x, y, speed) {
  const scale = Math.max(FULL, Math.ceil(Math.sqrt(x * x + y * y)));
  return [Math.trunc((speed * x) / scale), Math.trunc((speed * y) / scale)];
}

/** Apply an action. @param {any} field @param {Body} body @param {Action} action @returns {Body} */
export function heed(field, body, action) {
  if (action.type === "move") return { ...body, toX: action.x ?? 0, toY: action.y ?? 0 };
  if (action.type !== "dash" || body.rest) return body;
  return { ...body, dash: field.dash_ticks, rest: field.rest_ticks };
}

/** Move by one tick; walls stop one axis only. @param {any} field @param {Body} body @returns {Body} */
export function move(field, body) {
  const half = field.size / 2;
  const [dx, dy] = velocity(body.toX, body.toY, body.dash ? field.dash_speed : field.speed);
  let { x, y } = body;
  const isIn = (/** @type {number[]} */ [left, top, width, height]) =>
    left - half < x && x < left + width + half && top - half < y && y < top + height + half;
  if (dx) {
    x = Math.min(Math.max(x + dx, half), field.width - half);
    for (const wall of field.walls) if (isIn(wall)) x = dx > 0 ? wall[0] - half : wall[0] + wall[2] + half;
  }
  if (dy) {
    y = Math.min(Math.max(y + dy, half), field.height - half);
    for (const wall of field.walls) if (isIn(wall)) y = dy > 0 ? wall[1] - half : wall[1] + wall[3] + half;
  }
  const { dash, rest, toX, toY } = body;
  return { x, y, vx: x - body.x, vy: y - body.y, dash: Math.max(0, dash - 1), rest: Math.max(0, rest - 1), toX, toY };
}

export class Own {
  /** Our figure in the newest state. @type {{tick: number, player: any[], body: Body} | null} */
  #newest = null;
  /** Actions not yet acknowledged, and the tick in which each should take effect. @type {{action: Action, at: number}[]} */
  #unanswered = [];
  /** For each of the latest states, when tick 0 would have arrived with its delay. @type {number[]} */
  #starts = [];
  /** How many ticks the drawing is ahead of the newest state: one round trip. */
  #lead = 1;
  #isMeasured = false;
  /** The correction not yet applied, at a moment. */
  #off = { x: 0, y: 0, when: 0 };

  /** @param {any} field */
  constructor(field) {
    this.field = field;
    this.step = 1000 / field.tick_hz;
  }

  /** The player acted. @param {Action} action @param {number} now milliseconds */
  acted(action, now) {
    this.#smoothly(now, () => this.#unanswered.push({ action, at: Math.floor(this.#tickAt(now)) + 1 }));
  }

  /**
   * A state arrived.
   *
   * @param {number} tick @param {any[] | null} player @param {boolean} isPlaying can players move?
   * @param {number} now milliseconds
   */
  update(tick, player, isPlaying, now) {
    if (this.#newest && tick === this.#newest.tick) return;
    this.#smoothly(now, () => {
      this.#take(tick, player, now);
      if (isPlaying || !this.#newest) return;
      this.#unanswered = [];
      this.#newest.body = { ...this.#newest.body, toX: 0, toY: 0 };
    });
  }

  /** @param {number} tick @param {any[] | null} player @param {number} now */
  #take(tick, player, now) {
    const before = this.#newest;
    if (!player || (before && tick < before.tick)) {
      this.#newest = null;
      this.#unanswered = [];
      this.#starts = [];
    }
    if (!player) return;
    this.#starts = [...this.#starts, now - tick * this.step].slice(-KEPT);
    const [x, y, vx, vy, , dash, rest, , n] = player;
    const answered = this.#unanswered.findIndex(({ action }) => action.n === n);
    let known = before && before.player[8] === n ? before.body : null;
    if (answered >= 0) {
      const done = this.#unanswered.splice(0, answered + 1);
      if (before) known = done.reduce((body, one) => heed(this.field, body, one.action), before.body);
      this.#measure(done[answered].at, before ? before.tick + 1 : tick, tick);
    }
    // An action not acknowledged for a second is lost.
    this.#unanswered = this.#unanswered.filter((one) => one.at > tick - this.field.tick_hz);
    // States do not contain the direction. It is the one we sent, unless the figure moved differently.
    const body = { x, y, vx, vy, dash, rest, toX: 0, toY: 0 };
    const went = known && before && tick === before.tick + 1 ? move(this.field, known) : null;
    if (known && (!went || (went.x === x && went.y === y))) {
      body.toX = known.toX;
      body.toY = known.toY;
    } else {
      const speed = Math.max(this.field.speed, Math.abs(vx), Math.abs(vy));
      body.toX = Math.round((FULL * vx) / speed);
      body.toY = Math.round((FULL * vy) / speed);
    }
    this.#newest = { tick, player, body };
  }

  /**
   * Learn the round trip: an action expected in one tick took effect between two others.
   *
   * @param {number} expected @param {number} first @param {number} last
   */
  #measure(expected, first, last) {
    const late = Math.min(Math.max(expected, first), last) - expected;
    this.#lead = Math.min(MOST_AHEAD, Math.max(0, this.#lead + (this.#isMeasured ? late / 4 : late)));
    this.#isMeasured = true;
  }

  /** @param {number} now */
  #tickAt(now) {
    if (!this.#newest) return 0;
    const tick = (now - Math.min(...this.#starts)) / this.step + this.#lead;
    return Math.min(tick, this.#newest.tick + MOST_AHEAD);
  }

  /** Where the figure is by the rules, without corrections. @param {number} now */
  #right(now) {
    if (!this.#newest) return null;
    const until = this.#tickAt(now);
    let { tick, body } = this.#newest;
    let was = body;
    let done = 0;
    while (tick < until) {
      tick += 1;
      was = body;
      for (; this.#unanswered[done]?.at <= tick; done += 1) body = heed(this.field, body, this.#unanswered[done].action);
      body = move(this.field, body);
    }
    const part = 1 - (tick - until);
    return { x: was.x + (body.x - was.x) * part, y: was.y + (body.y - was.y) * part, body };
  }

  /** Apply a change, but keep the drawn position; the difference fades. @param {number} now @param {() => void} change */
  #smoothly(now, change) {
    const before = this.at(now);
    change();
    const right = this.#right(now);
    this.#off = { x: 0, y: 0, when: now };
    if (!before || !right) return;
    const x = before.x - right.x;
    const y = before.y - right.y;
    // Don't smooth teleports, such as the start of a round.
    if (Math.hypot(x, y) < 3 * this.field.size) this.#off = { x, y, when: now };
  }

  /**
   * The position to draw, and the player as states have it.
   *
   * @param {number} now
   * @returns {{x: number, y: number, player: any[]} | null}
   */
  at(now) {
    const right = this.#right(now);
    if (!right || !this.#newest) return null;
    const left = 0.5 ** ((now - this.#off.when) / HALVED);
    const { vx, vy, dash, rest } = right.body;
    const [, , , , points, , , safe, n] = this.#newest.player;
    const x = right.x + this.#off.x * left;
    const y = right.y + this.#off.y * left;
    return { x, y, player: [x, y, vx, vy, points, dash, rest, safe, n] };
  }
}
