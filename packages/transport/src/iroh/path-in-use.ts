/**
 * Which of a connection's open paths carries it. Iroh selects one for all connections to an endpoint, by the addresses
 * at both ends; a connection that knew its own address earlier or later than another one does then lists its only path
 * as not selected, though everything flows over it (n0-computer/iroh#4303). Two lanes are two such connections. Of two that
 * came in at the same time, one may list no path at all for as long as it lives (seen when three nodes exchanged their
 * addresses): then what it last listed holds, and where there is no relay, it can only be direct.
 */
import type { PathSnapshot } from "@number0/iroh";

export type PathKind = "direct" | "relay" | "none";

/** The selected path; without one, the path that carried most. Undefined when no path is open. */
export function pathInUse(paths: readonly PathSnapshot[]): PathSnapshot | undefined {
  const selected = paths.find(({ isSelected }) => isSelected);
  return selected ?? paths.reduce<PathSnapshot | undefined>(moreUsed, undefined);
}

function moreUsed(best: PathSnapshot | undefined, path: PathSnapshot): PathSnapshot {
  return best === undefined || bytesOf(path) > bytesOf(best) ? path : best;
}

/** Of an open connection. None only when it has listed no path yet and may go over a relay. */
export function pathKind(
  used: Pick<PathSnapshot, "isRelay"> | undefined,
  before: PathKind,
  mayBeRelayed: boolean,
): PathKind {
  if (used !== undefined) return used.isRelay ? "relay" : "direct";
  return before === "none" && !mayBeRelayed ? "direct" : before;
}

const bytesOf = ({ stats }: PathSnapshot): number => stats.udpTxBytes + stats.udpRxBytes;
