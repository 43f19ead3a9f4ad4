/** How each kind of thing is tabulated. */
import {
  type BanRecord,
  type CertificateView,
  formerLossPolicy,
  type ImageRecord,
  type KvEntry,
  type MemberStatus,
  type NetworkRecord,
  type NetworkView,
  type NodeView,
  networksOf,
  type PendingJoin,
  type SecurityGroupRecord,
  type TicketView,
  type TokenView,
  type VmRecord,
  type VolumeRecord,
  type VolumeSnapshot,
} from "@blixard/protocol";
import type { View } from "../output.ts";
import { formatAge, formatMemory } from "../quantities.ts";
import { rulesText } from "./security-rule-options.ts";
import { disksText } from "./vm-disks.ts";
import { forwardText } from "./vm-network-options.ts";
import { labelsShown } from "./vm-placement-options.ts";

const since = (unixMs: number) => formatAge(Date.now() - unixMs);

export const vmView: View<VmRecord> = {
  name: (vm) => vm.name,
  columns: [
    { title: "NAME", value: (vm) => vm.name },
    { title: "PHASE", value: (vm) => vm.phase },
    { title: "NODE", value: (vm) => vm.node },
    { title: "IMAGE", value: (vm) => vm.spec.image },
    { title: "VCPUS", value: (vm) => vm.spec.vcpus },
    { title: "MEMORY", value: (vm) => formatMemory(vm.spec.memoryMiB) },
    { title: "AGE", value: (vm) => since(vm.createdUnixMs) },
    { title: "GUEST", value: (vm) => vm.guest, wide: true },
    { title: "DRIVER", value: (vm) => vm.driver, wide: true },
    { title: "RESTARTS", value: (vm) => vm.restarts, wide: true },
    { title: "EPOCH", value: (vm) => vm.fencingEpoch, wide: true },
    { title: "DESIRED", value: (vm) => vm.desired, wide: true },
    {
      title: "ON-NODE-LOSS",
      value: ({ lossPolicy = formerLossPolicy }) => lossPolicy.effect,
      wide: true,
    },
    {
      title: "ON-PARTITION",
      value: ({ lossPolicy = formerLossPolicy }) => lossPolicy.onPartition,
      wide: true,
    },
    {
      title: "BOOT-DEADLINE",
      value: ({ spec }) => (spec.bootDeadlineMs === undefined ? null : `${spec.bootDeadlineMs / 1_000} s`),
      wide: true,
    },
    { title: "DISKS", value: (vm) => disksText(vm), wide: true },
    { title: "AUTOSTART", value: ({ spec }) => autostartText(spec), wide: true },
    { title: "LABELS", value: labelsShown, wide: true },
    { title: "PRIORITY", value: ({ spec }) => spec.placement?.priority ?? null, wide: true },
    { title: "NETWORKS", value: (vm) => networkText(vm), wide: true },
    { title: "FORWARDS", value: ({ spec }) => spec.forwards?.map(forwardText).join(" ") ?? null, wide: true },
    { title: "REASON", value: (vm) => vm.reason },
    { title: "LAST END", value: (vm) => lastEnd(vm), wide: true },
    { title: "CONDITIONS", value: (vm) => vm.conditions.map(({ reason }) => reason).join(","), wide: true },
    { title: "ID", value: (vm) => vm.vmId, wide: true },
  ],
};

export const snapshotView: View<VolumeSnapshot> = {
  name: ({ name }) => name,
  columns: [
    { title: "NAME", value: ({ name }) => name },
    { title: "STATE", value: ({ state }) => state },
    { title: "SIZE", value: ({ sizeGiB }) => `${sizeGiB} GiB` },
    { title: "SHOWS", value: ({ shows = null }) => shows },
    { title: "AGE", value: ({ createdUnixMs }) => since(createdUnixMs) },
    { title: "ID", value: ({ snapshotId }) => snapshotId, wide: true },
  ],
};

