// The arena's rules of movement, as its board predicts them: what `vinom check --twin` compares.

import { bodyOf, heed, move } from "../../vinom/node/web/static/boards/arena_own.js";

export function step(state, inputs, n, field) {
  if (state.phase === "over") return {};
  const own = state.players.map((player) => player && bodyOf(player));
  for (const { seat, action } of inputs) own[seat] &&= heed(field, own[seat], action);
  return {
    players: own.map((body) => {
      if (!body) return null;
      const { x, y, vx, vy, rest, toX, toY } = move(field, body);
      // Points, and what a hit changes, are the server's to say.
      return { 0: x, 1: y, 2: vx, 3: vy, 6: rest, 8: toX, 9: toY };
    }),
  };
}
