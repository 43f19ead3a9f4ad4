import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { Watch } from "@blixard/common";
import { endpointIdOfSeed } from "@blixard/identity";
import { describe, expect, it } from "@jest/globals";
import { describeTransportAdapter } from "../testing/index.ts";
import type { Connection, Lane } from "../transport-types.ts";
import { createIrohAdapter } from "./index.ts";
import { loadIroh, toNative } from "./iroh-module.ts";

const seedOf = (number: number) => new Uint8Array(32).fill(number);
const optionsOf = (number: number) => ({ secretKey: seedOf(number), relay: false, discovery: false });

describeTransportAdapter({ describe, it, expect }, "iroh", {
  create: async (number) => createIrohAdapter({ ...optionsOf(number), bind: "127.0.0.1:0" }),
  deadAddress: () => "127.0.0.1:9",
});

const adapterAt = (bind: string, number = 1) => createIrohAdapter({ ...optionsOf(number), bind });

describe("createIrohAdapter", () => {
  it("says PORT_IN_USE, in one line without paths of the machine that built it", async () => {
    const first = adapterAt("127.0.0.1:0");
    await first.bind();
    const [address = ""] = first.addresses();
    const second = adapterAt(address, 2);
    await expect(second.bind()).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: `UDP ${address} is in use`,
      hint: expect.any(String),
    });
    await first.close();
    await second.bind();
    await second.close();
  });

  it("gives its port back, also to the same process", async () => {
    const first = adapterAt("127.0.0.1:0");
    await first.listen(() => {});
    const [address = ""] = first.addresses();
    await first.close();
    const second = adapterAt(address, 2);
    await second.listen(() => {});
    expect(second.addresses()).toEqual([address]);
    await second.close();
  });

  it.each(["", "127.0.0.1", "example.org:1", "127.0.0.1:70000", "::1:7001"])("refuses to bind %j", (bind) => {
    expect(() => adapterAt(bind)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("says why an address of another machine cannot be bound", async () => {
    await expect(adapterAt("192.0.2.1:0").bind()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^UDP 192\.0\.2\.1:0 cannot be bound: Cannot assign requested address/),
    });
  });

  it("maps the errors of the binding to codes, without its backtraces and the paths of its build", async () => {
    const [server, dialler] = [adapterAt("127.0.0.1:0"), adapterAt("127.0.0.1:0", 2)];
    await server.listen(() => {});
    const failure = (endpointId: string, lane: string) =>
      dialler
        .connect({ endpointId, addresses: server.addresses() }, lane as Lane, { signal: AbortSignal.timeout(60_000) })
        .catch((error: unknown) => error);
    const errors = [
      await failure(endpointIdOfSeed(seedOf(3)), "blixard/rpc/1"),
      await failure(server.endpointId, "blixard/rpc/99"),
    ];
    expect(errors).toMatchObject([{ code: "UNKNOWN_PEER" }, { code: "UNSUPPORTED_VERSION" }]);
    for (const { message } of errors as Error[]) expect(message).not.toMatch(/\n|\.rs\b|backtrace/i);
    await Promise.all([server.close(), dialler.close()]);
  });

  it("ends a connection when a stream one way is opened, which nobody would read", async () => {
    const accepted = new Watch<Connection | undefined>(undefined);
    const server = adapterAt("127.0.0.1:0");
    await server.listen((connection) => accepted.set(connection));
    const hostile = await rawEndpoint();
    const to = new hostile.iroh.EndpointAddr(hostile.iroh.EndpointId.fromString(server.endpointId), undefined, [
      ...server.addresses(),
    ]);
    const connection = await hostile.endpoint.connect(to, toNative(new TextEncoder().encode("blixard/rpc/1")));
    const there = await accepted.until((found) => found !== undefined);
    const stream = await connection.openUni();
    await stream.writeAll([1]);
    await there?.closed;
    expect(await connection.closed()).toContain("streams one way");
    await hostile.endpoint.close();
    await server.close();
  });

  it("lets closed connections be collected before many pile up, though the binding says nothing of their size", async () => {
    let collected = 0;
    const registry = new FinalizationRegistry<void>(() => collected++);
    const accepted: Connection[] = [];
    const [server, dialler] = [adapterAt("127.0.0.1:0"), adapterAt("127.0.0.1:0", 2)];
    await server.listen((connection) => accepted.push(connection));
    const target = { endpointId: server.endpointId, addresses: server.addresses() };
    for (let dials = 0; dials < 400; dials++) {
      const connection = await dialler.connect(target, "blixard/rpc/1", { signal: AbortSignal.timeout(60_000) });
      registry.register(connection);
      connection.close("enough");
      for (const there of accepted.splice(0)) there.close("enough");
    }
    await Promise.all([server.close(), dialler.close()]);
    expect(collected).toBeGreaterThan(100);
  });

  const proc = existsSync("/proc/self/net/udp6");
  (proc ? it : it.skip)("keeps no socket beyond loopback open when a loopback address was asked for", async () => {
    const before = new Set(await wildcardSockets());
    const adapter = adapterAt("127.0.0.1:0");
    await adapter.listen(() => {});
    // Iroh asks the router for a port mapping from a socket of its own, which it closes after a second or two.
    while ((await wildcardSockets()).some((socket) => !before.has(socket))) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await adapter.close();
  });
});

/** Iroh without the adapter, for what the adapter never does. */
async function rawEndpoint() {
  const iroh = await loadIroh();
  const builder = iroh.Endpoint.builder();
  builder.applyMinimal();
  builder.relayMode(iroh.RelayMode.disabled());
  builder.secretKey(toNative(seedOf(9)));
  for (const address of ["127.0.0.1:0", "[::1]:0"]) builder.bindAddr(address);
  return { iroh, endpoint: await builder.bind() };
}

/** Inodes of the UDP sockets of this process that are bound to all interfaces. */
async function wildcardSockets(): Promise<string[]> {
  const descriptors = await readdir("/proc/self/fd");
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  const tables = await Promise.all(["udp", "udp6"].map((name) => readFile(`/proc/self/net/${name}`, "utf8")));
  return tables
    .flatMap((table) => table.split("\n").slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local !== undefined && /^0+:/.test(local))
    .map((columns) => columns[9] ?? "")
    .filter((inode) => links.includes(`socket:[${inode}]`));
}
