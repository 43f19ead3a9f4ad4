/** Random commands that meet each other: few names, few nodes, few request ids. */
import type { Command, CommandBody, VmCard } from "@blixard/protocol";
import fc from "fast-check";
import {
  sampleEnd,
  sampleNode,
  sampleObservation,
  sampleSpec,
  sampleTicket,
  sampleToken,
  sampleVmId,
} from "./command-samples.ts";
import { demoImage } from "./memory-vm-manager.ts";

const nodeId = fc.integer({ min: 1, max: 4 });
const name = fc.constantFrom("a", "b", "c");
const number = fc.integer({ min: 1, max: 4 });
const value = fc.constantFrom("", "1", "2", "å");
const maybeValue = fc.option(value);
const epoch = fc.integer({ min: 1, max: 4 });
const operationId = fc.constantFrom("a".repeat(12), "b".repeat(12));
const operationKinds = ["node-drain", "node-resume", "node-evacuate"] as const;

const range = "10.1.0.0/24";
const networkPlaces = [{ range }, { range }, { range, range6: "fd00:1::/64" }, { bridge: "br0" }] as const;

function sampleCard(network: string, number: number): VmCard {
  const [address, mac] = [`10.1.0.${1 + (number % 3)}`, `02:00:00:00:00:0${number}`];
  return { network, networkId: sampleVmId(21 + (number % 2)), address, mac };
}

