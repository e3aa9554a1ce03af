// @ts-check
/**
 * Motion between the states of a game with ticks: others a little late and smooth, your
 * own at once. See docs/labs. Times are milliseconds of `performance.now()`; a moment is
 * a number of ticks with a fraction. `vinom.client.motion` is the same in Python.
 */

/** How many of the latest states are looked at. */
const KEPT = 40;
/** How much faster or slower than time the picture may run to reach its delay. */
const HASTE = 0.1;
/** How far to continue a movement beyond the newest state, ticks. */
const BEYOND = 2;
/** By which part of its error the round trip is corrected with each answer. */
const RATE = 1 / 8;

/**
 * Mix two values: numbers in proportion, lists and objects part by part. What does not
 * mix, such as a text, is the later one.
 *
 * @param {any} before
 * @param {any} after
 * @param {number} part 0 is `before`, 1 is `after`; above 1 the change goes on
 * @returns {any}
 */
export function mix(before, after, part) {
  if (typeof after === "number") return typeof before === "number" ? before + (after - before) * part : after;
  if (after === null || before === null || typeof after !== "object" || typeof before !== "object") return after;
  if (Array.isArray(after)) return after.map((one, at) => mix(before[at], one, part));
  return Object.fromEntries(Object.keys(after).map((key) => [key, mix(before[key], after[key], part)]));
}

/** When to draw which tick, learnt from when states arrive. */
export class TickClock {
  /** For each of the latest states, when tick 0 would have arrived with its delay. @type {number[]} */
  #starts = [];
  #newest = -1;
  /** When tick 0 is drawn. */
  #origin = 0;
  #addedAt = 0;

  /**
   * @param {number} hz ticks per second
   * @param {{least?: number, most?: number}} [bounds] of the drawing delay, milliseconds. Between them it is the
   *   largest delay of the latest states, plus one and a half ticks, so that one state can be lost.
   */
  constructor(hz, { least = 100, most = 250 } = {}) {
    /** Milliseconds per tick. */
    this.step = 1000 / hz;
    this.least = least;
    this.most = most;
  }

