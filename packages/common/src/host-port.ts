/** Hosts, `host:port`, and the other ways to name where something is reached. */

/** True for `localhost`, 127.0.0.0/8 and ::1, with or without brackets. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return bare === "localhost" || bare === "::1" || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** `host:port`, with brackets around an IPv6 host. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host of `host:port`, without brackets. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
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
