/** The network cards of a VM: one for each network that it has on this node. */
import { createHash } from "node:crypto";
import { networksOf, type VmSpec } from "@blixard/protocol";

/** What the hardware of a VM shows of a network. It stays as it is for as long as the process runs. */
export interface Nic {
  readonly network: string;
  readonly mac: string;
}

/** `available`: the networks that this node and the driver have. A VM is given no card for another one. */
export function nicsOf(vmId: string, spec: VmSpec, available: readonly string[]): readonly Nic[] {
  return networksOf(spec).flatMap(({ network, mac }, index) =>
    available.includes(network) ? [{ network, mac: mac ?? macOf(vmId, index) }] : [],
  );
}

/** The same for a card on every node and at every start; locally administered and unicast (IEEE 802). */
function macOf(vmId: string, index: number): string {
  const bytes = createHash("sha256").update(`${vmId}/${index}`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
