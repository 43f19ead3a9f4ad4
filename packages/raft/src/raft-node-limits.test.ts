import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { entrySizeBytes } from "./core/entry-size.ts";
import { asLogIndex, type NodeId } from "./core/types.ts";
import type { RaftNodeEvent } from "./node-events.ts";
import type { LogStore, SnapshotStore } from "./ports.ts";
import { RaftGroup, type RaftMember } from "./testing/index.ts";

function record({ node }: RaftMember): RaftNodeEvent[] {
  const events: RaftNodeEvent[] = [];
  (async () => {
    for await (const event of node.events()) events.push(event);
  })();
  return events;
}

const slowOnes = (events: readonly RaftNodeEvent[]) => events.filter((event) => event.type === "diskSlow");

/** Something that opens when the test says so. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Snapshot stores whose saves can be held. */
function holdableSaves() {
  const held = new Map<NodeId, Promise<void>>();
  const wrapSnapshots = (id: NodeId, inner: SnapshotStore): SnapshotStore => ({
    latest: () => inner.latest(),
    save: async (meta, chunks, options) => {
      await held.get(id);
      return inner.save(meta, chunks, options);
    },
    read: (index, offset, bytesMax) => inner.read(index, offset, bytesMax),
    close: () => inner.close(),
  });
  return { held, wrapSnapshots };
}

function retainedBytes({ node }: RaftMember): number {
  const { lastLogIndex } = node.status.value;
  for (let first = 1; first <= lastLogIndex; first++) {
    const entries = node.readLog(asLogIndex(first), lastLogIndex, Number.POSITIVE_INFINITY);
    if (entries.length > 0) return entries.reduce((sum, entry) => sum + entrySizeBytes(entry), 0);
  }
  return 0;
}

