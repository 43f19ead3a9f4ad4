import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlixardError, fromUtf8, silentLogger, toUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { BulkLaneDeps } from "../bulk-lane.ts";
import { bulkLimits } from "../bulk-limits.ts";
import { BulkRequestHandler } from "../bulk-request-handler.ts";
import type { BulkFetch } from "../bulk-types.ts";
import { bindBulkMetrics } from "../metrics.ts";
import {
  acquaint,
  type BulkNode,
  callOf,
  memoryObject,
  randomContent,
  startBulkNode,
} from "../testing/bulk-fixture.ts";
import { endpointMethod, IrohRoute } from "./iroh-route.ts";

const nodes = new Map<number, BulkNode>();
const closers: (() => Promise<unknown>)[] = [];
const key = "image/abc";
const { chunkBytes } = bulkLimits;
const content = randomContent(7, 3 * chunkBytes + 1_234);
const signal = new AbortController().signal;

afterEach(async () => {
  await Promise.all([...nodes.values()].map((node) => node.kill()));
  nodes.clear();
  for (const close of closers.splice(0)) await close();
});

/** Node 1 fetches from the others, of whose TCP side it has a wrong address. */
async function start(count: number, ofOthers: { readonly iroh: boolean } = { iroh: true }) {
  for (let nodeId = 1; nodeId <= count; nodeId++) {
    const call: BulkLaneDeps["call"] = async (to, method, payload) => {
      const caller = nodes.get(nodeId)?.peer.endpointId ?? "";
      const called = nodes.get(to);
      if (called === undefined) throw new BlixardError("UNREACHABLE", "it is gone");
      return await callOf(called, method, caller, payload);
    };
    nodes.set(nodeId, await startBulkNode(nodeId, { call, iroh: nodeId === 1 || ofOthers.iroh }));
  }
  const all = [...nodes.values()] as [BulkNode, BulkNode, BulkNode];
  acquaint(all);
  const objects = all.map((node) => {
    const object = memoryObject(content);
    if (node.nodeId !== 1) node.objects.set(key, object);
    return object;
  });
  const [reader] = all;
  reader.members.splice(0, count, ...all.slice(1).map(({ peer }) => ({ ...peer, addresses: ["127.0.0.1:1"] })));
  const directory = await mkdtemp(join(tmpdir(), "blixard-bulk-"));
  closers.push(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, "partial");
  const sources = all.slice(1).map(({ nodeId }) => nodeId);
  const wanted = { name: { kind: "image", id: "abc" }, sources, sizeBytesMax: 1024 ** 3, path, signal } as const;
  const fetch = (more: Partial<BulkFetch> = {}) => reader.lane.fetch({ ...wanted, ...more });
  return { nodes: all, objects, path, fetch };
}

