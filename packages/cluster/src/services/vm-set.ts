/** Changing a VM that there is: the leader works out what changes, field by field, and whether there is room for it. */
import { BlixardError, issuesText, notApplied, type Semaphore } from "@blixard/common";
import {
  changedSpec,
  driverRefusal,
  type ImageRecord,
  networksOf,
  type ParsedRequestOf,
  type ResponseOf,
  settableFields,
  type UnsettableField,
  unsettableFields,
  type VmCard,
  type VmNetwork,
  type VmRecord,
  type VmSettable,
  type VmSpecChange,
  vmSpecSchema,
  withOwnDrive,
} from "@blixard/protocol";
import type { CallScope } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import type { Reservation } from "../scheduler/usage.ts";
import { isIdle } from "../scheduler/vm-index.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { nodeKey } from "../state-machine/state.ts";
import type { Outcome } from "../state-machine/types.ts";
import { policyOf } from "../state-machine/vm-move.ts";
import { changedVm } from "../state-machine/vm-set.ts";
import { chooseCards, type PromisedCards } from "./choose-cards.ts";
import { assertFitsImage, placeVm } from "./place-vm.ts";

/** What this method uses of the node. */
type SetParts = Pick<
  NodeParts,
  "options" | "raft" | "transport" | "stateMachine" | "proposals" | "leases" | "reservations" | "random"
> & {
  readonly promisedCards: PromisedCards;
  /** Changes of cards: what a card keeps is read of those before, so one is decided when the one before is applied. */
  readonly cardChanges: Semaphore;
};

type SetRequest = ParsedRequestOf<"vm.set">;
type Answer = ResponseOf<"vm.set">;

const nothing: VmSpecChange = { set: {}, unset: [], labels: {}, unsetLabels: [] };

export async function setVm(parts: SetParts, request: SetRequest, call: CallScope): Promise<Answer> {
  const { spec, unset, unsetNetworks, whole } = request;
  const isOfCards = whole || spec?.networks !== undefined || unset.includes("networks") || unsetNetworks.length > 0;
  const change = () => decideAndSet(parts, request, call);
  return isOfCards ? await parts.cardChanges.run(change, call.signal) : await change();
}

async function decideAndSet(parts: SetParts, request: SetRequest, call: CallScope): Promise<Answer> {
  const { stateMachine, raft, reservations, promisedCards } = parts;
  const { name, dryRun } = request;
  const { state } = stateMachine;
  const vm = state.vms.get(name);
  // What stands now says nothing about a request that was applied before: `apply` answers that, as it does for no VM.
  if (vm === undefined || isRemembered(state, call.meta)) return await propose(parts, name, nothing, call);
  const change = withCards(parts, vm, changeOf(vm, request, state.images.get(vm.spec.image)));
  const changed = changedVm(state, vm, change);
  if (!changed.ok) throw refused(changed.refusal);
  const growth = checkRoom(parts, vm, changed.vm);
  if (dryRun) {
    const { vm: next, changes } = changed;
    return { index: stateMachine.version.value.appliedIndex, term: raft.coreStatus().term, vm: next, changes };
  }
  if (growth !== undefined) reservations.add(growth);
  const promise = { name, cards: change.cards ?? [] };
  promisedCards.add(promise);
  try {
    return await propose(parts, name, change, call);
  } finally {
    promisedCards.delete(promise);
    if (growth !== undefined) reservations.delete(growth);
  }
}

async function propose({ proposals }: SetParts, name: string, change: VmSpecChange, call: CallScope): Promise<Answer> {
  const { index, term, value } = await proposals.propose<Pick<Answer, "vm" | "changes">>(
    { type: "vm.set", name, ...change },
    call,
  );
  return { index, term, vm: value.vm, changes: value.changes };
}

/** What the request comes to for this VM. @throws INVALID_ARGUMENT, UNSUPPORTED for a field that no VM changes */
function changeOf(vm: VmRecord, request: SetRequest, image: ImageRecord | undefined): VmSpecChange {
  const { spec = {}, unset, labels = {}, unsetLabels, unsetNetworks, whole } = request;
  if (whole && unsetNetworks.length > 0) {
    throw notApplied("INVALID_ARGUMENT", "unsetNetworks: goes with a part of a specification only");
  }
  const given: Readonly<Record<string, unknown>> = whole
    ? withDefaults(spec, image)
    : mergedParts(vm, spec, unsetNetworks);
  refuseFixed(vm, spec);
  const set = Object.fromEntries(settableFields.flatMap((field) => (field in given ? [[field, given[field]]] : [])));
  const gone = whole ? unsettableFields.filter((field) => !(field in given)) : [];
  const goneLabels = whole ? Object.keys(vm.labels ?? {}).filter((key) => !Object.hasOwn(labels, key)) : [];
  const change: VmSpecChange = {
    set: set as VmSettable,
    unset: [...new Set<UnsettableField>([...unset, ...gone])],
    labels,
    unsetLabels: [...new Set([...unsetLabels, ...goneLabels])],
  };
  refuseBoth(change);
  const parsed = vmSpecSchema.safeParse(changedSpec(vm.spec, change));
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({ ...issue, path: ["spec", ...issue.path] }));
    throw notApplied("INVALID_ARGUMENT", issuesText(issues));
  }
  if (image !== undefined) assertFitsImage(parsed.data, image);
  return onlyNew(vm, change);
}

