/** Counts what became of what liars made up, and knows what has to come of it in a run of many seeds. */
import { forgedRequests, forgedStreams } from "./forged-calls.ts";
import { forgedMessages } from "./forged-messages.ts";

export interface ForgedCount {
  /** How often it arrived, and its bytes could be read. */
  readonly decoded: number;
  /** How often the rule about roles stopped it. */
  readonly stopped: number;
  /** How often nothing else would have: all that stands beside that rule let it pass. */
  readonly alone: number;
}

/** By kind: `MsgApp`, `snapshotChunk`, `kv.put`, `forward kv.put`, `stream vm.logs`, `claim addresses`. */
export type ForgedCounts = ReadonlyMap<string, ForgedCount>;

export class ForgedTally {
  readonly counts = new Map<string, ForgedCount>();

  add(kind: string, { decoded = 0, stopped = 0, alone = 0 }: Partial<ForgedCount>): void {
    const before = this.counts.get(kind) ?? { decoded: 0, stopped: 0, alone: 0 };
    this.counts.set(kind, {
      decoded: before.decoded + decoded,
      stopped: before.stopped + stopped,
      alone: before.alone + alone,
    });
  }

  addAll(counts: ForgedCounts): void {
    for (const [kind, count] of counts) this.add(kind, count);
  }
}

/**
 * `closed`: the rule about roles stops it, and nothing else would. `twice`: something behind that rule would stop it as
 * well. `open`: members may say it, of themselves or to read, and no rule about roles stops it.
 */
type Door = "closed" | "twice" | "open";

/** Written by hand, and not taken from the tables of the product. */
const twice = new Set([
  // A snapshot comes in chunks, and a proposal under a name, never as a bare message.
  "MsgSnap",
  "MsgProp",
  // The core takes these from its own node only.
  "MsgUnreachable",
  "MsgSnapStatus",
  // Nodes of a cluster take no proposals of others, and wait for no answers about their own.
  "proposal",
  "proposalAnswer",
]);
const openMessages = new Set(["snapshotAck"]);
/** A member reads what it holds anyway, and shows a ticket like anybody else. */
const openCalls = new Set([
  ...["identity.get", "status.get", "kv.get", "kv.list", "vm.list", "vm.get", "vm.explain"],
  ...["image.list", "image.get", "node.list", "node.get", "node.addresses", "log.read", "member.list", "member.vouch"],
  ...["join.request", "join.list", "ban.list", "ticket.list", "token.list", "token.redeem", "cert.list"],
]);
const openStreams = new Set(["vm.watch", "kv.watch"]);

const doors: ReadonlyMap<string, Door> = new Map([
  ...[...forgedMessages.keys()].map((name) => {
    const door: Door = twice.has(name) ? "twice" : openMessages.has(name) ? "open" : "closed";
    return [name, door] as const;
  }),
  ...Object.keys(forgedRequests).flatMap((name) => callDoors(name, openCalls.has(name))),
  ...Object.keys(forgedStreams).flatMap((name) => callDoors(`stream ${name}`, openStreams.has(name))),
  ...["claim addresses", "claim newer_start", "claim removed"].map((name) => [name, "closed"] as const),
]);

/** Nobody but a voter passes anything on for others, whatever it is. */
function callDoors(name: string, isOpen: boolean): (readonly [string, Door])[] {
  return [
    [name, isOpen ? "open" : "closed"],
    [`forward ${name}`, "closed"],
  ];
}

/** A run of fewer seeds may miss something by chance. */
const seedsOfWholeRun = 400;

/** What was not shown in a run of so many seeds, one line each. */
export function notShown(counts: ForgedCounts, seeds: number): string[] {
  if (seeds < seedsOfWholeRun) return [];
  return [...doors].flatMap(([kind, door]) => {
    const { decoded, stopped, alone } = counts.get(kind) ?? { decoded: 0, stopped: 0, alone: 0 };
    if (decoded === 0) return [`${kind} never arrived`];
    if (door === "closed" && alone === 0) return [`${kind} was never stopped by the rule about roles alone`];
    if (door === "twice" && stopped === 0) return [`${kind} was never stopped by the rule about roles`];
    return [];
  });
}

/** The table for people. */
export function describeForged(counts: ForgedCounts): string[] {
  const line = (kind: string, decoded: string, stopped: string, alone: string, note: string) =>
    `  ${kind.padEnd(28)}${decoded.padStart(9)}${stopped.padStart(9)}${alone.padStart(9)}  ${note}`.trimEnd();
  return [
    line("made up by members", "decoded", "stopped", "alone", ""),
    ...[...doors].map(([kind, door]) => {
      const { decoded, stopped, alone } = counts.get(kind) ?? { decoded: 0, stopped: 0, alone: 0 };
      const note = door === "closed" ? "" : door === "open" ? "members may" : "stopped by more than that";
      return line(kind, String(decoded), String(stopped), String(alone), note);
    }),
  ];
}
