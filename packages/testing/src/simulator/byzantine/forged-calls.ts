/**
 * A request of every method and stream, as somebody makes it up who knows the state: real ids of nodes, tokens, tickets and
 * VMs. Each of them would do something where it is let in, or show something, and what it would leave behind bears
 * `forgedName`.
 */
import type { ClusterState } from "@blixard/cluster";
import { type Random, toHex } from "@blixard/common";
import {
  limits,
  type MethodName,
  type RequestOf,
  type StreamName,
  type StreamRequestOf,
  vmSpecSchema,
} from "@blixard/protocol";
import { chance, integer, pick } from "../seeds.ts";

/** Stands in everything that only a forged request would write. */
export const forgedName = "forged";

/** What the liar knows when it makes a request up. */
export interface RequestSource {
  readonly random: Random;
  readonly self: number;
  readonly endpointId: string;
  /** The other members. */
  readonly others: readonly number[];
  readonly state: ClusterState;
  readonly appliedIndex: number;
  /** Claims of addresses that it was told, as they were signed. */
  readonly claims: readonly AddressClaim[];
}

export type AddressClaim = RequestOf<"node.addresses">["claims"][number];

type Requests = { readonly [Name in MethodName]: (source: RequestSource) => RequestOf<Name> };
type StreamRequests = { readonly [Name in StreamName]: (source: RequestSource) => StreamRequestOf<Name> };

