/**
 * What the clients of one round do, as pure functions: the process that loads and the one that reads everything back
 * agree on each key and value without telling each other.
 */
export const loadKinds = ["put", "get", "mix"] as const;
/** `mix`: nine reads, then one write. */
export type LoadKind = (typeof loadKinds)[number];

export interface LoadPlan {
  readonly kind: LoadKind;
  /** Names the round in every value that it writes. */
  readonly round: string;
  readonly clients: number;
  readonly valueBytes: number;
  /** Keys that a client writes in turn; of unique keys it reads the first ones. */
  readonly keysPerClient: number;
  /** Every write goes to a key of its own. */
  readonly uniqueKeys: boolean;
}

const mixLength = 10;

/** The operation at this place of a client's loop, from 0: a read, or a write. */
export function isWrite(kind: LoadKind, at: number): boolean {
  return kind === "put" || (kind === "mix" && at % mixLength === mixLength - 1);
}

/** What is read has to be there: so many writes of each client come before the round. */
export function fillWrites({ kind, keysPerClient }: LoadPlan): number {
  return kind === "put" ? 0 : keysPerClient;
}

/** The key of a client's write, counted from 0 with those that fill. */
export function keyOf({ round, keysPerClient, uniqueKeys }: LoadPlan, client: number, write: number): string {
  return uniqueKeys ? `bench/${round}/${client}/${write}` : `bench/${client}/${write % keysPerClient}`;
}

/** Says which write it is of, so that an older value under the same key is seen to be one. */
export function valueTextOf({ round, valueBytes }: LoadPlan, client: number, write: number): string {
  return `${markOf(round, client, write)}.`.padEnd(valueBytes, "v");
}

/** The shortest value that tells its write for certain. */
export const valueBytesMin = 40;

function markOf(round: string, client: number, write: number): string {
  return `${round}.${client}.${write}`;
}

/** The part of a value that is not padding. */
export function markOfValue(value: string): string {
  return value.slice(0, value.lastIndexOf("."));
}

/** What was acknowledged by one round: for each client, how many of its writes, which follow each other. */
export interface Acknowledged {
  readonly plan: LoadPlan;
  readonly writesByClient: readonly number[];
  /** Clients whose next write failed, which may have taken effect all the same. */
  readonly uncertainClients: readonly number[];
}

/** For every key that a cluster has to hold, the marks that its value may bear. */
export function expectedMarks(rounds: readonly Acknowledged[]): Map<string, readonly string[]> {
  const expected = new Map<string, readonly string[]>();
  for (const { plan, writesByClient, uncertainClients } of rounds) {
    for (const [client, writes] of writesByClient.entries()) {
      const first = plan.uniqueKeys ? 0 : Math.max(0, writes - plan.keysPerClient);
      for (let write = first; write < writes; write++) {
        expected.set(keyOf(plan, client, write), [markOf(plan.round, client, write)]);
      }
    }
    for (const client of uncertainClients) {
      const write = writesByClient[client] ?? 0;
      const key = keyOf(plan, client, write);
      const before = expected.get(key);
      // A key that was never written for certain does not have to be there.
      if (before !== undefined) expected.set(key, [...before, markOf(plan.round, client, write)]);
    }
  }
  return expected;
}

/** Counts the keys that are missing, or that hold what was overwritten. */
export function countLost(
  expected: ReadonlyMap<string, readonly string[]>,
  found: ReadonlyMap<string, string>,
): number {
  let lost = 0;
  for (const [key, marks] of expected) {
    const value = found.get(key);
    if (value === undefined || !marks.includes(markOfValue(value))) lost++;
  }
  return lost;
}
