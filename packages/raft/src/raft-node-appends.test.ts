import { fromUtf8 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import type { LogStore } from "./ports.ts";
import { RaftGroup } from "./testing/index.ts";

describe("RaftNode.propose, on the way to the log", () => {
  it("puts proposals that wait for the disk into one write", async () => {
    let writes = 0;
    const countWrites = (_: number, log: LogStore): LogStore => ({
      load: () => log.load(),
      append: (write) => {
        writes++;
        return log.append(write);
      },
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const group = await RaftGroup.start({ voters: 1, wrapLog: countWrites });
    await group.propose("first");
    const before = writes;
    const { node } = group.member(1);
    await Promise.all(Array.from({ length: 500 }, (_, at) => node.propose(fromUtf8(`${at}`))));
    expect(writes - before).toBeLessThanOrEqual(2);
    await group.close();
  });

  it("lets what arrives during a write gather for the next one, on every node", async () => {
    const sizes = new Map<number, number[]>();
    const gates = new Map<number, Promise<void>>();
    const held = (id: number, log: LogStore): LogStore => ({
      load: () => log.load(),
      append: async (write) => {
        sizes.set(id, [...(sizes.get(id) ?? []), write.entries.length]);
        await gates.get(id);
        return log.append(write);
      },
      compact: (base) => log.compact(base),
      reset: (base, hardState) => log.reset(base, hardState),
      close: () => log.close(),
    });
    const group = await RaftGroup.start({ voters: 3, wrapLog: held });
    await group.propose("first");
    const leader = await group.waitForLeader();
    await group.waitForEqualState();
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    for (const id of group.members.keys()) gates.set(id, opened);
    sizes.clear();
    const proposed = Array.from({ length: 20 }, async (_, at) => {
      await group.clock.advance(at);
      return leader.node.propose(fromUtf8(`${at}`));
    });
    for (let at = 0; at < 20; at++) await group.clock.advance(10);
    open();
    await group.during("the proposals", Promise.all(proposed));
    await group.waitForEqualState();
    // The first write takes what is there when it begins, the second one everything else.
    for (const id of group.members.keys()) {
      expect([id, sizes.get(id)?.filter((size) => size > 0).length]).toEqual([id, 2]);
    }
    await group.close();
  });
});
