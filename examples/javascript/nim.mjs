// Nim: two players take 1 to 3 sticks in turn from one pile; the player who takes the last one wins.
//
// A game is pure: it has no clock and no network. `act` returns the next state, or throws Rejected.

export class Rejected extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const nim = {
  /** The first state. */
  start: (seats, options) => ({ sticks: options.sticks ?? 21, turn: 0, winner: null, seats }),

  /** The part of the view that never changes. */
  setup: (state) => ({ most: 3, seats: state.seats }),

  /** What everybody sees. */
  view: (state) => ({ sticks: state.sticks, turn: state.turn, winner: state.winner }),

  /** One player's action. */
  act(state, seat, action) {
    const taken = action?.count;
    if (action?.type !== "take" || !Number.isInteger(taken)) {
      throw new Rejected("bad_action", 'an action is {"type": "take", "count": 1 to 3}');
    }
    if (state.winner !== null) throw new Rejected("over", "the game is over");
    if (state.turn !== seat) throw new Rejected("not_your_turn", "it is not your turn");
    if (taken < 1 || taken > 3 || taken > state.sticks) {
      throw new Rejected("not_allowed", `take 1 to ${Math.min(3, state.sticks)} sticks`);
    }
    const sticks = state.sticks - taken;
    return { ...state, sticks, turn: 1 - seat, winner: sticks === 0 ? seat : null };
  },

  /** How it ended; null while it is being played. */
  outcome(state) {
    if (state.winner === null) return null;
    const scores = [0, 0];
    scores[state.winner] = 1;
    return { round: 1, places: [[state.winner], [1 - state.winner]], scores };
  },

  /** A player has left for good: the other one wins. */
  left: (state, seat) => (state.winner === null ? { ...state, winner: 1 - seat } : state),
};
