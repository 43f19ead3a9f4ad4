/** Flows between a port of a guest and somebody outside, of which a bounded number is remembered. */

/** Of the address outside, its port and that of the guest. */
export function flowKey(address: number, port: number, guestPort: number): string {
  return `${address}:${port}:${guestPort}`;
}

/** Forgets those that were put in first, until there are no more than `most`. */
export function dropOldest(flows: Map<string, unknown>, most: number): void {
  for (const oldest of flows.keys()) {
    if (flows.size <= most) return;
    flows.delete(oldest);
  }
}
