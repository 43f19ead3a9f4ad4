/**
 * A relay of Iroh for tests: what the public ones do, over plain HTTP and for as many endpoints as a test has. It forwards
 * datagrams between endpoints that cannot reach each other (`iroh-relay-v2`: a challenge, then frames of one type byte).
 * It believes each client the key that it shows, so it is of no use on a real network.
 */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { formatHostPort } from "@blixard/common";
import { type WebSocket, WebSocketServer } from "ws";

export interface IrohRelay {
  /** For `--relay-urls`. */
  readonly url: string;
  /** Datagram frames that it has forwarded since the start. */
  readonly forwarded: number;
  close(): Promise<void>;
}

const frame = { challenge: 0, auth: 1, confirmed: 2, send: 4, sendBatch: 5, ping: 9, pong: 10 } as const;
/** A frame that arrives has the type of the frame that was sent, plus this. */
const arrivedOffset = 2;
const keyBytes = 32;
const frameBytesMax = 1_048_576;
const protocols = ["iroh-relay-v2", "iroh-relay-v1"];

/** Listens at `host`, on a free port unless one is given. */
export async function startIrohRelay(host: string, port = 0): Promise<IrohRelay> {
  const clients = new Map<string, WebSocket>();
  let forwarded = 0;
  // Endpoints measure how far a relay is with GET /ping.
  const http = createServer((_request, response) => response.writeHead(200).end());
  const upgrade = new WebSocketServer({
    server: http,
    path: "/relay",
    maxPayload: frameBytesMax,
    handleProtocols: (offered) => protocols.find((known) => offered.has(known)) ?? false,
  });
  upgrade.on("connection", (socket) => {
    let own: Buffer | undefined;
    socket.send(Buffer.concat([Buffer.of(frame.challenge), randomBytes(16)]));
    socket.on("error", () => socket.terminate());
    socket.on("close", () => {
      if (own !== undefined && clients.get(own.toString("hex")) === socket) clients.delete(own.toString("hex"));
    });
    socket.on("message", (data) => {
      const bytes = data as Buffer;
      const [type = -1] = bytes;
      const [key, rest] = [bytes.subarray(1, 1 + keyBytes), bytes.subarray(1 + keyBytes)];
      if (own === undefined) {
        if (type !== frame.auth || key.length < keyBytes) return socket.terminate();
        own = Buffer.from(key);
        clients.set(own.toString("hex"), socket);
        socket.send(Buffer.of(frame.confirmed));
      } else if (type === frame.ping) {
        socket.send(Buffer.concat([Buffer.of(frame.pong), bytes.subarray(1)]));
      } else if (type === frame.send || type === frame.sendBatch) {
        // Datagrams for somebody who is not here are lost, as on any network.
        const target = clients.get(key.toString("hex"));
        if (target === undefined) return;
        forwarded++;
        target.send(Buffer.concat([Buffer.of(type + arrivedOffset), own, rest]));
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    http.once("error", reject).listen(port, host, resolve);
  });
  return {
    url: `http://${formatHostPort(host, (http.address() as AddressInfo).port)}/`,
    get forwarded() {
      return forwarded;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of upgrade.clients) socket.terminate();
        upgrade.close();
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
}
