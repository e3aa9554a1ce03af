// @ts-check
/** Which way one wants to go in the arena, and when that is to be told. */

/** The least time between two wishes, milliseconds: a step takes 50. */
const PAUSE = 45;

export class Wish {
  /** @type {[number, number]} */
  #way = [0, 0];
  /** What the node has heard of us; at first everybody stands. */
  #told = "0,0";
  #toldAt = -Infinity;

  /** @param {number} x @param {number} y from -1 to 1 */
  want(x, y) {
    const most = Math.max(1, Math.hypot(x, y));
    this.#way = [Math.round((100 * x) / most), Math.round((100 * y) / most)];
  }

  /** The node has us go otherwise by now: who is away, or begins a round, stands. */
  forgotten() {
    this.#told = "";
  }

  /** Is there something that was not told? */
  get isUntold() {
    return String(this.#way) !== this.#told;
  }

  /**
   * What is to be told now, and counts as told.
   *
   * @param {number} now milliseconds
   * @returns {[number, number] | null}
   */
  take(now) {
    if (!this.isUntold || now - this.#toldAt < PAUSE) return null;
    this.#told = String(this.#way);
    this.#toldAt = now;
    return this.#way;
  }
}
