/** A network `user` as a specification describes it. */

import { ipv4RangeOf, parseIpv4 } from "@blixard/common";
import {
  listenAddressOf,
  userAddressDefault,
  userGatewayPart,
  userResolverPart,
  type VmForward,
} from "@blixard/protocol";
import { type PortForward, type UserAddresses, userPrefixLength } from "./user-addresses.ts";

export function userAddressesOf(address: string = userAddressDefault): UserAddresses {
  const guest = parseIpv4(address);
  const range = ipv4RangeOf(guest, userPrefixLength);
  return { guest, gateway: range.base + userGatewayPart, resolver: range.base + userResolverPart, range };
}

export function portForwardOf(forward: VmForward): PortForward {
  return { ...forward, listen: listenAddressOf(forward) };
}
