/**
 * The addresses of a network `user`: a range of 256 in which the guest is alone with its gateway and a resolver of names, both of
 * which passt stands in for. The switch is given them whole: it loads nothing of the contract.
 */
import type { Ipv4Range } from "@blixard/common";
import type { DhcpLease } from "./dhcp.ts";

export interface UserAddresses {
  readonly guest: number;
  readonly gateway: number;
  readonly resolver: number;
  readonly range: Ipv4Range;
}

/** What the guest is told by DHCP. */
export function userLeaseOf({ guest, gateway, resolver, range }: UserAddresses): DhcpLease {
  return { guest, server: gateway, mask: range.mask, resolver, router: gateway };
}

/** From which the switch opens connections into the guest: its own, so that no answer of the guest goes to passt. */
export function switchAddressOf({ range }: UserAddresses): number {
  return range.base + 1;
}

/** A forwarded port. */
export interface PortForward {
  /** The address on which this machine listens. */
  readonly listen: string;
  readonly port: number;
  /** Of the guest. */
  readonly to: number;
  /** Ranges of addresses that may connect; absent: all. */
  readonly sources?: readonly string[];
  /** Absent: tcp. */
  readonly protocol?: "tcp" | "udp";
}

/** passt has those of TCP, the relay those of UDP. */
export function forwardsOf(all: readonly PortForward[], protocol: "tcp" | "udp"): readonly PortForward[] {
  return all.filter((each) => (each.protocol ?? "tcp") === protocol);
}

export const userPrefixLength = 24;
