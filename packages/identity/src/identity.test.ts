import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect as connectTcp, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { systemClock } from "@blixard/common/system";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import {
  createNodeCertificate,
  createTlsListener,
  endpointIdOfSeed,
  fetchPeerIdentity,
  loadOrCreateNodeKey,
} from "./index.ts";

const seed = new Uint8Array(32).fill(42);
const certificate = createNodeCertificate(seed, { clock: systemClock });

describe("loadOrCreateNodeKey", () => {
  let directory = "";
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-key-"));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it("makes a key once, readable by its owner only, and finds it again", async () => {
    const path = join(directory, "node.key");
    const [first, second] = await Promise.all([loadOrCreateNodeKey(path), loadOrCreateNodeKey(path)]);
    expect(second).toEqual(first);
    expect(await loadOrCreateNodeKey(path)).toEqual(first);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(["node.key"]);
    expect(await readFile(path, "utf8")).toMatch(/^[0-9a-f]{64}\n$/);
  });

  it.each([0o640, 0o604, 0o660, 0o610])("refuses a file of mode %o and says what to do", async (mode) => {
    const path = join(directory, "node.key");
    await loadOrCreateNodeKey(path);
    await chmod(path, mode);
    await expect(loadOrCreateNodeKey(path)).rejects.toMatchObject({
      code: "KEY_FILE_TOO_OPEN",
      hint: expect.stringContaining(`chmod 600 ${path}`),
    });
  });

  it.each(["", "abc", "zz".repeat(32), "00".repeat(31)])(
    "never replaces a file that is not a key: %j",
    async (text) => {
      const path = join(directory, "node.key");
      await writeFile(path, text, { mode: 0o600 });
      await expect(loadOrCreateNodeKey(path)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
      expect(await readFile(path, "utf8")).toBe(text);
    },
  );
});

describe("createNodeCertificate", () => {
  it("is signed by the node's key, holds it, and is no authority", () => {
    const parsed = new X509Certificate(certificate.cert);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(parsed.ca).toBe(false);
    expect(parsed.publicKey.asymmetricKeyType).toBe("ed25519");
    expect(Date.parse(parsed.validTo)).toBe(Math.floor(certificate.notAfterUnixMs / 1000) * 1000);
    expect(Date.parse(parsed.validFrom)).toBeLessThan(systemClock.unixMs());
    expect(certificate.endpointId).toBe(endpointIdOfSeed(seed));
  });
});

describe("fetchPeerIdentity", () => {
  it("reads the endpoint id of the node that listens", async () => {
    const listener = await createTlsListener({ host: "127.0.0.1", port: 0, ...certificate }, (socket) => socket.end());
    const address = `127.0.0.1:${listener.port}`;
    expect(await fetchPeerIdentity(address, { timeoutMs: 10_000 })).toBe(endpointIdOfSeed(seed));
    const other = createNodeCertificate(new Uint8Array(32).fill(43), { clock: systemClock });
    listener.setCertificate(other);
    expect(await fetchPeerIdentity(address, { timeoutMs: 10_000 })).toBe(other.endpointId);
    await listener.close();
    await expect(fetchPeerIdentity(address, { timeoutMs: 10_000 })).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  it("gives up at its deadline and when it is cancelled", async () => {
    const mute = createTcpServer(() => {});
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    const address = mute.address();
    const port = typeof address === "object" ? address?.port : 0;
    const slow = fetchPeerIdentity(`127.0.0.1:${port}`, { timeoutMs: 50 });
    await expect(slow).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const controller = new AbortController();
    const cancelled = fetchPeerIdentity(`127.0.0.1:${port}`, { timeoutMs: 10_000, signal: controller.signal });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "CANCELLED" });
    mute.close();
  });

  it.each(["", "host", "host:0", "host:99999", "a b:1", "::1:7001"])("refuses %j as an address", async (address) => {
    await expect(fetchPeerIdentity(address, { timeoutMs: 1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("createTlsListener", () => {
  it("has room for who shakes hands beside as many silent connections as it takes", async () => {
    const handshakesMax = 16;
    let evicted = 0;
    const options = { host: "127.0.0.1", port: 0, ...certificate, handshakesMax, onEvicted: () => evicted++ };
    const listener = await createTlsListener(options, (socket) => socket.end());
    const silent = Array.from({ length: handshakesMax }, () => connectTcp(listener.port, "127.0.0.1"));
    try {
      await Promise.all(
        silent.map((socket) =>
          once(
            socket.on("error", () => {}),
            "connect",
          ),
        ),
      );
      // Less than the handshakes of the silent ones may take.
      const found = fetchPeerIdentity(`127.0.0.1:${listener.port}`, { timeoutMs: 8_000 });
      expect(await found).toBe(certificate.endpointId);
      expect(evicted).toBe(1);
    } finally {
      for (const socket of silent) socket.destroy();
      await listener.close();
    }
  });

  it("carries an HTTP server over TLS 1.3 only", async () => {
    const http = createServer((_, response) => response.end("hello"));
    const listener = await createTlsListener({ host: "127.0.0.1", port: 0, ...certificate }, (socket) =>
      http.emit("connection", socket),
    );
    const open = (maxVersion: "TLSv1.2" | "TLSv1.3") =>
      connect({ host: "127.0.0.1", port: listener.port, rejectUnauthorized: false, maxVersion });
    const text = await new Promise<string>((resolve, reject) => {
      request({ createConnection: () => open("TLSv1.3"), path: "/" }, async (response) => {
        let body = "";
        for await (const part of response) body += String(part);
        resolve(body);
      })
        .on("error", reject)
        .end();
    });
    expect(text).toBe("hello");
    await new Promise((resolve) => open("TLSv1.2").on("error", resolve));
    await listener.close();
  });

  it("says PORT_IN_USE", async () => {
    const listener = await createTlsListener({ host: "127.0.0.1", port: 0, ...certificate }, () => {});
    const second = createTlsListener({ host: "127.0.0.1", port: listener.port, ...certificate }, () => {});
    await expect(second).rejects.toMatchObject({ code: "PORT_IN_USE" });
    await listener.close();
  });
});
