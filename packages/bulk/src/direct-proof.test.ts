import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { createNodeCertificate, NodeTls, type OperatorTls } from "@blixard/identity";
import { TestCa } from "@blixard/identity/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { bulkAlpn } from "./direct-channel.ts";
import { acquaint, type BulkNode, memoryObject, randomContent, startBulkNode } from "./testing/bulk-fixture.ts";

const content = randomContent(3, 5_000);
const name = { kind: "image", id: "abc" } as const;
const refused = "blixard_bulk_refusals_total unknown_peer";

describe("the bulk lane with an operator's CA", () => {
  const ca = new TestCa(systemClock);
  let directory: string;
  let nodes: BulkNode[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-bulk-ca-"));
    nodes = [];
  });

  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    await rm(directory, { recursive: true, force: true });
  });

  async function start(nodeId: number, loadOperator?: () => OperatorTls): Promise<BulkNode> {
    const node = await startBulkNode(nodeId, loadOperator === undefined ? {} : { loadOperator });
    node.objects.set("image/abc", memoryObject(content));
    nodes.push(node);
    return node;
  }

  const certified = (nodeId: number) => start(nodeId, () => ca.issue(`node ${nodeId}`));

  /** Node 1 fetches from node 2. */
  async function fetch(from: BulkNode) {
    const path = join(directory, "partial");
    const signal = new AbortController().signal;
    await from.lane.fetch({ name, sources: [2], sizeBytesMax: 1024 ** 2, path, signal });
    return readFile(path);
  }

  /** The status of the answer to `path`, or how the connection ended. */
  async function statusOf(node: BulkNode, certificate: object, pathOf: (socket: TLSSocket) => string) {
    const [host = "", port] = (node.peer.addresses[0] ?? "").split(":");
    const tls = { host, port: Number(port), ...certificate, ALPNProtocols: [bulkAlpn], rejectUnauthorized: false };
    const socket = connectTls(tls);
    await once(socket, "secureConnect");
    const session = connectHttp2("https://blixard", { createConnection: () => socket });
    const status = await new Promise<unknown>((resolve) => {
      session.on("error", () => {}).once("close", () => resolve("closed"));
      const stream = session.request({ ":path": pathOf(socket) });
      stream.on("error", () => {}).once("response", (headers) => resolve(headers[":status"]));
    });
    session.destroy();
    return status;
  }

  it("carries bulk data between nodes that it has certified", async () => {
    const [one] = [await certified(1), await certified(2)];
    acquaint(nodes);
    expect(Buffer.compare(await fetch(one), content)).toBe(0);
    expect(one.lane.routes()).toEqual([{ nodeId: 2, route: "direct", reason: null }]);
  });

  it("refuses the key of a member in a certificate that the CA did not issue", async () => {
    const [member, two] = [await start(1), await certified(2)];
    acquaint(nodes);
    await expect(fetch(member)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const certificate = createNodeCertificate(member.secretKey, { clock: systemClock });
    for (const servername of ["blixard", "node-key.blixard.internal"]) {
      expect(await statusOf(two, { ...certificate, servername }, () => "/1/image/abc/manifest")).toBe("closed");
    }
    expect(two.metrics.count(refused)).toBe(2);
  });

  it("refuses a source that the CA did not certify, and one with the key of another node", async () => {
    const [one, two] = [await certified(1), await start(2)];
    acquaint(nodes);
    await expect(fetch(one)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(one.lane.routes()[0]?.reason).toMatch(/not of the CA/);
    const three = await certified(3);
    three.members.push(one.peer);
    one.members.splice(0, 1, { ...two.peer, addresses: three.peer.addresses });
    const stranger = await certified(4);
    stranger.members.push(one.members[0] ?? two.peer);
    three.members.push(stranger.peer);
    await expect(fetch(stranger)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(stranger.lane.routes()[0]?.reason).toMatch(/another node/);
  });

  it("gives nothing before the key of a member is proved on this very connection", async () => {
    const [one, two] = [await certified(1), await certified(2)];
    acquaint(nodes);
    const certificate = ca.issue("somebody");
    const tls = new NodeTls({ clock: systemClock, secretKey: one.secretKey });
    const elsewhere = new NodeTls({ clock: systemClock, secretKey: new Uint8Array(32).fill(9) });
    const proofOf =
      (by: NodeTls, claimed = by.endpointId) =>
      (socket: TLSSocket) =>
        `/1/key/${claimed}/${toHex(by.prove(socket, "client").proof)}`;
    expect(await statusOf(two, certificate, () => "/1/image/abc/manifest")).toBe(403);
    expect(await statusOf(two, certificate, proofOf(elsewhere))).toBe(403);
    expect(await statusOf(two, certificate, proofOf(elsewhere, one.peer.endpointId))).toBe(403);
    let replayed = "";
    const record = (socket: TLSSocket) => (replayed = proofOf(tls)(socket));
    expect(await statusOf(two, certificate, record)).toBe(200);
    expect(await statusOf(two, certificate, () => replayed)).toBe(403);
  });
});
