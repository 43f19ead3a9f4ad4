/** A real HTTP server for the tests of this package: plain, or with a certificate of a fresh Ed25519 key. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer as createHttpServer, type RequestListener, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { toHex } from "@blixard/common";
import type { Identity } from "@blixard/protocol";

export interface TestServer {
  readonly address: string;
  readonly port: number;
  readonly endpointId: string;
  close(): Promise<void>;
}

/** `place`: what the node says of itself; by default it is a voter. The listener sees no such question. */
export async function startPlainServer(listener: RequestListener, place: Place = voter): Promise<TestServer> {
  return await listen(createHttpServer(saying(place, listener)), "");
}

export type Place = Pick<Identity, "role" | "voters" | "index">;
const voter: Place = { role: "voter" };

function saying(place: Place, listener: RequestListener): RequestListener {
  return (request, response) => {
    if (request.url !== "/v1/identity") return listener(request, response);
    const identity = { clusterId: "c", nodeId: 1, endpointId: "0".repeat(64), addresses: [], version: "0", ...place };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(identity));
  };
}

export async function startTlsServer(listener: RequestListener, port = 0): Promise<TestServer> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const spki = publicKey.export({ format: "der", type: "spki" });
  const key = privateKey.export({ format: "pem", type: "pkcs8" });
  const cert = selfSigned(privateKey, spki);
  const server = createHttpsServer({ key, cert, minVersion: "TLSv1.3" }, saying(voter, listener));
  return await listen(server, toHex(spki.subarray(spki.length - 32)), port);
}

/** The least certificate that TLS accepts (RFC 5280, version 1): serial, algorithm, names, validity, key. */
function selfSigned(privateKey: KeyObject, spki: Uint8Array): string {
  const ed25519 = der(0x30, der(0x06, Buffer.from([0x2b, 0x65, 0x70])));
  const commonName = der(0x30, der(0x06, Buffer.from([0x55, 0x04, 0x03])), der(0x0c, Buffer.from("test")));
  const name = der(0x30, der(0x31, commonName));
  const validity = der(0x30, der(0x17, Buffer.from("250101000000Z")), der(0x17, Buffer.from("491231235959Z")));
  const content = der(0x30, der(0x02, Buffer.from([1])), ed25519, name, validity, name, spki);
  const signature = der(0x03, Buffer.from([0]), sign(null, content, privateKey));
  const base64 = der(0x30, content, ed25519, signature).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${base64.replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

async function listen(server: Server, endpointId: string, port = 0): Promise<TestServer> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    endpointId,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
