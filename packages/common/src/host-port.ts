/** Hosts, `host:port`, and the other ways to name where something is reached. */
import { BlixardError } from "./errors.ts";

export interface HostPort {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  /** 0 to 65,535; 0 is no address of anything, and asks for a free port where something is bound. */
  readonly port: number;
}

const portMax = 65_535;

/** Takes `host:port`, `IPv4:port` or `[IPv6]:port` apart; undefined for any other text. */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/@]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= portMax ? { host, port } : undefined;
}

/** As `parseHostPort`; `name` says in the error which text it is. @throws INVALID_ARGUMENT */
export function requireHostPort(text: string, name: string): HostPort {
  const parsed = parseHostPort(text);
  if (parsed !== undefined) return parsed;
  throw new BlixardError("INVALID_ARGUMENT", `${name} ${text} is not HOST:PORT`, {
    hint: "Use HOST:PORT, for example 127.0.0.1:7001 or [::1]:7001.",
  });
}

/** True for `localhost`, 127.0.0.0/8 and ::1, with or without brackets. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return bare === "localhost" || bare === "::1" || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** `host:port`, with brackets around an IPv6 host. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host of `host:port`; for any other text the text itself. */
export function hostOf(address: string): string {
  return parseHostPort(address)?.host ?? address;
}

/** True for the URL of a relay, as it stands among the addresses of an endpoint: `https://relay.example`. */
export function isRelayUrl(address: string): boolean {
  return /^https?:\/\//.test(address);
}

/** The addresses that can be connected to without a relay. */
export function directAddresses(addresses: readonly string[]): readonly string[] {
  return addresses.filter((address) => !isRelayUrl(address));
}

/** The first `countMax` addresses, the first relay among them: it reaches what no other address does. */
export function firstAddresses(addresses: readonly string[], countMax: number): readonly string[] {
  const first = addresses.slice(0, countMax);
  const relay = addresses.find(isRelayUrl);
  return relay === undefined || first.includes(relay) ? first : [...first.slice(0, -1), relay];
}