describe("RaftNode whose disk hangs", () => {
  it("hands leadership over when a transaction of the state hangs, and stops when it stays so", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    const events = record(old);
    old.machine.stuck = new Promise(() => {});
    const startedAtMs = group.clock.monotonicMs();
    old.node.propose(fromUtf8("b")).catch(() => {});
    const next = await group.waitForLeader(old.id);
    expect(group.clock.monotonicMs() - startedAtMs).toBeGreaterThanOrEqual(2_000);
    expect(old.fatal).toHaveLength(0);
    await group.until("the stuck node to stop", () => old.fatal.length > 0);
    expect(old.fatal[0]).toMatchObject({ code: "STORAGE_FAILED" });
    expect(slowOnes(events)).toMatchObject([
      { what: "write", action: "warn" },
      { what: "write", action: "step_down" },
    ]);
    await group.waitForEqualState(...[1, 2, 3].filter((other) => other !== old.id));
    expect(next.machine.values).toEqual(["a", "b"]);
  });

  it("hands leadership over when a flush of the state hangs", async () => {
    const group = await RaftGroup.start({ voters: 3 });
    await group.propose("a");
    const old = await group.waitForLeader();
    const { opened, open } = gate();
    old.machine.stuck = opened;
    const taken = old.node.takeSnapshot();
    await group.waitForLeader(old.id);
    open();
    expect(await group.during("the snapshot", taken)).toBeGreaterThan(0);
    expect(old.fatal).toHaveLength(0);
    await group.close();
  });

  it("blames no disk for a time in which the process stood still", async () => {
    const group = await RaftGroup.start({ voters: 1 });
    await group.propose("a");
    const only = await group.waitForLeader();
    const events = record(only);
    const { opened, open } = gate();
    only.machine.stuck = opened;
    const proposed = only.node.propose(fromUtf8("b"));
    await group.clock.advance(100);
    // Longer than a disk may take: the answer was there all the while, and nobody could read it.
    group.clock.standStill(22_000);
    await group.clock.advance(100);
    open();
    expect((await group.during("the proposal", proposed)).result).toBe(2);
    expect(only.fatal).toHaveLength(0);
    expect(slowOnes(events)).toHaveLength(0);
    await group.close();
  });

  it("sends heartbeats all the while: they never wait for the disk", async () => {
    const held = new Map<NodeId, Promise<void>>();
    const wrapLog = (id: NodeId, log: LogStore): LogStore => ({
      load: () => log.load(),
      append: async (write) => {
        await held.get(id);
        return log.append(write);
      },
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const options = { diskStepDownMs: 1_000_000, diskFatalMs: 1_000_000 };
    const group = await RaftGroup.start({ voters: 3, wrapLog, options });
    await group.propose("a");
    const leader = await group.waitForLeader();
    const { term } = leader.node.status.value;
    const { opened, open } = gate();
    for (const { id } of group.members.values()) held.set(id, opened);
    const proposed = leader.node.propose(fromUtf8("b"));
    // Ten election timeouts without a write that ends, on any node.
    await group.clock.advance(10_000);
    for (const { node } of group.members.values()) {
      expect(node.status.value).toMatchObject({ term, leaderId: leader.id });
    }
    open();
    expect((await group.during("the proposal", proposed)).result).toBe(2);
    await group.close();
  });

  it("warns of a snapshot that hangs, keeps its leadership, and stops in the end", async () => {
    const { held, wrapSnapshots } = holdableSaves();
    const group = await RaftGroup.start({ voters: 3, wrapSnapshots, options: { diskFatalMs: 3_000 } });
    await group.propose("a");
    const leader = await group.waitForLeader();
    const events = record(leader);
    held.set(leader.id, new Promise(() => {}));
    leader.node.takeSnapshot().catch(() => {});
    await group.until("a warning", () => slowOnes(events).length > 0);
    await group.clock.advance(10_000);
    await group.propose("b");
    expect(leader.node.status.value.role).toBe("StateLeader");
    await group.until("the stuck node to stop", () => leader.fatal.length > 0);
    expect(leader.fatal[0]).toMatchObject({ code: "STORAGE_FAILED" });
    expect(slowOnes(events)).toMatchObject([{ what: "snapshot", action: "warn" }]);
  });
});

describe("RaftNode whose snapshots are slower than its writes", () => {
  const logBytesMax = 2_000;
  const options = { logBytesMax, trailingEntries: 3, diskFatalMs: 1_000_000 };
  const value = "x".repeat(100);
  /** Six times the limit, and the entry that goes over it with the one behind it. */
  const bound = 6 * logBytesMax + 250;

  it("refuses proposals until there is one, and so bounds the log in bytes", async () => {
    const { held, wrapSnapshots } = holdableSaves();
    const group = await RaftGroup.start({ voters: 1, wrapSnapshots, options });
    await group.propose("first");
    const leader = await group.waitForLeader();
    const { opened, open } = gate();
    held.set(leader.id, opened);
    let refusal: unknown;
    for (let at = 0; at < 300 && refusal === undefined; at++) {
      const proposed = leader.node.propose(fromUtf8(value));
      await group.during("a proposal", proposed).catch((error: unknown) => {
        refusal = error;
      });
    }
    expect(refusal).toMatchObject({ code: "OVERLOADED", outcome: "not_applied" });
    expect(retainedBytes(leader)).toBeGreaterThan(6 * logBytesMax);
    expect(retainedBytes(leader)).toBeLessThan(bound);
    open();
    await group.until("the snapshot", () => leader.node.status.value.snapshotIndex > 0);
    await group.propose("again");
    await group.propose("and again");
    await group.until("a short log", () => retainedBytes(leader) < 2 * logBytesMax);
    await group.close();
  });

  it("takes no entries on a follower until there is one, and then catches up", async () => {
    const { held, wrapSnapshots } = holdableSaves();
    const group = await RaftGroup.start({ voters: 3, wrapSnapshots, options });
    await group.propose("first");
    const leader = await group.waitForLeader();
    const slow = [...group.members.values()].find(({ id }) => id !== leader.id) as RaftMember;
    const { opened, open } = gate();
    held.set(slow.id, opened);
    for (let at = 0; at < 200; at++) await group.during("a proposal", leader.node.propose(fromUtf8(value)));
    expect(retainedBytes(slow)).toBeLessThan(bound);
    expect(slow.node.status.value.lastLogIndex).toBeLessThan(leader.node.status.value.lastLogIndex);
    open();
    await group.waitForEqualState();
    expect(slow.machine.values).toHaveLength(201);
    expect(slow.fatal).toHaveLength(0);
    await group.close();
  });
});