  /**
   * A state arrived.
   *
   * @param {number} tick
   * @param {number} now
   */
  arrived(tick, now) {
    if (tick === this.#newest) return;
    // Another match counts from 0 again.
    if (tick < this.#newest) this.#starts = [];
    this.#newest = tick;
    this.#starts.push(now - tick * this.step);
    if (this.#starts.length > KEPT) this.#starts.shift();
    const earliest = Math.min(...this.#starts);
    const late = Math.max(...this.#starts) - earliest + 1.5 * this.step;
    const origin = earliest + Math.min(this.most, Math.max(this.least, late));
    const most = this.#starts.length > 1 ? HASTE * (now - this.#addedAt) : Infinity;
    this.#origin += Math.max(-most, Math.min(most, origin - this.#origin));
    this.#addedAt = now;
  }

  /**
   * The moment to draw: nearly always there is a state before it, and one after.
   *
   * @param {number} now
   */
  tickAt(now) {
    return (now - this.#origin) / this.step;
  }

  /**
   * The moment whose state would arrive now, had it the shortest delay.
   *
   * @param {number} now
   */
  newestAt(now) {
    return this.#starts.length ? (now - Math.min(...this.#starts)) / this.step : 0;
  }
}

/**
 * What others did, between two states.
 *
 * @template State
 */
export class Interpolator {
  /** @type {{tick: number, state: State}[]} */
  #states = [];

  /**
   * @param {TickClock} clock
   * @param {(before: State, after: State, part: number, ticks: number) => State} [mixer] mixes two states that are
   *   so many ticks apart, such as `mix`; `part` is above 1 where the movement goes on beyond the newest
   */
  constructor(clock, mixer = mix) {
    this.clock = clock;
    this.mixer = mixer;
  }

  /**
   * A state arrived, which the clock knows.
   *
   * @param {number} tick
   * @param {State} state
   */
  add(tick, state) {
    const newest = this.#states.at(-1);
    if (newest && tick < newest.tick) this.#states = [];
    if (newest && tick === newest.tick) this.#states.pop();
    this.#states.push({ tick, state });
    if (this.#states.length > KEPT) this.#states.shift();
  }

  /**
   * What to draw; null before the first state.
   *
   * @param {number} now
   * @returns {State | null}
   */
  at(now) {
    const states = this.#states;
    if (!states.length) return null;
    const tick = Math.min(this.clock.tickAt(now), states[states.length - 1].tick + BEYOND);
    let next = states.length - 1;
    while (next > 0 && states[next - 1].tick > tick) next -= 1;
    const after = states[next];
    const before = states[Math.max(0, next - 1)];
    const span = after.tick - before.tick;
    return this.mixer(before.state, after.state, span ? Math.max(0, (tick - before.tick) / span) : 1, span);
  }
}

/**
 * What you do, drawn where the server will have it when your input of this moment arrives
 * there: the newest state, with the inputs that it does not answer applied again.
 *
 * @template {Record<string, any>} Body
 * @template Input
 */
export class Predictor {
  /** Your body in the newest state. @type {{tick: number, body: Body} | null} */
  #newest = null;
  /** Inputs without an answer, and the tick in which each should take effect. @type {{input: Input, number: number, at: number, lead: number}[]} */
  #waiting = [];
  #acked = 0;
  /** How many ticks what is drawn is ahead of the newest state: one round trip. */
  #lead = 1;
  #isMeasured = false;
  /** The correction that is not shown yet, at a moment. @type {number[]} */
  #off = [];
  #offAt = 0;

  /**
   * @param {(body: Body) => Body} step moves a body by one tick, as the game does
   * @param {(body: Body, input: Input) => Body} apply what an input changes
   * @param {TickClock} clock
   * @param {{fields?: string[], far?: number, most?: number, half?: number}} [options] `fields` of the body are
   *   corrected smoothly, unless it was moved `far`; what is drawn is at most so many ticks ahead; the half-life of
   *   a correction, milliseconds
   */
  constructor(step, apply, clock, { fields = ["x", "y"], far = Infinity, most = 12, half = 70 } = {}) {
    this.step = step;
    this.apply = apply;
    this.clock = clock;
    this.fields = fields;
    this.far = far;
    this.most = most;
    this.half = half;
  }

  /**
   * You acted.
   *
   * @param {Input} input
   * @param {number} number `room.acted`
   * @param {number} now
   */
  act(input, number, now) {
    this.#smoothly(now, () => this.#waiting.push({ input, number, at: Math.floor(this.tickAt(now)) + 1, lead: this.#lead }));
  }

  /**
   * A state arrived, which the clock knows.
   *
   * @param {number} tick
   * @param {Body | null} body yours; null if you have none
   * @param {number} acked `room.acked`
   * @param {number} now
   */
  confirm(tick, body, acked, now) {
    this.#smoothly(now, () => {
      const before = this.#newest;
      if (!body || (before && tick < before.tick)) this.#waiting = [];
      this.#newest = body && { tick, body };
      const done = this.#waiting.filter((one) => one.number <= acked);
      if (done.length && acked > this.#acked) {
        // The last of them took effect between the two states.
        const { at, lead } = done[done.length - 1];
        const late = Math.max(Math.min(at, tick), before ? before.tick + 1 : tick) - at;
        // Inputs on their way still count with the lead that they were sent with.
        const more = lead + late - this.#lead;
        this.#lead = Math.min(this.most, Math.max(0, this.#lead + (this.#isMeasured ? RATE * more : more)));
        this.#isMeasured = true;
      }
      this.#acked = acked;
      // An input without an answer for a second is lost.
      const oldest = tick - 1000 / this.clock.step;
      this.#waiting = this.#waiting.filter((one) => one.number > acked && one.at > oldest);
    });
  }

  /**
   * The moment that is drawn.
   *
   * @param {number} now
   */
  tickAt(now) {
    if (!this.#newest) return 0;
    const { tick } = this.#newest;
    return Math.min(Math.max(tick, this.clock.newestAt(now) + this.#lead), tick + this.most);
  }

  /**
   * Your body to draw; null if you have none.
   *
   * @param {number} now
   * @returns {Body | null}
   */
  at(now) {
    const body = this.#right(now);
    if (!body) return null;
    const left = 0.5 ** ((now - this.#offAt) / this.half);
    const shown = /** @type {any} */ ({ ...body });
    this.#off.forEach((off, at) => (shown[this.fields[at]] += off * left));
    return shown;
  }

  /** Your body by the rules, without corrections. @param {number} now @returns {Body | null} */
  #right(now) {
    if (!this.#newest) return null;
    const until = this.tickAt(now);
    let { tick, body } = this.#newest;
    let before = body;
    let done = 0;
    while (tick < until) {
      tick += 1;
      before = body;
      for (; done < this.#waiting.length && this.#waiting[done].at <= tick; done += 1) {
        body = this.apply(body, this.#waiting[done].input);
      }
      body = this.step(body);
    }
    const shown = /** @type {any} */ ({ ...body });
    for (const key of this.fields) shown[key] = mix(before[key], body[key], 1 - (tick - until));
    return shown;
  }

  /** Change what is right, but not what is drawn: the difference fades. @param {number} now @param {() => void} change */
  #smoothly(now, change) {
    const before = this.at(now);
    change();
    const after = this.#right(now);
    const off = before && after ? this.fields.map((key) => before[key] - after[key]) : [];
    this.#off = Math.hypot(...off) < this.far ? off : [];
    this.#offAt = now;
  }
}
