import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { BulkLaneDeps } from "./bulk-lane.ts";
import { bulkLimits } from "./bulk-limits.ts";
import type { BulkFetch } from "./bulk-types.ts";
import { makeManifest } from "./manifest.ts";
import { acquaint, type BulkNode, callOf, memoryObject, randomContent, startBulkNode } from "./testing/bulk-fixture.ts";

const nodes: BulkNode[] = [];
const directories: string[] = [];
const name = { kind: "image", id: "abc" } as const;
const key = "image/abc";
const { chunkBytes } = bulkLimits;
const content = randomContent(7, 6 * chunkBytes + 1_234);

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.kill()));
  await Promise.all(directories.splice(0).map((path) => rm(path, { recursive: true, force: true })));
});

/** Node 1 fetches; the others hold the content. */
async function start(count: number) {
  const started = await Promise.all(Array.from({ length: count }, (_, at) => startBulkNode(at + 1)));
  nodes.push(...started);
  acquaint(started);
  const objects = started.map((node) => {
    const object = memoryObject(content);
    if (node.nodeId !== 1) node.objects.set(key, object);
    return object;
  });
  const directory = await mkdtemp(join(tmpdir(), "blixard-bulk-"));
  directories.push(directory);
  const path = join(directory, "partial");
  const fetch = (more: Partial<BulkFetch> = {}) =>
    (started[0] as BulkNode).lane.fetch({
      name,
      sources: started.slice(1).map(({ nodeId }) => nodeId),
      sizeBytesMax: 1024 ** 3,
      path,
      signal: new AbortController().signal,
      ...more,
    });
  return { nodes: started as [BulkNode, BulkNode, BulkNode], objects, path, fetch };
}

async function expectContent(path: string): Promise<void> {
  expect(Buffer.compare(await readFile(path), content)).toBe(0);
}

