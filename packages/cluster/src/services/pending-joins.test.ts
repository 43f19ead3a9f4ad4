import type { Clock } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { type JoinRequest, PendingJoins, pendingJoinLimits } from "./pending-joins.ts";

const { machinesMax, silenceMsMax } = pendingJoinLimits;
let nowMs = 0;
let shown = 0;
const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, unixMs: () => nowMs };
let pending: PendingJoins;

const requestOf = (id: number, fields: Partial<JoinRequest> = {}): JoinRequest => ({
  ticket: null,
  nodeId: id,
  endpointId: endpointIdOf(id),
  addresses: [`192.0.2.1:${id}`],
  capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
  version: "1",
  featureLevel: 1,
  ...fields,
});

beforeEach(() => {
  nowMs = 0;
  const joinsPending = {
    set: (value: number) => {
      shown = value;
    },
    remove: () => {},
  };
  pending = new PendingJoins(clock, { joinsPending });
});

describe("PendingJoins", () => {
  it("lists each machine once, with what it said last and when it came", () => {
    nowMs = 5;
    expect(pending.ask(requestOf(2))).toBe(true);
    nowMs = 9;
    expect(pending.ask(requestOf(2, { nodeName: "two" }))).toBe(false);
    expect(pending.list()).toEqual([
      {
        nodeId: 2,
        name: "two",
        endpointId: endpointIdOf(2),
        addresses: ["192.0.2.1:2"],
        version: "1",
        firstAskedUnixMs: 5,
      },
    ]);
    pending.delete(endpointIdOf(2));
    expect([pending.list(), pending.get(endpointIdOf(2)), shown]).toEqual([[], undefined, 0]);
  });

  it("forgets a machine that asks no more", () => {
    pending.ask(requestOf(2));
    nowMs = silenceMsMax;
    pending.ask(requestOf(3));
    expect(shown).toBe(2);
    nowMs++;
    expect(pending.get(endpointIdOf(2))).toBeUndefined();
    expect(pending.list().map(({ nodeId }) => nodeId)).toEqual([3]);
    expect(shown).toBe(1);
  });

  it("takes no more than the limit, and those that wait may go on asking", () => {
    for (let id = 1; id <= machinesMax; id++) pending.ask(requestOf(id));
    expect(() => pending.ask(requestOf(machinesMax + 1))).toThrow(expect.objectContaining({ code: "OVERLOADED" }));
    expect(pending.ask(requestOf(1))).toBe(false);
    expect(pending.list()).toHaveLength(machinesMax);
  });
});
