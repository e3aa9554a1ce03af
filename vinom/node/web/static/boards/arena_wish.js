// @ts-check
/** The direction that a player of the arena wants, and when to send it. */

/** The shortest time between two directions sent, milliseconds: a tick takes 50. */
const PAUSE = 45;

export class Wish {
  /** @type {[number, number]} */
  #way = [0, 0];
  /** The direction sent last; at first every player stands. */
  #sent = "0,0";
  #sentAt = -Infinity;

  /** @param {number} x @param {number} y from -1 to 1 */
  want(x, y) {
    const most = Math.max(1, Math.hypot(x, y));
    this.#way = [Math.round((100 * x) / most), Math.round((100 * y) / most)];
  }

  /** The server has forgotten our direction: a player who was away, or begins a round, stands. */
  forgotten() {
    this.#sent = "";
  }

  /** Is there a direction to send? */
  get isUnsent() {
    return String(this.#way) !== this.#sent;
  }

  /**
   * Take the direction to send now, if any; it counts as sent.
   *
   * @param {number} now milliseconds
   * @returns {[number, number] | null}
   */
  take(now) {
    if (!this.isUnsent || now - this.#sentAt < PAUSE) return null;
    this.#sent = String(this.#way);
    this.#sentAt = now;
    return this.#way;
  }
}
