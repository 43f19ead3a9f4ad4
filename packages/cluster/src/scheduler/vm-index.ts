/**
 * What follows from all VMs together, kept as they change: a question about one node, or about the room on all of them, costs no
 * look at every VM. It is derived: an index that is not there is made from the records.
 */
import { diskMiBOf, type ImageRecord, type VmPhase, type VmRecord, type VmSpec } from "@blixard/protocol";

/** The part of the replicated state from which it follows. */
export interface VmIndexState {
  readonly vms: ReadonlyMap<string, VmRecord>;
  readonly images: ReadonlyMap<string, ImageRecord>;
}

/** What VMs take of one node, without what each takes beside its own memory. */
export interface Taken {
  readonly vms: number;
  readonly vcpus: number;
  readonly memoryMiB: number;
  readonly diskMiB: number;
}

type Part = Taken & { readonly nodeId: number };

/** What stands here of one VM. */
interface Noted {
  readonly taken: readonly Part[];
  readonly node: number | null;
  readonly copies: readonly number[];
  readonly phase: VmPhase;
}

type Sum = { -readonly [Of in keyof Taken]: number } & { parts: number };

export class VmIndex {
  readonly #images: VmIndexState["images"];
  readonly #noted = new Map<string, Noted>();
  readonly #sums = new Map<number, Sum>();
  readonly #namesAt = new Map<number, string[]>();
  readonly #copiesAt = new Map<number, string[]>();
  readonly #phases = new Map<VmPhase, number>();
  readonly #affine = new Set<string>();
  readonly #moving = new Set<string>();

  constructor({ vms, images }: VmIndexState) {
    this.#images = images;
    for (const [name, vm] of vms) this.note(name, vm);
  }

  get size(): number {
    return this.#noted.size;
  }

  /** The VMs that are on a node, are to come to it or have left something there, by name. */
  namesAt(nodeId: number): readonly string[] {
    return this.#namesAt.get(nodeId) ?? [];
  }

  /** Those of them whose disks move, or have moved. */
  copiesAt(nodeId: number): readonly string[] {
    return this.#copiesAt.get(nodeId) ?? [];
  }

  /** The VMs that are to come to another node with their disks. */
  get moving(): ReadonlySet<string> {
    return this.#moving;
  }

  /** How many VMs are in each phase in which one is. */
  get phases(): ReadonlyMap<VmPhase, number> {
    return this.#phases;
  }

  /** The VMs to whose places it matters where others are. */
  get affine(): ReadonlySet<string> {
    return this.#affine;
  }