export const volumeView: View<VolumeRecord> = {
  name: ({ name }) => name,
  columns: [
    { title: "NAME", value: ({ name }) => name },
    { title: "STATE", value: ({ state }) => state },
    { title: "SIZE", value: ({ sizeGiB }) => `${sizeGiB} GiB` },
    { title: "NODE", value: ({ node, moving }) => (moving === undefined ? node : `${node} (goes to ${moving.to})`) },
    { title: "VM", value: ({ attachedTo }) => attachedTo },
    { title: "AGE", value: ({ createdUnixMs }) => since(createdUnixMs) },
    { title: "SNAPSHOTS", value: ({ snapshots = [] }) => snapshots.map(({ name }) => name).join(", ") },
    { title: "KIND", value: ({ kind }) => kind, wide: true },
    { title: "COPIES", value: ({ copies }) => copies, wide: true },
    { title: "EPOCH", value: ({ epoch }) => epoch, wide: true },
    { title: "ID", value: ({ volumeId }) => volumeId, wide: true },
  ],
};

/** What was just made is shown without what is counted. */
type ShownNetwork = NetworkRecord & Partial<Pick<NetworkView, "vms" | "freeAddresses">>;

export const networkView: View<ShownNetwork> = {
  name: ({ name }) => name,
  columns: [
    { title: "NAME", value: ({ name }) => name },
    { title: "RANGE", value: (network) => rangesText(network) },
    { title: "EXCLUDED", value: ({ exclude }) => exclude.join(" ") },
    { title: "VMS", value: ({ vms = null }) => vms },
    { title: "FREE", value: ({ freeAddresses = null }) => freeAddresses },
    { title: "AGE", value: ({ createdUnixMs }) => since(createdUnixMs) },
    { title: "ID", value: ({ networkId }) => networkId, wide: true },
  ],
};

function rangesText({ range, range6, bridge }: NetworkRecord): string {
  if (range === undefined) return `bridge ${bridge}`;
  return range6 === undefined ? range : `${range} ${range6}`;
}

export const securityGroupView: View<SecurityGroupRecord> = {
  name: ({ name }) => name,
  columns: [
    { title: "NAME", value: ({ name }) => name },
    { title: "IN", value: (group) => rulesText(group.in, "in") },
    { title: "OUT", value: (group) => rulesText(group.out, "out") },
    { title: "AGE", value: ({ createdUnixMs }) => since(createdUnixMs) },
  ],
};

/** `user`, or `user 10.0.2.20, lan 10.1.0.2 (web+db), office br0` with the security groups of the card, and its bridge. */
export function networkText({ spec, cards = [] }: VmRecord): string {
  const names = networksOf(spec).map(({ network, address: wished, securityGroups }) => {
    const card = cards.find((each) => each.network === network);
    const address = card?.bridge ?? card?.address ?? wished;
    const groups = securityGroups === undefined ? "" : ` (${securityGroups.join("+")})`;
    return `${network}${address === undefined ? "" : ` ${address}`}${groups}`;
  });
  return names.join(", ") || "none";
}

/** `10`, or `10, then 5 s`. */
function autostartText({ autostart }: VmRecord["spec"]): string | null {
  if (autostart === undefined) return null;
  const { order, delayMs = 0 } = autostart;
  return delayMs === 0 ? String(order) : `${order}, then ${delayMs / 1_000} s`;
}

function lastEnd({ ends }: VmRecord): string | null {
  const last = ends?.at(-1);
  return last === undefined ? null : `${last.reason} ${since(last.unixMs)} ago`;
}

export const nodeView: View<NodeView> = {
  name: (node) => String(node.id),
  steady: (node) => ({ ...node, paths: node.paths?.map(({ rttMs: _, ...path }) => path) }),
  columns: [
    { title: "ID", value: (node) => node.id },
    { title: "NAME", value: (node) => node.name },
    { title: "STATE", value: (node) => (node.cordoned ? `${node.state},cordoned` : node.state) },
    { title: "ROLE", value: (node) => node.role },
    { title: "VMS", value: (node) => node.vms },
    {
      title: "MEMORY USED",
      value: (node) => `${formatMemory(node.usedMemoryMiB)} of ${formatMemory(node.capacity.memoryMiB)}`,
    },
    { title: "VCPUS", value: (node) => node.capacity.vcpus },
    { title: "DISKS PROMISED", value: promisedText },
    { title: "LABELS", value: labelsShown },
    { title: "DRIVERS", value: (node) => node.capacity.drivers.join(",") },
    { title: "PATHS", value: (node) => node.paths?.map(pathText).join(", ") ?? null },
    { title: "ADDRESSES", value: (node) => node.addresses.join(",") },
    { title: "VERSION", value: (node) => node.version, wide: true },
    { title: "JOINED", value: (node) => since(node.joinedUnixMs), wide: true },
    { title: "ENDPOINT", value: (node) => node.endpointId, wide: true },
  ],
};