export const forgedRequests: Requests = {
  "identity.get": () => ({}),
  "status.get": () => ({}),
  "leader.transfer": (source) => (chance(source.random, 0.5) ? {} : { to: other(source) }),
  "snapshot.take": () => ({}),
  "kv.get": (source) => ({ key: key(source) }),
  "kv.list": () => ({}),
  "kv.put": (source) => ({ key: key(source), value: forgedName }),
  "kv.delete": (source) => ({ key: key(source) }),
  "kv.cas": (source) => ({ key: key(source), from: presentValue(source), to: forgedName }),
  "vm.list": () => ({}),
  "vm.get": (source) => ({ name: vm(source) }),
  "vm.explain": (source) => ({ name: vm(source) }),
  "vm.create": () => ({ name: forgedName, spec: vmSpecSchema.parse({ memoryMiB: 64, image: "demo" }) }),
  "vm.desire": (source) => ({ name: vm(source), desired: "deleted", force: true }),
  "scheduling.rebalance": () => ({ dryRun: true }),
  "vm.set": (source) => ({ name: vm(source), labels: { forged: "yes" } }),
  "vm.observe": (source) => ({ nodeId: someone(source), observations: observationsOf(source) }),
  "vm.migrate": (source) => ({ name: vm(source), to: source.self }),
  "vm.observeCopy": (source) => ({
    nodeId: chance(source.random, 0.7) ? other(source) : source.self,
    copies: copiesSeen(source),
  }),
  "vm.consoleRead": (source) => ({ name: vm(source), offset: 0 }),
  "vm.networkState": (source) => ({ name: vm(source) }),
  "vm.consoleWrite": (source) => ({ name: vm(source), data: new Uint8Array(3) }),
  "vm.exec": (source) => ({ name: vm(source), argv: ["/bin/true"] }),
  "vm.readFile": (source) => ({ name: vm(source), path: "/etc/shadow" }),
  "vm.writeFile": (source) => ({ name: vm(source), path: "/etc/shadow", data: "" }),
  "vm.attachDisk": (source) => ({ name: vm(source), disk: "data", volume: volume(source) }),
  "vm.detachDisk": (source) => ({ name: vm(source), disk: "data" }),
  "vm.changeDisk": (source) => ({ name: vm(source), disk: "data", sizeGiB: limits.vmDiskGiBMax }),
  "volume.list": () => ({}),
  "volume.get": (source) => ({ name: volume(source) }),
  "volume.create": ({ self }) => ({ name: forgedName, sizeGiB: 1, node: self }),
  "volume.resize": (source) => ({ name: volume(source), sizeGiB: limits.vmDiskGiBMax }),
  "volume.delete": (source) => ({ name: volume(source) }),
  "volume.createSnapshot": (source) => ({ name: volume(source), snapshot: forgedName }),
  "volume.restoreSnapshot": (source) => ({ name: volume(source), snapshot: forgedName }),
  "volume.deleteSnapshot": (source) => ({ name: volume(source), snapshot: forgedName }),
  "volume.read": (source) => ({ name: volume(source) }),
  "volume.write": (source) => ({ name: volume(source), data: "AAAA", last: true }),
  "volume.move": (source) => ({ name: volume(source), to: source.self }),
  "volume.observe": (source) => ({ nodeId: other(source), observations: volumesSeen(source) }),
  "network.list": () => ({}),
  "network.get": (source) => ({ name: network(source) }),
  "network.create": () => ({ name: forgedName, range: "10.99.0.0/24" }),
  "network.delete": (source) => ({ name: network(source) }),
  "securityGroup.list": () => ({}),
  "securityGroup.get": (source) => ({ name: securityGroup(source) }),
  "securityGroup.create": () => ({ name: forgedName, in: [{ protocol: "any" }] }),
  "securityGroup.set": (source) => ({ name: securityGroup(source), in: [{ protocol: "any" }] }),
  "securityGroup.delete": (source) => ({ name: securityGroup(source) }),
  "image.list": () => ({}),
  "image.get": () => ({ name: "demo" }),
  "image.put": ({ self }) => ({
    name: forgedName,
    format: "multiboot",
    blobs: [{ role: "kernel", digest: "0".repeat(64), sizeBytes: 1_024 }],
    sources: [self],
  }),
  "image.remove": () => ({ name: "demo" }),
  "image.pin": () => ({ name: "demo", pinned: true }),
  "image.collect": () => ({ unused: true, minAgeMs: 0 }),
  "image.observe": (source) => ({ nodeId: other(source), held: [forgedName], lost: [forgedName] }),
  "blob.fetch": () => ({ url: "http://169.254.169.254/latest" }),
  "blob.stat": () => ({ digest: "0".repeat(64) }),
  "blob.read": () => ({ digest: "0".repeat(64) }),
  "blob.inspect": () => ({
    format: "multiboot",
    blobs: [{ role: "kernel", digest: "0".repeat(64), sizeBytes: 1_024 }],
  }),
  "blob.collect": () => ({ index: 0, minAgeMs: 0, dryRun: false }),
  "blob.write": ({ random }) => ({
    uploadId: toHex(random.bytes(16)),
    offset: 0,
    data: new Uint8Array(3),
    last: true,
  }),
  "node.list": () => ({}),
  "node.get": (source) => ({ id: other(source) }),
  "node.update": (source) =>
    chance(source.random, 0.2)
      ? { nodeId: source.self, addresses: [wrongAddress(source)] }
      : { nodeId: other(source), addresses: [wrongAddress(source)], starts: 1_000_000 },
  "node.cordon": (source) => ({ id: other(source), cordoned: true }),
  "node.label": (source) => ({ id: other(source), set: { [forgedName]: "" } }),
  "scheduling.get": () => ({}),
  "scheduling.set": () => ({ strategy: "binpack", vcpuOvercommit: 0.1 }),
  "vm.candidates": (source) => ({ name: vm(source) }),
  "capacity.get": (source) => ({ ifLost: other(source) }),
  "quota.list": () => ({}),
  "quota.set": () => ({ project: forgedName, quota: { vms: 0 } }),
  "quota.remove": () => ({ project: forgedName }),
  "node.drain": (source) => ({ id: other(source), mode: "stop" }),
  "node.resume": (source) => ({ id: someone(source) }),
  "node.evacuate": (source) => ({ id: other(source) }),
  "operation.list": () => ({}),
  "operation.get": (source) => ({ id: operationOf(source) }),
  "operation.cancel": (source) => ({ id: operationOf(source) }),
  "node.verify": (source) => ({
    ...{ nodeId: other(source), incarnation: 1, storeId: toHex(source.random.bytes(16)), starts: 1_000_000 },
    ...{ term: 1_000_000, lastIndex: 1_000_000 },
  }),
  "node.renewLease": (source) => ({ nodeId: chance(source.random, 0.8) ? other(source) : source.self }),
  "node.addresses": (source) => ({ claims: claimsOf(source) }),
  "node.rotateKey": (source) => ({ id: other(source) }),
  "node.nextKey": (source) => ({
    ...{ nodeId: other(source), incarnation: 1, number: 1 },
    endpointId: keyOfNode(source, other(source)),
  }),
  "node.useKey": (source) => {
    const nodeId = someone(source);
    const [endpointId, nextEndpointId] = [keyOfNode(source, nodeId), toHex(source.random.bytes(32))];
    const change = { nodeId, incarnation: 1, number: 1, endpointId, nextEndpointId };
    return { change, signature: toHex(source.random.bytes(64)) };
  },
  "log.read": ({ appliedIndex }) => ({ from: Math.max(1, appliedIndex - 5), to: appliedIndex + 1 }),
  "member.list": () => ({}),
  "member.remove": (source) => ({ id: other(source), force: chance(source.random, 0.5) }),
  "member.setRole": (source) =>
    chance(source.random, 0.5) ? { id: source.self, role: "voter" } : { id: other(source), role: "worker" },
  "member.vouch": ({ self, endpointId, appliedIndex }) => ({ id: self, endpointId, appliedIndex }),
  "join.request": (source) => ({
    ...{ ticket: chance(source.random, 0.5) ? null : ticketOf(source), nodeId: other(source), nodeName: forgedName },
    ...{ endpointId: source.endpointId, addresses: [wrongAddress(source)] },
    ...{ capacity: { vcpus: 1, memoryMiB: 64, drivers: [] }, version: "0.0.0", featureLevel: 1 },
  }),
  "join.list": () => ({}),
  "join.accept": ({ endpointId }) => ({ endpointId, role: "voter" }),
  "ban.add": (source) => ({ id: other(source), force: true, acceptTwoCopies: [] }),
  "ban.list": () => ({}),
  "ticket.create": () => ({ role: "voter", nodeName: forgedName }),
  "ticket.list": () => ({}),
  "ticket.revoke": (source) => ({ id: ticketOf(source).id }),
  "token.create": () => ({ role: "admin", name: forgedName }),
  "token.list": () => ({}),
  "token.revoke": (source) => ({ id: tokenOf(source), lastAdmin: true }),
  "token.rotate": (source) => ({ id: tokenOf(source) }),
  "token.narrow": (source) => ({ id: tokenOf(source), role: "viewer", lastAdmin: true }),
  "token.own": (source) => ({ nodeId: other(source), tokenHash: toHex(source.random.bytes(32)) }),
  "token.redeem": (source) => ({ ticket: ticketOf(source), endpointId: source.endpointId, name: forgedName }),
  "cert.list": () => ({}),
  "cert.rotate": () => ({}),
  "debug.log": ({ appliedIndex }) => ({ from: Math.max(0, appliedIndex - 5), to: appliedIndex }),
  "debug.stateHash": ({ appliedIndex }) => ({ index: appliedIndex }),
};

