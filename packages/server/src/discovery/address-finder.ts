/**
 * Finds members at addresses that the operator gave: `HOST:PORT`, or `dns:NAME` for what the name holds now. One entry
 * that leads to one member is enough, because members tell each other of the rest.
 *
 * A name holds SRV records at `_blixard._udp.NAME`, one for each member; or TXT records there, `id=ENDPOINT-ID` and
 * `addr=HOST:PORT` in strings of one record each, which spare the question who answers at an address.
 */
import { Resolver } from "node:dns/promises";
import type { ClusterEndpoint, PeerFinder } from "@blixard/cluster";
import { BlixardError, offAbort, onAbort, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { fetchPeerIdentity } from "@blixard/identity";
import { endpointIn } from "./lan-finder.ts";

export const dnsPrefix = "dns:";

export interface AddressFinderOptions {
  /** `HOST:PORT` or `dns:NAME`. */
  readonly entries: readonly string[];
  /** `IP:PORT` of the servers to ask. Default: those of the machine. */
  readonly dnsServers?: readonly string[];
}

const addressesMax = 64;
const identityTimeoutMs = 2_000;
const dnsTimeoutMs = 1_500;
const dnsTries = 2;

export function createAddressFinder(options: AddressFinderOptions): PeerFinder {
  return { kind: "list", find: (_wanted, { signal }) => findAll(options, signal) };
}

async function findAll(options: AddressFinderOptions, signal: AbortSignal): Promise<ClusterEndpoint[]> {
  const looked = await Promise.allSettled(options.entries.map((entry) => lookUp(entry, options, signal)));
  const failure = looked.find((result) => result.status === "rejected");
  const found = looked.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const addresses = [...new Set(found.flatMap((entry) => entry.addresses))].slice(0, addressesMax);
  const asked = await Promise.allSettled(addresses.map((address) => whoIsAt(address, signal)));
  const endpoints = [
    ...found.flatMap((entry) => entry.endpoints),
    ...asked.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
  ];
  if (endpoints.length === 0 && failure !== undefined) throw failure.reason;
  return endpoints;
}

interface LookedUp {
  readonly endpoints: readonly ClusterEndpoint[];
  /** Somebody answers there, perhaps. */
  readonly addresses: readonly string[];
}

async function lookUp(entry: string, { dnsServers }: AddressFinderOptions, signal: AbortSignal): Promise<LookedUp> {
  if (!entry.startsWith(dnsPrefix)) return { endpoints: [], addresses: [entry] };
  const resolver = new Resolver({ timeout: dnsTimeoutMs, tries: dnsTries });
  if (dnsServers !== undefined && dnsServers.length > 0) resolver.setServers(dnsServers);
  const cancel = () => resolver.cancel();
  onAbort(signal, cancel);
  const name = `_blixard._udp.${entry.slice(dnsPrefix.length)}`;
  try {
    const [srv, txt] = await Promise.all([orNone(resolver.resolveSrv(name)), orNone(resolver.resolveTxt(name))]);
    return {
      endpoints: txt.flatMap((strings) => endpointIn(strings) ?? []),
      addresses: srv.map((record) => `${record.name}:${record.port}`),
    };
  } catch (error) {
    throw new BlixardError("UNREACHABLE", `looking up ${name}: ${reasonOf(error)}`, {
      cause: error,
      hint: "Check the name, and --dns-servers if it is given.",
    });
  } finally {
    offAbort(signal, cancel);
  }
}

/** A name without records of a type is no failure. */
async function orNone<T>(answer: Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await answer;
  } catch (error) {
    if (["ENODATA", "ENOTFOUND"].includes(systemErrorCodeOf(error) ?? "")) return [];
    throw error;
  }
}

async function whoIsAt(address: string, signal: AbortSignal): Promise<ClusterEndpoint> {
  return {
    endpointId: await fetchPeerIdentity(address, { timeoutMs: identityTimeoutMs, signal }),
    addresses: [address],
  };
}
