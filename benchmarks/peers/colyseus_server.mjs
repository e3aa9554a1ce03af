// Room echo on Colyseus, `broadcast`: what ours is compared with. ARGS: PORT.
// On uWebSockets.js, the transport that Colyseus recommends for production.
// VINOM_PEER_MODULES is the folder whose node_modules has @colyseus/core and
// uwebsockets-transport.
// With VINOM_PEER_CERTIFICATE and VINOM_PEER_KEY, files in PEM, it speaks TLS.
import { createRequire } from "module";

const require = createRequire((process.env.VINOM_PEER_MODULES || process.cwd()) + "/");
const { Server, Room } = require("@colyseus/core");
const { uWebSocketsTransport } = require("@colyseus/uwebsockets-transport");

class EchoRoom extends Room {
  maxClients = 4;
  patchRate = null;

  onCreate() {
    this.seats = 0;
    this.shown = { v: 0, p: { 0: [0, 0], 1: [0, 0], 2: [0, 0], 3: [0, 0] } };
    this.onMessage("m", (client, input) => {
      const seat = client.userData;
      this.shown.p[seat] = [input.x, input.y];
      this.shown.v++;
      this.broadcast("s", { v: this.shown.v, s: seat, q: input.q, p: this.shown.p });
    });
  }

  onJoin(client) {
    client.userData = this.seats++ & 3;
  }
}

const { VINOM_PEER_CERTIFICATE: certificate, VINOM_PEER_KEY: key } = process.env;
const over = certificate ? { cert_file_name: certificate, key_file_name: key } : {};
const server = new Server({
  transport: new uWebSocketsTransport({}, over),
  greet: false,
  gracefullyShutdown: true,
});
server.define("room_echo", EchoRoom).filterBy(["r"]);
server.listen(+process.argv[2], "127.0.0.1").then(() => console.log("ready"));
