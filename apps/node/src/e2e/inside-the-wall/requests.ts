/** What is asked by each method: right in its form, and harmful or telling if it were done. */
import { toHex } from "@blixard/common";
import { systemRandom } from "@blixard/common/system";
import type { MethodName, RequestOf, StreamName, StreamRequestOf } from "@blixard/protocol";
import { builtinImages, nanoGuestElf } from "@blixard/vm-manager";

/** What requests are about. */
export interface Objects {
  /** To be made, and to be deleted. */
  readonly newVm: string;
  readonly vm: string;
  /** To be made, and to be deleted. */
  readonly newVolume: string;
  readonly volume: string;
  /** To be made, and to be deleted. */
  readonly newNetwork: string;
  readonly network: string;
  /** To be made, and to be deleted. */
  readonly newGroup: string;
  readonly group: string;
  readonly key: string;
  readonly image: string;
  readonly token: string;
  readonly narrowed: string;
  readonly ticket: string;
  /** A member, and what it is to become. */
  readonly member: number;
  readonly role: "worker" | "learner";
  readonly cordoned: boolean;
  readonly removed: number;
  readonly leader: number;
  /** The key of a machine that waits to join. */
  readonly waiting: string;
}

export interface Ask {
  /** The node whose key it is, or a number that is no member's. */
  readonly self: number;
  /** In whose name a ticket is shown. */
  readonly endpointId: string;
  readonly objects: Objects;
  readonly lastIndex: number;
}

type Requests = { readonly [Name in MethodName]: (ask: Ask) => RequestOf<Name> } & {
  readonly [Name in StreamName]: (ask: Ask) => StreamRequestOf<Name>;
};

/** Every node holds these. */
const nanoBlobs = [...(builtinImages[0]?.blobs ?? [])];
const hex = (bytes: number) => toHex(systemRandom.bytes(bytes));
const spec = { vcpus: 1, memoryMiB: 32, image: "demo" };

/** A machine that asks to join: with a ticket that nobody made, or without one. */
export function joinRequest(nodeId: number, endpointId: string, ticket: boolean): RequestOf<"join.request"> {
  return {
    ...{ nodeId, endpointId, addresses: ["127.0.0.1:9"], version: "0.1.0", featureLevel: 3 },
    capacity: { vcpus: 1, memoryMiB: 64, drivers: [] },
    ticket: ticket ? { id: hex(6), secret: hex(32) } : null,
  };
}

