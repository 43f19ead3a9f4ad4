/** What a manager tells of one VM. */
import type { GuestAgentView, VmObservation } from "@blixard/protocol";
import { conditionsOf } from "./conditions.ts";
import type { LiveDisksView } from "./disks/live-disks.ts";
import type { InstanceRecord } from "./instance-record.ts";
import type { NetworkProblem } from "./network/ports-of.ts";
import type { PlanInput, Seen } from "./reconcile-plan.ts";
import type { LiveSizeView } from "./resize/live-size.ts";

export function observe(
  vmId: string,
  of: {
    readonly input: PlanInput;
    readonly seen: Seen;
    readonly record: InstanceRecord | undefined;
    readonly unixMs: number;
    readonly network: NetworkProblem | undefined;
    readonly agent: GuestAgentView | undefined;
    readonly disks: LiveDisksView | undefined;
    readonly size: LiveSizeView | undefined;
  },
): VmObservation {
  const { input, record, unixMs } = of;
  const { phase, reason, message, guest } = of.seen;
  const conditions = conditionsOf(input, { network: of.network, disks: of.disks?.problem, size: of.size?.problem });
  return {
    vmId,
    fencingEpoch: Math.max(input.desired?.fencingEpoch ?? 0, input.instance?.fencingEpoch ?? 0),
    phase,
    reason,
    message,
    guest,
    driver: input.instance === undefined ? null : (record?.driver ?? null),
    restarts: record?.restarts ?? 0,
    observedUnixMs: unixMs,
    ...(of.agent === undefined ? {} : { agent: of.agent }),
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(record?.ends === undefined ? {} : { ends: [...record.ends] }),
    ...(record?.disks === undefined || record.disks.length === 0
      ? {}
      : { disks: record.disks.map(({ name }) => name) }),
    ...(input.instance === undefined || record?.startedWith === undefined ? {} : { startedWith: record.startedWith }),
    ...(of.disks === undefined ? {} : { guestDisks: of.disks.guest }),
  };
}

/** True when the second one tells nothing new. */
export function sameObservation(a: VmObservation, b: VmObservation): boolean {
  return JSON.stringify({ ...a, observedUnixMs: 0 }) === JSON.stringify({ ...b, observedUnixMs: 0 });
}
