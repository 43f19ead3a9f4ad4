import { seededRandom, toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { MemberRole, NodeRecord } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import type { DataDir } from "./data-dir.ts";
import { type FoundData, planStart } from "./start-mode.ts";

const record = (id: number, role: MemberRole): NodeRecord => ({
  ...{
    id,
    role,
    name: `n${id}`,
    endpointId: toHex(seededRandom(id).bytes(32)),
    addresses: [`127.0.0.1:${7_000 + id}`],
  },
  ...{ incarnation: 1, capacity: { vcpus: 1, memoryMiB: 64, drivers: [] }, version: "0.0.0", featureLevel: 1 },
  ...{ joinedUnixMs: 1, cordoned: false },
});

function planOf(nodes: readonly NodeRecord[]) {
  const found = {
    ...{ hasStore: false, hasKey: true, recovery: {} },
    members: { nodeId: 1, clusterId: "c", role: "voter", incarnation: 1, nodes },
  } as unknown as FoundData;
  const dataDir = { path: "data", nodeId: 1, nodeFile: { nodeId: 1, clusterId: "c" } } as unknown as DataDir;
  const signal = new AbortController().signal;
  return planStart(undefined, dataDir, found, { env: {}, clock: systemClock, signal, endpointId: "ab".repeat(32) });
}

describe("planStart after recover", () => {
  it("asks the other voters to let it in again, and nobody whose word about the members counts for nothing", async () => {
    const roles = ["voter", "worker", "learner", "witness", "voter"] as const;
    const nodes = roles.map((role, at) => record(at + 1, role));
    const plan = await planOf(nodes);
    const asked = plan.type === "join" ? plan.target.endpoints.map(({ endpointId }) => endpointId) : [];
    expect(asked).toEqual([nodes[4]?.endpointId]);
  });

  it("wants to be told whom to ask when it knows no other voter", async () => {
    await expect(planOf([record(1, "voter"), record(2, "worker")])).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      hint: expect.stringContaining("--join HOST:PORT"),
    });
  });
});
