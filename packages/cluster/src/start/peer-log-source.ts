/**
 * Entries of the log from other members, for a node whose disk has lost some. It asks before it takes part, so that the
 * others have to be given time: a cluster that starts as a whole is not there at once.
 */
import { assertBelow, BlixardError, type Clock, type Logger, linkSignal, messageOf, pauseFor } from "@blixard/common";
import type { NodeRecord } from "@blixard/protocol";
import { decodeEntries } from "@blixard/protocol/peer-messages";
import type { Entry, LogCandidate, LogIndex } from "@blixard/raft";
import type { PeerCalls } from "../calls/peer-calls.ts";

export interface PeerLogSourceDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peerCalls: PeerCalls;
}

export interface PeerLogSourceOptions {
  readonly nodeId: number;
  /** Who may have the entries, this node included. */
  readonly nodes: readonly NodeRecord[];
  readonly signal?: AbortSignal;
}

/** Time in which one of the others has to have given the entries of a hole. */
const patienceMs = 20_000;
const attemptTimeoutMs = 5_000;
const retryMs = 200;
assertBelow({ attemptTimeoutMs }, { patienceMs }, "another member can be asked after one that is silent");
/** Bytes of the entries of one hole, held in memory; far above what a retained log holds. */
const holeBytesMax = 1024 * 1024 * 1024;

/** Asks one member after the other; each gets one chance to be believed. */
export function peerLogSource(deps: PeerLogSourceDeps, options: PeerLogSourceOptions) {
  return async function* (first: LogIndex, last: LogIndex): AsyncIterable<LogCandidate> {
    const { clock, logger } = deps;
    const link = linkSignal(options.signal);
    const endMs = clock.monotonicMs() + patienceMs;
    const open = new Set(options.nodes.filter((node) => node.id !== options.nodeId));
    try {
      while (open.size > 0 && !link.signal.aborted && clock.monotonicMs() < endMs) {
        for (const node of open) {
          try {
            const entries = await fetchEntries(deps, node, { first, last, signal: link.signal });
            open.delete(node);
            if (entries === undefined)
              logger.log("info", "a node has not these entries", { peer: node.id, first, last });
            else yield { from: `node ${node.id}`, entries };
          } catch (error) {
            logger.log("debug", "a node could not be asked for entries", { peer: node.id, error: messageOf(error) });
          }
        }
        if (open.size > 0) await pauseFor(clock, retryMs, link.signal);
      }
    } finally {
      link.release();
    }
  };
}

interface Wanted {
  readonly first: LogIndex;
  readonly last: LogIndex;
  readonly signal: AbortSignal;
}

/** Undefined when the node does not have all of them. */
async function fetchEntries(
  deps: PeerLogSourceDeps,
  node: NodeRecord,
  { first, last, signal }: Wanted,
): Promise<readonly Entry[] | undefined> {
  const entries: Entry[] = [];
  let bytes = 0;
  while (entries.length < last - first + 1) {
    const range = { from: first + entries.length, to: last };
    const answer = await deps.peerCalls.ask(
      { endpointId: node.endpointId, addresses: node.addresses },
      "log.read",
      range,
      { timeoutMs: attemptTimeoutMs, signal },
    );
    const part = decodeEntries(answer.entries);
    bytes += answer.entries.length;
    if (part.length === 0) return undefined;
    if (bytes > holeBytesMax) throw new BlixardError("VALUE_TOO_LARGE", `node ${node.id} gives more than there was`);
    for (const entry of part) entries.push(entry);
  }
  return entries;
}
