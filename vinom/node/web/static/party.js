// @ts-check
/** Parties: invite friends, see who is in, and find matches together; and what to accept. */

import { inOrder, titleOf } from "./games.js";
import { addressOf, button, h, inWords, plural, say, swap, toast } from "./ui.js";

/** @typedef {import("./vinom.js").Client} Client */
/** @typedef {import("./vinom.js").Party} Party */

/** The link that lets friends into a party. @param {string} party @param {string} token */
const linkOf = (party, token) =>
  new URL(`#${new URLSearchParams({ party, token })}`, location.href).href;

/** @type {Record<Party["state"], string>} */
const STATES = {
  idle: "",
  in_queue: "Waiting for a match.",
  prematch: "A match was found.",
  in_game: "Playing.",
};

/** @param {Promise<any>} done */
const shown = (done) => done.catch((error) => toast(inWords(error)));

/** Why a player is out of the party, who did not leave it. @type {Record<string, string>} */
const OUT = {
  kicked: "You were removed from the party.",
  away: "You were away for too long: you are out of the party.",
  lost: "Your party is gone. Invite your friends again.",
};

/**
 * Join the party of the address, if it is one.
 *
 * @param {Client} client
 */
export function joinByLink(client) {
  const found = new URLSearchParams(location.hash.slice(1));
  const [id, token] = [found.get("party"), found.get("token")];
  if (!id || !token) return;
  // The link is a secret: it does not stay in the address, or in what is shared from it.
  history.replaceState(null, "", "#");
  client.ready.then(
    () => {
      if (client.party?.party_id !== id) shown(client.joinParty(id, { token }));
    },
    () => {},
  );
}

/**
 * Make the lobby's part about parties.
 *
 * @param {{client: Client, catalogue: any, queue: (game: string) => void}} shown
 */
export function showParty({ client, catalogue, queue }) {
  const element = h("div.party");

  const invite = async () => {
    if (!client.party) await client.createParty();
    // A host who took over has no token.
    else if (!client.partyToken) await client.renewPartyToken();
    show();
    element.querySelector("input")?.select();
  };

  /** @param {string} link */
  const copy = async (link) => {
    try {
      await navigator.clipboard.writeText(link);
      toast("Link copied.", "good");
    } catch {
      element.querySelector("input")?.select();
      toast("Your browser can’t copy here. Copy the link by hand.", "good");
    }
  };

  /** @param {Party} party @param {import("./vinom.js").PartyMember} member */
  function row(party, { player_id: id, name, ready, connected }) {
    const isMine = party.host === client.playerId;
    const facts = [
      id === client.playerId && "you",
      id === party.host && "host",
      connected ? (ready ? "✓ ready" : "not ready") : "away",
    ].filter(Boolean);
    return h(
      "li",
      null,
      h("strong", null, name),
      h("span.small.muted", null, facts.join(", ")),
      isMine &&
        id !== client.playerId && [
          button("Make host", () => shown(client.promoteInParty(id)), {
            class: "link",
            "aria-label": `Make host: ${name}`,
            data: { key: `promote ${id}` },
          }),
          button("Remove", () => shown(client.kickFromParty(id)), {
            class: "link",
            "aria-label": `Remove ${name} from the party`,
            data: { key: `kick ${id}` },
          }),
        ],
    );
  }

  /** @param {Party} party */
  function together(party) {
    const games = inOrder(Object.keys(catalogue.games)).filter(
      (game) => (catalogue.games[game].seats?.[1] ?? 2) >= party.members.length,
    );
    if (!games.length) return null;
    const choice = h(
      "select",
      { id: "party-game", data: { key: "party-game" } },
      games.map((game) => h("option", { value: game, selected: game === party.game }, titleOf(game))),
    );
    return [
      h("label", { for: "party-game" }, "Game"),
      choice,
      button("Play together", () => queue(choice.value), { class: "primary", data: { key: "together" } }),
    ];
  }

  /** @param {Party} party */
  function whole(party) {
    const isHost = party.host === client.playerId;
    const me = party.members.find((one) => one.player_id === client.playerId);
    const link = isHost && client.partyToken ? linkOf(party.party_id, client.partyToken) : "";
    const isIdle = party.state === "idle";
    return h(
      "section.card.party",
      { "aria-labelledby": "party-title" },
      h("h2", { id: "party-title" }, "Your party"),
      h("p.small.muted", null, STATES[party.state] || `${plural(party.members.length, "player")}. ${isHost ? "You choose the game." : "The host chooses the game."}`),
      h("ul", null, party.members.map((one) => row(party, one))),
      link && [
        h("label", { for: "party-link" }, "Send this link to your friends"),
        h(
          "div.row",
          null,
          h("input", { id: "party-link", readonly: true, value: link, data: { key: "party-link" } }),
          button("Copy link", () => copy(link), { data: { key: "copy" } }),
        ),
      ],
      h(
        "div.row",
        null,
        isHost && isIdle && together(party),
        isIdle &&
          button(me?.ready ? "Not ready" : "I’m ready", () => shown(client.readyInParty(!me?.ready)), {
            data: { key: "ready" },
          }),
        isHost && !link && button("Invite friends", () => shown(invite()), { data: { key: "invite" } }),
        button("Leave the party", () => shown(client.leaveParty()), { data: { key: "leave-party" } }),
      ),
    );
  }

  function show() {
    const { party } = client;
    if (party) swap(element, whole(party));
    else swap(element, button("Invite friends", () => shown(invite()), { data: { key: "invite" } }));
  }

  const undo = [client.on("party", show)];
  show();
  return {
    element,
    stop() {
      for (const one of undo) one();
    },
  };
}

