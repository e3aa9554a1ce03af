// @ts-check
/** Owe drahn: one die, one total, and money. */

import { button, countdown, dot, h, isCalm, plural, svg, swap } from "../ui.js";
import { listed } from "../words.js";
import { dieFace, showTurn } from "./parts.js";

const HEART = "M50 84C20 62 12 46 12 33a19 19 0 0 1 38-6 19 19 0 0 1 38 6c0 13-8 29-38 51z";

/** @param {number} lives @param {number} most */
function hearts(lives, most) {
  const one = (/** @type {number} */ at) =>
    svg("0 0 100 100", [["path", { d: HEART }]], at < lives ? "heart" : "heart lost");
  return h(
    "span.hearts",
    { role: "img", "aria-label": plural(lives, "life", "lives") },
    [...Array(Math.max(most, lives)).keys()].map(one),
  );
}

/** @param {number} amount */
const money = (amount) => (amount > 0 ? `+${amount}` : String(amount).replace("-", "−"));

/** A half circle of *limit* parts, *total* of them filled. @param {number} total @param {number} limit */
function dial(total, limit) {
  const shapes = /** @type {[string, any][]} */ ([]);
  for (let part = 0; part < limit; part += 1) {
    const from = Math.PI * (1 + (part + 0.12) / limit);
    const to = Math.PI * (1 + (part + 0.88) / limit);
    const point = (/** @type {number} */ angle) =>
      `${(100 + 84 * Math.cos(angle)).toFixed(1)} ${(100 + 84 * Math.sin(angle)).toFixed(1)}`;
    const name = part < total ? (part >= limit - 3 ? "full hot" : "full") : "none";
    shapes.push(["path", { d: `M${point(from)}A84 84 0 0 1 ${point(to)}`, class: name }]);
  }
  return svg("0 0 200 108", shapes, "dial");
}