export const forgedStreams: StreamRequests = {
  "vm.console": (source) => ({ name: vm(source), offset: 0 }),
  "vm.logs": (source) => ({ name: vm(source), offset: 0 }),
  "vm.forward": (source) => ({ name: vm(source), port: 22 }),
  "vm.watch": () => ({}),
  "kv.watch": () => ({}),
};

function other({ random, others }: RequestSource): number {
  return pick(random, others);
}

function someone(source: RequestSource): number {
  return chance(source.random, 0.3) ? source.self : other(source);
}

function key({ random }: RequestSource): string {
  return `k${integer(random, 0, 3)}`;
}

function keyOfNode({ state, endpointId }: RequestSource, nodeId: number): string {
  return [...state.nodes.values()].find(({ id }) => id === nodeId)?.endpointId ?? endpointId;
}

function presentValue({ random, state }: RequestSource): string | null {
  const values = [...state.kv.values()];
  return values.length === 0 ? null : pick(random, values).value;
}

function vm({ random, state }: RequestSource): string {
  const names = [...state.vms.keys()];
  return names.length === 0 ? "vm0" : pick(random, names);
}

function operationOf({ random, state }: RequestSource): string {
  return pick(random, [...state.operations.keys(), "0".repeat(12)]);
}

function tokenOf({ random, state }: RequestSource): string {
  return pick(random, [...state.tokens.keys(), "admin"]);
}

