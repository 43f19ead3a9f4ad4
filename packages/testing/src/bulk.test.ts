import { nanoGuestElf } from "@blixard/vm-manager";
import { afterEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import type { TestNode } from "./test-node.ts";

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.shutdown();
});

/** A figure of the node's metrics; 0 while it has none. */
async function metric(node: TestNode, name: string): Promise<number> {
  const authorization = `Bearer ${await node.token()}`;
  const text = await (await fetch(`${node.http}/metrics`, { headers: { authorization } })).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

describe("the bulk lane in a cluster", () => {
  it("brings the snapshot to a node that joins", async () => {
    cluster = await TestCluster.builder().withNodes(1).withConfig({ snapshotEntries: 100 }).build();
    const first = cluster.node(1);
    await using client = await cluster.leaderClient();
    const large = "x".repeat(60_000);
    await Promise.all(Array.from({ length: 8 }, (_, at) => client.kv.put(`large/${at}`, `${large}${at}`)));
    // The log keeps the last thousand entries: more than that, and the first ones come only with a snapshot.
    const write = async (writer: number) => {
      for (let at = 0; at < 70; at++) await client.kv.put(`small/${writer}`, String(at));
    };
    await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)));
    const second = await cluster.addNode();
    await using joined = await second.client();
    expect(await joined.kv.get("large/7")).toMatchObject({ value: `${large}7` });
    const received = 'blixard_bulk_bytes_total{direction="received",route="direct"}';
    expect(await metric(second, received)).toBeGreaterThan(8 * 60_000);
    expect(await metric(first, received.replace("received", "sent"))).toBe(await metric(second, received));
    expect(await metric(second, 'blixard_bulk_transfers_total{kind="snapshot",result="done"}')).toBeGreaterThan(0);
  });

  it.each([
    ["direct", "iroh"],
    ["rpc", "memory"],
  ] as const)("brings an image to the node that runs its VM, over the way %s", async (route, transport) => {
    // Addresses of the memory network lead to no TCP port, so that nothing but the RPC lane is left.
    cluster = await TestCluster.builder().withNodes(2).withTransport(transport).build();
    const [first, second] = [cluster.node(1), cluster.node(2)];
    await using client = await first.client();
    const kernel = new Uint8Array(1_500_000).fill(9);
    kernel.set(nanoGuestElf());
    async function* bytes(): AsyncIterable<Uint8Array> {
      yield kernel;
    }
    const { digest, sizeBytes } = await client.images.uploadBlob(bytes());
    const blobs = [{ role: "kernel" as const, digest, sizeBytes }];
    await client.images.put({ name: "mine", format: "multiboot", blobs, sources: [1] });
    await client.nodes.cordon(1, true);
    await client.vms.create("web", { image: "mine", memoryMiB: 64 });
    await client.vms.waitForPhase("web", ["Running"]);
    const received = `blixard_bulk_bytes_total{direction="received",route="${route}"}`;
    expect(await metric(second, received)).toBe(kernel.length);
    expect(await metric(first, received.replace("received", "sent"))).toBe(kernel.length);
    const { members } = await second.status();
    expect(members.find(({ id }) => id === 1)?.bulk).toMatchObject({ route });
  });
});
