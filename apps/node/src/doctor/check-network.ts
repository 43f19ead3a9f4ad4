/** What the network gives a node: UDP, its ports, Iroh with its relays, and what stands between here and the world. */
import { createSocket } from "node:dgram";
import { BlockList, createServer, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { directAddresses, errorCodeOf, formatHostPort, parseHostPort, reasonOf, withTimeLimit } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import type { NodeConfig } from "@blixard/server/settings";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { type Finding, notOk, ok } from "./finding.ts";

const answerMs = 2_000;
const relayMs = 6_000;

type Family = "udp4" | "udp6";
const familyOf = (host: string): Family => (host.includes(":") ? "udp6" : "udp4");

/** A datagram to oneself: what QUIC needs first. */
export function checkUdp(host: string): Promise<Finding> {
  const check = "UDP";
  return new Promise((resolve) => {
    const socket = createSocket(familyOf(host));
    const answer = (finding: Finding) => {
      clearTimeout(timer);
      socket.close();
      resolve(finding);
    };
    const next = "let UDP through: a firewall or a sandbox holds it up. Without UDP: --transport grpc";
    const timer = setTimeout(
      () => answer(notOk(check, "fail", `${host} does not receive its own datagram`, next)),
      answerMs,
    );
    socket.on("error", (error) => answer(notOk(check, "fail", `${host}: ${reasonOf(error)}`, next)));
    socket.on("message", () => answer(ok(check, `bound on ${host}, a datagram came back`)));
    socket.bind(0, host, () => {
      const { port } = socket.address();
      const to = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
      socket.send(new Uint8Array([1]), port, to);
    });
  });
}

/** Whether the ports of the node are free, or taken by the node itself. */
export async function checkPort(
  what: "bind" | "http",
  { host, port }: { readonly host: string; readonly port: number },
  ownedBy: string | undefined,
): Promise<Finding> {
  const check = `port ${what}`;
  const address = formatHostPort(host, port);
  if (port === 0) return ok(check, "the system chooses a free one");
  const taken = [];
  if (what === "bind" && !(await canBindUdp(host, port))) taken.push("UDP");
  if (!(await canListen(host, port))) taken.push("TCP");
  if (taken.length === 0) return ok(check, `${address} is free`);
  if (ownedBy !== undefined) return ok(check, `${address} is served by ${ownedBy}`);
  const next = `see who has it: ss -lnptu 'sport = :${port}'; or choose another with --${what}`;
  return notOk(check, "fail", `${taken.join(" and ")} ${address} is taken or cannot be bound`, next);
}

function canBindUdp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(familyOf(host));
    socket.once("error", () => {
      socket.close();
      resolve(false);
    });
    socket.bind(port, host, () => socket.close(() => resolve(true)));
  });
}

function canListen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

/** Iroh binds an endpoint; with relays it also learns how the world sees it. */
export async function checkIroh(host: string, config: NodeConfig): Promise<Finding[]> {
  const { relay, relayUrls } = config;
  const secretKey = systemRandom.bytes(32);
  const adapter = createIrohAdapter({ secretKey, bind: formatHostPort(host, 0), relay, relayUrls, discovery: false });
  try {
    await adapter.bind();
  } catch (error) {
    const next =
      errorCodeOf(error) === "UNSUPPORTED"
        ? "npm install again for this platform, or use --transport grpc"
        : "choose another --bind, or use --transport grpc";
    return [notOk("Iroh", config.transport === "grpc" ? "warn" : "fail", reasonOf(error), next)];
  }
  try {
    const bound = ok("Iroh", `an endpoint was bound on ${host}`);
    if (!adapter.usesRelay) {
      const why = config.relay ? `${host} is a loopback address` : "--no-relay";
      return [bound, ok("relay", `off: ${why}`), notOk("NAT", "unknown", "only a relay can tell")];
    }
    return [bound, ...(await askRelay(adapter))];
  } finally {
    await adapter.close();
  }
}

async function askRelay(adapter: ReturnType<typeof createIrohAdapter>): Promise<Finding[]> {
  let seen: Awaited<ReturnType<typeof adapter.online>>;
  try {
    seen = await withTimeLimit(systemClock, relayMs, undefined, (signal) => adapter.online(signal));
  } catch {
    const detail = `no relay answered within ${relayMs / 1000} s`;
    const next =
      "direct connections go on; let HTTPS out for relays, name your own with --relay-urls, or use --no-relay";
    return [notOk("relay", "warn", detail, next), notOk("NAT", "unknown", "no relay answered")];
  }
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  const nat = judgeNat(own, directAddresses(adapter.addresses()), seen.addresses);
  return [ok("relay", seen.relayUrl), nat];
}

/**
 * What stands between this machine and the relay, from the addresses of the machine, those that the endpoint is bound to,
 * and those that the relay saw. A port that is kept, and several that are given, say what kind of NAT it is.
 */
export function judgeNat(own: readonly string[], bound: readonly string[], seen: readonly string[]): Finding {
  const check = "NAT";
  const outside = seen.flatMap((address) => parseHostPort(address) ?? []).filter(({ host }) => !own.includes(host));
  if (outside.length === 0) {
    if (own.some(isPublic)) return ok(check, "none: the relay sees an address of this machine");
    const next = "let UDP out to the relay, or expect relays between this machine and others";
    return notOk(check, "unknown", "the relay cannot tell how the world sees this machine: no UDP reaches it", next);
  }
  const world = `behind one: the world sees ${outside.map(({ host, port }) => formatHostPort(host, port)).join(", ")}`;
  const varies = outside.some(({ host, port }) => outside.some((other) => other.host === host && other.port !== port));
  if (varies) {
    const next = "forward the bind port and name it with --advertise, or expect relays between two such machines";
    return notOk(check, "warn", `${world}; symmetric: another port for each peer, which no peer can know`, next);
  }
  const ports = new Set(bound.map((address) => parseHostPort(address)?.port));
  if (outside.some(({ port }) => ports.has(port))) return ok(check, `${world}; it keeps the port: others can reach it`);
  return ok(check, `${world}; it changes the port; whether for each peer anew, one relay alone cannot tell`);
}

const privateRanges = new BlockList();
for (const [network, bits] of [
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
] as const) {
  privateRanges.addSubnet(network, bits);
}
for (const [network, bits] of [
  ["::1", 128],
  ["fc00::", 7],
  ["fe80::", 10],
] as const) {
  privateRanges.addSubnet(network, bits, "ipv6");
}

function isPublic(address: string): boolean {
  const version = isIP(address);
  return version !== 0 && !privateRanges.check(address, version === 6 ? "ipv6" : "ipv4");
}