function ticketOf({ random, state }: RequestSource): { readonly id: string; readonly secret: string } {
  return { id: pick(random, [...state.tickets.keys(), "none"]), secret: toHex(random.bytes(16)) };
}

/** About VMs of others too, which only their owner may say anything of. */
function volume({ random, state }: RequestSource): string {
  const names = [...state.volumes.keys()];
  return names.length === 0 ? "volume0" : pick(random, names);
}

function network({ random, state }: RequestSource): string {
  const names = [...state.networks.keys()];
  return names.length === 0 ? "network0" : pick(random, names);
}

function securityGroup({ random, state }: RequestSource): string {
  const names = [...state.securityGroups.keys()];
  return names.length === 0 ? "group0" : pick(random, names);
}

function volumesSeen({ random, state }: RequestSource): RequestOf<"volume.observe">["observations"] {
  return [...state.volumes.values()].map(({ volumeId, epoch }) => ({
    ...{ volumeId, epoch, state: pick(random, ["missing", "deleted"] as const), sizeGiB: 0 },
  }));
}

/** Of disks that go elsewhere, and of some that nobody is to take. */
function copiesSeen({ random, state }: RequestSource): RequestOf<"vm.observeCopy">["copies"] {
  return [...state.vms.values()].slice(0, limits.copiesObservedMax).map(({ vmId, fencingEpoch, held }) => ({
    ...{ vmId, epoch: held?.epoch ?? fencingEpoch, state: pick(random, ["copied", "failed", "dropped"] as const) },
    ...{ doneBytes: 0, wholeBytes: 0, bytesPerSecond: 0, message: forgedName },
  }));
}

function observationsOf({ random, state }: RequestSource): RequestOf<"vm.observe">["observations"] {
  return [...state.vms.values()].map(({ vmId, fencingEpoch }) => ({
    ...{ vmId, fencingEpoch, phase: pick(random, ["Stopped", "Failed", "Deleted"] as const) },
    ...{ reason: forgedName, message: "", driver: null, guest: "none", restarts: 0, observedUnixMs: 0 },
  }));
}

function wrongAddress({ random }: RequestSource): string {
  return `10.9.9.${integer(random, 1, 9)}:1`;
}

/** Of another member, with a start that nothing tops; of itself; and old ones of others, which are real. */
function claimsOf(source: RequestSource): RequestOf<"node.addresses">["claims"] {
  const { random, state, claims } = source;
  const named = other(source);
  const about = [...state.nodes.values()].find(({ id }) => id === named);
  const seen = claims.filter(({ nodeId }) => nodeId !== source.self);
  const old = seen.length > 0 && chance(random, 0.3) ? [pick(random, seen)] : [];
  if (about === undefined || chance(random, 0.2)) return old;
  const { id, endpointId, incarnation } = about;
  const known = seen.find((claim) => claim.nodeId === id)?.proof;
  const signature = known !== undefined && chance(random, 0.5) ? known.signature : toHex(random.bytes(64));
  const proof = { incarnation, sequence: 1_000_000, signature };
  return [...old, { nodeId: id, endpointId, addresses: [wrongAddress(source)], starts: 1_000_000, proof }];
}
