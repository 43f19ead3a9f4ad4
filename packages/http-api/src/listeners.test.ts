import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { NodeTls } from "@blixard/identity";
import { describe, expect, it } from "@jest/globals";
import { HttpPlaces } from "./http-places.ts";
import { httpLimits } from "./http-types.ts";
import { listenTls } from "./listeners.ts";

const places = new HttpPlaces({ clock: systemClock, logger: silentLogger, metrics: discardMetrics }, httpLimits);
const handlers = { onRequest: () => {}, onUpgrade: () => {}, places, protocols: { h2: () => {} } };

describe("listenTls", () => {
  it("closes at once beside clients that never shake hands, ask for nothing, or speak another protocol", async () => {
    const tls = new NodeTls({ clock: systemClock, secretKey: systemRandom.bytes(32) });
    const listener = await listenTls("127.0.0.1:0", tls, handlers, "--bind");
    const at = { host: "127.0.0.1", port: listener.port };
    const open = (protocol: string) => connectTls({ ...at, rejectUnauthorized: false, ALPNProtocols: [protocol] });
    const clients: Socket[] = [connect(at), open("http/1.1"), open("h2")];
    const ended = clients.map(
      (client) => new Promise((resolve) => client.on("error", () => {}).once("close", resolve)),
    );
    await Promise.all(
      clients.map((client, n) => new Promise((resolve) => client.once(n === 0 ? "connect" : "secureConnect", resolve))),
    );
    await listener.close(0);
    for (const client of clients) client.resume();
    await Promise.all(ended);
    expect(await fetch(`https://127.0.0.1:${listener.port}`).catch(() => "closed")).toBe("closed");
  });

  it("keeps all connections that have shaken hands, however many they are", async () => {
    const tls = new NodeTls({ clock: systemClock, secretKey: systemRandom.bytes(32) });
    const listener = await listenTls("127.0.0.1:0", tls, handlers, "--bind");
    const at = { host: "127.0.0.1", port: listener.port, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
    const clients: TLSSocket[] = [];
    try {
      // More than may be without a handshake at once.
      for (let count = 0; count < 270; count++) {
        const client = connectTls(at);
        clients.push(client);
        await once(client, "secureConnect");
        client.on("error", () => {}).resume();
      }
      expect(clients.filter(({ destroyed, readableEnded }) => destroyed || readableEnded)).toEqual([]);
    } finally {
      for (const client of clients) client.destroy();
      await listener.close(0);
    }
  });
});
