/**
 * Entries of the log from other members, for a node whose disk has lost some. It asks before it takes part, so that the
 * others have to be given time: a cluster that starts as a whole is not there at once.
 */
import { BlixardError, type Clock, type Logger, linkSignal, messageOf, type Random } from "@blixard/common";
import { decodeEntries, decodeServiceResponse, encodeServiceCall, methods, type NodeRecord } from "@blixard/protocol";
import type { Entry, LogCandidate, LogIndex } from "@blixard/raft";
import type { ClusterTransport } from "../cluster-transport.ts";
import { randomRequestId } from "../ids.ts";
import { nodeMeta } from "../services/service-context.ts";
import { pauseFor, withTimeLimit } from "../wait-for-change.ts";

export interface PeerLogSourceDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly transport: ClusterTransport;
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
            const entries = await fetchEntries(deps, options.nodeId, node, { first, last, signal: link.signal });
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
  nodeId: number,
  node: NodeRecord,
  { first, last, signal }: Wanted,
): Promise<readonly Entry[] | undefined> {
  const entries: Entry[] = [];
  let bytes = 0;
  while (entries.length < last - first + 1) {
    const answer = await ask(deps, nodeId, node, { from: first + entries.length, to: last }, signal);
    const part = decodeEntries(answer);
    bytes += answer.length;
    if (part.length === 0) return undefined;
    if (bytes > holeBytesMax) throw new BlixardError("VALUE_TOO_LARGE", `node ${node.id} gives more than there was`);
    for (const entry of part) entries.push(entry);
  }
  return entries;
}

async function ask(
  { clock, random, transport }: PeerLogSourceDeps,
  nodeId: number,
  { endpointId, addresses }: NodeRecord,
  request: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): Promise<Uint8Array> {
  const meta = nodeMeta(nodeId, randomRequestId(random), attemptTimeoutMs);
  const payload = encodeServiceCall({ name: "log.read", request, meta });
  const bytes = await withTimeLimit(clock, attemptTimeoutMs, signal, (limited) =>
    transport.call({ endpointId, addresses }, "log.read", payload, { timeoutMs: attemptTimeoutMs, signal: limited }),
  );
  return methods["log.read"].response.parse(decodeServiceResponse(bytes)).entries;
}