const body: fc.Arbitrary<CommandBody> = fc.oneof(
  fc.record({ type: fc.constant("kv.put" as const), key: name, value }),
  fc.record({ type: fc.constant("kv.delete" as const), key: name }),
  fc.record({ type: fc.constant("kv.cas" as const), key: name, from: maybeValue, to: maybeValue }),
  fc.record({ id: nodeId, key: nodeId, ticketId: fc.option(name) }).map(({ id, key, ticketId }) => ({
    type: "node.admit" as const,
    node: sampleNode(id, { endpointId: sampleNode(key).endpointId }),
    ticketId,
  })),
  fc.record({ type: fc.constant("node.update" as const), nodeId, cordoned: fc.boolean() }),
  fc.record({ type: fc.constant("node.liveness" as const), nodeId, reachable: fc.boolean() }),
  fc.record({ type: fc.constant("node.remove" as const), nodeId }),
  name.map((id) => ({ type: "ticket.create" as const, ticket: sampleTicket(id) })),
  name.map((ticketId) => ({ type: "ticket.revoke" as const, ticketId })),
  fc.record({ id: name, key: nodeId, ticketId: fc.option(name) }).map(({ id, key, ticketId }) => ({
    type: "token.create" as const,
    token: sampleToken(id, { endpointId: sampleNode(key).endpointId }),
    ticketId,
  })),
  name.map((tokenId) => ({ type: "token.revoke" as const, tokenId })),
  fc.record({ nodeId, key: nodeId }).map(({ nodeId, key }) => ({
    type: "ban.add" as const,
    ...{ nodeId, endpointId: sampleNode(key).endpointId, acceptTwoCopies: [] },
  })),
  fc
    .record({
      type: fc.constantFrom("node.offerKey" as const, "node.useKey" as const),
      nodeId,
      key: nodeId,
      next: nodeId,
    })
    .map(({ type, nodeId, key, next }) => ({
      ...{ type, nodeId, incarnation: 1, number: 1, endpointId: sampleNode(key).endpointId },
      nextEndpointId: sampleNode(next + 4).endpointId,
    })),
  name.map((image) => ({ type: "image.put" as const, image: { ...demoImage, name: image, builtin: false } })),
  name.map((image) => ({ type: "image.remove" as const, name: image })),
  fc.record({ type: fc.constant("image.pin" as const), name, pinned: fc.boolean() }),
  fc.record({ nodeId, image: name, holds: fc.boolean() }).map(({ nodeId, image, holds }) => ({
    ...{ type: "image.observe" as const, nodeId },
    held: holds ? [image] : [],
    lost: holds ? [] : [image],
  })),
  fc
    .record({
      ...{ name, number, node: nodeId, image: fc.constantFrom("demo", "a"), volume: fc.option(name) },
      network: fc.option(name),
    })
    .map(({ number, image, volume, network, ...rest }) => ({
      type: "vm.create" as const,
      ...rest,
      vmId: sampleVmId(number),
      spec: sampleSpec({
        image,
        ...(volume === null ? {} : { disks: [{ name: "data", volume }] }),
        ...(network === null || number > 2 ? {} : { networks: [{ network, securityGroups: [rest.name] }] }),
      }),
      desired: "running" as const,
      placement: "",
      ...(network === null ? {} : { cards: [sampleCard(network, number)] }),
    })),
  fc.record({ name, number, volume: fc.option(name) }).map(({ name, number, volume }) => ({
    type: "vm.create" as const,
    ...{ name, vmId: sampleVmId(number), desired: "running" as const, placement: "", pending: "no room" },
    spec: sampleSpec(volume === null ? {} : { disks: [{ name: "data", volume }] }),
    labels: { project: name },
  })),
  fc
    .record({ name, memoryMiB: fc.constantFrom(64, 128), wish: fc.constantFrom("stop" as const, "keep" as const) })
    .map(({ name, memoryMiB, wish }) => ({
      type: "vm.set" as const,
      ...{ name, set: { memoryMiB, onPartition: wish }, unset: ["onNodeLoss" as const] },
      ...{ labels: { project: name }, unsetLabels: [] },
    })),
  fc.record({ name, number, network: name, leaves: fc.boolean() }).map(({ name, number, network, leaves }) => ({
    type: "vm.set" as const,
    ...{ name, set: leaves ? {} : { networks: [{ network }] }, unset: leaves ? ["networks" as const] : [] },
    ...{ labels: {}, unsetLabels: [], cards: leaves ? [] : [sampleCard(network, number)] },
  })),
  fc.record({ name, number, fencingEpoch: epoch, node: fc.option(nodeId) }).map(({ number, node, ...fields }) => ({
    type: "vm.place" as const,
    ...{ ...fields, vmId: sampleVmId(number), reason: "" },
    ...(node === null ? {} : { node }),
  })),
  fc.record({ nodeId, zone: name }).map(({ nodeId, zone }) => ({
    type: "node.label" as const,
    ...{ nodeId, set: zone === "c" ? {} : { zone }, unset: zone === "c" ? ["zone"] : [] },
  })),
  fc
    .record({ name, number, fencingEpoch: epoch, by: name })
    .map(({ number, ...fields }) => ({ type: "vm.preempt" as const, ...fields, vmId: sampleVmId(number) })),
  fc.record({ project: name, vms: fc.option(number) }).map(({ project, vms }) => ({
    type: "quota.set" as const,
    project,
    ...(vms === null ? {} : { quota: { vms } }),
  })),
  fc.constantFrom(1, 2).map((vcpuOvercommit) => ({ type: "scheduling.set" as const, vcpuOvercommit })),
  fc.record({ name, number, place: fc.constantFrom(...networkPlaces) }).map(({ name, number, place }) => ({
    type: "network.create" as const,
    ...{ name, networkId: sampleVmId(20 + number), ...place, exclude: [] },
  })),
  fc.record({ type: fc.constant("network.delete" as const), name }),
  fc
    .record({
      ...{ type: fc.constantFrom("securityGroup.create" as const, "securityGroup.set" as const), name, peer: name },
      out: fc.boolean(),
    })
    .map(({ peer, out, ...fields }) => ({
      ...fields,
      in: [{ protocol: "tcp" as const, ports: ["80"], peer: `group:${peer}` }],
      out: out ? [{ protocol: "any" as const }] : [],
    })),
  fc.record({ type: fc.constant("securityGroup.delete" as const), name }),
  fc.record({ name, number, node: nodeId }).map(({ number, ...rest }) => ({
    type: "volume.create" as const,
    ...{ ...rest, volumeId: sampleVmId(10 + number), sizeGiB: 1, kind: "local" as const },
  })),
  fc.record({ type: fc.constant("volume.resize" as const), name, sizeGiB: number }),
  fc.record({ type: fc.constant("volume.delete" as const), name }),
  fc
    .record({
      name,
      snapshot: name,
      number,
      verb: fc.constantFrom("create" as const, "restore" as const, "delete" as const),
    })
    .map(({ number, ...rest }) => ({
      ...{ type: "volume.snapshot" as const, ...rest },
      ...(rest.verb === "create" ? { snapshotId: sampleVmId(20 + number) } : {}),
    })),
  fc
    .record({ name, volume: name, kind: fc.constantFrom("attach" as const, "detach" as const, "change" as const) })
    .map(({ name, volume, kind }) => ({
      type: "vm.disk" as const,
      name,
      change:
        kind === "attach"
          ? { kind, disk: "more", volume }
          : kind === "detach"
            ? { kind, disk: "more" }
            : { kind, disk: "data", sizeGiB: 2 },
    })),
  fc
    .record({ nodeId, number, state: fc.constantFrom("ready" as const, "missing" as const, "deleted" as const) })
    .map(({ nodeId, number, state }) => ({
      type: "volume.observe" as const,
      nodeId,
      observations: [{ volumeId: sampleVmId(10 + number), epoch: 0, state, sizeGiB: state === "ready" ? 2 : 0 }],
    })),
  fc.record({
    type: fc.constant("vm.desire" as const),
    name,
    desired: fc.constantFrom("running" as const, "stopped" as const, "paused" as const, "deleted" as const),
    newEpoch: fc.boolean(),
  }),
  name.map((name) => ({
    type: "vm.desire" as const,
    ...{ name, desired: "running" as const, newEpoch: false, pending: "no room" },
  })),
  fc.record({ name, node: nodeId }).map((fields) => ({
    type: "vm.desire" as const,
    ...fields,
    desired: "running" as const,
    newEpoch: true,
    placement: "again",
  })),
  fc.record({ name, id: operationId }).map(({ name, id }) => ({ type: "vm.purge" as const, name, operation: id })),
  fc.record({ name, id: operationId }).map(({ name, id }) => ({
    type: "vm.desire" as const,
    ...{ name, desired: "stopped" as const, newEpoch: false, operation: id },
  })),
  fc.record({ id: operationId, nodeId, kind: fc.constantFrom(...operationKinds) }).map((operation) => ({
    type: "operation.start" as const,
    operation: { ...operation, vms: [] },
  })),
  operationId.map((id) => ({ type: "operation.progress" as const, id, percent: 5, message: "", waiting: [] })),
  fc
    .record({ id: operationId, state: fc.constantFrom("done" as const, "cancelled" as const) })
    .map((fields) => ({ type: "operation.end" as const, ...fields, message: "" })),
  fc
    .record({
      name,
      number,
      fencingEpoch: epoch,
      id: operationId,
      next: fc.constantFrom("move" as const, "stay" as const),
      to: fc.option(nodeId),
    })
    .map(({ number, id, to, ...fields }) => ({
      type: "vm.hold" as const,
      ...fields,
      ...(to === null ? {} : { to }),
      vmId: sampleVmId(number),
      operation: id,
    })),
  fc
    .record({ name, number, from: nodeId, fencingEpoch: epoch, to: nodeId })
    .map(({ number, ...fields }) => ({ type: "vm.release" as const, ...fields, vmId: sampleVmId(number), reason: "" })),
  fc.record({ id: operationId, nodeId, number, to: nodeId }).map(({ number, ...operation }) => ({
    type: "operation.start" as const,
    operation: { ...operation, kind: "vm-migrate" as const, vmId: sampleVmId(number), vms: [] },
  })),
  fc.record({ id: operationId, name, nodeId, number, to: nodeId }).map(({ name, number, ...operation }) => ({
    type: "operation.start" as const,
    operation: {
      ...{ ...operation, kind: "volume-move" as const, vms: [] },
      volume: { name, volumeId: sampleVmId(10 + number) },
    },
  })),
  fc
    .record({ name, number, epoch })
    .map(({ number, ...fields }) => ({ type: "volume.carry" as const, ...fields, volumeId: sampleVmId(10 + number) })),
  fc
    .record({
      nodeId,
      number: fc.oneof(
        number,
        number.map((each) => 10 + each),
      ),
      epoch,
      state: fc.constantFrom("copying" as const, "copied" as const, "dropped" as const),
    })
    .map(({ nodeId, number, ...seen }) => ({
      type: "vm.observeCopy" as const,
      nodeId,
      copies: [{ vmId: sampleVmId(number), ...seen, doneBytes: 1, wholeBytes: 2, bytesPerSecond: 1, message: "" }],
    })),
  fc
    .record({ name, number, from: nodeId, fencingEpoch: epoch })
    .map(({ number, ...fields }) => ({ type: "vm.settle" as const, ...fields, vmId: sampleVmId(number) })),
  fc
    .record({ nodeId, seen: fc.array(fc.record({ number, epoch, gone: fc.boolean() }), { maxLength: 3 }) })
    .map(({ nodeId, seen }) => ({
      type: "vm.observe" as const,
      nodeId,
      observations: seen.map((vm) =>
        sampleObservation(sampleVmId(vm.number), {
          fencingEpoch: vm.epoch,
          phase: vm.gone ? "Deleted" : "Running",
          ends: [sampleEnd({ unixMs: vm.epoch })],
        }),
      ),
    })),
);

export const commandArbitrary: fc.Arbitrary<Command> = fc
  .record({
    requestId: fc.constantFrom("", "r1", "r2", "r3", "r4"),
    atUnixMs: fc.constantFrom(100, 2_000),
    actor: fc.constantFrom({ kind: "token", id: "admin" } as const, { kind: "node", id: "1" } as const),
    ifMatchIndex: fc.option(fc.integer({ min: 0, max: 12 }), { freq: 5 }),
    sinceIndex: fc.option(fc.integer({ min: 0, max: 12 }), { freq: 5 }),
    body,
  })
  .map(({ ifMatchIndex, sinceIndex, ...command }) => ({
    ...command,
    ...(ifMatchIndex === null ? {} : { ifMatchIndex }),
    ...(sinceIndex === null ? {} : { sinceIndex }),
  }));
