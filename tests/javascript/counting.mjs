// Players who count in the game of tests/support/roll_call.py, over WebSocket. A browser
// can run this, too: its page has vinom.js.

/** Bring four players into a match, and have them count; resolves when all play. */
export async function startCounting(connect, options = {}) {
  const players = [];
  for (let number = 0; number < 4; number += 1) {
    const client = await connect({ ...options, name: `js-${number}` });
    players.push({ client, said: 0, version: 0, wrong: [], returns: 0 });
  }
  const rooms = await Promise.all(players.map((one) => one.client.queue("rollcall")));
  for (const [at, player] of players.entries()) {
    const room = (player.room = rooms[at]);
    room.on("back", () => (player.returns += 1));
    room.on("closed", () => player.wrong.push(`closed: ${room.closed}`));
    room.on("state", () => {
      if (room.version < player.version) player.wrong.push(`${room.version} after ${player.version}`);
      player.version = room.version;
    });
  }
  let isCounting = true;
  const heard = ({ room }) => room.view?.count[room.seat] ?? 0;
  const timer = setInterval(() => {
    for (const player of players) {
      if (!isCounting || player.room.closed !== null || player.room.view === null) continue;
      player.said += 1;
      player.room
        .act({ type: "count", n: player.said })
        .catch((error) => player.wrong.push(`${error.code}: ${error.message}`));
    }
  }, 60);
  const until = async (isSo) => {
    while (!players.every(isSo)) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await until((one) => heard(one) > 3);
  return {
    matchId: rooms[0].roomId,

    /** Wait until the numbers that are said from now on count; resolves with how long it took, ms. */
    async again() {
      const began = performance.now();
      const said = players.map((one) => one.said);
      await until((one) => heard(one) > said[players.indexOf(one)]);
      return performance.now() - began;
    },

    /** Stop counting; resolves with what the players have seen when all has arrived. */
    async stop() {
      isCounting = false;
      clearInterval(timer);
      await until((one) => heard(one) === one.said);
      const seen = players.map(({ room, said, wrong, returns }) => ({
        said,
        wrong,
        returns,
        last: room.view.last[room.seat],
        outOfTurn: room.view.wrong[room.seat],
      }));
      for (const { client } of players) client.close();
      return seen;
    },
  };
}
