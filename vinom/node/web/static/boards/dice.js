// @ts-check
/** Dice: choose which dice of each roll to keep, and stop in time. */

import { button, countdown, h, isCalm, swap } from "../ui.js";
import { dieFace, rematchButton, showTurn } from "./parts.js";

const STRAIGHTS = /** @type {[number[], number][]} */ ([
  [[1, 2, 3, 4, 5, 6], 1500],
  [[1, 2, 3, 4, 5], 500],
  [[2, 3, 4, 5, 6], 750],
]);

/**
 * Count a set of dice: its points, and the faces that score nothing in it.
 *
 * @param {number[]} dice
 */
function count(dice) {
  const counts = [0, 0, 0, 0, 0, 0, 0];
  for (const face of dice) counts[face] += 1;
  let points = 0;
  for (const [faces, worth] of STRAIGHTS) {
    if (faces.every((face) => counts[face])) {
      points = worth;
      for (const face of faces) counts[face] -= 1;
      break;
    }
  }
  const idle = [];
  for (let face = 1; face <= 6; face += 1) {
    const found = counts[face];
    const alone = face === 1 ? 100 : face === 5 ? 50 : 0;
    if (found >= 3) points += (face === 1 ? 1000 : face * 100) * 2 ** (found - 3);
    else if (found && !alone) idle.push(face);
    else points += alone * found;
  }
  return { points, idle };
}

/**
 * The points for a set of dice; 0 if one of them does not score. Only a preview: the
 * server counts itself.
 *
 * @param {number[]} dice
 */
export function worthOf(dice) {
  const { points, idle } = count(dice);
  return idle.length ? 0 : points;
}

/**
 * Say which of the chosen dice score nothing.
 *
 * @param {number[]} dice
 */
