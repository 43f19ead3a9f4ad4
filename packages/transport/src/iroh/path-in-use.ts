/**
 * Which of a connection's open paths carries it. Iroh selects one for all connections to an endpoint, by the addresses
 * at both ends; a connection that knew its own address earlier or later than another one does then lists its only path
 * as not selected, though everything flows over it (n0-computer/iroh#4303). Two lanes are two such connections.
 */
import type { PathSnapshot } from "@number0/iroh";

/** The selected path; without one, the path that carried most. Undefined when no path is open. */
export function pathInUse(paths: readonly PathSnapshot[]): PathSnapshot | undefined {
  const selected = paths.find(({ isSelected }) => isSelected);
  return selected ?? paths.reduce<PathSnapshot | undefined>(moreUsed, undefined);
}

function moreUsed(best: PathSnapshot | undefined, path: PathSnapshot): PathSnapshot {
  return best === undefined || bytesOf(path) > bytesOf(best) ? path : best;
}

const bytesOf = ({ stats }: PathSnapshot): number => stats.udpTxBytes + stats.udpRxBytes;
