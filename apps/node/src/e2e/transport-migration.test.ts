/** `docs/migrating-from-grpc.md` as a test: a cluster under load changes what its nodes talk over, node by node. */
import type { NodeStatus } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const nodeIds = [1, 2, 3];
const writersCount = 2;
/** Each writer goes round its keys, so that the state stays small however fast the machine is. */
const keysPerWriter = 500;
/** Longer than this nothing is heard only of a node that is gone. */
const contactMs = 2_000;

const flagsOf = (transport: string) => ["--transport", transport, "--vm-driver", "fake"];

describe("a cluster of three processes that began over gRPC", () => {
  let cluster: ProcessCluster;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: flagsOf("grpc") });
  });

  afterAll(async () => {
    await cluster?.close();
  });

  /** Waits until each node has its sessions with the others, over `transport` if one is named. */
  const untilConnected = async (transport?: string) => {
    for (const id of nodeIds) {
      const what = `node ${id} to be connected over ${transport ?? "anything"}`;
      try {
        await cluster.waitFor(what, (status) => isConnected(status, id, transport));
      } catch (error) {
        throw new Error(`${what}: ${await sessionsOf(cluster)}`, { cause: error });
      }
    }
  };

  it("talks over gRPC", async () => {
    await untilConnected("grpc");
    for (const id of nodeIds) expect((await cluster.status(id)).members.map(({ role }) => role)).toContain("voter");
  });

  it.each(["dual", "iroh", "dual", "grpc"])("moves to %s without a failed write", async (transport) => {
    const stop = new AbortController();
    const writers = Array.from({ length: writersCount }, (_, writer) =>
      writeUntil(stop.signal, cluster, `${transport}/${writer}/`),
    );
    const ended = Promise.allSettled(writers);
    try {
      for (const id of nodeIds) {
        await cluster.restart(id, { signal: "SIGTERM", flags: flagsOf(transport) });
        await untilConnected();
      }
      // Between nodes that have both, Iroh carries everything once it was healthy for a while.
      await untilConnected(transport === "dual" ? "iroh" : transport);
    } finally {
      stop.abort();
      await ended;
    }
    const client = cluster.client();
    for (const [writer, written] of (await Promise.all(writers)).entries()) {
      expect(written.size).toBeGreaterThan(0);
      const { items } = await client.kv.list(`${transport}/${writer}/`, { limit: 2 * keysPerWriter });
      // The second time around, keys of the first time are there as well.
      const present = new Map(items.map(({ key, value }) => [key, value]));
      expect(new Map([...written.keys()].map((key) => [key, present.get(key)]))).toEqual(written);
    }
    client.close();
  });

  it("shows why a node with both uses gRPC with one that has nothing else", async () => {
    await cluster.restart(1, { signal: "SIGTERM", flags: flagsOf("dual") });
    await untilConnected();
    const { members } = await cluster.status(1);
    for (const member of members.filter(({ id }) => id !== 1)) {
      expect(member.transport).toBe("grpc");
      expect(member.transportReason).toMatch(/iroh|chosen by the peer/);
    }
  });
});

function isConnected({ nodeId, leaderId, members }: NodeStatus, id: number, transport: string | undefined): boolean {
  const others = members.filter((member) => member.id !== id);
  return (
    nodeId === id &&
    leaderId !== null &&
    members.length === nodeIds.length &&
    others.every(({ path, lastContactMs }) => path !== "none" && (lastContactMs ?? contactMs) < contactMs) &&
    (transport === undefined || others.every((member) => member.transport === transport))
  );
}

/**
 * Writes one key after the other. A write is repeated with the same idempotency key while the node that was asked is
 * away; one that fails nevertheless rejects. Resolves with the last value of each key that was acknowledged.
 */
async function writeUntil(stop: AbortSignal, cluster: ProcessCluster, prefix: string): Promise<Map<string, string>> {
  const written = new Map<string, string>();
  const client = cluster.client();
  try {
    for (let n = 0; !stop.aborted; n++) {
      const key = `${prefix}${n % keysPerWriter}`;
      const value = `${Date.now()} ${n}`;
      await client.kv.put(key, value);
      written.set(key, value);
    }
  } finally {
    client.close();
  }
  return written;
}

/** What every node says of its peers, for a failure's message. */
async function sessionsOf(cluster: ProcessCluster): Promise<string> {
  const said = await Promise.all(
    nodeIds.map(async (id) => {
      const status = await cluster.status(id).catch((error: unknown) => String(error));
      return typeof status === "string" ? status : { id, leader: status.leaderId, members: status.members };
    }),
  );
  return `${JSON.stringify(said, undefined, 1)}\n${cluster.diagnostics()}`;
}
