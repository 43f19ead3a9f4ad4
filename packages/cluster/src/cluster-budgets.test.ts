/** A worker that was taken over asks for more than a member may take: it is cut off, and nobody else notices. */
import { errorCodeOf, type Metrics, sleep } from "@blixard/common";
import { encodeServiceCall, type MethodName } from "@blixard/protocol";
import { asLogIndex, asNodeId, asTerm, type Message } from "@blixard/raft";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type BudgetKind, memberBudgetDefaults } from "./peers/member-budgets.ts";
import { ClusterGroup, until } from "./testing/cluster-group.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

let group: ClusterGroup;
afterEach(async () => {
  await group.close();
});

const [bad, good] = [4, 5];
/** So slowly do they come back that only the burst counts here. */
const slow = 1e-6;
const memberBudgets = {
  ...memberBudgetDefaults,
  ...{ logBytesPerSecond: slow, logBytesBurst: 100_000, logEntryBytesMin: 10_000 },
  ...{ callsPerSecond: slow, callsBurst: 40 },
  ...{ readsPerSecond: slow, readsBurst: 20, streamsMax: 2 },
};

/** Counts what is refused, on all nodes. */
function countingMetrics(refused: Map<string, number>): Metrics {
  const nothing = { add: () => {}, set: () => {}, observe: () => {}, remove: () => {} };
  return {
    counter: ({ name }) =>
      name !== "blixard_member_budget_exceeded_total"
        ? nothing
        : { add: (count = 1, { of = "" } = {}) => void refused.set(of, (refused.get(of) ?? 0) + count) },
    gauge: () => nothing,
    histogram: () => nothing,
  };
}

async function form(): Promise<ReadonlyMap<string, number>> {
  group = new ClusterGroup({ memberBudgets });
  const refused = new Map<string, number>();
  for (const id of [1, 2, 3]) group.machine(id).metrics = countingMetrics(refused);
  await group.form(3);
  for (const id of [bad, good]) await group.join(id, await group.ticket({ role: "worker" }));
  return refused;
}

/** Calls by the key of a member. */
async function callAs(from: number, name: MethodName, request: object): Promise<string> {
  const { transport } = group.machine(from);
  const payload = encodeServiceCall({ name, request, meta: group.meta() });
  const to = { endpointId: endpointIdOf(group.leaderId()), addresses: [] };
  if (transport === undefined) throw new Error(`node ${from} has not started`);
  return transport.call(to, name, payload, { timeoutMs: 5_000 }).then(
    () => "OK",
    (error: unknown) => errorCodeOf(error) ?? "none",
  );
}

interface Flood {
  readonly kind: BudgetKind;
  /** Does it once, and says whether it was let through. */
  readonly once: (count: number) => Promise<boolean> | boolean;
  /** How often it is let through at most. */
  readonly allowed: number;
}

const floods: readonly Flood[] = [
  {
    kind: "log_bytes",
    once: async (count) => {
      const capacity = { vcpus: count, memoryMiB: 1, drivers: [] };
      return (await callAs(bad, "node.update", { nodeId: bad, capacity })) === "OK";
    },
    allowed: 10,
  },
  { kind: "calls", once: async () => (await callAs(bad, "kv.list", {})) === "OK", allowed: 40 },
  {
    kind: "streams",
    once: async () => {
      const { transport } = group.machine(bad);
      const payload = encodeServiceCall({ name: "kv.watch", request: {}, meta: group.meta() });
      const to = { endpointId: endpointIdOf(group.leaderId()), addresses: [] };
      const opened = transport?.stream?.(to, "kv.watch", payload, { timeoutMs: 5_000 });
      return opened !== undefined && (await opened.then(Boolean, () => false));
    },
    allowed: 2,
  },
];

/** Writes of a client at each voter, all of which have to succeed. */
async function writes(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await group.call(1 + (at % 3), "kv.put", { key: "k", value: String(at) });
}

describe("a worker that floods", () => {
  it.each(floods)("$kind is cut off, while every write of a client succeeds", async ({ kind, once, allowed }) => {
    const refused = await form();
    const run = { goesOn: true };
    let [passed, tried] = [0, 0];
    const flood = (async () => {
      while (run.goesOn) {
        if (await once(++tried)) passed++;
        await sleep(group.clock, 0);
      }
    })();
    await writes(60);
    await until(() => tried > 2 * allowed);
    run.goesOn = false;
    await flood;
    expect(passed).toBeLessThanOrEqual(allowed);
    expect(refused.get(kind)).toBeGreaterThan(0);
    // Another worker has a budget of its own, and the node that asked too much is still a member.
    expect(await callAs(good, "kv.list", {})).toBe("OK");
    expect(group.node(1).state.nodes.size).toBe(5);
    expect(group.node(bad).lifecycle.value.phase).toBe("serving");
  });

  it("reads is not answered any more, while every read and write of a client succeeds", async () => {
    const refused = await form();
    const { transport } = group.machine(bad);
    const leader = asNodeId(group.leaderId());
    const term = asTerm(group.node(leader).status().term);
    const ask = (count: number) => {
      const entry = { term: asTerm(0), index: asLogIndex(0), kind: "normal", data: Uint8Array.of(count & 0xff) };
      const message = { type: "MsgReadIndex", from: asNodeId(bad), to: leader, term, entries: [entry] };
      transport?.peers.send(leader, { type: "raft", message: message as unknown as Message });
    };
    for (let count = 0; count < 500; count++) {
      ask(count);
      if (count % 25 === 0) {
        await writes(3);
        expect(await group.call(2, "kv.get", { key: "k" })).toMatchObject({ value: "2" });
      }
    }
    await until(() => (refused.get("reads") ?? 0) >= 400);
    expect(group.node(bad).lifecycle.value.phase).toBe("serving");
  });
});
