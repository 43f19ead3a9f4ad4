/** What a node has to tell of a VM: what the record does not show yet, in words that every member understands. */
import {
  featureLevels,
  limits,
  type ObservedCondition,
  observedConditionTypes,
  type RecordedVmEnd,
  type VmCondition,
  type VmEnd,
  type VmObservation,
  type VmRecord,
  vmObservationSchema,
  withObservedConditions,
  withObservedEnds,
  withoutLaterFields,
} from "@blixard/protocol";

const reasonLengthMax = 128;
const messageLengthMax = 1_024;
/** Three bytes a character, and room for the other fields. */
const conditionBytesMax = 3 * limits.vmConditionMessageLengthMax + 512;
/** With what stands around it. */
const diskNameBytesMax = limits.vmDiskNameLengthMax + 4;
const guestAddressBytesMax = 3 * limits.guestInterfaceLengthMax + limits.guestAddressLengthMax + 40;
const guestDiskBytesMax = limits.vmDiskNameLengthMax + 48;
const endBytesMax = 3 * limits.vmEndMessageLengthMax + 256;
/** Four numbers and their names. */
const hotplugBytesMax = 128;
export const observationBytesMax =
  hotplugBytesMax +
  3 * (reasonLengthMax + messageLengthMax) +
  256 +
  observedConditionTypes.length * conditionBytesMax +
  limits.vmEndsMax * endBytesMax +
  (limits.vmDisksMax + 1) * diskNameBytesMax +
  limits.guestAddressesMax * guestAddressBytesMax +
  (limits.vmDisksMax + 1) * guestDiskBytesMax;

/**
 * `seen` as members at `level` take it. A long message of a driver is cut: it must not keep its observation from being
 * reported.
 */
export function reportable(seen: VmObservation, level: number): VmObservation {
  const cut: VmObservation = {
    ...seen,
    reason: seen.reason.slice(0, reasonLengthMax),
    message: seen.message.slice(0, messageLengthMax),
  };
  if (level >= featureLevels.own) return cut;
  const guest = cut.guest === "not-responding" ? "none" : cut.guest;
  return withoutLaterFields(vmObservationSchema, { ...cut, guest }, level);
}

/** Whether the record would change by this observation of `nodeId`, which is {@link reportable}. */
export function isNews(vm: VmRecord, seen: VmObservation, nodeId: number): boolean {
  return (
    vm.phase !== seen.phase ||
    vm.reason !== seen.reason ||
    vm.message !== seen.message ||
    vm.driver !== seen.driver ||
    vm.guest !== seen.guest ||
    vm.restarts !== seen.restarts ||
    JSON.stringify(vm.agent) !== JSON.stringify(seen.agent) ||
    changesStart(vm, seen) ||
    JSON.stringify(vm.guestDisks) !== JSON.stringify(seen.guestDisks) ||
    changesConditions(vm.conditions, seen.conditions ?? []) ||
    changesEnds(vm.ends ?? [], seen.ends ?? [], nodeId) ||
    changesDisks(vm, seen, nodeId)
  );
}

function changesConditions(present: readonly VmCondition[], seen: readonly ObservedCondition[]): boolean {
  if (present.length === 0 && seen.length === 0) return false;
  const next = withObservedConditions(present, seen);
  return next.length !== present.length || next.some((condition, at) => !isSame(condition, present[at]));
}

function changesEnds(present: readonly RecordedVmEnd[], seen: readonly VmEnd[], nodeId: number): boolean {
  if (seen.length === 0) return false;
  const next = withObservedEnds(present, seen, nodeId);
  const names = (ends: readonly RecordedVmEnd[]) => ends.map((end) => `${end.node} ${end.unixMs} ${end.reason}`).join();
  return names(next) !== names(present);
}

function changesDisks({ disks: present }: VmRecord, { disks: seen }: VmObservation, nodeId: number): boolean {
  if (seen === undefined) return false;
  return present?.node !== nodeId || present.names.join() !== seen.join();
}

function changesStart({ startedWith: present }: VmRecord, { startedWith: seen }: VmObservation): boolean {
  return (
    present?.vcpus !== seen?.vcpus ||
    present?.memoryMiB !== seen?.memoryMiB ||
    present?.onPartition !== seen?.onPartition ||
    JSON.stringify(present?.hotplug) !== JSON.stringify(seen?.hotplug) ||
    JSON.stringify(present?.cards) !== JSON.stringify(seen?.cards)
  );
}

function isSame(a: VmCondition, b: VmCondition | undefined): boolean {
  return a.type === b?.type && a.status === b.status && a.reason === b.reason && a.message === b.message;
}
