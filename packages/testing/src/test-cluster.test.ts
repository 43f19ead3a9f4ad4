import { RetryClient } from "@blixard/client";
import { afterEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import { TestNode, type TestTransport } from "./test-node.ts";

const transports: readonly TestTransport[] = ["iroh", "grpc", "dual", "memory"];

describe.each(transports)("TestNode over %s", (transport) => {
  it("runs, is healthy, keeps its data over a restart, and stops", async () => {
    await using node = await TestNode.builder().withTransport(transport).build();
    expect(node.isRunning()).toBe(true);
    await using client = await node.client();
    expect(await client.healthCheck()).toMatchObject({ healthy: true, nodeId: 1 });
    await client.kv.put("k", "v");
    await node.restart();
    await using again = await RetryClient.connect(node.address, { token: await node.token() });
    expect(await again.kv.get("k")).toMatchObject({ value: "v" });
    await node.stop();
    expect(node.isRunning()).toBe(false);
  });
});

describe.each(transports)("TestCluster over %s", (transport) => {
  let cluster: TestCluster | undefined;
  afterEach(async () => {
    await cluster?.shutdown();
  });

  it("forms, elects a leader, grows and shrinks", async () => {
    cluster = await TestCluster.builder().withNodes(3).withTransport(transport).build();
    expect(cluster.nodeCount()).toBe(3);
    const leader = await cluster.waitForLeader();
    await using client = await cluster.leaderClient();
    expect(await client.healthCheck()).toMatchObject({ healthy: true, nodeId: leader.id });
    await client.kv.put("k", "v");

    const fourth = await cluster.addNode();
    expect(cluster.nodeCount()).toBe(4);
    await using fourthClient = await fourth.client();
    expect(await fourthClient.kv.get("k")).toMatchObject({ value: "v" });

    const follower = cluster.nodes.find(({ id }) => id !== leader.id && id !== fourth.id);
    if (follower === undefined) throw new Error("three nodes have two followers");
    await client.members.remove(follower.id);
    // The removed node finds out by itself while it runs.
    await expect(follower.ended).resolves.toMatchObject({ code: "REMOVED" });
    expect(follower.isRunning()).toBe(false);
    await cluster.removeNode(follower.id);
    expect(cluster.nodeCount()).toBe(3);
    expect((await client.members.list()).map(({ id }) => id)).not.toContain(follower.id);
    await client.kv.put("k", "w");
    expect(await fourthClient.kv.get("k")).toMatchObject({ value: "w" });
  });

  it("goes on with its majority when the leader is cut off, and agrees again when healed", async () => {
    cluster = await TestCluster.builder().withNodes(3).withTransport(transport).build();
    const old = await cluster.waitForLeader();
    cluster.partition([old.id]);
    const elected = await cluster.waitForLeader();
    expect(elected.id).not.toBe(old.id);
    await using client = await elected.client();
    await client.kv.put("side", "majority");
    // The old leader may neither write nor answer a linearizable read while it is alone.
    await using alone = await old.client();
    await expect(alone.kv.put("side", "minority", { timeoutMs: 2_500 })).rejects.toMatchObject({
      code: expect.stringMatching(/NO_LEADER|NOT_LEADER|UNAVAILABLE|DEADLINE_EXCEEDED|OUTCOME_UNKNOWN/),
    });
    await expect(alone.kv.get("side", { timeoutMs: 2_500 })).rejects.toMatchObject({ code: expect.any(String) });
    expect(await alone.kv.get("side", { stale: true })).toBeUndefined();
    cluster.heal();
    await cluster.waitFor("one leader for all", (statuses) =>
      statuses.length === 3 && statuses.every(({ leaderId }) => leaderId === statuses[0]?.leaderId && leaderId !== null)
        ? true
        : undefined,
    );
    expect(await alone.kv.get("side")).toMatchObject({ value: "majority" });
  });
});
