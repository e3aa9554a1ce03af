import { apply, step as move } from "./prediction.js";

/** One tick of labs.py, as far as a page predicts it. */
export function step({ paddles }, inputs) {
  const after = [...paddles];
  for (const { seat, action } of inputs) {
    if (action.type === "move") after[seat] = apply(after[seat], action);
  }
  return { paddles: after.map(move) };
}
