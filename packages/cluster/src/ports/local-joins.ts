/** How the node that is asked tells a machine that shows no ticket from others. */

export interface LocalJoins {
  /**
   * `proved`: what asks runs on this machine and may do what the user of this node may; no second one can use the proof.
   * `again`: what it should have read was not written yet, or is used up. It may be proved a moment later.
   * `unproved`: somebody else, as far as this node can know.
   */
  check(joiner: { readonly endpointId: string; readonly proof: string | undefined }): "proved" | "again" | "unproved";
}

/** Nobody can prove anything: an operator accepts every machine that has no ticket. */
export const noLocalJoins: LocalJoins = { check: () => "unproved" };
