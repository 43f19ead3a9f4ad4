import { systemClock } from "@blixard/common/system";
import { type CommandBody, encodeCommand, featureLevels } from "@blixard/protocol";
import { asLogIndex, asTerm, emptyConfState } from "@blixard/raft";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { createClusterStateMachine } from "../cluster-state-machine.ts";
import { sha256 } from "../testing/cluster-group.ts";
import { commandOf, initBody, sampleNode } from "../testing/command-samples.ts";
import { MemoryStateStore } from "../testing/memory-state-store.ts";
import { type ProposeDeps, propose } from "./propose.ts";

const { own } = featureLevels;
let index = 0;
let proposed: number;
let deps: ProposeDeps;

/** A leader of one voter: what it proposes is applied at once. */
beforeEach(async () => {
  const stateMachine = createClusterStateMachine(new MemoryStateStore(), sha256);
  await stateMachine.load();
  index = 0;
  proposed = 0;
  const apply = async (data: Uint8Array) => {
    proposed++;
    index++;
    const at = { index: asLogIndex(index), term: asTerm(1) };
    const [result] = await stateMachine.apply([{ kind: "normal", ...at, data }], {
      ...at,
      confState: emptyConfState(),
    });
    if (result === undefined) throw new Error("an entry was applied without a result");
    return { ...at, result };
  };
  deps = { clock: systemClock, stateMachine, raft: { propose: apply } };
  await apply(encodeCommand(commandOf({ ...initBody, node: sampleNode(1, { featureLevel: own }) } as typeof initBody)));
  proposed = 0;
});

const meta = {
  requestId: "",
  actor: { kind: "system", id: "leader" },
  access: "node",
  timeoutMs: 1,
  stale: false,
  hops: 0,
} as const;
const decide = (body: object) => propose(deps, body as CommandBody, { meta, signal: new AbortController().signal });

describe("propose", () => {
  it("proposes nothing above the level of the cluster, and names the member and the release that hold it", async () => {
    await decide({ type: "node.admit", node: sampleNode(2, { featureLevel: 1, version: "0.1.0" }), ticketId: null });
    const before = proposed;
    await expect(decide({ type: "cluster.setLevel", level: own })).rejects.toMatchObject({
      code: "NEEDS_UPGRADE",
      outcome: "not_applied",
      message: expect.stringContaining("node 2 runs release 0.1.0"),
    });
    expect(proposed).toBe(before);
    await decide({ type: "node.remove", nodeId: 2 });
    expect((await decide({ type: "cluster.setLevel", level: own })).value).toEqual({ level: own });
  });

  it.each([
    ["a field that no replica knows", { type: "kv.put", key: "k", value: "v", ttlSeconds: 1 }],
    ["a value that each replica would refuse", { type: "kv.put", key: "", value: "v" }],
  ])("proposes no entry with %s", async (_, body) => {
    await expect(decide(body)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(proposed).toBe(0);
  });
});
