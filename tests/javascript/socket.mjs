// A fake server for vinom.js, which consists of answers only.

/**
 * Make a class of sockets to a server that accepts every client as Ann.
 *
 * @param {(asked: any, socket: any) => void} answer is called with each request except hello
 */
export function socketsTo(answer) {
  return class Socket {
    constructor() {
      setTimeout(() => this.onopen());
    }

    addEventListener(_, call) {
      setTimeout(call);
    }

    send(text) {
      const asked = JSON.parse(text);
      if (asked.type === "hello") {
        const data = { player_id: "p1", player_key: "k1", name: "Ann", games: ["maze"] };
        this.tell({ type: "welcome", id: asked.id, data });
      } else {
        answer(asked, this);
      }
    }

    tell(...messages) {
      setTimeout(() => this.onmessage({ data: JSON.stringify(messages) }));
    }

    close() {
      this.onclose();
    }
  };
}
