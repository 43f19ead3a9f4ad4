import { BlixardError, notApplied, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { decidedAt } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { routeToLeader } from "./leader-route.ts";

const follower = { role: "StateFollower", leaderId: 2, ready: true };
const parts = {
  clock: systemClock,
  options: { nodeId: 1, forwardAttemptsMax: 5, forwardAttemptMs: 5_000 },
  raft: { status: new Watch({ ...follower, commitIndex: 40 }) },
} as unknown as Parameters<typeof routeToLeader>[0];
const meta = { requestId: "r", timeoutMs: 5_000, hops: 0 } as Parameters<typeof routeToLeader>[1]["meta"];

/** A write whose attempts at the leader fail one after the other. */
function write(...errors: readonly BlixardError[]): Promise<unknown> {
  return attempts(errors).done;
}

/** Also what the leader was told at each attempt. */
function attempts(errors: readonly BlixardError[], asked: Partial<typeof meta> = {}, writes = true) {
  const left = [...errors];
  const told: (number | undefined)[] = [];
  const done = routeToLeader(parts, {
    ...{ writes, meta: { ...meta, ...asked }, signal: new AbortController().signal },
    runHere: () => Promise.reject(new Error("it does not lead")),
    forward: (_, { sinceIndex }) => {
      told.push(sinceIndex);
      return Promise.reject(left.shift());
    },
  });
  return { done, told };
}

const lost = new BlixardError("UNREACHABLE", "the connection broke", { outcome: "unknown" });

describe("an attempt after one whose answer was lost", () => {
  const told = async (...given: Parameters<typeof attempts>) => {
    const route = attempts(...given);
    await route.done.catch(() => {});
    return route.told;
  };
  const none = notApplied("NOT_LEADER", "not the leader");
  const refused = notApplied("REMOVED", "no");

  it("names an index from before the first one, by which it is known whether that may be forgotten", async () => {
    expect(await told([lost, lost, refused])).toEqual([undefined, 40, 40]);
    expect(await told([lost, refused], { sinceIndex: 7 })).toEqual([7, 7]);
  });

  it("names none where nothing can have happened, nor for what changes nothing", async () => {
    expect(await told([none, none, refused])).toEqual([undefined, undefined, undefined]);
    expect(await told([lost, refused], {}, false)).toEqual([undefined, undefined]);
  });
});

describe("the outcome of a write that was refused", () => {
  it.each(["REMOVED", "OVERLOADED", "NEEDS_UPGRADE", "PERMISSION_DENIED", "NOT_FOUND"] as const)(
    "is unknown when %s comes after an attempt whose answer was lost",
    async (code) => {
      await expect(write(lost, notApplied(code, "no"))).rejects.toMatchObject({ code, outcome: "unknown" });
    },
  );

  it("is not_applied when it was refused at the first attempt, or after attempts that had no effect", async () => {
    const none = notApplied("NOT_LEADER", "not the leader");
    const refused = notApplied("REMOVED", "no");
    await expect(write(refused)).rejects.toMatchObject({ outcome: "not_applied" });
    await expect(write(none, none, refused)).rejects.toMatchObject({ outcome: "not_applied" });
  });

  it("is what the state machine says of the request id, whatever became of earlier attempts", async () => {
    const refused = notApplied("PRECONDITION_FAILED", "changed meanwhile", { details: decidedAt(7) });
    await expect(write(lost, refused)).rejects.toMatchObject({ outcome: "not_applied", details: { decidedIndex: 7 } });
  });

  it("is unknown when nothing says that it has no effect", async () => {
    await expect(write(new BlixardError("CANCELLED", "given up"))).rejects.toMatchObject({ outcome: "unknown" });
    await expect(write(new BlixardError("INTERNAL", "a fault"))).rejects.toMatchObject({ outcome: "unknown" });
  });
});