/** `8.0 GiB of 100.0 GiB`; null for a node that does not say how much there is. */
function promisedText({ promisedDiskMiB = 0, capacity: { disk } }: NodeView): string | null {
  return disk === undefined ? null : `${formatMemory(promisedDiskMiB)} of ${formatMemory(disk.totalMiB)}`;
}

/** `2 direct 0.4 ms`, `3 none`. */
function pathText({ to, path, rttMs }: NonNullable<NodeView["paths"]>[number]): string {
  return [to, path, ...(rttMs === null || path === "none" ? [] : [formatRtt(rttMs)])].join(" ");
}

export function formatRtt(rttMs: number): string {
  return rttMs < 1 ? "< 1 ms" : `${rttMs.toFixed(0)} ms`;
}

/** Members as one node sees them; `leaderId` marks the leader. */
export function memberView(leaderId: number | null): View<MemberStatus> {
  return {
    name: (member) => String(member.id),
    columns: [
      { title: "ID", value: (member) => member.id },
      { title: "NAME", value: (member) => member.name },
      { title: "ROLE", value: (member) => (member.id === leaderId ? `${member.role} (leader)` : member.role) },
      { title: "SESSION", value: (member) => member.session ?? null },
      { title: "PATH", value: (member) => member.path },
      { title: "RTT", value: (member) => (member.rttMs === null ? null : formatRtt(member.rttMs)) },
      {
        title: "LAST CONTACT",
        value: (member) => (member.lastContactMs === null ? null : `${Math.round(member.lastContactMs)} ms`),
      },
      { title: "MATCH", value: (member) => member.matchIndex },
      { title: "ADDRESSES", value: (member) => member.addresses.join(",") },
      { title: "TRANSPORT", value: (member) => member.transport, wide: true },
      { title: "WHY", value: (member) => member.transportReason ?? null, wide: true },
      { title: "BULK", value: (member) => member.bulk?.route ?? null, wide: true },
      { title: "QUEUE", value: (member) => member.queuedMessages ?? null, wide: true },
      { title: "LAST ERROR", value: (member) => member.lastError ?? null, wide: true },
      { title: "ENDPOINT", value: (member) => member.endpointId, wide: true },
    ],
  };
}

export const banView: View<BanRecord> = {
  name: (ban) => ban.endpointId,
  columns: [
    { title: "KEY", value: (ban) => ban.endpointId },
    { title: "NODE", value: (ban) => ban.nodeId },
    { title: "ROLE", value: (ban) => ban.role },
    { title: "SINCE", value: (ban) => since(ban.bannedUnixMs) },
    { title: "INDEX", value: (ban) => ban.index, wide: true },
  ],
};

export const certificateView: View<CertificateView> = {
  name: (certificate) => certificate.fingerprint,
  columns: [
    { title: "NODE", value: (certificate) => certificate.nodeId },
    { title: "KIND", value: (certificate) => certificate.kind },
    { title: "EXPIRES", value: (certificate) => new Date(certificate.notAfterUnixMs).toISOString() },
    { title: "ISSUER", value: (certificate) => certificate.issuer },
    { title: "SERIAL", value: (certificate) => certificate.serial },
    { title: "SUBJECT", value: (certificate) => certificate.subject, wide: true },
    { title: "SHA-256", value: (certificate) => certificate.fingerprint, wide: true },
  ],
};