export const requests: Requests = {
  "identity.get": () => ({}),
  "status.get": () => ({}),
  "leader.transfer": ({ objects }) => ({ to: objects.leader }),
  "snapshot.take": () => ({}),
  "kv.get": () => ({ key: "treasure" }),
  "kv.list": () => ({}),
  "kv.put": ({ objects }) => ({ key: objects.key, value: "forged" }),
  "kv.delete": ({ objects }) => ({ key: objects.key }),
  "kv.cas": ({ objects }) => ({ key: `${objects.key}-cas`, from: null, to: "forged" }),
  "kv.watch": () => ({}),
  "vm.list": () => ({}),
  "vm.get": () => ({ name: "prey" }),
  "vm.explain": () => ({ name: "prey" }),
  "vm.watch": () => ({}),
  "vm.create": ({ objects }) => ({ name: objects.newVm, spec, desired: "stopped" }),
  "vm.set": () => ({ name: "prey", labels: { mark: hex(4) } }),
  "vm.desire": ({ objects }) => ({ name: objects.vm, desired: "deleted", force: true }),
  "vm.observe": ({ self }) => ({ nodeId: self, observations: [] }),
  // It is there already.
  "vm.migrate": () => ({ name: "prey", to: 1 }),
  "vm.observeCopy": ({ self }) => ({ nodeId: self, copies: [] }),
  "vm.logs": () => ({ name: "prey", offset: 0 }),
  "vm.console": () => ({ name: "prey", offset: 0 }),
  "vm.forward": () => ({ name: "prey", port: 22 }),
  "vm.consoleRead": () => ({ name: "prey", offset: 0 }),
  "vm.networkState": () => ({ name: "prey" }),
  "vm.consoleWrite": () => ({ name: "prey", data: Uint8Array.of(10) }),
  "vm.exec": () => ({ name: "prey", argv: ["/bin/true"] }),
  "vm.readFile": () => ({ name: "prey", path: "/etc/shadow" }),
  "vm.writeFile": () => ({ name: "prey", path: "/etc/shadow", data: "" }),
  "vm.attachDisk": () => ({ name: "prey", disk: "data", volume: "treasury" }),
  "vm.detachDisk": () => ({ name: "prey", disk: "data" }),
  "vm.changeDisk": () => ({ name: "prey", disk: "data", sizeGiB: 1 }),
  "volume.list": () => ({}),
  "volume.get": () => ({ name: "treasury" }),
  "volume.create": ({ objects }) => ({ name: objects.newVolume, sizeGiB: 1, node: 1 }),
  "volume.resize": ({ objects }) => ({ name: objects.volume, sizeGiB: 2 }),
  "volume.delete": ({ objects }) => ({ name: objects.volume }),
  "volume.createSnapshot": () => ({ name: "nowhere", snapshot: "loot" }),
  "volume.restoreSnapshot": () => ({ name: "nowhere", snapshot: "loot" }),
  "volume.deleteSnapshot": () => ({ name: "nowhere", snapshot: "loot" }),
  "volume.read": () => ({ name: "treasury" }),
  "volume.write": () => ({ name: "treasury", data: "AAAA", last: true }),
  "volume.move": () => ({ name: "nowhere", to: 2 }),
  "volume.observe": ({ self }) => ({ nodeId: self, observations: [] }),
  "network.list": () => ({}),
  "network.get": () => ({ name: "alley" }),
  "network.create": ({ objects }) => ({ name: objects.newNetwork, range: "10.99.0.0/24" }),
  "network.delete": ({ objects }) => ({ name: objects.network }),
  "securityGroup.list": () => ({}),
  "securityGroup.get": () => ({ name: "guards" }),
  "securityGroup.create": ({ objects }) => ({ name: objects.newGroup, in: [{ protocol: "any" }] }),
  // The same as before from the second time on, but for the index.
  "securityGroup.set": () => ({ name: "guards", in: [{ protocol: "any" }], out: [{ protocol: "any" }] }),
  "securityGroup.delete": ({ objects }) => ({ name: objects.group }),
  "image.list": () => ({}),
  "image.get": () => ({ name: "demo" }),
  "image.put": ({ objects }) => ({
    ...{ name: objects.image, format: "multiboot", sources: [1] },
    blobs: nanoBlobs,
  }),
  "image.remove": ({ objects }) => ({ name: objects.image }),
  // A built-in one stays as it is.
  "image.pin": () => ({ name: "demo", pinned: true }),
  "image.collect": () => ({ dryRun: true, minAgeMs: 0 }),
  "image.observe": ({ self }) => ({ nodeId: self, held: [], lost: [] }),
  // Held already, so that nothing is fetched.
  "blob.fetch": () => ({ url: "http://127.0.0.1:9/", digest: nanoBlobs[0]?.digest ?? "" }),
  "blob.stat": () => ({ digest: nanoBlobs[0]?.digest ?? "" }),
  "blob.read": () => ({ digest: nanoBlobs[0]?.digest ?? "", bytesMax: 1 }),
  "blob.inspect": () => ({ format: "multiboot", blobs: nanoBlobs }),
  "blob.collect": () => ({ index: 0, minAgeMs: 0, dryRun: true }),
  "blob.write": () => ({ uploadId: hex(16), offset: 0, data: nanoGuestElf(), last: true }),
  "node.list": () => ({}),
  "node.get": () => ({ id: 1 }),
  "node.update": ({ self }) => ({ nodeId: self, version: `lie-${hex(4)}` }),
  "node.cordon": ({ objects }) => ({ id: objects.member, cordoned: objects.cordoned }),
  "node.label": ({ objects }) => ({ id: objects.member, set: { mark: hex(4) } }),
  "scheduling.get": () => ({}),
  "scheduling.set": () => ({ vcpuOvercommit: 16 }),
  "vm.candidates": () => ({ name: "prey" }),
  "capacity.get": () => ({}),
  "quota.list": () => ({}),
  "quota.set": () => ({ project: "lab", quota: { vms: 100 } }),
  "quota.remove": () => ({ project: "lab" }),
  // What it would do is told; done, it would go on while the picture of the cluster is taken.
  "node.drain": ({ objects }) => ({ id: objects.member, dryRun: true }),
  "scheduling.rebalance": () => ({ dryRun: true }),
  "node.resume": ({ objects }) => ({ id: objects.member, dryRun: true }),
  // A node that answers.
  "node.evacuate": () => ({ id: 1 }),
  "operation.list": () => ({}),
  "operation.get": () => ({ id: hex(6) }),
  "operation.cancel": () => ({ id: hex(6) }),
  "node.verify": ({ self, lastIndex }) => verify(self, lastIndex),
  "node.renewLease": ({ self }) => ({ nodeId: self }),
  "node.addresses": () => ({ claims: [] }),
  // While members are silent no key is rotated.
  "node.rotateKey": () => ({ id: 1 }),
  "node.nextKey": ({ endpointId }) => ({ nodeId: 1, incarnation: 1, number: 1, endpointId }),
  "node.useKey": ({ self, endpointId }) => ({
    change: { nodeId: self, incarnation: 1, number: 1, endpointId, nextEndpointId: hex(32) },
    signature: hex(64),
  }),
  "log.read": ({ lastIndex }) => ({ from: lastIndex, to: lastIndex + 1 }),
  "member.list": () => ({}),
  "member.remove": ({ objects }) => ({ id: objects.removed, force: true }),
  "member.setRole": ({ objects }) => ({ id: objects.member, role: objects.role, force: true }),
  "member.vouch": ({ self, endpointId }) => ({ id: Math.max(1, self), endpointId, appliedIndex: 0 }),
  "join.request": ({ self, endpointId }) => joinRequest(60_000 + self, endpointId, true),
  "join.list": () => ({}),
  "join.accept": ({ objects }) => ({ endpointId: objects.waiting, role: "worker" }),
  "ban.add": ({ objects }) => ({ id: objects.removed, force: true }),
  "ban.list": () => ({}),
  "ticket.create": () => ({ role: "voter" }),
  "ticket.list": () => ({}),
  "ticket.revoke": ({ objects }) => ({ id: objects.ticket }),
  "token.create": () => ({ role: "admin" }),
  "token.list": () => ({}),
  "token.revoke": ({ objects }) => ({ id: objects.token }),
  "token.rotate": ({ objects }) => ({ id: objects.narrowed }),
  "token.narrow": ({ objects }) => ({ id: objects.narrowed, role: "viewer" }),
  "token.own": ({ self }) => ({ nodeId: self, tokenHash: hex(32) }),
  "token.redeem": ({ endpointId }) => ({ ticket: { id: hex(6), secret: hex(32) }, endpointId }),
  "cert.list": () => ({ scope: "node" }),
  "cert.rotate": () => ({ scope: "node" }),
  "debug.log": ({ lastIndex }) => ({ from: lastIndex, to: lastIndex }),
  "debug.stateHash": ({ lastIndex }) => ({ index: lastIndex }),
};

