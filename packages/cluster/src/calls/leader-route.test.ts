import { BlixardError, notApplied, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { decidedAt } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { routeToLeader } from "./leader-route.ts";

const follower = { role: "StateFollower", leaderId: 2, ready: true };
const parts = {
  clock: systemClock,
  options: { nodeId: 1, forwardAttemptsMax: 5, forwardAttemptMs: 5_000 },
  raft: { status: new Watch(follower) },
} as unknown as Parameters<typeof routeToLeader>[0];
const meta = { requestId: "r", timeoutMs: 5_000, hops: 0 } as Parameters<typeof routeToLeader>[1]["meta"];

/** A write whose attempts at the leader fail one after the other. */
function write(...errors: readonly BlixardError[]): Promise<unknown> {
  const left = [...errors];
  return routeToLeader(parts, {
    ...{ writes: true, meta, signal: new AbortController().signal },
    runHere: () => Promise.reject(new Error("it does not lead")),
    forward: () => Promise.reject(left.shift()),
  });
}

const lost = new BlixardError("UNREACHABLE", "the connection broke", { outcome: "unknown" });

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
