/**
 * What the replicated state wants of the VMs of this node. A wish is the same object for as long as nothing changes of which it is
 * made, so that of many VMs only those are looked at that something else is wanted of.
 */
import { cdromImagesOf, type ImageRecord, type SealedSecret, type VmRecord, volumesOf } from "@blixard/protocol";
import type { DesiredVm } from "@blixard/vm-manager";
import type { ClusterStateMachine, StateVersion } from "../cluster-state-machine.ts";
import type { NodeParts } from "../node-parts.ts";
import { vmIndexOf } from "../scheduler/vm-index.ts";
import { secretContext } from "../state-machine/secret.ts";
import { policyOf } from "../state-machine/vm-move.ts";

type OpenerOf = (vmId: string) => NonNullable<DesiredVm["openUserData"]>;

/** Opens user data from the state as it is then: undefined while the copy here is not sealed to this node. */
export function userDataOpener({
  stateMachine,
  sealing,
  identity,
}: Pick<NodeParts, "stateMachine" | "sealing" | "identity">): OpenerOf {
  return (vmId) => () => {
    const sealed = stateMachine.state.secrets.get(vmId);
    return sealed === undefined ? undefined : sealing.open(sealed, secretContext(identity().clusterId, vmId));
  };
}

/** All that the wish of one VM is made of: what is not here is not looked at. */
interface WishParts {
  readonly vm: VmRecord;
  readonly image: ImageRecord;
  readonly secret: SealedSecret | undefined;
  readonly volumes: readonly (readonly [name: string, volumeId: string | undefined])[];
  /** What lies in its drives. */
  readonly cdroms: readonly ImageRecord[];
}

interface Wish {
  readonly parts: WishParts;
  readonly desired: DesiredVm;
}

type FollowedState = Pick<ClusterStateMachine, "state" | "version" | "keysSince">;

export class DesiredVms {
  readonly #stateMachine: FollowedState;
  readonly #nodeId: number;
  readonly #openerOf: OpenerOf;
  /** By the names of the VMs. */
  readonly #wishes = new Map<string, Wish>();
  #version: StateVersion | undefined;
  #list: readonly DesiredVm[] = [];

  constructor(stateMachine: FollowedState, nodeId: number, openerOf: OpenerOf) {
    this.#stateMachine = stateMachine;
    this.#nodeId = nodeId;
    this.#openerOf = openerOf;
  }

  /** The VMs that the node owns, and those of which it has an old copy; the same list for as long as it says the same. */
  get list(): readonly DesiredVm[] {
    let isSame = true;
    for (const name of this.#changedNames()) {
      const before = this.#wishes.get(name);
      const now = this.#lookAt(name, before);
      if (now === undefined) this.#wishes.delete(name);
      else this.#wishes.set(name, now);
      isSame &&= now === before;
    }
    if (!isSame) this.#list = [...this.#wishes.values()].map(({ desired }) => desired);
    return this.#list;
  }

  /** Those about which something may have changed since it was last asked. */
  #changedNames(): Iterable<string> {
    const { state } = this.#stateMachine;
    const version = this.#stateMachine.version.value;
    const before = this.#version;
    this.#version = version;
    const others = ["images", "secrets", "volumes"] as const;
    if (before !== undefined && others.every((table) => version.changed[table] === before.changed[table])) {
      const changed = this.#stateMachine.keysSince("vms", before.appliedIndex);
      if (changed !== undefined) return changed;
    }
    return new Set([...vmIndexOf(state).namesAt(this.#nodeId), ...this.#wishes.keys()]);
  }

  #lookAt(name: string, before: Wish | undefined): Wish | undefined {
    const { state } = this.#stateMachine;
    const vm = state.vms.get(name);
    const image = vm === undefined ? undefined : state.images.get(vm.spec.image);
    if (vm === undefined || image === undefined) return undefined;
    if (vm.node !== this.#nodeId && !hasOldCopy(vm, this.#nodeId)) return undefined;
    const volumes = volumesOf(vm.spec).map((volume) => [volume, state.volumes.get(volume)?.volumeId] as const);
    const cdroms = cdromImagesOf(vm.spec).flatMap((cdrom) => state.images.get(cdrom) ?? []);
    const parts = { vm, image, secret: state.secrets.get(vm.vmId), volumes, cdroms };
    return before !== undefined && areSame(before.parts, parts) ? before : { parts, desired: this.#wishOf(parts) };
  }

  #wishOf({ vm, image, secret, volumes, cdroms }: WishParts): DesiredVm {
    const nodeId = this.#nodeId;
    const { vmId, name, spec, fencingEpoch, moved, disksIndex = 0 } = vm;
    if (hasOldCopy(vm, nodeId)) return { vmId, name, spec, desired: "deleted", fencingEpoch, image };
    // What is started from now on has to be what was asked for.
    const { onPartition } = vm.nextLossPolicy?.policy ?? policyOf(vm);
    const needsLease = onPartition === "stop";
    const came = moved?.node === nodeId ? moved : undefined;
    const madeDisks = [...new Set([...(vm.disks?.node === nodeId ? vm.disks.names : []), ...(came?.names ?? [])])];
    return {
      ...{ vmId, name, spec, desired: vm.desired, fencingEpoch, image, needsLease, madeDisks, disksIndex },
      volumeIds: new Map(volumes),
      cards: vm.cards ?? [],
      ...(cdroms.length === 0 ? {} : { cdromImages: new Map(cdroms.map((cdrom) => [cdrom.name, cdrom])) }),
      ...(secret === undefined ? {} : { openUserData: this.#openerOf(vmId) }),
      ...(came === undefined ? {} : { copyEpoch: came.epoch }),
    };
  }
}

function areSame(before: WishParts, now: WishParts): boolean {
  if (before.vm !== now.vm || before.image !== now.image || before.secret !== now.secret) return false;
  if (now.cdroms.length !== before.cdroms.length) return false;
  if (now.cdroms.some((cdrom, at) => cdrom !== before.cdroms[at])) return false;
  return now.volumes.every(([, volumeId], at) => volumeId === before.volumes[at]?.[1]);
}

/** Whether the node has disks of a VM that runs elsewhere, from copies of them. */
export function hasOldCopy({ node, moved, phase }: VmRecord, nodeId: number): boolean {
  return node !== nodeId && moved?.leftOn.includes(nodeId) === true && (phase === "Running" || phase === "Paused");
}
