/** Processes that talk over gRPC, and one of them that could talk over Iroh as well. */
import type { NodeStatus } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const nodeIds = [1, 2, 3];
/** Longer than this nothing is heard only of a node that is gone. */
const contactMs = 2_000;

const flagsOf = (transport: string) => ["--transport", transport, "--vm-driver", "fake"];

describe("a cluster of three processes over gRPC", () => {
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
