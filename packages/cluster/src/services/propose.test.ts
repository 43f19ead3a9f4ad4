import { abortReason, onAbort, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { type CommandBody, encodeCommand, featureLevels } from "@blixard/protocol";
import { asLogIndex, asTerm, emptyConfState } from "@blixard/raft";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { createClusterStateMachine } from "../cluster-state-machine.ts";
import type { Proposals } from "../node-parts.ts";
import { sha256 } from "../testing/cluster-group.ts";
import { commandOf, initBody, sampleNode } from "../testing/command-samples.ts";
import { MemoryStateStore } from "../testing/memory-state-store.ts";
import { createProposals, type ProposeDeps } from "./propose.ts";

const { own } = featureLevels;
let index = 0;
let proposed: Watch<number>;
/** While it is closed, the quorum is silent: entries are appended, and applied later. */
let quorum: Watch<boolean>;
let proposals: Proposals;

/** A leader of one voter: what it proposes is applied at once. */
beforeEach(async () => {
  const stateMachine = createClusterStateMachine(new MemoryStateStore(), sha256);
  await stateMachine.load();
  index = 0;
  proposed = new Watch(0);
  quorum = new Watch(true);
  const apply = async (data: Uint8Array) => {
    proposed.update((count) => count + 1);
    await quorum.until((answers) => answers);
    index++;
    const at = { index: asLogIndex(index), term: asTerm(1) };
    const [result] = await stateMachine.apply([{ kind: "normal", ...at, data }], {
      ...at,
      confState: emptyConfState(),
    });
    if (result === undefined) throw new Error("an entry was applied without a result");
    return { ...at, result };
  };
  // As Raft does it: who gives up is told so at once, and the entry is applied nevertheless.
  const give: ProposeDeps["raft"]["propose"] = (data, { signal } = {}) =>
    new Promise((resolve, reject) => {
      onAbort(signal, () => reject(abortReason(signal)));
      apply(data).then(resolve, reject);
    });
  const budgets = { spendLogBytes: () => {} };
  proposals = createProposals({ clock: systemClock, stateMachine, budgets, raft: { propose: give } });
  await apply(encodeCommand(commandOf({ ...initBody, node: sampleNode(1, { featureLevel: own }) } as typeof initBody)));
  proposed.set(0);
});

const meta = {
  requestId: "",
  actor: { kind: "system", id: "leader" },
  access: "node",
  timeoutMs: 1,
  stale: false,
  hops: 0,
} as const;
const decide = (body: object, signal = new AbortController().signal) =>
  proposals.propose(body as CommandBody, { meta, signal });
const older = { featureLevel: 1, version: "0.1.0" };
const admitOlder = { type: "node.admit", node: sampleNode(2, older), ticketId: null };
const raise = { type: "cluster.setLevel", level: own };

describe("propose", () => {
  it("proposes nothing above the level of the cluster, and names the member and the release that hold it", async () => {
    await decide({ type: "node.admit", node: sampleNode(2, { featureLevel: 1, version: "0.1.0" }), ticketId: null });
    const before = proposed.value;
    await expect(decide({ type: "cluster.setLevel", level: own })).rejects.toMatchObject({
      code: "NEEDS_UPGRADE",
      outcome: "not_applied",
      message: expect.stringContaining("node 2 runs release 0.1.0"),
    });
    expect(proposed.value).toBe(before);
    await decide({ type: "node.remove", nodeId: 2 });
    expect((await decide({ type: "cluster.setLevel", level: own })).value).toEqual({ level: own });
  });

  it.each([
    ["a field that no replica knows", { type: "kv.put", key: "k", value: "v", ttlSeconds: 1 }],
    ["a value that each replica would refuse", { type: "kv.put", key: "", value: "v" }],
  ])("proposes no entry with %s", async (_, body) => {
    await expect(decide(body)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(proposed.value).toBe(0);
  });

  it.each([
    ["the admission of an older machine", admitOlder],
    ["the news that a member is older now", { type: "node.update", nodeId: 1, ...older }],
  ])("puts no higher level into the log behind %s that is not applied yet", async (_, body) => {
    quorum.set(false);
    const lowered = decide(body);
    const raised = decide(raise);
    raised.catch(() => {});
    // A write waits for nobody, and shows that the others have had their time.
    const written = decide({ type: "kv.put", key: "k", value: "v" });
    await proposed.until((count) => count >= 2);
    quorum.set(true);
    await Promise.all([lowered, written]);
    await expect(raised).rejects.toMatchObject({ code: "NEEDS_UPGRADE", outcome: "not_applied" });
    expect(proposed.value).toBe(2);
  });

  it("waits for an admission that its caller has given up", async () => {
    quorum.set(false);
    const caller = new AbortController();
    const admitted = decide(admitOlder, caller.signal);
    const raised = decide(raise);
    raised.catch(() => {});
    await proposed.until((count) => count === 1);
    caller.abort();
    await expect(admitted).rejects.toMatchObject({ code: "CANCELLED" });
    // A turn of the event loop: nothing that could be proposed now waits for anything else.
    await new Promise(setImmediate);
    expect(proposed.value).toBe(1);
    quorum.set(true);
    await expect(raised).rejects.toMatchObject({ code: "NEEDS_UPGRADE" });
    expect(proposed.value).toBe(1);
  });

  it("proposes nothing for a caller that left before its turn", async () => {
    quorum.set(false);
    const admitted = decide(admitOlder);
    const caller = new AbortController();
    const other = decide({ ...admitOlder, node: sampleNode(3, older) }, caller.signal);
    caller.abort();
    await expect(other).rejects.toMatchObject({ code: "CANCELLED" });
    quorum.set(true);
    await admitted;
    await decide({ type: "node.update", nodeId: 2, featureLevel: own });
    expect(proposed.value).toBe(2);
  });
});
