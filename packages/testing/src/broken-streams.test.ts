/** Streams whose connections break: between the client and the node that it asks, and between that and the VM's node. */
import { connectClient, redeemTicket } from "@blixard/client";
import { concatBytes, discardMetrics, silentLogger, toUtf8, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { endpointIdOfSeed } from "@blixard/identity";
import { decodeTicket, type StreamOutputOf } from "@blixard/protocol";
import { createTransport, type TransportAdapter } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { createFaultyAdapter } from "@blixard/transport/testing";
import { afterEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import type { TestNode } from "./test-node.ts";

const heartbeatMs = 50;
const patience = () => ({ signal: AbortSignal.timeout(60_000) });

describe.each(["memory", "iroh"] as const)("streams over %s whose connections break", (technology) => {
  const closing: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of closing.splice(0).reverse()) await each.close();
  });

  /** A viewer with a key of its own, on a network that can be cut; `openings` counts the streams that it asked for. */
  async function viewerOf(cluster: TestCluster, node: TestNode) {
    const secretKey = systemRandom.bytes(32);
    const adapter = createFaultyAdapter(adapterOf(cluster, secretKey));
    const shared = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
    const transport = createTransport({ ...shared, adapter }, { nodeId: 0, heartbeatMs });
    const addresses = technology === "memory" ? [] : [node.address];
    const to = { endpointId: node.endpointId, addresses };
    await using admin = await node.client();
    const { ticket } = await admin.tickets.create({ role: "viewer" });
    const deps = { rpc: transport.call, random: systemRandom, endpointId: transport.endpointId };
    await redeemTicket(deps, { ...decodeTicket(ticket), endpoints: [to] }, { timeoutMs: 60_000 });
    const openings = new Watch(0);
    const stream: typeof transport.stream = (...call) => {
      openings.update((count) => count + 1);
      return transport.stream(...call);
    };
    const client = connectClient({ addresses: [{ ...to, rpc: transport.call, stream }], timeoutMs: 60_000 });
    closing.push(transport, client);
    return { client, openings, cut: (cut: boolean) => adapter.setBlocked(cut ? [node.endpointId] : []) };
  }

  function adapterOf(cluster: TestCluster, secretKey: Uint8Array): TransportAdapter {
    if (technology === "memory") return cluster.network.createAdapter({ endpointId: endpointIdOfSeed(secretKey) });
    return createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false });
  }

  it("gives every byte that a VM prints to who follows its logs, once and in order", async () => {
    await using cluster = await TestCluster.builder().withTransport(technology).build();
    await using admin = await cluster.leaderClient();
    await admin.vms.create("web", { image: "demo", memoryMiB: 64 });
    const { node: ownerId } = await admin.vms.waitForPhase("web", ["Running"]);
    const owner = cluster.node(ownerId ?? 0);
    const asked = cluster.nodes.find((node) => node !== owner) as TestNode;
    await using writer = await owner.client();
    const viewer = await viewerOf(cluster, asked);

    const over = new AbortController();
    closing.push({ close: () => over.abort() });
    const pieces = new Watch<readonly StreamOutputOf<"vm.logs">[]>([]);
    const following = (async () => {
      const output = viewer.client.vms.followLogs({ name: "web", offset: 0 }, { signal: over.signal });
      for await (const piece of output) pieces.update((all) => [...all, piece]);
    })();
    following.catch(() => {});
    const followed = (level: Promise<unknown>) => Promise.race([level, following]);
    const text = () => toUtf8(concatBytes(pieces.value.map(({ data }) => data)));
    let line = 0;
    const print = async () => {
      line++;
      await writer.call("vm.consoleWrite", { name: "web", data: new TextEncoder().encode(`line ${line}`) });
    };
    const printed = async () => {
      const last = `line ${line}\n`;
      await followed(pieces.until(() => text().includes(last), patience()));
    };

    await print();
    await printed();
    const cuts = [viewer.cut, (cut: boolean) => owner.setBlocked(cut ? [asked.endpointId] : [])];
    for (const cut of cuts) {
      const opened = viewer.openings.value;
      // Some of it may be on its way when the connection breaks, and comes no more.
      await Promise.all([print(), print()]);
      cut(true);
      await print();
      await followed(viewer.openings.until((count) => count > opened, patience()));
      await print();
      cut(false);
      await print();
      await printed();
    }
    over.abort();
    await expect(following).rejects.toBeDefined();
    const { data } = await writer.vms.readConsole({ name: "web", offset: 0 });
    expect(text()).toBe(toUtf8(data));
    expect(text().split("\n").length).toBeGreaterThan(line);
  });

  it("tells who watches keys what became of them meanwhile, nothing twice", async () => {
    await using cluster = await TestCluster.builder().withNodes(1).withTransport(technology).build();
    await using writer = await cluster.node(1).client();
    const viewer = await viewerOf(cluster, cluster.node(1));
    for (const key of ["k/kept", "k/changed", "k/deleted"]) await writer.kv.put(key, "1");

    const over = new AbortController();
    closing.push({ close: () => over.abort() });
    const told = new Watch<readonly string[]>([]);
    const watching = (async () => {
      for await (const change of viewer.client.kv.watch("k/", { signal: over.signal })) {
        const text = change.type === "put" ? `${change.entry.key}=${change.entry.value}` : JSON.stringify(change);
        told.update((all) => [...all, text]);
      }
    })();
    watching.catch(() => {});
    const watched = (level: Promise<unknown>) => Promise.race([level, watching]);
    await watched(told.until((all) => all.length === 4, patience()));
    const opened = viewer.openings.value;
    viewer.cut(true);
    await writer.kv.put("k/changed", "2");
    await writer.kv.delete("k/deleted");
    await writer.kv.put("k/passing", "1");
    await writer.kv.delete("k/passing");
    await writer.kv.put("k/new", "1");
    await watched(viewer.openings.until((count) => count > opened, patience()));
    viewer.cut(false);
    await watched(told.until((all) => all.includes("k/new=1"), patience()));
    await writer.kv.put("k/kept", "2");
    await watched(told.until((all) => all.includes("k/kept=2"), patience()));
    over.abort();
    expect(told.value).toEqual([
      ...["k/kept=1", "k/changed=1", "k/deleted=1", '{"type":"current"}'],
      ...['{"type":"delete","key":"k/deleted"}', "k/changed=2", "k/new=1", "k/kept=2"],
    ]);
  });
});
