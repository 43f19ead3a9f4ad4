import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { NodeStatus } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const entriesCount = 1_000;
const writersPerNode = 8;
const nodeIds = [1, 2, 3];

describe("a cluster of three processes over Iroh", () => {
  let cluster: ProcessCluster;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({
      binary: builtBinary(),
      flags: ["--transport", "iroh", "--vm-driver", "fake", "--debug-api", "--snapshot-entries", "400"],
    });
  });

  afterAll(async () => {
    await cluster?.close();
  });

  it("keeps every acknowledged write while each node is killed and restarted once", async () => {
    const acknowledged = new Map<string, string>();
    const pending = Array.from({ length: entriesCount }, (_, n) => n);
    const write = async (nodeId: number) => {
      const client = cluster.client(nodeId);
      try {
        for (let n = pending.shift(); n !== undefined; n = pending.shift()) {
          await client.kv.put(`key/${n}`, `value ${n}`);
          acknowledged.set(`key/${n}`, `value ${n}`);
        }
      } finally {
        client.close();
      }
    };
    // Each writer keeps to its node and repeats a write with the same idempotency key while that node is down.
    const writers = nodeIds.flatMap((id) => Array.from({ length: writersPerNode }, () => write(id)));
    const faults = (async () => {
      for (const id of nodeIds) {
        await cluster.waitForLeader();
        await cluster.restart(id);
      }
    })();
    await Promise.all([...writers, faults]);
    expect(acknowledged.size).toBe(entriesCount);

    for (const id of nodeIds) {
      const client = cluster.client(id);
      const { items } = await client.kv.list("key/", { limit: 10_000 });
      client.close();
      expect(new Map(items.map(({ key, value }) => [key, value]))).toEqual(acknowledged);
    }
  });

  it("holds the same state on every node: equal hashes at an equal index", async () => {
    const { commitIndex } = await cluster.status(await cluster.waitForLeader());
    await Promise.all(
      nodeIds.map(async (id) => {
        const client = cluster.client(id);
        // A linearizable read waits until the node has applied what was committed before.
        await client.kv.list("none/");
        client.close();
      }),
    );
    const hashes = await Promise.all(
      nodeIds.map(async (id) => {
        const client = cluster.client(id);
        const { hash } = await client.cluster.stateHash(commitIndex);
        client.close();
        return hash;
      }),
    );
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(hashes).size).toBe(1);
  });

  it("ends the sessions with a node that is stopped for 12 s, goes on without it, and takes it back", async () => {
    const leader = await cluster.waitForLeader();
    const stopped = nodeIds.find((id) => id !== leader) ?? 0;
    const sessionOf = (of: NodeStatus) =>
      of.nodeId === leader ? of.members.find(({ id }) => id === stopped)?.session : undefined;
    const client = cluster.client(leader);
    const stop = sleep(systemClock, 12_000);
    cluster.node(stopped).signal("SIGSTOP");
    try {
      await cluster.waitFor("the session to end", (status) => /dialing|backoff/.test(sessionOf(status) ?? ""));
      await client.kv.put("while-stopped", "written");
      await stop;
    } finally {
      cluster.node(stopped).signal("SIGCONT");
    }
    await cluster.waitFor("the session to be back", (status) => sessionOf(status) === "ready");
    const late = cluster.client(stopped);
    expect((await late.kv.get("while-stopped"))?.value).toBe("written");
    late.close();
    client.close();
  });

  it("repeats a write with the same idempotency key without applying it twice", async () => {
    const client = cluster.client(2);
    const first = await client.kv.put("once", "a", { idempotencyKey: "repeat-1" });
    await client.kv.put("once", "b");
    const again = await client.kv.put("once", "a", { idempotencyKey: "repeat-1" });
    expect(again.index).toBe(first.index);
    expect((await client.kv.get("once"))?.value).toBe("b");
    client.close();
  });
});