export function idleWords(dice) {
  const { idle } = count(dice);
  const faces = idle.length < 2 ? idle.join("") : `${idle.slice(0, -1).join(", ")} and ${idle.at(-1)}`;
  return `${faces} ${idle.length === 1 ? "scores" : "score"} nothing here. Choose only dice that score.`;
}

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const status = h("p.turn", { role: "status" });
  const clock = countdown();
  const scores = h("div.scores");
  const felt = h("div.felt", { role: "group", "aria-label": "Dice" });
  const aside = h("div.kept");
  const sum = h("p.sum");
  const buttons = h("div.row.centre");
  /** Positions of the chosen dice. @type {Set<number>} */
  const chosen = new Set();
  let shownRoll = "";
  let isRolling = false;

  /** @param {number} at */
  function choose(at) {
    if (!chosen.delete(at)) chosen.add(at);
    draw();
  }

  /** @param {boolean} ends */
  function setAside(ends) {
    const dice = [...chosen].sort();
    chosen.clear();
    context.act({ type: "set_aside", dice, end_turn: ends });
  }

  function draw() {
    const { phase, dice, aside: kept, points, turn, scores: have } = room.view;
    const mine = turn !== null && turn === room.seat;
    const picking = mine && dice.length > 0;
    const roll = `${turn}${dice}`;
    if (roll !== shownRoll) chosen.clear();
    const isNew = roll !== shownRoll && dice.length > 0;
    shownRoll = roll;
    const isMoving = isNew && isRolling && !isCalm();
    isRolling = false;
    const faces = dice.map((/** @type {number} */ face, /** @type {number} */ at) =>
      h(
        "button",
        {
          type: "button",
          class: `die${isMoving ? " rolling" : ""}`,
          disabled: !picking,
          "aria-pressed": String(chosen.has(at)),
          "aria-label": `Die ${at + 1}: ${face}`,
          onclick: () => choose(at),
          data: { key: `die ${at}` },
        },
        dieFace(face),
      ),
    );
    const empty = [
      h("p.unseen", null, "No dice on the table."),
      [...Array(phase === "over" ? 0 : 6 - kept.length).keys()].map(() => h("span.die.blank", { "aria-hidden": "true" })),
    ];
    swap(felt, faces.length ? faces : empty);
    const small = kept.map((/** @type {number} */ face) => h("span.die.small-die", null, dieFace(face)));
    swap(
      aside,
      kept.length > 0 && h("span.unseen", null, `Set aside: ${kept.join(", ")}`),
      kept.length > 0 && h("span.small.muted", { "aria-hidden": "true" }, "Set aside"),
      small.map((/** @type {any} */ one) => (one.setAttribute("aria-hidden", "true"), one)),
    );
    const picked = worthOf([...chosen].map((at) => dice[at]));
    const isWrong = chosen.size > 0 && picked === 0;
    const total = points + picked;
    sum.textContent = phase === "over" ? "" : isWrong
      ? idleWords([...chosen].map((at) => dice[at]))
      : `This turn: ${total.toLocaleString("en")} points`;
    sum.classList.toggle("wrong", isWrong);
    const target = room.setup?.target ?? 3000;
    swap(
      scores,
      [0, 1].map((seat) =>
        h(
          "div.score",
          { class: `score${turn === seat ? " active" : ""}` },
          h("span.score-name", null, context.nameOf(seat)),
          h("span.score-points", null, have[seat].toLocaleString("en")),
          h("progress", { max: target, value: Math.min(have[seat], target), "aria-label": `${context.nameOf(seat)}: ${have[seat]} of ${target}` }),
        ),
      ),
    );
    swap(
      buttons,
      mine &&
        !picking && [
          button("Roll", () => context.act({ type: "roll" }), { class: "primary", data: { key: "roll" } }),
          points > 0 &&
            button(`Bank ${points}`, () => context.act({ type: "end_turn" }), { data: { key: "bank" } }),
        ],
      picking && [
        button("Keep and roll again", () => setAside(false), { class: "primary", disabled: !picked, data: { key: "keep" } }),
        button(picked ? `Keep and bank ${total}` : "Keep and bank", () => setAside(true), { disabled: !picked, data: { key: "keep bank" } }),
      ],
      phase === "over" && room.players.length > 1 && rematchButton(context, room.view.rematch),
    );
    // The button that had the focus is gone: keep the focus on this board.
    if (mine && document.activeElement === document.body) {
      /** @type {any} */ (picking ? felt : buttons).querySelector("button:not(:disabled)")?.focus({ preventScroll: true });
    }
  }

  return {
    element: h("div.board-dice", null, status, clock.element, scores, felt, sum, aside, buttons),
    ends: true,
    isOver: () => room.view.phase === "over",
    hasWon: () => room.view.winner === room.seat,
    stop: clock.stop,
    /** @param {number} seat */
    player: (seat) => room.view.scores[seat].toLocaleString("en"),
    update() {
      const { phase, turn, dice, due, winner } = room.view;
      const mine = turn !== null && turn === room.seat;
      let words = mine ? "Your turn" : `${context.nameOf(turn)}’s turn`;
      if (mine && dice.length) words = "Choose what to keep";
      if (phase === "over") words = winner === room.seat ? "You won!" : `${context.nameOf(winner)} won`;
      showTurn(status, words, mine);
      clock.show(room, due, room.setup?.turn_seconds ?? 30);
      draw();
    },
    /** @param {any} event */
    event({ kind, data }) {
      const who = context.nameOf(data?.seat ?? null);
      if (kind === "rolled") {
        isRolling = true;
        shownRoll = "";
        draw();
        context.note(`${who} rolled ${data.dice.join(" ")}`);
      } else if (kind === "busted") {
        context.note(`${who} lost ${data.lost} points: nothing scored.`);
        felt.classList.add("busted");
        setTimeout(() => felt.classList.remove("busted"), 900);
      } else if (kind === "banked") context.note(`${who} banked ${data.points}. New score: ${data.score}.`);
      else if (kind === "fresh_dice") context.note(`${who} ${who === "You" ? "get" : "gets"} six fresh dice.`);
      else if (kind === "timed_out") context.note(`${who} took too long.`);
      else if (kind === "asked") context.note(`${who} asked for another round.`);
    },
  };
}
