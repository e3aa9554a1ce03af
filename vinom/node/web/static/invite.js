// @ts-check
/** Links to a room: copied, shared, as a QR code, and the screen of a room that waits for players. */

import { titleOf } from "./games.js";
import { botButtons } from "./players.js";
import { addressOf, button, h, plural, toast } from "./ui.js";

/** Do players who press Play come in here? Rooms that the server names are open to them. @param {string} roomId */
const isFoundByAnyone = (roomId) => /^[a-z2-7]{16}$/.test(roomId);

/** @param {string} game @param {string} url @param {string} [text] */
export async function share(game, url, text = `Play ${titleOf(game)} with me`) {
  try {
    await navigator.share({ title: titleOf(game), text, url });
  } catch {
    // The sheet was closed.
  }
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Link copied.", "good");
  } catch {
    // Browsers allow this over TLS only.
    toast("Your browser can’t copy here. Copy this page’s address instead: it is the same link.", "good");
  }
}

/** The button that copies the link of a room. @param {import("./vinom.js").Room} room */
export function inviteButton(room) {
  // Nobody can join a match: others can only watch.
  const address = addressOf(room.roomId, room.game, room.isMatch);
  return button(room.isMatch ? "Copy link" : "Invite", () => copy(new URL(address, location.href).href), {
    data: { key: "invite" },
    title: room.isMatch ? "Copy a link for spectators" : "Copy a link to this room",
  });
}

/** The link as a QR code, for a phone beside this screen. @param {string} link */
function qrCode(link) {
  const src = `invite.svg?${new URLSearchParams({ link })}`;
  const image = h("img.qr", { src, alt: "QR code of the invitation link", width: 160, height: 160 });
  // Behind some proxies the server does not recognize its own links.
  image.addEventListener("error", () => image.remove());
  return image;
}

/**
 * Make the screen of a room that waits for players.
 *
 * @param {import("./vinom.js").Room} room
 * @param {any} facts of its game
 * @param {(error: any) => void} showError
 * @returns {() => any} draws it
 */
export function makeWaiting(room, facts, showError) {
  if (room.isMatch) {
    return () =>
      h(
        "div.gathering",
        null,
        h("h2", null, "Waiting for the other players."),
        h("p.muted", null, "The match begins when everyone is here, or after a few seconds."),
      );
  }
  const [fewest, most] = room.seats ?? facts.seats ?? [2, 2];
  const link = new URL(addressOf(room.roomId, room.game), location.href).href;
  const qr = qrCode(link);
  return () => {
    const missing = Math.max(0, fewest - room.players.length);
    const field = h("input.code", { readonly: true, value: link, "aria-label": "Invitation link" });
    field.addEventListener("focus", () => field.select());
    const hasRoom = room.players.length < most;
    return h(
      "div.gathering",
      null,
      h("h2", null, missing ? `Waiting for ${plural(missing, "more player")}.` : "The game begins in a moment."),
      h(
        "p.muted",
        null,
        isFoundByAnyone(room.roomId)
          ? "The next player who presses Play joins you here. You can send this link to a friend, too."
          : "Send this link to a friend. Other players can join from the list of games.",
      ),
      h(
        "div.row.invite",
        null,
        field,
        button("Copy link", () => copy(link), { data: { key: "copy" } }),
        "share" in navigator && button("Share", () => share(room.game, link), { data: { key: "share" } }),
      ),
      qr,
      h(
        "div.row",
        null,
        room.isHost && hasRoom && botButtons(room, facts, showError),
        room.isHost && !missing && hasRoom &&
          button("Begin now", () => room.start().catch(showError), { class: "primary", data: { key: "start" } }),
      ),
    );
  };
}