function verify(nodeId: number, lastIndex: number): RequestOf<"node.verify"> {
  return { nodeId, incarnation: 1, storeId: hex(16), starts: 1, term: 1, lastIndex };
}

/** What a member says of another one, `about`: the requests of the rows of claims. */
export const claimRequests = {
  "node.update of another": ["node.update", (about: number) => ({ nodeId: about, addresses: ["127.0.0.1:9"] })],
  "node.verify of another": ["node.verify", (about: number) => verify(about, 1)],
  "node.renewLease of another": ["node.renewLease", (about: number) => ({ nodeId: about })],
  "token.own of another": ["token.own", (about: number) => ({ nodeId: about, tokenHash: hex(32) })],
  "vm.observe in the name of another": ["vm.observe", (about: number) => ({ nodeId: about, observations: [] })],
  "vm.observeCopy of another": ["vm.observeCopy", (about: number) => ({ nodeId: about, copies: [] })],
  "volume.observe of another": ["volume.observe", (about: number) => ({ nodeId: about, observations: [] })],
  "image.observe of another": ["image.observe", (about: number) => ({ nodeId: about, held: [], lost: [] })],
} as const satisfies Readonly<Record<string, readonly [MethodName, (about: number) => object]>>;

/**
 * What changes in the picture of the cluster when a call is done, beside the log. Written by hand, and nothing for those that
 * only answer; what is not named must not change.
 */
export const changes: Partial<Record<MethodName | StreamName, readonly string[]>> = {
  "leader.transfer": ["leader"],
  "kv.put": ["kv"],
  "kv.delete": ["kv"],
  "kv.cas": ["kv"],
  "vm.create": ["vms"],
  "vm.set": ["vms"],
  "vm.desire": ["vms"],
  "vm.observe": [],
  // Refused: its image has no word for disks that come and go.
  "vm.attachDisk": [],
  "vm.detachDisk": [],
  "vm.changeDisk": [],
  "vm.migrate": [],
  "vm.observeCopy": [],
  "volume.create": ["volumes"],
  "volume.resize": ["volumes"],
  "volume.delete": ["volumes"],
  // Refused: there is no such volume.
  "volume.createSnapshot": [],
  "volume.restoreSnapshot": [],
  "volume.deleteSnapshot": [],
  "volume.move": [],
  "volume.observe": [],
  "network.create": ["networks"],
  "network.delete": ["networks"],
  "securityGroup.create": ["securityGroups"],
  "securityGroup.set": ["securityGroups"],
  "securityGroup.delete": ["securityGroups"],
  "image.put": ["images"],
  "image.remove": ["images"],
  "image.pin": [],
  "image.collect": [],
  "image.observe": [],
  "node.update": ["nodes"],
  "node.cordon": ["nodes"],
  "node.label": ["nodes"],
  "scheduling.set": [],
  "scheduling.rebalance": [],
  "quota.set": [],
  "quota.remove": [],
  "node.drain": [],
  "node.resume": [],
  "node.evacuate": [],
  "operation.cancel": [],
  // Refused: members are silent, and nobody has signed.
  "node.rotateKey": [],
  "node.useKey": [],
  "member.remove": ["members", "nodes"],
  "member.setRole": ["members", "nodes"],
  "join.accept": ["members", "nodes"],
  "ban.add": ["tickets", "bans"],
  "ticket.create": ["tickets"],
  "ticket.revoke": ["tickets"],
  "token.create": ["tokens"],
  "token.revoke": ["tokens"],
  // Only its text, which no list shows.
  "token.rotate": [],
  "token.narrow": ["tokens"],
  "token.own": [],
  "cert.rotate": ["certificates"],
};
