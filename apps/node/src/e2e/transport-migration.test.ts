/** `docs/migrating-from-grpc.md` as a test: a cluster under load changes what its nodes talk over, node by node. */
import type { NodeStatus } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const nodeIds = [1, 2, 3];
const writersCount = 4;
/** Longer than this nothing is heard only of a node that is gone. */
const contactMs = 2_000;

const flagsOf = (transport: string) => ["--transport", transport, "--vm-driver", "fake"];

describe("a cluster of three processes that began over gRPC", () => {
  let cluster: ProcessCluster;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: flagsOf("grpc") });
  }, 180_000);

  afterAll(async () => {
    await cluster?.close();
  }, 60_000);

  /** Waits until each node has its sessions with the others, over `transport` if one is named. */
  const untilConnected = async (transport?: string) => {
    const connected = ({ nodeId, leaderId, members }: NodeStatus, id: number) =>
      nodeId === id &&
      leaderId !== null &&
      members.length === nodeIds.length &&
      members
        .filter((member) => member.id !== id)
        .every(
          (member) =>
            member.path !== "none" &&
            (member.lastContactMs ?? contactMs) < contactMs &&
            (transport === undefined || member.transport === transport),
        );
    for (const id of nodeIds) {
      await cluster.waitFor(`node ${id} to be connected over ${transport ?? "anything"}`, (status) =>
        connected(status, id),
      );
    }
  };

  it("talks over gRPC", async () => {
    await untilConnected("grpc");
    for (const id of nodeIds) expect((await cluster.status(id)).members.map(({ role }) => role)).toContain("voter");
  }, 60_000);

  it.each(["dual", "iroh", "dual", "grpc"])(
    "moves to %s without a failed write",
    async (transport) => {
      const acknowledged = new Map<string, string>();
      const prefix = `${transport}-${Date.now()}/`;
      let done = false;
      const write = async (writer: number) => {
        const client = cluster.client();
        try {
          for (let n = 0; !done; n++) {
            const key = `${prefix}${writer}/${n}`;
            // Repeated with the same idempotency key while the node that was asked is away. A failure fails the test.
            await client.kv.put(key, `value ${n}`);
            acknowledged.set(key, `value ${n}`);
          }
        } finally {
          client.close();
        }
      };
      const writers = Promise.all(Array.from({ length: writersCount }, (_, writer) => write(writer)));
      try {
        for (const id of nodeIds) {
          await cluster.restart(id, { signal: "SIGTERM", flags: flagsOf(transport) });
          await untilConnected();
        }
        // Between nodes that have both, Iroh carries everything once it was healthy for a while.
        await untilConnected(transport === "dual" ? "iroh" : transport);
      } finally {
        done = true;
        await writers;
      }
      expect(acknowledged.size).toBeGreaterThan(0);
      for (let writer = 0; writer < writersCount; writer++) {
        const client = cluster.client();
        const { items } = await client.kv.list(`${prefix}${writer}/`, { limit: 10_000 });
        client.close();
        const own = [...acknowledged].filter(([key]) => key.startsWith(`${prefix}${writer}/`));
        expect(new Map(items.map(({ key, value }) => [key, value]))).toEqual(new Map(own));
      }
    },
    240_000,
  );

  it("shows why a node with both uses gRPC with one that has nothing else", async () => {
    await cluster.restart(1, { signal: "SIGTERM", flags: flagsOf("dual") });
    await untilConnected();
    const { members } = await cluster.status(1);
    for (const member of members.filter(({ id }) => id !== 1)) {
      expect(member.transport).toBe("grpc");
      expect(member.transportReason).toMatch(/iroh|chosen by the peer/);
    }
  }, 120_000);
});