  /** What is taken of each node of which something is, but for the VM `without`. */
  takenByNode(without?: string): Map<number, Taken> {
    const own = (without === undefined ? undefined : this.#noted.get(without)?.taken) ?? [];
    const taken = new Map<number, Taken>();
    for (const [nodeId, { parts, ...sum }] of this.#sums) {
      const left = { ...sum, parts };
      for (const part of own) if (part.nodeId === nodeId) add(left, part, -1);
      if (left.parts > 0) taken.set(nodeId, left);
    }
    return taken;
  }

  /** `vm`: undefined when there is none of this name any more. */
  note(name: string, vm: VmRecord | undefined): void {
    const before = this.#noted.get(name);
    if (before !== undefined) this.#forget(name, before);
    if (vm === undefined) return;
    const now = { taken: partsOf(vm, this.#images), copies: copiesOf(vm), phase: vm.phase, node: vm.node };
    this.#noted.set(name, now);
    for (const part of now.taken) {
      const sum = this.#sums.get(part.nodeId) ?? { vms: 0, vcpus: 0, memoryMiB: 0, diskMiB: 0, parts: 0 };
      add(sum, part, 1);
      this.#sums.set(part.nodeId, sum);
    }
    for (const nodeId of now.copies) enter(this.#copiesAt, nodeId, name);
    for (const nodeId of nodesOf(now)) enter(this.#namesAt, nodeId, name);
    this.#phases.set(vm.phase, (this.#phases.get(vm.phase) ?? 0) + 1);
    if (vm.spec.placement?.affinity !== undefined) this.#affine.add(name);
    if (vm.held?.to !== undefined) this.#moving.add(name);
  }

  #forget(name: string, noted: Noted): void {
    const { taken, phase, copies } = noted;
    this.#noted.delete(name);
    this.#affine.delete(name);
    this.#moving.delete(name);
    for (const part of taken) {
      const sum = this.#sums.get(part.nodeId);
      if (sum === undefined) continue;
      add(sum, part, -1);
      if (sum.parts === 0) this.#sums.delete(part.nodeId);
    }
    for (const nodeId of copies) leave(this.#copiesAt, nodeId, name);
    for (const nodeId of nodesOf(noted)) leave(this.#namesAt, nodeId, name);
    const left = (this.#phases.get(phase) ?? 0) - 1;
    if (left > 0) this.#phases.set(phase, left);
    else this.#phases.delete(phase);
  }
}

function add(sum: Sum, part: Taken, sign: 1 | -1): void {
  sum.vms += sign * part.vms;
  sum.vcpus += sign * part.vcpus;
  sum.memoryMiB += sign * part.memoryMiB;
  sum.diskMiB += sign * part.diskMiB;
  sum.parts += sign;
}

function partsOf(vm: VmRecord, images: VmIndexState["images"]): readonly Part[] {
  const parts: Part[] = [];
  const image = images.get(vm.spec.image);
  const take = (nodeId: number, { vcpus, memoryMiB, ...spec }: VmSpec, runs: boolean) => {
    const diskMiB = image === undefined ? 0 : diskMiBOf(spec, image);
    if (runs) parts.push({ nodeId, vms: 1, vcpus, memoryMiB, diskMiB });
    else if (diskMiB > 0) parts.push({ nodeId, vms: 0, vcpus: 0, memoryMiB: 0, diskMiB });
  };
  if (vm.node !== null) take(vm.node, largestSpec(vm), !isIdle(vm));
  // It is about to be there, with its disks.
  if (vm.held?.to !== undefined) take(vm.held.to, vm.spec, vm.held.desired !== "stopped");
  return parts;
}

function copiesOf({ held, moved }: VmRecord): readonly number[] {
  if (held?.to === undefined && moved === undefined) return [];
  const nodes = [held?.to, moved?.node, ...(moved?.leftOn ?? [])];
  return [...new Set(nodes.filter((nodeId) => nodeId !== undefined))];
}

function nodesOf({ node, copies }: Noted): readonly number[] {
  return node === null || copies.includes(node) ? copies : [node, ...copies];
}

function enter(namesAt: Map<number, string[]>, nodeId: number, name: string): void {
  const names = namesAt.get(nodeId) ?? [];
  names.splice(placeIn(names, name), 0, name);
  namesAt.set(nodeId, names);
}

function leave(namesAt: Map<number, string[]>, nodeId: number, name: string): void {
  const names = namesAt.get(nodeId) ?? [];
  names.splice(placeIn(names, name), 1);
  if (names.length === 0) namesAt.delete(nodeId);
}

/** A VM that is to become smaller takes what its process was started with until it starts again. */
function largestSpec({ spec, startedWith }: VmRecord): VmSpec {
  if (startedWith === undefined) return spec;
  const { vcpus, memoryMiB } = startedWith;
  if (vcpus <= spec.vcpus && memoryMiB <= spec.memoryMiB) return spec;
  return { ...spec, vcpus: Math.max(vcpus, spec.vcpus), memoryMiB: Math.max(memoryMiB, spec.memoryMiB) };
}

/** Whether a VM takes no processor and no memory, and will not by itself. */
export function isIdle({ desired, phase }: Pick<VmRecord, "desired" | "phase">): boolean {
  return desired === "stopped" && (phase === "Stopped" || phase === "Failed");
}

/** Where `name` is in `names`, which are in order, or belongs. */
export function placeIn(names: readonly string[], name: string): number {
  let [from, to] = [0, names.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((names[middle] ?? "") < name) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** By the table of VMs: a state that somebody has made in thought has an index of its own. */
const indexes = new WeakMap<VmIndexState["vms"], VmIndex>();

export function vmIndexOf(state: VmIndexState): VmIndex {
  const known = indexes.get(state.vms);
  // Another size: somebody has written to the table by another way.
  if (known !== undefined && known.size === state.vms.size) return known;
  const made = new VmIndex(state);
  indexes.set(state.vms, made);
  return made;
}

/** Told after each change of a VM. */
export function noteVmChange({ vms }: Pick<VmIndexState, "vms">, name: string): void {
  indexes.get(vms)?.note(name, vms.get(name));
}

/** Told after each change of an image: what the disks of a VM take follows from its image. */
export function noteImageChange({ vms }: Pick<VmIndexState, "vms">): void {
  indexes.delete(vms);
}
