/**
 * The addresses of a network `user`: a range of 256 in which the guest is alone with its gateway and a resolver of names, both of
 * which passt stands in for. The switch is given them whole: it loads nothing of the contract.
 */
import type { AddressRange } from "./ipv4.ts";

export interface UserAddresses {
  readonly guest: number;
  readonly gateway: number;
  readonly resolver: number;
  readonly range: AddressRange;
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
}

export const userPrefixLength = 24;
/** Of the gateway, and of everybody else whom the guest reaches. */
export const gatewayMac = "02:00:00:00:00:02";
