/**
 * The leases of nodes, as their leader counts them: pure, its owner says what time it is. A node with a lease may run the VMs
 * that are started elsewhere when it is lost. What it was granted ends, by its own clock, `leaseMs` after it had asked; here it
 * is over `leaseMs + leaseGraceMs + leaseDriftMs` after the question came in, which is later.
 *
 *     asked in time --> held -- silent, or unguarded --> over -- VMs to move --> moving (asks are refused) --> over
 *
 * Nothing of it stands in the log. A leader knows nothing of what the one before it has granted, so from its first look on
 * every node has the whole time. Before a lease is granted the leader proves that it still leads: whoever was elected meanwhile
 * began to count later than the question came in.
 */

export interface LeaseTimes {
  /** For so long a node may run such VMs, counted by the node from its question on. */
  readonly leaseMs: number;
  /** Within this time after its end the VMs have ended: the watchdog looks, and kills. */
  readonly leaseGraceMs: number;
  /** By so much the clocks of two machines may differ in the time of a lease and its grace. */
  readonly leaseDriftMs: number;
}

interface Held {
  /** When the last question came in that was answered with a lease, or when the count began. */
  sinceMs: number;
  unguarded: string | undefined;
  moving: boolean;
}

export class LeaseBook {
  readonly #times: LeaseTimes;
  readonly #nodes = new Map<number, Held>();
  #term = -1;

  constructor(times: LeaseTimes) {
    this.#times = times;
  }

  /**
   * A node has asked. True when it may be granted a lease, once the leader has proved that it leads: from now on the lease
   * counts. Call it before that proof.
   */
  asked(term: number, nodeId: number, nowMs: number, unguarded: string | undefined): boolean {
    const held = this.#of(term, nodeId, nowMs);
    held.unguarded = unguarded;
    if (held.moving || unguarded !== undefined) return false;
    held.sinceMs = nowMs;
    return true;
  }

  /** True when nothing runs there that needs a lease. The count of a node that is new here begins now. */
  isOver(term: number, nodeId: number, nowMs: number, longLeaseMs = 0): boolean {
    return this.leftMs(term, nodeId, nowMs, longLeaseMs) <= 0;
  }

  /** Until the lease of the node is over for sure. `longLeaseMs`: of its record. */
  leftMs(term: number, nodeId: number, nowMs: number, longLeaseMs = 0): number {
    return this.#of(term, nodeId, nowMs).sinceMs + this.wholeMs(longLeaseMs) - nowMs;
  }

  /** From the question of a node for a lease until that is over for sure. */
  wholeMs(longLeaseMs = 0): number {
    const { leaseMs: usualMs, leaseGraceMs, leaseDriftMs: usualDriftMs } = this.#times;
    const leaseMs = Math.max(usualMs, longLeaseMs);
    // Clocks differ by the more, the longer it takes.
    const leaseDriftMs = (usualDriftMs * (leaseMs + leaseGraceMs)) / (usualMs + leaseGraceMs);
    return leaseMs + leaseGraceMs + leaseDriftMs;
  }

  /**
   * The VMs of the node are given away from now on, until `moved`: it is granted nothing, because an entry that gives one away
   * may be in the log and not be committed yet. Who does not know whether such an entry takes effect leaves it at that.
   */
  beginMove(term: number, nodeId: number, nowMs: number): void {
    this.#of(term, nodeId, nowMs).moving = true;
  }

  moved(term: number, nodeId: number, nowMs: number): void {
    this.#of(term, nodeId, nowMs).moving = false;
  }

  /** Why the node can hold no such VMs, as it said itself. */
  unguarded(nodeId: number): string | undefined {
    return this.#nodes.get(nodeId)?.unguarded;
  }

  /** Forgets nodes that are no members. */
  keepOnly(nodeIds: ReadonlySet<number>): void {
    for (const id of this.#nodes.keys()) if (!nodeIds.has(id)) this.#nodes.delete(id);
  }

  #of(term: number, nodeId: number, nowMs: number): Held {
    if (term !== this.#term) {
      this.#term = term;
      this.#nodes.clear();
    }
    let held = this.#nodes.get(nodeId);
    if (held === undefined) {
      held = { sinceMs: nowMs, unguarded: undefined, moving: false };
      this.#nodes.set(nodeId, held);
    }
    return held;
  }
}
