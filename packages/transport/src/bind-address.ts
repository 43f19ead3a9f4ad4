/** Which sockets an endpoint binds for the address that the operator gave, and which addresses others can use. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { BlixardError, formatHostPort, type HostPort, parseHostPort } from "@blixard/common";
import { gatewayRoutes, orderAddresses } from "./address-order.ts";

/** The address to bind, whose host is an IP address. @throws INVALID_ARGUMENT for another host than `localhost` */
export function parseBind(bind: string): HostPort {
  const { host: text = "", port = 0 } = parseHostPort(bind) ?? {};
  const host = text === "localhost" ? "127.0.0.1" : text;
  if (isIP(host) === 0) {
    throw new BlixardError("INVALID_ARGUMENT", `${bind} is not an address to bind`, {
      hint: "Use an IP address and a port, for example 127.0.0.1:7001.",
    });
  }
  return { host, port };
}

/**
 * The sockets to bind, the operator's first. Iroh binds a wildcard socket for the address family that it was not told
 * about: that would open a node to every interface that asked for one address, so the other family gets its loopback.
 */
export function socketsFor({ host, port }: HostPort): readonly string[] {
  if (host === "0.0.0.0") return [formatHostPort(host, port)];
  if (host === "::") return [formatHostPort(host, port)];
  const other = host.includes(":") ? "127.0.0.1" : "::1";
  return [formatHostPort(host, port), formatHostPort(other, port)];
}

/** The addresses to publish, the most useful first: the bound one, or for a wildcard those of all interfaces that are not loopback. */
export function reachableAddresses(host: string, port: number): readonly string[] {
  if (host !== "0.0.0.0" && host !== "::") return [formatHostPort(host, port)];
  const family = host === "::" ? "IPv6" : "IPv4";
  const found = orderAddresses(networkInterfaces(), family, gatewayRoutes(family));
  const addresses = found.map((address) => formatHostPort(address, port));
  return addresses.length > 0 ? addresses : [formatHostPort(host === "::" ? "::1" : "127.0.0.1", port)];
}