describe("the route over Iroh", () => {
  it("carries what has no direct route, verified", async () => {
    const { nodes, objects, path, fetch } = await start(2);
    const [, source] = objects;
    if (source === undefined) throw new Error("no second node");
    // The memory stays the source's, also where it gives a view into more.
    source.intercept = async (offset, { length }) => Buffer.from(content.buffer, offset, length);
    await fetch();
    expect(Buffer.compare(await readFile(path), content)).toBe(0);
    expect(nodes[0].metrics.count("blixard_bulk_bytes_total received iroh")).toBe(content.length);
    expect(nodes[1].metrics.count("blixard_bulk_bytes_total sent iroh")).toBe(content.length);
    expect(nodes[0].lane.routes()).toEqual([
      { nodeId: 2, route: "iroh", reason: expect.stringMatching(/ECONNREFUSED/) },
    ]);
    nodes[1].objects.clear();
    await expect(fetch()).rejects.toMatchObject({ code: "NOT_FOUND" });
    // Its connection is still open, but it is asked for each request who may read.
    nodes[1].members.splice(0);
    await expect(fetch()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(nodes[1].metrics.count("blixard_bulk_refusals_total unknown_peer")).toBeGreaterThan(0);
  });

  it("finishes from another source when one closes on the way", async () => {
    const { nodes, objects, path, fetch } = await start(3);
    let reads = 0;
    const closes = objects[1];
    if (closes === undefined) throw new Error("no second node");
    closes.intercept = async (_, bytes) => {
      // Its manifest takes four reads; it closes over the chunks after that.
      if (++reads === 5) void nodes[1].kill();
      return reads >= 5 ? await new Promise<Uint8Array>(() => {}) : bytes;
    };
    await fetch();
    expect(Buffer.compare(await readFile(path), content)).toBe(0);
    expect(reads).toBeGreaterThanOrEqual(5);
    expect(nodes[0].metrics.count("blixard_bulk_sources_dropped_total lost")).toBeGreaterThan(0);
    expect(nodes[2].metrics.count("blixard_bulk_bytes_total sent iroh")).toBeGreaterThan(0);
  });

  it("leaves it to the RPC lane when the peer does not know it", async () => {
    const { nodes, objects, path, fetch } = await start(2, { iroh: false });
    const small = randomContent(3, 40_000);
    nodes[1].objects.set(key, memoryObject(small));
    expect(objects).toHaveLength(2);
    await fetch();
    expect(Buffer.compare(await readFile(path), small)).toBe(0);
    expect(nodes[0].metrics.count("blixard_bulk_bytes_total received rpc")).toBe(small.length);
    expect(nodes[0].metrics.count("blixard_bulk_dials_total iroh failed")).toBe(1);
    expect(nodes[0].lane.routes()).toEqual([
      { nodeId: 2, route: "rpc", reason: expect.stringMatching(/over Iroh: .*does not use Iroh/) },
    ]);
  });

  it("closes on both sides while chunks are on their way", async () => {
    const { nodes, objects, fetch } = await start(2);
    let reads = 0;
    const bothClose: Promise<unknown>[] = [];
    const source = objects[1];
    if (source === undefined) throw new Error("no second node");
    source.intercept = async (_, bytes) => {
      if (++reads === 6) bothClose.push(nodes[0].kill(), nodes[1].kill());
      return bytes;
    };
    await expect(fetch()).rejects.toMatchObject({ code: "STOPPED" });
    await Promise.all(bothClose);
    // Both workers have ended by themselves, and neither was given up.
    expect(nodes.flatMap(({ logged }) => logged).filter((line) => line.includes("worker"))).toEqual([]);
    await expect(fetch()).rejects.toMatchObject({ code: "STOPPED" });
  });
});

describe("IrohRoute", () => {
  const member = "a".repeat(64);

  /** The side of a source, whose only member is `member`. */
  function source() {
    const refused: string[] = [];
    const counter = { add: () => {} };
    const metrics = bindBulkMetrics({
      counter: () => counter,
      gauge: () => ({ set: () => {}, remove: () => {} }),
      histogram: () => ({ observe: () => {} }),
    });
    let onRefused: () => void = () => {};
    const peers = {
      peer: (id: number | string) => (id === member ? { nodeId: 1, endpointId: member, addresses: [] } : undefined),
    };
    const none = async () => undefined;
    const requests = new BulkRequestHandler({
      peers,
      providers: { image: none, snapshot: none },
      snapshotBudget: { takes: () => true },
      metrics: {
        ...metrics,
        refusals: {
          add: (_, labels) => {
            refused.push(labels?.["reason"] ?? "");
            onRefused();
          },
        },
      },
    });
    const settings = { bind: "127.0.0.1:0", relay: false, discovery: false };
    const call = () => Promise.reject(new Error("it calls nobody"));
    const route = new IrohRoute({ clock: systemClock, logger: silentLogger, peers, requests, call, settings });
    closers.push(() => route.close());
    const nextRefusal = () => new Promise<void>((resolve) => (onRefused = resolve));
    return { route, refused, nextRefusal };
  }

  async function adapter(seed: number) {
    const secretKey = new Uint8Array(32).fill(seed);
    const lanes = ["blixard/bulk/1"] as const;
    const made = createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false, lanes });
    await made.bind();
    closers.push(() => made.close());
    return made;
  }

  it("closes the connection of a key that no member has announced, and counts it", async () => {
    const { route, refused, nextRefusal } = source();
    const [announced, stranger] = [await adapter(1), await adapter(2)];
    const own = fromUtf8(JSON.stringify({ endpointId: announced.endpointId }));
    const where = JSON.parse(toUtf8(await route.answer(member, own)));
    const refusal = nextRefusal();
    const strange = await stranger.connect(where, "blixard/bulk/1", { signal });
    await strange.closed;
    await refusal;
    expect(refused).toEqual(["unknown_peer"]);
    const connection = await announced.connect(where, "blixard/bulk/1", { signal });
    const stream = await connection.openStream();
    await stream.write(fromUtf8("/1/image/abc/manifest"));
    await stream.finish();
    // Status 404, and no bytes: it is answered.
    expect(await stream.read(64)).toEqual(new Uint8Array([404 >> 8, 404 & 255, 0, 0, 0, 0]));
  });

  it("tells strangers nothing, and takes nothing but endpoints", async () => {
    const { route, refused } = source();
    const own = fromUtf8(JSON.stringify({ endpointId: member }));
    await expect(route.answer("b".repeat(64), own)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(refused).toEqual(["unknown_peer"]);
    for (const bad of ["", "{}", "null", '{"endpointId":7}', `{"endpointId":"${member}","addresses":[7]}`]) {
      await expect(route.answer(member, fromUtf8(bad))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    expect(endpointMethod).toBe("bulk.endpoint");
  });
});