/** @type {import("./parts.js").Mount} */
export function mount(context) {
  const { room } = context;
  const status = h("p.turn", { role: "status" });
  const clock = countdown();
  const centre = h("div.dial-box");
  const die = h("div.die.big-die", { "aria-hidden": "true" });
  const seats = h("ul.seats");
  const buttons = h("div.row.centre");
  const betsTitle = h("summary");
  const betsBody = h("div.bets-body");
  const bets = h("details.bets", null, betsTitle, betsBody);
  let lastDie = 0;
  let offersBefore = 0;

  function draw() {
    const view = room.view;
    const { phase, turn, choosing, here, order, out, lives, balances, total } = view;
    const limit = room.setup?.limit ?? 15;
    const mine = turn !== null && turn === room.seat;
    swap(
      centre,
      dial(total, limit),
      h("p.total", null, h("strong", null, String(total)), h("span.muted", null, ` of ${limit}`)),
    );
    die.replaceChildren(...(lastDie ? [dieFace(lastDie)] : []));
    die.classList.toggle("blank", !lastDie);
    swap(
      seats,
      here.map((/** @type {number} */ seat) => {
        const isPlaying = order.includes(seat);
        const isAlive = isPlaying && !out.includes(seat);
        const isReady = view.rematch.includes(seat);
        const canChoose = mine && choosing && isAlive;
        const name = h("span.grow.name", null, context.nameOf(seat), seat === view.host && h("span.signs", null, "host"));
        let side = null;
        if (isAlive) side = hearts(lives[seat], room.setup?.lives ?? 6);
        else if (isPlaying) side = h("span.muted.small", null, "out");
        else if (phase !== "waiting") side = h("span.muted.small", null, "watching");
        else side = h("span.small", { class: isReady ? "good" : "muted" }, isReady ? "ready" : "not ready");
        return h(
          "li",
          { class: `${turn === seat ? "turn" : ""} ${isPlaying && !isAlive ? "gone" : ""}` },
          dot(seat),
          name,
          canChoose
            ? button("Next", () => context.act({ type: "choose_next", seat }), {
                class: "primary small-button",
                "aria-label": `Next: ${context.nameOf(seat)}`,
                data: { key: `next ${seat}` },
              })
            : side,
          h("span.money", { title: "balance" }, money(balances[seat])),
        );
      }),
    );
    const isReady = view.rematch.includes(room.seat);
    swap(
      buttons,
      phase === "waiting" && room.seat !== null &&
        button(isReady ? "Not ready" : "Ready", () => context.act({ type: "ready", ready: !isReady }),
          { class: isReady ? "" : "primary", data: { key: "ready" } }),
      mine && !choosing && [
        button("Roll", () => context.act({ type: "roll" }), { class: "primary", data: { key: "roll" } }),
        button("Give a life", () => context.act({ type: "lose_life" }), {
          disabled: lives[turn] < 2,
          title: "The total goes back to 0, and you choose who is next.",
          data: { key: "life" },
        }),
      ],
    );
    drawBets();
  }

  function drawBets() {
    const { phase, host, stake, bets: all, here } = room.view;
    const waiting = phase === "waiting";
    const mine = room.seat;
    const others = here.filter((/** @type {number} */ seat) => seat !== mine);
    // Keep what the user is typing.
    if (betsBody.contains(document.activeElement) && ["INPUT", "SELECT"].includes(document.activeElement?.tagName ?? "")) return;
    const stakeField = h("input", { type: "number", id: "stake", min: 0, max: 1000, required: true, value: stake });
    const amount = h("input", { type: "number", id: "bet-amount", min: 1, max: 1000, required: true, value: 1 });
    const against = h("select", { id: "bet-with" }, others.map((/** @type {number} */ seat) => h("option", { value: seat }, context.nameOf(seat))));
    const offers = all.filter((/** @type {any} */ bet) => !bet.agreed && bet.to === mine).length;
    const agreed = all.filter((/** @type {any} */ bet) => bet.agreed).length;
    betsTitle.textContent = [
      `Stake ${stake}`,
      agreed ? plural(agreed, "side bet") : "side bets",
      offers && waiting ? `${plural(offers, "offer")} for you` : "",
    ].filter(Boolean).join(" · ");
    // An offer needs an answer.
    if (offers > offersBefore && waiting) bets.open = true;
    offersBefore = offers;
    swap(
      betsBody,
      h("p.small.muted", null, `Each loser pays ${stake} to the winner. The player of a side bet who is out first pays the other.`),
      waiting && mine !== null && mine === host &&
        h(
          "form.row",
          { onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), stakeField.blur(), context.act({ type: "set_stake", stake: Number(stakeField.value) })) },
          h("label", { for: "stake" }, "Stake"),
          stakeField,
          h("button", { type: "submit" }, "Set"),
        ),
      all.length > 0 && h("h3", null, "Side bets"),
      all.length > 0 && h("ul.bet-list", null, all.map(betRow)),
      waiting && mine !== null && others.length > 0 &&
        h(
          "form.row",
          { onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), amount.blur(), context.act({ type: "propose_bet", to: Number(against.value), amount: Number(amount.value) })) },
          h("label", { for: "bet-amount" }, "Bet"),
          amount,
          h("label", { for: "bet-with" }, "with"),
          against,
          h("button", { type: "submit" }, "Offer"),
        ),
    );
  }

  /** @param {any} bet */
  function betRow(bet) {
    const act = (/** @type {string} */ type) => () => context.act({ type, bet: bet.id });
    const waiting = room.view.phase === "waiting" && !bet.agreed;
    return h(
      "li",
      null,
      h("span.grow", null, `${context.nameOf(bet.by)} and ${context.nameOf(bet.to)}: ${bet.amount}${bet.agreed ? "" : ", offered"}`),
      waiting && bet.to === room.seat && [
        button("Accept", act("accept_bet"), { class: "primary small-button", data: { key: `accept ${bet.id}` } }),
        button("Decline", act("decline_bet"), { class: "small-button", data: { key: `decline ${bet.id}` } }),
      ],
      waiting && bet.by === room.seat && button("Cancel", act("cancel_bet"), { class: "small-button", data: { key: `cancel ${bet.id}` } }),
    );
  }

  return {
    element: h("div.board-drahn", null, status, clock.element, h("div.drahn-top", null, centre, die), buttons, seats, bets),
    ends: true,
    isOver: () => room.view.phase === "over",
    hasWon: () => room.view.winner === room.seat,
    stop: clock.stop,
    /** @param {number} seat */
    player: (seat) => money(room.view.balances[seat] ?? 0),
    update() {
      const { phase, turn, choosing, due, winner, rematch, here } = room.view;
      const mine = turn !== null && turn === room.seat;
      let words;
      if (phase === "over") words = winner === room.seat ? "You won!" : `${context.nameOf(winner)} won`;
      else if (phase === "waiting") {
        const missing = here.length - rematch.length;
        const isReady = room.seat === null || rematch.includes(room.seat);
        words = !isReady ? "Are you ready?" : `Waiting for ${plural(missing, "player")} to get ready`;
      } else if (choosing) words = mine ? "Choose who is next" : `${context.nameOf(turn)} chooses who is next`;
      else words = mine ? "Your turn" : `${context.nameOf(turn)}’s turn`;
      showTurn(status, words, mine);
      const whole = phase === "playing" ? room.setup?.turn_seconds : phase === "over" ? 5 : room.setup?.ready_seconds;
      clock.show(room, due, whole || 60);
      draw();
    },
    /** @param {any} event */
    event({ kind, data }) {
      const who = context.nameOf(data?.seat ?? null);
      const are = who === "You" ? "are" : "is";
      const have = who === "You" ? "have" : "has";
      if (kind === "rolled") {
        lastDie = data.die;
        die.replaceChildren(dieFace(lastDie));
        die.classList.remove("blank", "rolling");
        if (!isCalm()) {
          // Reading it makes the browser apply the removal, so that the animation restarts.
          void die.offsetWidth;
          die.classList.add("rolling");
        }
        context.note(`${who} rolled ${data.die}${data.die === 3 ? ", which adds nothing" : ""}: ${data.total}.`);
      } else if (kind === "out") context.note(`${who} ${are} out.`);
      else if (kind === "lost_life") context.note(`${who} gave a life, and ${have} ${data.lives}.`);
      else if (kind === "chose") context.note(`${who} chose ${context.nameOf(data.next)}.`);
      else if (kind === "timed_out") context.note(`${who} took too long.`);
      else if (kind === "began") {
        lastDie = 0;
        context.note(`Round ${data.round} begins, for ${room.view.stake}.`);
      } else if (kind === "ended") context.note(`${context.nameOf(data.winner)} won the round.`);
      else if (kind === "paid") {
        const from = listed(data.from.map(context.nameOf));
        const to = data.to === room.seat ? "you" : context.nameOf(data.to);
        if (data.from.length) context.note(`${from} paid ${to} ${data.amount}${data.from.length > 1 ? " each" : ""} (${data.why}).`);
      }
    },
  };
}