/** Gives out what a VM that is to be in other networks has there. @throws as chooseCards */
function withCards(
  { stateMachine, random, promisedCards }: SetParts,
  vm: VmRecord,
  change: VmSpecChange,
): VmSpecChange {
  if (change.set.networks === undefined && !change.unset.includes("networks")) return change;
  const deps = { state: stateMachine.state, random, promised: promisedCards };
  const cards = chooseCards(deps, changedSpec(vm.spec, change), vm);
  return JSON.stringify(cards) === JSON.stringify(vm.cards ?? []) ? change : { ...change, cards };
}

/** What is already so is no change, so that nobody else's change of it is undone. */
function onlyNew(vm: VmRecord, change: VmSpecChange): VmSpecChange {
  const isNew = ([field, value]: [string, unknown]) =>
    JSON.stringify(value) !== JSON.stringify(vm.spec[field as keyof VmSettable]);
  const labels = Object.entries(change.labels).filter(([key, value]) => vm.labels?.[key] !== value);
  return {
    set: Object.fromEntries(Object.entries(change.set).filter(isNew)),
    unset: change.unset.filter((field) => vm.spec[field] !== undefined),
    labels: Object.fromEntries(labels),
    unsetLabels: change.unsetLabels.filter((key) => Object.hasOwn(vm.labels ?? {}, key)),
  };
}

/** @throws INVALID_ARGUMENT for what is to be and not to be */
function refuseBoth({ set, unset, labels, unsetLabels }: VmSpecChange): void {
  const field = unset.find((each) => set[each] !== undefined);
  if (field !== undefined) throw notApplied("INVALID_ARGUMENT", `unset: ${field} is given a value as well`);
  const label = unsetLabels.find((each) => Object.hasOwn(labels, each));
  if (label !== undefined) throw notApplied("INVALID_ARGUMENT", `unsetLabels: ${label} is given a value as well`);
}

/** Of a whole specification: what it leaves out is as in that of a new VM. @throws INVALID_ARGUMENT */
function withDefaults(spec: NonNullable<SetRequest["spec"]>, image: ImageRecord | undefined) {
  if (spec.memoryMiB === undefined) throw notApplied("INVALID_ARGUMENT", "spec.memoryMiB: is missing");
  const { vcpus, restartPolicy } = vmSpecSchema.shape;
  const whole = { vcpus: vcpus.parse(undefined), restartPolicy: restartPolicy.parse(undefined), ...spec };
  return image === undefined ? whole : withOwnDrive(whole, image);
}

/** A part of an object leaves its other parts as they are. */
function mergedParts(vm: VmRecord, spec: NonNullable<SetRequest["spec"]>, unsetNetworks: readonly string[]) {
  const { placement, autostart, networks = [] } = spec;
  const isOther = networks.length + unsetNetworks.length > 0;
  return {
    ...spec,
    ...(isOther ? { networks: mergedNetworks(vm, networks, unsetNetworks) } : {}),
    ...(placement === undefined ? {} : { placement: { ...vm.spec.placement, ...placement } }),
    ...(autostart === undefined ? {} : { autostart: { ...vm.spec.autostart, ...autostart } }),
  };
}

/**
 * A network that is named gets the groups that are named with it, or none; what else it is stays. The others stay as they are.
 * @throws INVALID_ARGUMENT
 */
function mergedNetworks(
  vm: VmRecord,
  given: readonly VmNetwork[],
  unsetNetworks: readonly string[],
): readonly VmNetwork[] {
  const present = networksOf(vm.spec);
  const named = new Map(given.map((each) => [each.network, each]));
  for (const network of unsetNetworks) {
    if (named.has(network)) {
      throw notApplied("INVALID_ARGUMENT", `unsetNetworks: a card in ${network} is asked for as well`);
    }
    if (!present.some((each) => each.network === network)) {
      throw notApplied("INVALID_ARGUMENT", `unsetNetworks: the VM ${vm.name} is not in the network ${network}`);
    }
  }
  const stay = present.map(({ securityGroups, ...card }) => {
    const wished = named.get(card.network);
    if (wished === undefined) return { ...card, ...(securityGroups === undefined ? {} : { securityGroups }) };
    return { ...card, ...wished };
  });
  const added = given.filter(({ network }) => !present.some((each) => each.network === network));
  return [...stay.filter(({ network }) => !unsetNetworks.includes(network)), ...added];
}

