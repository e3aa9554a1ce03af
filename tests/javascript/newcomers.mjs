// What the page writes and offers to people who are new to it.
//
// Standard input: [[function, arguments...]...]. Standard output: the results.

import { readFileSync } from "node:fs";

globalThis.addEventListener ??= () => {};
const { endingWords, leftWords, resultWords } = await import("../../vinom/node/web/static/words.js");
const { inRank, ownWords, roomWords } = await import("../../vinom/node/web/static/happening.js");
const { idleWords } = await import("../../vinom/node/web/static/boards/dice.js");
const { nextToShow, roomsToShow } = await import("../../vinom/node/web/static/previews.js");

const names = ["Ann", "Bob", "Cid"];
const functions = {
  endingWords,
  leftWords,
  resultWords: (outcome, me, count) =>
    resultWords(outcome, me, count, (seat) => (seat === me ? "You" : names[seat])),
  inRank: (rooms) => inRank(rooms).map((room) => room.room_id),
  roomWords,
  ownWords,
  idleWords,
  /** The games of the first requests. */
  nextToShow: (still, moving, count) =>
    [...Array(count).keys()].map((turn) => nextToShow(still, moving, turn)),
  roomsToShow: (rooms) => Object.fromEntries(roomsToShow(rooms)),
};
const asked = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(asked.map(([name, ...given]) => functions[name](...given))));
