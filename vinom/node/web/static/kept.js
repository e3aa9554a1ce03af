// @ts-check
/**
 * Who has a game that lasts for days is the same player when the browser comes back: its key is
 * kept beyond the tab. Other tabs are other players all the same.
 */

const KEY = "vinom.kept_player";

/** @returns {{key: string, name: string} | null} */
const read = () => JSON.parse(localStorage.getItem(KEY) ?? "null");

/** Be the kept player while the tab is open, unless another tab is; tells which. @returns {Promise<boolean>} */
const claim = () =>
  new Promise((resolve) => {
    if (!navigator.locks) return resolve(false);
    navigator.locks.request(KEY, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });

/** Before the client begins: take the kept key, if this tab has none and no other tab has it. */
export async function takeKept() {
  try {
    const kept = read();
    const own = sessionStorage.getItem("vinom.player_key");
    if (!kept || (own && own !== kept.key) || !(await claim()) || own) return;
    sessionStorage.setItem("vinom.player_key", kept.key);
    sessionStorage.setItem("vinom.name", kept.name);
  } catch {
    // A browser without storage has a new player each time.
  }
}

/** Keep the key if this player has a game that lasts. @param {import("./vinom.js").Client} client */
export async function keepPlayer(client) {
  try {
    const { playerKey: key, name } = client;
    const lasts = (await client.myGames()).some((one) => one.lasts);
    const kept = read();
    if (kept?.key === key) {
      if (!lasts) localStorage.removeItem(KEY);
    } else if (lasts && !kept && (await claim())) {
      localStorage.setItem(KEY, JSON.stringify({ key, name }));
    }
  } catch {
    // It is tried again with the next page that is shown.
  }
}