export const pendingJoinView: View<PendingJoin> = {
  name: (machine) => machine.endpointId,
  columns: [
    { title: "NODE", value: (machine) => machine.nodeId },
    { title: "NAME", value: (machine) => machine.name },
    { title: "KEY", value: (machine) => machine.endpointId },
    { title: "ADDRESSES", value: (machine) => machine.addresses.join(",") },
    { title: "VERSION", value: (machine) => machine.version },
    { title: "WAITING", value: (machine) => since(machine.firstAskedUnixMs) },
  ],
};

export const ticketView: View<TicketView> = {
  name: (ticket) => ticket.id,
  columns: [
    { title: "ID", value: (ticket) => ticket.id },
    { title: "ROLE", value: (ticket) => ticket.role },
    { title: "NODE NAME", value: (ticket) => ticket.nodeName },
    { title: "STATE", value: ticketState },
    { title: "EXPIRES", value: (ticket) => new Date(ticket.expiresUnixMs).toISOString() },
    { title: "USED BY", value: (ticket) => ticket.usedBy, wide: true },
  ],
};

function ticketState(ticket: TicketView): string {
  if (ticket.revoked) return "revoked";
  if (ticket.usedBy !== null) return "used";
  return ticket.expiresUnixMs < Date.now() ? "expired" : "open";
}

function kindOfToken({ node, endpointId }: TokenView): string {
  if (node !== undefined) return `node ${node}`;
  return endpointId === undefined ? "bearer" : "key";
}

function endOfToken({ revoked, expiresUnixMs }: TokenView): string | null {
  if (revoked) return "revoked";
  return expiresUnixMs === undefined ? null : new Date(expiresUnixMs).toISOString();
}

export const tokenView: View<TokenView> = {
  name: (token) => token.id,
  columns: [
    { title: "ID", value: (token) => token.id },
    { title: "KIND", value: kindOfToken },
    { title: "ROLE", value: (token) => token.role },
    { title: "NAME", value: (token) => token.name ?? null },
    { title: "AGE", value: (token) => since(token.createdUnixMs) },
    { title: "ENDS", value: endOfToken },
    { title: "KEY", value: (token) => token.endpointId ?? null, wide: true },
  ],
};

export const imageView: View<ImageRecord> = {
  name: (image) => image.name,
  columns: [
    { title: "NAME", value: (image) => image.name },
    { title: "FORMAT", value: (image) => image.format },
    { title: "BUILTIN", value: (image) => (image.builtin ? "yes" : "no") },
    { title: "SIZE", value: (image) => formatBytes(image.blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0)) },
    { title: "MIN MEMORY", value: (image) => formatMemory(image.minMemoryMiB) },
    { title: "NODES", value: (image) => (image.builtin ? "every node" : image.sources.join(",")) },
    { title: "PINNED", value: (image) => (image.pinned === true ? "yes" : "no") },
    {
      title: "DISK",
      value: (image) => image.blobs.find(({ role }) => role === "disk")?.format ?? "-",
      wide: true,
    },
    { title: "COMMAND LINE", value: (image) => image.commandLine, wide: true },
    {
      title: "DIGESTS",
      value: (image) => image.blobs.map((blob) => `${blob.role}:${blob.digest}`).join(","),
      wide: true,
    },
  ],
};

export const kvView: View<KvEntry> = {
  name: (entry) => entry.key,
  columns: [
    { title: "KEY", value: (entry) => entry.key },
    { title: "INDEX", value: (entry) => entry.index },
    { title: "VALUE", value: (entry) => (entry.value.length > 60 ? `${entry.value.slice(0, 59)}…` : entry.value) },
  ],
};

function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${(bytes / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** How far a VM grows while it runs, and what its process has. */
export function sizeLine({ spec, startedWith: has }: VmRecord): string {
  const { vcpusMax, memoryMiBMax } = spec;
  const most = [
    ...(vcpusMax === undefined ? [] : [`${vcpusMax} vcpus`]),
    ...(memoryMiBMax === undefined ? [] : [formatMemory(memoryMiBMax)]),
  ];
  if (most.length === 0) return "";
  const now = has === undefined ? "" : `; it has ${has.vcpus} vcpus and ${formatMemory(has.memoryMiB)}`;
  return `While it runs it grows to ${most.join(" and ")}${now}.\n`;
}
