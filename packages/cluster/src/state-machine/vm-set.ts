/** Changes of a VM that there is: its specification and its labels. What they come to is one pure function, which a dry run asks too. */
import {
  bootOrderRefusal,
  type ChangedField,
  type CommandBodyOf,
  cardTextsOf,
  changedLabels,
  changedSpec,
  hasOwnData,
  isWithin,
  limits,
  lossPolicyOf,
  misfitOf,
  namesOfDrives,
  settableFields,
  type VmCard,
  type VmRecord,
  type VmSettable,
  type VmSpec,
  type VmSpecChange,
  volumesOf,
} from "@blixard/protocol";
import { isIdle } from "../scheduler/vm-index.ts";
import { cdromsRefusal } from "./image.ts";
import { clusterLevel } from "./level.ts";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import { quotaChangeRefusal } from "./quota.ts";
import { groupsRefusal } from "./security-group.ts";
import type { ClusterState, CommandEntry, Outcome } from "./types.ts";
import { cardsFit, cardsRefusal } from "./vm-cards.ts";
import { forwardRefusal } from "./vm-forwards.ts";
import { leasesLevel, policyOf } from "./vm-move.ts";

const shownLengthMax = 200;

export function applySet(state: ClusterState, body: CommandBodyOf<"vm.set">, entry: CommandEntry): Outcome {
  const vm = state.vms.get(body.name);
  if (vm === undefined) {
    return refuse("VM_NOT_FOUND", `there is no VM ${body.name}`, "List the VMs with: blixard vm list");
  }
  const failed = preconditionFailed(entry.command, `VM ${body.name}`, vm.updatedIndex);
  if (failed !== undefined) return failed;
  const changed = changedVm(state, vm, body);
  if (!changed.ok) return changed.refusal;
  const { changes } = changed;
  if (changes.length === 0) return done({ vm, changes });
  const value = { ...changed.vm, updatedUnixMs: entry.command.atUnixMs, updatedIndex: entry.index };
  return done({ vm: value, changes }, [{ table: "vms", key: vm.name, value }]);
}

type ChangedVm =
  | { readonly ok: true; readonly vm: VmRecord; readonly changes: ChangedField[] }
  | { readonly ok: false; readonly refusal: Outcome };

