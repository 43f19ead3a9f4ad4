/**
 * Which start of a node speaks. A data directory counts its starts, so a copy of it that starts beside the original
 * shows a higher number than the original has; a directory that was begun anew belongs to a later incarnation. Of two
 * processes with one key the newest start is the node, and the other one must not go on.
 */
export interface NodeStart {
  /** How often the cluster has admitted the node. At least 1. */
  readonly incarnation: number;
  /** How often the present data directory was started. At least 1. */
  readonly starts: number;
}

/** A start that was seen, and the process that it belongs to; 0 when only the number is known. */
export interface SeenStart extends NodeStart {
  readonly instance: number;
}

/** True when `seen` proves that another process was started after the one of `start`, or as the very same start. */
export function isOutdated(start: SeenStart, seen: SeenStart): boolean {
  const order = seen.incarnation - start.incarnation || seen.starts - start.starts;
  if (order !== 0) return order > 0;
  return seen.instance !== 0 && start.instance !== 0 && seen.instance !== start.instance;
}

/** The newer of the two. Of one and the same start it is the one whose process is known. */
export function newestStart(known: SeenStart | undefined, start: SeenStart): SeenStart {
  if (known === undefined) return start;
  const order = start.incarnation - known.incarnation || start.starts - known.starts;
  return order > 0 || (order === 0 && known.instance === 0) ? start : known;
}
