// @ts-check
/** Old maid: your own cards, and the backs of the other players' cards. */

import { button, countdown, dot, h, plural, svg, swap } from "../ui.js";
import { rematchButton, showTurn } from "./parts.js";

/** @type {Record<string, [string, string]>} */
const SUITS = { C: ["♣", "clubs"], D: ["♦", "diamonds"], H: ["♥", "hearts"], S: ["♠", "spades"] };
/** @type {Record<string, string>} */
const RANKS = { A: "ace", T: "ten", J: "jack", Q: "queen", K: "king" };

/** @param {string} card */
const nameOfCard = (card) => `${RANKS[card[0]] ?? card[0]} of ${SUITS[card[1]][1]}`;

/** @param {string} card @param {boolean} isNew */
function face(card, isNew) {
  const [rank, suit] = card;
  const red = suit === "D" || suit === "H";
  return h(
    "li.playing-card",
    { class: `playing-card${red ? " red" : ""}${isNew ? " new" : ""}` },
    h("span.unseen", null, nameOfCard(card)),
    h("span", { "aria-hidden": "true" }, rank === "T" ? "10" : rank),
    h("span.suit", { "aria-hidden": "true" }, SUITS[suit][0]),
  );
}

const BACK = [
  ["rect", { x: 3, y: 3, width: 34, height: 50, rx: 3 }],
  ["path", { d: "M20 12l9 16-9 16-9-16z" }],
];
const back = () => svg("0 0 40 56", /** @type {any} */ (BACK), "card-back");

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const status = h("p.turn", { role: "status" });
  const clock = countdown();
  const others = h("div.opponents");
  const handTitle = h("h2");
  const hand = h("ul.hand");
  const foot = h("div.row.centre");
  let drawn = "";

  /** @param {number} seat */
  function opponent(seat) {
    const { counts, turn, source, safe, loser, gone } = room.view;
    const mine = turn !== null && turn === room.seat && source === seat;
    const count = counts[seat];
    const cards = [...Array(count).keys()].map((position) =>
      mine
        ? h(
            "button.back",
            {
              type: "button",
              "aria-label": `Draw card ${position + 1} of ${count}`,
              onclick: () => context.act({ type: "draw", position }),
              data: { key: `card ${position}` },
            },
            back(),
          )
        : h("span.back", { "aria-hidden": "true" }, back()),
    );
    let words = plural(count, "card");
    if (gone.includes(seat)) words = "has left";
    else if (seat === loser) words = "has the queen";
    else if (safe.flat().includes(seat)) words = "safe";
    return h(
      "div.opponent",
      { class: `opponent${mine ? " source" : ""}${turn === seat ? " active" : ""}` },
      h("p.row", null, dot(seat), h("strong", null, context.nameOf(seat)), h("span.small.muted", null, words)),
      count > 0 && h("div.fan", mine ? { role: "group", "aria-label": `Cards of ${context.nameOf(seat)}` } : { onclick: () => refuse(seat) }, cards),
    );
  }

  /** @param {number} seat whose cards were pressed */
  function refuse(seat) {
    const { turn, source } = room.view;
    if (turn === null || room.seat === null) return;
    if (turn === room.seat) context.hint(`Draw from ${context.nameOf(source)}, not from ${context.nameOf(seat)}.`);
    else context.hint(`It’s ${context.nameOf(turn)}’s turn.`);
  }

  return {
    element: h("div.board-maid", null, status, clock.element, others, handTitle, hand, foot),
    ends: true,
    isOver: () => room.view.phase === "over",
    hasWon: () => room.view.loser !== room.seat,
    stop: clock.stop,
    /** @param {number} seat */
    player: (seat) => plural((room.view.laid[seat]?.length ?? 0) / 2, "pair"),
    update() {
      const { phase, turn, source, due, counts, hands, loser, safe, rematch } = room.view;
      const mine = turn !== null && turn === room.seat;
      let words = mine ? `Draw a card from ${context.nameOf(source)}` : `${context.nameOf(turn)} draws from ${source === room.seat ? "you" : context.nameOf(source)}`;
      if (phase === "over") words = loser === room.seat ? "You have the queen: you lost" : `${context.nameOf(loser)} lost`;
      showTurn(status, words, mine);
      clock.show(room, due, room.options.turn_seconds ?? 20);
      const seats = counts.map((/** @type {number} */ _, /** @type {number} */ seat) => seat);
      const hadFocus = others.contains(document.activeElement);
      swap(others, seats.filter((/** @type {number} */ seat) => seat !== room.seat).map(opponent));
      if (hadFocus && mine && !others.contains(document.activeElement)) {
        /** @type {any} */ (others.querySelector("button"))?.focus({ preventScroll: true });
      }
      hand.hidden = handTitle.hidden = room.seat === null;
      const isSafe = safe.flat().includes(room.seat);
      const cards = hands[room.seat ?? -1] ?? [];
      handTitle.textContent = isSafe ? "You are safe." : `Your hand: ${plural(cards.length, "card")}`;
      const sorted = [...cards].sort();
      swap(hand, sorted.map((card) => face(card, card === drawn)));
      swap(foot, phase === "over" && room.players.length > 1 && rematchButton(context, rematch));
    },
    /** @param {any} event */
    event({ kind, data }) {
      const who = context.nameOf(data?.seat ?? null);
      if (kind === "drew") {
        const source = data.source === room.seat ? "you" : context.nameOf(data.source);
        context.note(`${who} drew from ${source}.`);
      } else if (kind === "drew_card") {
        drawn = data.card;
        context.note(`It is the ${nameOfCard(data.card)}.`);
      } else if (kind === "gave_card") context.note(`It was your ${nameOfCard(data.card)}.`);
      else if (kind === "laid") {
        const pairs = data.cards.map(nameOfCard);
        if (pairs.length) context.note(`${who} laid ${pairs.join(" and ")}.`);
      } else if (kind === "safe") context.note(`${who} ${who === "You" ? "are" : "is"} safe.`);
      else if (kind === "timed_out") context.note(`${who} took too long.`);
      else if (kind === "ended") context.note(`${context.nameOf(room.view.loser)} lost.`);
    },
  };
}