/** The record after a change, but for its dates; or why it cannot be changed so. Whether there is room is not looked at. */
export function changedVm(state: ClusterState, vm: VmRecord, change: VmSpecChange): ChangedVm {
  const spec = changedSpec(vm.spec, change);
  const labels = changedLabels(vm.labels, change);
  const refusal = cardsChangeRefusal(state, vm, spec, change.cards) ?? changeRefusal(state, vm, { spec, labels });
  if (refusal !== undefined) return { ok: false, refusal };
  const { lossPolicy: _, nextLossPolicy: __, labels: ___, cards: ____, ...kept } = vm;
  const { cards = vm.cards ?? [] } = change;
  const next: VmRecord = {
    ...kept,
    spec,
    ...(cards.length === 0 ? {} : { cards }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...policyAfter(state, vm, spec),
  };
  return { ok: true, vm: next, changes: changesOf(vm, next) };
}

function changeRefusal(
  state: ClusterState,
  vm: VmRecord,
  { spec, labels }: { readonly spec: VmSpec; readonly labels: Readonly<Record<string, string>> },
): Outcome | undefined {
  const { name, node } = vm;
  if (vm.desired === "deleted") return refuse("CONFLICT", `the VM ${name} is being deleted`);
  const image = state.images.get(spec.image);
  if (image === undefined) return refuse("IMAGE_NOT_FOUND", `there is no image ${spec.image} any more`);
  const ungrouped = groupsRefusal(state, spec);
  if (ungrouped !== undefined) return ungrouped;
  const misfit = misfitOf(spec) ?? volumesRefusal(spec) ?? bootOrderRefusal(spec, image);
  if (misfit !== undefined) return refuse("INVALID_ARGUMENT", misfit);
  if (spec.memoryMiB < image.minMemoryMiB) {
    const message = `spec.memoryMiB: the image ${image.name} needs ${image.minMemoryMiB} MiB at least`;
    return refuse("INVALID_ARGUMENT", message);
  }
  const noDisc = cdromsRefusal(state, spec);
  if (noDisc !== undefined) return noDisc;
  if (Object.keys(labels).length > limits.labelsMax) {
    return refuse("INVALID_ARGUMENT", `labels: there are at most ${limits.labelsMax} labels`);
  }
  const others = [...state.vms.values()].filter((other) => other.name !== name);
  const taken = node === null ? undefined : forwardRefusal(node, spec, others);
  if (taken !== undefined) return refuse("CONFLICT", `spec.forwards: node ${node} cannot forward: ${taken}`);
  return quotaChangeRefusal(state, vm, { spec, labels });
}

/** The leader gave the cards out for what it knew of the VM and of its networks. */
function cardsChangeRefusal(
  state: ClusterState,
  { name, ...vm }: VmRecord,
  spec: VmSpec,
  cards: readonly VmCard[] | undefined,
): Outcome | undefined {
  const isSame = JSON.stringify(spec.networks) === JSON.stringify(vm.spec.networks);
  if (cards === undefined && isSame) return undefined;
  if (cardsFit(spec, cards ?? vm.cards ?? [])) return cardsRefusal(state, name, cards);
  return refuse("CONFLICT", `the networks of the VM ${name} have changed meanwhile`, "Try again.");
}

/** Why a VM with volumes cannot be moved; undefined when nobody asks for that. */
export function volumesRefusal(spec: VmSpec): string | undefined {
  if (spec.onNodeLoss !== "move" || volumesOf(spec).length === 0) return undefined;
  return "spec.onNodeLoss: a VM with a volume that is on one node cannot move";
}

/**
 * What holds when the node is lost. A process that runs on without the lease may still be there: that its VM is moved counts
 * only when it was started anew. The other way holds at once, since nobody moves it any more.
 */
function policyAfter(
  state: ClusterState,
  vm: VmRecord,
  spec: VmSpec,
): Pick<VmRecord, "lossPolicy"> & Pick<VmRecord, "nextLossPolicy"> {
  const { lossPolicy, nextLossPolicy } = vm;
  const image = state.images.get(spec.image);
  const isSame = spec.onNodeLoss === vm.spec.onNodeLoss && spec.onPartition === vm.spec.onPartition;
  if (isSame || image === undefined || clusterLevel(state) < leasesLevel) {
    return {
      ...(lossPolicy === undefined ? {} : { lossPolicy }),
      ...(nextLossPolicy === undefined ? {} : { nextLossPolicy }),
    };
  }
  const policy = lossPolicyOf(spec, { ownData: hasOwnData(spec, image) });
  const runsOn = policyOf(vm).onPartition === "keep" && !runsNowhere(vm);
  if (policy.onPartition === "keep" || !runsOn) return { lossPolicy: policy };
  return {
    ...(lossPolicy === undefined ? {} : { lossPolicy }),
    nextLossPolicy: { policy, fencingEpoch: vm.fencingEpoch },
  };
}

/** Whether no process of the VM can be left, nor come without a new epoch. */
function runsNowhere(vm: VmRecord): boolean {
  return isIdle(vm) || (vm.node === null && vm.phase !== "Unknown");
}

/**
 * The record with the policy that was asked for, once its process is one that ends with the lease. All that its node starts in
 * a later epoch than that of the wish is.
 */
export function withPolicyInForce(vm: VmRecord): VmRecord {
  const { nextLossPolicy, startedWith, ...rest } = vm;
  if (nextLossPolicy === undefined || vm.fencingEpoch <= nextLossPolicy.fencingEpoch) return vm;
  if (startedWith?.onPartition !== nextLossPolicy.policy.onPartition) return vm;
  return { ...rest, lossPolicy: nextLossPolicy.policy, startedWith };
}

function changesOf(before: VmRecord, after: VmRecord): ChangedField[] {
  const fields: readonly (keyof VmSettable)[] = settableFields;
  const waits = !runsNowhere(before);
  const changes = fields.flatMap((field): ChangedField[] =>
    change(field, before.spec[field], after.spec[field], effectOf(field, { waits, after })),
  );
  return [...changes, ...change("labels", before.labels, after.labels, "placement")];
}

function effectOf(
  field: keyof VmSettable,
  { waits, after }: { readonly waits: boolean; readonly after: VmRecord },
): ChangedField["effect"] {
  switch (field) {
    case "vcpus":
    case "memoryMiB":
      return waits && !isWithin(after.startedWith?.hotplug, field, after.spec[field]) ? "restart" : "now";
    case "cdroms":
      // What lies in a drive changes at once, and the drives themselves do not.
      return waits && String(after.startedWith?.cdroms ?? []) !== String(namesOfDrives(after.spec) ?? [])
        ? "restart"
        : "now";
    case "vcpusMax":
    case "memoryMiBMax":
    case "bootOrder":
      return waits ? "restart" : "now";
    case "onPartition":
    case "onNodeLoss":
      return after.nextLossPolicy === undefined ? "now" : "restart";
    case "networks":
      return waits && keepsCards(after) ? "restart" : "now";
    case "placement":
      return "placement";
    default:
      return "now";
  }
}

/** Whether its process has other cards than it is to have, and keeps them. */
function keepsCards(vm: VmRecord): boolean {
  const cards = vm.startedWith?.cards;
  return cards !== undefined && cards.join() !== cardTextsOf(vm).join();
}

function change(field: string, from: unknown, to: unknown, effect: ChangedField["effect"]): ChangedField[] {
  const [before, after] = [shown(from), shown(to)];
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  return [
    {
      field,
      ...(before === undefined ? {} : { from: before }),
      ...(after === undefined ? {} : { to: after }),
      effect,
    },
  ];
}

function shown(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value);
  return text.length <= shownLengthMax ? text : `${text.slice(0, shownLengthMax)}...`;
}
