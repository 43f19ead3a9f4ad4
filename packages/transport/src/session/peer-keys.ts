/** The keys of a member: one, or two while it changes from one to the other. */
import type { Connection, Peer } from "../transport-types.ts";

export function keysOf({ endpointId, otherEndpointIds = [] }: Peer): readonly string[] {
  return [endpointId, ...otherEndpointIds];
}

/** The key under which a member is dialled the next time: each of its keys in turn. */
export function keyInTurn(peer: Peer, dialled: number): string {
  const keys = keysOf(peer);
  return keys[dialled % keys.length] ?? peer.endpointId;
}

/** False for a connection of before the member had its present key. */
export function provesKeyOf(peer: Peer, { connection }: { readonly connection: Connection }): boolean {
  return keysOf(peer).includes(connection.remoteEndpointId);
}
