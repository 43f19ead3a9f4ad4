/**
 * Prepares a node before its loop starts: it loads the three stores and brings them to one state, wherever the last run
 * ended. A snapshot is installed in three steps: it is saved, the log is reset, the state is restored. A crash between
 * two of them leaves the log or the state behind the snapshot; the missing steps are done here.
 */
import { BlixardError, type Logger } from "@blixard/common";
import { asLogIndex, asTerm, type Entry, type LogIndex, type NodeId, noNode, type Term } from "../core/types.ts";
import type { ResolvedOptions } from "../options.ts";
import type {
  AppliedState,
  LogContents,
  LogRepairSource,
  LogStore,
  SnapshotMeta,
  SnapshotStore,
  StateMachine,
} from "../ports.ts";
import { LogCache } from "./log-cache.ts";

export interface RecoveryDeps {
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly stateMachine: Pick<StateMachine<unknown>, "load" | "restore">;
  readonly logger: Logger;
  readonly repairFrom?: LogRepairSource;
}

export interface Recovered {
  readonly cache: LogCache;
  readonly applied: AppliedState;
}

export type RecoveryOptions = Pick<ResolvedOptions, "bootstrap" | "snapshotChunkBytes" | "trailingEntries">;

/** @throws STORAGE_CORRUPT when the stores contradict each other in a way that no crash explains */
export async function recover(deps: RecoveryDeps, options: RecoveryOptions): Promise<Recovered> {
  const { log, snapshots, stateMachine, logger } = deps;
  const snapshot = await snapshots.latest();
  let contents = await log.load({
    repairFrom: deps.repairFrom,
    snapshot,
    trailingEntries: options.trailingEntries,
  });
  let applied = await stateMachine.load();
  if (isEmpty(contents) && applied.index === 0 && snapshot === undefined && options.bootstrap !== undefined) {
    contents = bootstrapContents(options.bootstrap.voters);
    await log.append({ entries: contents.entries, hardState: contents.hardState });
  }
  if (snapshot !== undefined && snapshot.index > applied.index) {
    logger.log("info", "restoring the state from the newest snapshot", { index: snapshot.index });
    contents = await alignLog(contents, snapshot, log);
    applied = { index: snapshot.index, term: snapshot.term, confState: snapshot.confState };
    await stateMachine.restore(applied, snapshotChunks(snapshots, snapshot, options.snapshotChunkBytes));
  }
  contents = check(contents, applied);
  return { cache: new LogCache(contents, applied.confState, snapshot), applied };
}

/** The bytes of a snapshot, a chunk at a time. */
export async function* snapshotChunks(
  snapshots: SnapshotStore,
  meta: SnapshotMeta,
  chunkBytes: number,
): AsyncIterable<Uint8Array> {
  for (let offset = 0; offset < meta.sizeBytes; ) {
    const chunk = await snapshots.read(meta.index, offset, chunkBytes);
    if (chunk.length === 0) throw new BlixardError("STORAGE_CORRUPT", `the snapshot at ${meta.index} is cut off`);
    offset += chunk.length;
    yield chunk;
  }
}

/** Empties a log that does not hold the last entry of the snapshot: all its entries are older or were overwritten. */
async function alignLog(contents: LogContents, snapshot: SnapshotMeta, log: LogStore): Promise<LogContents> {
  if (termIn(contents, snapshot.index) === snapshot.term) return contents;
  const base = { index: snapshot.index, term: snapshot.term };
  const hardState = { ...contents.hardState, commit: snapshot.index };
  await log.reset(base, hardState);
  return { base, entries: [], hardState };
}

function check(contents: LogContents, applied: AppliedState): LogContents {
  const { base, entries, hardState } = contents;
  const last = base.index + entries.length;
  if (applied.index < base.index) {
    throw contradiction(`the log starts after ${base.index}, but the state stands at ${applied.index}`);
  }
  if (applied.index > last) {
    // What is applied was in the log, durably, before.
    throw contradiction(`the state stands at ${applied.index}, but the log ends at ${last}`, { part: "log" });
  }
  if (applied.index > 0 && termIn(contents, applied.index) !== applied.term) {
    throw contradiction(`the state and the log disagree about the entry at ${applied.index}`);
  }
  if (hardState.commit > last) {
    const message = `entries up to ${hardState.commit} were committed, but the log ends at ${last}`;
    throw contradiction(message, { part: "log" });
  }
  return contents;
}

function termIn({ base, entries }: LogContents, index: LogIndex): Term | undefined {
  return index === base.index ? base.term : entries[index - base.index - 1]?.term;
}

function isEmpty({ base, entries, hardState }: LogContents): boolean {
  return base.index === 0 && entries.length === 0 && hardState.term === 0;
}

/** The same on each of the first voters, as if a leader of term 1 had committed a change for each of them. */
function bootstrapContents(voters: readonly NodeId[]): LogContents {
  if (voters.length === 0) throw new BlixardError("INVALID_ARGUMENT", "a group is started with at least one voter");
  const term = asTerm(1);
  const ascending = [...new Set(voters)].sort((a, b) => a - b);
  const entries = ascending.map((id, position): Entry => {
    const change = { version: 1, transition: "auto", changes: [{ op: "addVoter", id }] } as const;
    return { term, index: asLogIndex(position + 1), kind: "confChange", change };
  });
  const commit = asLogIndex(entries.length);
  return { base: { index: asLogIndex(0), term: asTerm(0) }, entries, hardState: { term, vote: noNode, commit } };
}

function contradiction(message: string, details?: { readonly part: "log" }): BlixardError {
  return new BlixardError("STORAGE_CORRUPT", message, {
    details,
    hint: "See what is wrong with: blixard check. Then, when others of its cluster have the data: blixard recover.",
  });
}
