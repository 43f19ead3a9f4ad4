/**
 * Membership changes under clients, each of which loses the leader in its middle: the group grows, shrinks, and has members
 * demoted, promoted and replaced. One round follows the other, so that what the operator was told can be held against what
 * became of it.
 */
import type { Random } from "@blixard/common";
import { between, integer, pick } from "./seeds.ts";
import type { CrashMode } from "./sim-database.ts";

const changes = ["grow", "demote", "promote", "replace", "shrink"] as const;

export interface MembershipRound {
  readonly type: "changeMembers";
  readonly change: (typeof changes)[number];
  /** Which member: a share of the way through those that it may be. */
  readonly share: number;
  /** So long after the operator asked, the leader ends. */
  readonly killAfterMs: number;
  readonly mode: CrashMode;
  readonly downMs: number;
}

const gapMs = 9_000;
const firstAtMs = 1_000;

/** Each kind of change in turn. */
export function generateRounds(
  random: Random,
  durationMs: number,
): { readonly atMs: number; readonly action: MembershipRound }[] {
  const events: { readonly atMs: number; readonly action: MembershipRound }[] = [];
  for (let atMs = firstAtMs; atMs + gapMs <= durationMs; atMs += gapMs) {
    const change = changes[events.length % changes.length] ?? "grow";
    const action: MembershipRound = {
      ...{ type: "changeMembers", change, share: random.next() },
      // From the first entry of a change to the last one it takes a few round trips.
      killAfterMs: random.next() < 0.7 ? between(random, 0.5, 30) : between(random, 30, 600),
      mode: pick(random, ["kill", "kill", "lost", "prefix"] as const),
      downMs: integer(random, 200, 4_000),
    };
    events.push({ atMs, action });
  }
  return events;
}