interface Fixed {
  readonly why: string;
  readonly hint: string;
}

const fixedFields: Readonly<Record<string, Fixed>> = {
  image: { why: "a VM keeps the image that it was made of", hint: "Create another VM of that image." },
  disks: {
    why: "the disks of a VM are not changed with its specification: they hold data",
    hint: "See: blixard vm disk --help, and blixard volume attach --help",
  },
  cloudInit: {
    why: "the guest reads what cloud-init is told at its first boot",
    hint: "Change it in the guest: blixard vm exec, blixard vm file push.",
  },
};

/** @throws UNSUPPORTED for a field that is another one than that of the VM, and that no VM changes */
function refuseFixed(vm: VmRecord, spec: Readonly<Record<string, unknown>>): void {
  const settable: readonly string[] = settableFields;
  for (const [field, value] of Object.entries(spec)) {
    if (settable.includes(field)) continue;
    if (JSON.stringify(value) === JSON.stringify((vm.spec as Readonly<Record<string, unknown>>)[field])) continue;
    const { why, hint } = fixedFields[field] ?? { why: "cannot be changed", hint: "Create another VM with it." };
    throw notApplied("UNSUPPORTED", `spec.${field}: ${why}`, { hint });
  }
}

/**
 * Whether the node of a VM that runs can take it as it is to be. What it takes more is promised to it until its record shows it.
 * One that does not run is looked at when it is started or placed. @throws NO_CAPACITY, CONFLICT
 */
function checkRoom(parts: SetParts, before: VmRecord, after: VmRecord): Reservation | undefined {
  const { stateMachine, reservations } = parts;
  const { node } = before;
  const image = stateMachine.state.images.get(after.spec.image);
  if (node === null || image === undefined || isIdle(before)) return undefined;
  assertCards(before, after);
  const moves = (vm: VmRecord) => (vm.nextLossPolicy?.policy ?? policyOf(vm)).onNodeLoss === "move";
  const vcpus = Math.max(0, after.spec.vcpus - before.spec.vcpus);
  const memoryMiB = Math.max(0, after.spec.memoryMiB - before.spec.memoryMiB);
  const grows = vcpus > 0 || memoryMiB > 0;
  if (grows || (moves(after) && !moves(before))) {
    const decision = placeVm(parts, after, image, { moves: moves(after), reservations, only: node, stays: true });
    if (!decision.ok) throw notApplied(decision.code, decision.message, { hint: decision.hint });
  } else assertDriver(parts, after, image);
  const { restartPolicy } = after.spec;
  return grows ? { nodeId: node, spec: { image: image.name, vcpus, memoryMiB, restartPolicy } } : undefined;
}

/** The process of a VM is given a tap when it starts, and loses the right to one then. @throws CONFLICT */
function assertCards({ name, cards: had = [] }: VmRecord, { cards = [] }: VmRecord): void {
  const isThere = ({ networkId, mac }: VmCard) => had.some((card) => card.networkId === networkId && card.mac === mac);
  const added = cards.find((card) => card.bridge !== undefined && !isThere(card));
  if (added === undefined) return;
  const why = `a VM that runs gets no card in the network ${added.network}, the bridge ${added.bridge} (nicHotplug)`;
  throw notApplied("CONFLICT", why, { hint: `Stop it first: blixard vm stop ${name}` });
}

/** @throws UNSUPPORTED when the driver that runs the VM cannot do what it is to do */
function assertDriver({ stateMachine }: SetParts, { node, driver, spec, cards }: VmRecord, image: ImageRecord): void {
  const capacity = node === null ? undefined : stateMachine.state.nodes.get(nodeKey(node))?.capacity;
  const runs = capacity?.capabilities?.find(({ kind }) => kind === driver);
  const refusal = runs === undefined ? undefined : driverRefusal(runs.kind, runs, { spec, image, cards });
  if (refusal !== undefined) throw notApplied("UNSUPPORTED", refusal);
}

function refused({ result }: Outcome): BlixardError {
  if (result.ok) return new BlixardError("INVARIANT", "a refusal is no success");
  return notApplied(result.code, result.message, result.hint === undefined ? {} : { hint: result.hint });
}
