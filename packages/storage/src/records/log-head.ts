/**
 * The hard state and, beside it, where the log ends: its last index and the chain there (see entry-block.ts). Every
 * append writes it anew in its own batch, so the newest head says what the log must hold, whatever else is damaged.
 */
import type { HardState, LogIndex } from "@blixard/raft/core";
import { pack, unpack } from "./packed.ts";

export interface LogEnd {
  /** Index of the last entry; that of the base in an empty log. */
  readonly last: LogIndex;
  /** The chain there. */
  readonly chain: number;
}

export interface LogHead {
  readonly hardState: HardState;
  /** Undefined in a head that an older release wrote. */
  readonly end: LogEnd | undefined;
  /** Number of the write that this head came with; grows with every one. Undefined in a head of an older release. */
  readonly writes: number | undefined;
}

export function packHead({ term, vote, commit }: HardState, { last, chain }: LogEnd, writes: number): Buffer {
  return pack({ term, vote, commit, last, chain, writes });
}

/** @throws STORAGE_CORRUPT */
export function unpackHead(payload: Uint8Array): LogHead {
  const head = unpack<HardState & Partial<LogEnd> & { writes?: number }>(payload, "the hard state");
  const { term, vote, commit, last, chain, writes } = head;
  const end = last === undefined || chain === undefined ? undefined : { last, chain };
  return { hardState: { term, vote, commit }, end, writes };
}
