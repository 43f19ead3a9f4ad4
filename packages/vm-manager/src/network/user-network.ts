/** A network `user` as a specification describes it. */
import {
  listenAddressOf,
  userAddressDefault,
  userGatewayPart,
  userResolverPart,
  type VmForward,
} from "@blixard/protocol";
import { parseAddress, rangeOf } from "./ipv4.ts";
import { type PortForward, type UserAddresses, userPrefixLength } from "./user-addresses.ts";

export function userAddressesOf(address: string = userAddressDefault): UserAddresses {
  const guest = parseAddress(address);
  const range = rangeOf(guest, userPrefixLength);
  return { guest, gateway: range.base + userGatewayPart, resolver: range.base + userResolverPart, range };
}

export function portForwardOf(forward: VmForward): PortForward {
  return { ...forward, listen: listenAddressOf(forward) };
}
