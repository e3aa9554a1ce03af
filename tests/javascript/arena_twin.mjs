// The arena's rules of movement, as its board predicts them: what `vinom check --twin` compares.

import { heed, move } from "../../vinom/node/web/static/boards/arena_own.js";

export function step(state, inputs, n, field) {
  if (state.phase === "over") return {};
  const own = state.bodies.map((body) => ({ ...body, toX: body.to_x, toY: body.to_y }));
  for (const { seat, action } of inputs) own[seat] = heed(field, own[seat], action);
  return {
    bodies: own.map((body, seat) => {
      if (!body.here) return {};
      const { x, y, vx, vy, rest, toX, toY } = move(field, body);
      return { x, y, vx, vy, rest, to_x: toX, to_y: toY };
    }),
  };
}
