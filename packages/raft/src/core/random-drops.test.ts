/**
 * Groups of three under random loss, duplication, reordering, ticks and crashes, from one seed each. After every
 * step: at most one leader a term, matching logs, and nothing committed is ever lost.
 */

import { seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { CoreGroup } from "./testing/core-group.ts";
import type { Entry, Term } from "./types.ts";

const steps = 6000;
const seeds = [1, 2, 3, 4, 5, 6];

/** What was seen in any step so far. */
class Observer {
  readonly leaders = new Map<Term, number>();
  readonly committed = new Map<number, string>();

  /** Cheap, because it runs after every step. */
  check(group: CoreGroup): void {
    for (const { id, core, applied } of group.nodes) {
      const { term, role } = core.status();
      if (role === "StateLeader") {
        const known = this.leaders.get(term) ?? id;
        if (known !== id) throw new Error(`nodes ${known} and ${id} both lead term ${term}`);
        this.leaders.set(term, id);
      }
      for (const entry of applied.slice(-5)) {
        const text = describeEntry(entry);
        const known = this.committed.get(entry.index) ?? text;
        if (known !== text) throw new Error(`node ${id} applied ${text} where ${known} was applied before`);
        this.committed.set(entry.index, known);
      }
    }
  }

  /** Entries with the same index and term are the same, and so is everything before them. */
  checkLogs(group: CoreGroup): void {
    const logs = group.nodes.map(({ storage }) => storage.all());
    for (const left of logs) {
      for (const right of logs) {
        let at = Math.min(left.length, right.length) - 1;
        while (at >= 0 && left[at]?.term !== right[at]?.term) at--;
        const prefix = (log: readonly Entry[]) => log.slice(0, at + 1).map(describeEntry);
        expect(prefix(left)).toEqual(prefix(right));
      }
    }
  }
}

const describeEntry = (entry: Entry): string =>
  `${entry.term}/${entry.index} ${entry.kind === "normal" ? String.fromCharCode(...entry.data) : "change"}`;

function runGroup(seed: number, config: ConstructorParameters<typeof CoreGroup>[0]["config"]): CoreGroup {
  const random = seededRandom(seed);
  const next = () => random.next();
  const group = new CoreGroup({ voters: [1, 2, 3], config: { random: next, ...config } });
  const observer = new Observer();
  const pick = () => 1 + Math.floor(next() * 3);
  for (let step = 0; step < steps; step++) {
    const id = pick();
    const dice = next();
    if (dice < 0.06) group.tick(id);
    else if (dice < 0.3) group.process(id);
    else if (dice < 0.45) group.work(id, next() < 0.6 ? "append" : "apply");
    else if (dice < 0.9) deliverOne(group, next);
    else if (dice < 0.997) proposeQuietly(group, id, `p${step}`);
    else group.restart(id);
    observer.check(group);
    if (step % 100 === 0) observer.checkLogs(group);
  }
  for (let round = 0; round < 60; round++) {
    for (const id of [1, 2, 3]) group.tick(id);
    group.settle();
    observer.check(group);
  }
  observer.checkLogs(group);
  return group;
}

/** Takes any message out of the network: 15 % are lost, 15 % arrive and stay there to arrive again. */
function deliverOne(group: CoreGroup, next: () => number): void {
  const at = Math.floor(next() * group.network.length);
  const message = group.network[at];
  if (message === undefined) return;
  const fate = next();
  if (fate >= 0.15) group.network.splice(at, 1);
  if (fate < 0.85) group.deliver(message);
  // A network holds only so much.
  if (group.network.length > 200) group.network.splice(0, 100);
}

function proposeQuietly(group: CoreGroup, id: number, text: string): void {
  try {
    group.core(id).propose(new TextEncoder().encode(text));
  } catch (error) {
    expect((error as { code?: string }).code).toBe("PROPOSAL_DROPPED");
  }
}

describe("a group under random faults", () => {
  describe.each([
    ["with synchronous storage", {}],
    ["with asynchronous storage", { asyncStorageWrites: true }],
    ["with pre-vote and check-quorum", { asyncStorageWrites: true, preVote: true, checkQuorum: true }],
    ["with small messages and windows", { maxSizePerMsg: 30, maxInflightMsgs: 2, maxCommittedSizePerReady: 30 }],
  ])("%s", (_name, config) => {
    it.each(seeds)("is safe, and converges when the faults end (seed %i)", (seed) => {
      const group = runGroup(seed, config);
      const { commit } = group.leader().core.status();
      for (const { core } of group.nodes) expect(core.status()).toMatchObject({ commit, applied: commit });
      expect(commit).toBeGreaterThan(10);
      const [first, ...others] = group.nodes.map(({ applied }) => applied.map(describeEntry));
      for (const other of others) expect(other).toEqual(first);
    });
  });
});
