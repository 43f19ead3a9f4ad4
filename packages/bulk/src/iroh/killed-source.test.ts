/** A source whose process is killed over real Iroh, in the middle of a transfer: nobody says goodbye, its bytes just end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlixardError, fromHex, toHex } from "@blixard/common";
import type { Peer } from "@blixard/transport";
import { afterEach, beforeEach, describe, expect, it, jest } from "@jest/globals";
import type { BulkLaneDeps } from "../bulk-lane.ts";
import { bulkLimits } from "../bulk-limits.ts";
import { type BulkNode, callOf, memoryObject, randomContent, startBulkNode } from "../testing/bulk-fixture.ts";

const { chunkBytes } = bulkLimits;
const key = "image/abc";
const size = 5 * chunkBytes + 1_234;
/** Making the manifest reads each chunk once. */
const manifestReads = 6;
const answeredReads = 2;

/**
 * A source in a process of its own, out of the build as its worker is. It answers calls of the RPC lane over the channel
 * of the process, and gives two chunks, no more.
 */
const sourceProgram = `
  const [fixture, size, reader] = process.argv.slice(2);
  const { callOf, memoryObject, randomContent, startBulkNode } = await import(fixture);
  const node = await startBulkNode(2, { iroh: true });
  node.members.push(JSON.parse(reader));
  const object = memoryObject(randomContent(7, Number(size)));
  let reads = 0;
  object.intercept = async (_, bytes) => (++reads > ${manifestReads + answeredReads} ? await new Promise(() => {}) : bytes);
  node.objects.set("${key}", object);
  process.on("message", async ({ id, method, caller, payload }) => {
    const answer = await callOf(node, method, caller, new Uint8Array(Buffer.from(payload, "hex")));
    process.send({ id, answer: Buffer.from(answer).toString("hex") });
  });
  process.send({ peer: node.peer });
`;

type FromSource = { readonly peer: Peer } | { readonly id: number; readonly answer: string };

describe("the route over Iroh", () => {
  const children: ChildProcess[] = [];
  const nodes: BulkNode[] = [];
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-bulk-"));
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const child of children.splice(0)) child.kill("SIGKILL");
    await Promise.all(nodes.splice(0).map((node) => node.kill()));
    await rm(directory, { recursive: true });
  });

  async function startNode(nodeId: number, call: BulkLaneDeps["call"]): Promise<BulkNode> {
    const node = await startBulkNode(nodeId, { iroh: true, call });
    nodes.push(node);
    return node;
  }

  async function startSource(reader: Peer) {
    const fixture = new URL("../../dist/testing/bulk-fixture.js", import.meta.url).href;
    const parameters = [fixture, String(size), JSON.stringify(reader)];
    // A file, because its worker would take over the options of a program that is given as text.
    const program = join(directory, "source.mjs");
    await writeFile(program, sourceProgram);
    const child = spawn(process.execPath, [program, ...parameters], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    children.push(child);
    const died = once(child, "exit").then(() => Promise.reject(new Error("the source did not start")));
    died.catch(() => {});
    const [first] = (await Promise.race([once(child, "message"), died])) as [FromSource];
    if (!("peer" in first)) throw new Error("the source did not start");
    const open = new Map<number, (answer: string) => void>();
    child.on("message", (message: FromSource) => "id" in message && open.get(message.id)?.(message.answer));
    const answer = async (method: string, payload: Uint8Array) => {
      const id = open.size;
      const answered = new Promise<string>((resolve) => open.set(id, resolve));
      child.send({ id, method, caller: reader.endpointId, payload: toHex(payload) });
      return fromHex(await answered) ?? new Uint8Array();
    };
    return { child, peer: first.peer, answer };
  }

  it("goes on from another source, with what it has, when a source is killed", async () => {
    // What is silent for ten seconds counts as dead. That it is found out is the point here, not how long it takes.
    jest.replaceProperty(bulkLimits as { stallMs: number }, "stallMs", 2_000);
    const called = new Map<number, (method: string, payload: Uint8Array) => Promise<Uint8Array>>();
    const call: BulkLaneDeps["call"] = async (to, method, payload) => {
      const answer = called.get(to);
      if (answer === undefined) throw new BlixardError("UNREACHABLE", "it is gone");
      return await answer(method, payload);
    };
    const [reader, other] = [await startNode(1, call), await startNode(3, call)];
    const doomed = await startSource(reader.peer);
    called.set(2, doomed.answer);
    called.set(3, (method, payload) => callOf(other, method, reader.peer.endpointId, payload));
    // Their TCP side is somewhere else.
    reader.members.push(...[doomed.peer, other.peer].map((peer) => ({ ...peer, addresses: ["127.0.0.1:1"] })));
    other.members.push(reader.peer);

    const content = randomContent(7, size);
    const object = memoryObject(content);
    const killed = once(doomed.child, "exit");
    let reads = 0;
    // The other one gives nothing before the first has given something and is dead.
    object.intercept = async (_, bytes) => {
      if (++reads > manifestReads) await killed;
      return bytes;
    };
    other.objects.set(key, object);
    const path = join(directory, "partial");
    await reader.lane.fetch({
      name: { kind: "image", id: "abc" },
      sources: [2, 3],
      sizeBytesMax: 1024 ** 3,
      path,
      signal: new AbortController().signal,
      onProgress: (verifiedBytes) => {
        if (verifiedBytes === 0) return;
        called.delete(2);
        doomed.child.kill("SIGKILL");
      },
    });
    expect(Buffer.compare(await readFile(path), content)).toBe(0);
    expect(await killed).toEqual([null, "SIGKILL"]);
    expect(reader.metrics.count("blixard_bulk_bytes_total received iroh")).toBe(size);
    expect(reader.metrics.count("blixard_bulk_sources_dropped_total lost")).toBeGreaterThan(0);
    const sent = other.metrics.count("blixard_bulk_bytes_total sent iroh");
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThanOrEqual(size - chunkBytes);
  });
});
