/** IPv6 addresses (RFC 4291) as 32 hexadecimal digits, and networks of 64 bits of them. */

const groups = 8;
const groupPattern = /^[0-9a-f]{1,4}$/i;

/** Undefined for what is no address, and for one that ends like one of IPv4. */
export function parseIpv6(text: string): string | undefined {
  const sides = text.split("::").map((side) => (side === "" ? [] : side.split(":")));
  const [head = [], tail] = sides;
  if (sides.length > 2 || ![...head, ...(tail ?? [])].every((group) => groupPattern.test(group))) return undefined;
  const missing = groups - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const all = [...head, ...Array.from({ length: missing }, () => "0"), ...(tail ?? [])];
  return all.map((group) => group.toLowerCase().padStart(4, "0")).join("");
}

/** The one text of an address (RFC 5952). */
export function formatIpv6(digits: string): string {
  const all = (digits.match(/.{4}/g) ?? []).map((group) => group.replace(/^0{1,3}/, ""));
  const zeros = [...all.join(":").matchAll(/(?:^|:)(0(?::0)+)(?=:|$)/g)].map(([, run = ""]) => run);
  const longest = zeros.reduce((best, run) => (run.length > best.length ? run : best), "");
  if (longest === "") return all.join(":");
  const [before = "", after = ""] = splitAround(all, longest.split(":").length);
  return `${before}::${after}`;
}

/** Around the first run of so many zeros. */
function splitAround(all: readonly string[], length: number): readonly [string, string] {
  const at = all.findIndex((_, from) => all.slice(from, from + length).join("") === "0".repeat(length));
  return [all.slice(0, at).join(":"), all.slice(at + length).join(":")];
}

/** The first 16 digits of `fd00:1::/64`; undefined for what has another length, or more than these bits. */
export function parseIpv6Network(text: string): string | undefined {
  const [address = "", length, ...more] = text.split("/");
  const digits = length === "64" && more.length === 0 ? parseIpv6(address) : undefined;
  return digits?.slice(16) === "0".repeat(16) ? digits.slice(0, 16) : undefined;
}

/** The address that a host with this MAC address gives itself in a network, given by its first 16 digits (RFC 4291, appendix A). */
export function eui64AddressOf(network: string, mac: string): string {
  const digits = mac.replaceAll(":", "");
  const first = (Number.parseInt(digits.slice(0, 2), 16) ^ 0x02).toString(16).padStart(2, "0");
  return `${network}${first}${digits.slice(2, 6)}fffe${digits.slice(6)}`;
}