/**
 * Ask the player about matches and invitations, wherever the page is.
 *
 * @param {Client} client
 */
export function watchOffers(client) {
  /** @type {any} */
  let dialog = null;
  /** @type {any} */
  let ticking;
  let isAnswered = false;

  /** @param {"accept" | "decline"} answer */
  const send = (answer) => {
    isAnswered = true;
    show(client.prematch);
    shown(client[answer]());
  };

  function close() {
    clearInterval(ticking);
    dialog?.remove();
    dialog = null;
    isAnswered = false;
  }

  /** @param {import("./vinom.js").Prematch | null} prematch */
  function show(prematch) {
    if (prematch === null) {
      close();
      return;
    }
    const title = titleOf(prematch.game);
    if (dialog?.dataset.id !== prematch.id) {
      close();
      dialog = h("dialog.card.offer", {
        "aria-labelledby": "offer-title",
        data: { id: prematch.id },
        // Escape is no answer: the time goes on.
        oncancel: (/** @type {Event} */ event) => event.preventDefault(),
      });
      document.body.append(dialog);
      dialog.showModal();
      say(`A match of ${title} was found.`);
    }
    const isMine = prematch.accepted.includes(client.playerId);
    const left = h("span");
    const tick = () => {
      left.textContent = plural(Math.max(0, Math.ceil((prematch.endsAt - Date.now()) / 1000)), "second");
    };
    tick();
    clearInterval(ticking);
    ticking = setInterval(tick, 500);
    swap(
      dialog,
      h("h2", { id: "offer-title" }, `Play ${title}?`),
      h("p", null, "A match was found. It begins when everybody accepts. ", left, " left."),
      h(
        "ul",
        null,
        prematch.players.map(({ player_id: id, name }) =>
          h("li", null, name, prematch.accepted.includes(id) ? " ✓ accepted" : ""),
        ),
      ),
      h(
        "div.row.end",
        null,
        isMine
          ? h("p.muted", null, "Waiting for the others…")
          : [
              button("Decline", () => send("decline"), { disabled: isAnswered, data: { key: "decline" } }),
              button("Accept", () => send("accept"), {
                class: "primary",
                disabled: isAnswered,
                data: { key: "accept" },
              }),
            ],
      ),
    );
  }

  client.on("prematch", show);
  client.on("prematchOver", ({ state, retry_after: pause }) => {
    if (state !== "dissolved") return;
    if (pause) toast(`You did not accept. You can look for a match again in ${plural(Math.ceil(pause), "second")}.`);
    else toast("Somebody did not accept the match.");
  });
  client.on("push", ({ type, data }) => {
    if (type === "party_closed" && data.reason in OUT) toast(OUT[data.reason]);
  });
  client.on("invite", ({ party_id: id, host, game }) => {
    // One at a time: nobody can bury the page in invitations.
    if (document.querySelector("dialog.invitation")) return;
    const asked = h(
      "dialog.card.offer.invitation",
      { "aria-labelledby": "invite-title", onclose: () => asked.remove() },
      h("h2", { id: "invite-title" }, `${host.name} invites you`),
      h("p", null, game ? `To a party that plays ${titleOf(game)}.` : "To a party."),
      h(
        "div.row.end",
        null,
        button("Not now", () => asked.close()),
        button(
          "Join",
          () => {
            asked.close();
            shown(client.joinParty(id));
          },
          { class: "primary" },
        ),
      ),
    );
    document.body.append(asked);
    asked.showModal();
  });
  // In a room: the lobby takes the seat itself.
  client.on("match", (match) => {
    const isInRoom = new URLSearchParams(location.hash.slice(1)).has("room");
    if (match && client.party && isInRoom) location.hash = addressOf(match.match_id, match.game);
  });
}