describe("the bulk lane", () => {
  it("fetches from all sources, verified", async () => {
    const { nodes, path, fetch } = await start(3);
    const { contentId } = await makeManifest(memoryObject(content));
    const fetched = await fetch();
    expect(fetched).toMatchObject({ contentId, sizeBytes: content.length });
    expect([...fetched.sources].sort()).toEqual([2, 3]);
    await expectContent(path);
    const sent = nodes.slice(1).map(({ metrics }) => metrics.count("blixard_bulk_bytes_total sent direct"));
    expect(sent[0]).toBeGreaterThan(0);
    expect((sent[0] ?? 0) + (sent[1] ?? 0)).toBe(content.length);
    expect(nodes[0].lane.routes()).toEqual(
      expect.arrayContaining([2, 3].map((nodeId) => ({ nodeId, route: "direct", reason: null }))),
    );
  });

  it("fetches what is empty", async () => {
    const { nodes, path, fetch } = await start(2);
    nodes[1].objects.set(key, memoryObject(new Uint8Array()));
    expect((await fetch()).sizeBytes).toBe(0);
    expect((await readFile(path)).length).toBe(0);
  });

  it("finishes from another source when one is killed on the way", async () => {
    const { nodes, objects, path, fetch } = await start(3);
    let reads = 0;
    const killed = objects[1];
    if (killed === undefined) throw new Error("no second node");
    killed.intercept = async (_, bytes) => {
      // Its manifest takes seven reads; it dies over the chunks after that.
      if (++reads === 9) void nodes[1].kill();
      return reads >= 9 ? await new Promise<Uint8Array>(() => {}) : bytes;
    };
    await fetch();
    await expectContent(path);
    expect(reads).toBeGreaterThanOrEqual(9);
    expect(nodes[0].metrics.count("blixard_bulk_sources_dropped_total lost")).toBeGreaterThan(0);
  });

  it("drops a source whose chunks are wrong, and counts it", async () => {
    const { nodes, objects, path, fetch } = await start(3);
    let reads = 0;
    const liar = objects[2];
    if (liar === undefined) throw new Error("no third node");
    liar.intercept = async (_, bytes) => (++reads > 7 ? bytes.fill((bytes[10] ?? 0) ^ 1, 10, 11) : bytes);
    await fetch();
    await expectContent(path);
    expect(nodes[0].metrics.count("blixard_bulk_sources_dropped_total bad_chunk")).toBe(1);
  });

  it("does not take a manifest with another content id than the known one", async () => {
    const { nodes, path, fetch } = await start(3);
    const { contentId } = await makeManifest(memoryObject(content));
    nodes[1].objects.set(key, memoryObject(randomContent(8, 3 * chunkBytes)));
    await fetch({ contentId });
    await expectContent(path);
    await expect(fetch({ contentId, sources: [2] })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(nodes[0].metrics.count("blixard_bulk_sources_dropped_total bad_manifest")).toBeGreaterThan(0);
  });

  it("believes what most sources say while the content id is not known", async () => {
    const { nodes, path, fetch } = await start(4);
    nodes[1].objects.set(key, memoryObject(randomContent(8, content.length)));
    expect([...(await fetch()).sources].sort()).toEqual([3, 4]);
    await expectContent(path);
  });

  it("goes on with what is on the disk, and repairs what is wrong there", async () => {
    const { nodes, path, fetch } = await start(2);
    const file = await open(path, "w");
    await file.write(content.subarray(0, 3 * chunkBytes + 99));
    await file.write(new Uint8Array(50), 0, 50, chunkBytes + 5);
    await file.close();
    await fetch();
    await expectContent(path);
    expect(nodes[0].metrics.count("blixard_bulk_reused_bytes_total")).toBe(2 * chunkBytes);
    expect(nodes[1].metrics.count("blixard_bulk_bytes_total sent direct")).toBe(content.length - 2 * chunkBytes);
  });

  it("fetches no zeros into a sparse file, and says before it begins how much is to come", async () => {
    const { nodes, path, fetch } = await start(2);
    const sparse = new Uint8Array(6 * chunkBytes);
    sparse.set(content.subarray(0, chunkBytes), 3 * chunkBytes);
    nodes[1].objects.set(key, memoryObject(sparse));
    const missing: number[] = [];
    const onMissing = async (bytes: number) => void missing.push(bytes);
    await fetch({ sparse: true, onMissing });
    expect(Buffer.compare(await readFile(path), sparse)).toBe(0);
    expect(nodes[1].metrics.count("blixard_bulk_bytes_total sent direct")).toBe(chunkBytes);
    await fetch({ sparse: true, onMissing });
    expect(missing).toEqual([chunkBytes, 0]);
    await rm(path);
    const refusal = new Error("no room");
    await expect(fetch({ sparse: true, onMissing: () => Promise.reject(refusal) })).rejects.toBe(refusal);
    expect(nodes[1].metrics.count("blixard_bulk_bytes_total sent direct")).toBe(chunkBytes);
  });

  it("tells who asks, so that what is for one member is for no other", async () => {
    const { nodes, fetch, path } = await start(2);
    const readers: (string | undefined)[] = [];
    nodes[1].lane.provide("disk", async (id, reader) => {
      readers.push(reader);
      return id === "mine" && reader === nodes[0].peer.endpointId ? memoryObject(content) : undefined;
    });
    await expect(fetch({ name: { kind: "disk", id: "others" } })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await fetch({ name: { kind: "disk", id: "mine" } });
    await expectContent(path);
    expect(new Set(readers)).toEqual(new Set([nodes[0].peer.endpointId]));
  });

  it("refuses whoever is no member, at the door and on an open connection", async () => {
    const { nodes, fetch } = await start(2);
    await fetch();
    nodes[1].members.splice(0);
    await expect(fetch()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(nodes[1].metrics.count("blixard_bulk_refusals_total unknown_peer")).toBeGreaterThan(0);
    const stranger = await startBulkNode(9);
    nodes.push(stranger);
    stranger.members.push(nodes[1].peer);
    const before = nodes[1].metrics.count("blixard_bulk_refusals_total unknown_peer");
    const path = join(directories[0] ?? "", "stolen");
    const signal = new AbortController().signal;
    const wanted = { name, sources: [2], sizeBytesMax: 1024 ** 3, path, signal };
    await expect(stranger.lane.fetch(wanted)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(nodes[1].metrics.count("blixard_bulk_refusals_total unknown_peer")).toBeGreaterThan(before);
    await stranger.kill();
  });

  it("answers the methods of the RPC lane that other releases call", async () => {
    const { nodes } = await start(1);
    expect([...nodes[0].lane.rpcMethods.keys()]).toEqual(["bulk.read", "bulk.endpoint"]);
  });

  it("goes over the RPC lane where there is no direct route, and refuses strangers there", async () => {
    const { nodes, path } = await start(2);
    const wanted = { name, sources: [2], sizeBytesMax: 1024 ** 3, path, signal: new AbortController().signal };
    const call: BulkLaneDeps["call"] = (_, method, payload) =>
      callOf(nodes[1], method, caller.peer.endpointId, payload);
    const caller: BulkNode = await startBulkNode(3, { call });
    const small = randomContent(3, chunkBytes + 7);
    nodes[1].objects.set(key, memoryObject(small));
    caller.members.push({ ...nodes[1].peer, addresses: ["127.0.0.1:1"] });
    await expect(caller.lane.fetch(wanted)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(nodes[1].metrics.count("blixard_bulk_refusals_total unknown_peer")).toBeGreaterThan(0);
    nodes[1].members.push(caller.peer);
    await caller.lane.fetch(wanted);
    expect(Buffer.compare(await readFile(path), small)).toBe(0);
    expect(caller.metrics.count("blixard_bulk_bytes_total received rpc")).toBe(small.length);
    expect(caller.lane.routes()).toEqual([{ nodeId: 2, route: "rpc", reason: expect.stringMatching(/ECONNREFUSED/) }]);
    await caller.kill();
  });

  it("says when nobody holds it, and ends at once when it is cancelled", async () => {
    const { nodes, fetch } = await start(2);
    nodes[1].objects.clear();
    await expect(fetch()).rejects.toMatchObject({ code: "NOT_FOUND" });
    const cancel = new AbortController();
    const slow = memoryObject(content);
    let reads = 0;
    slow.intercept = async (_, bytes) => {
      if (++reads < 8) return bytes;
      cancel.abort(new Error("enough"));
      return await new Promise(() => {});
    };
    nodes[1].objects.set(key, slow);
    await expect(fetch({ signal: cancel.signal })).rejects.toThrow();
    expect(nodes[0].metrics.count("blixard_bulk_transfers_total image cancelled")).toBe(1);
  });
});
