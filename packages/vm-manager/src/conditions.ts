/** What a node tells of a running VM beside its phase; pure as the plan, and from the same input. */
import { type ObservedCondition, limits as protocolLimits } from "@blixard/protocol";
import type { InstanceState } from "./driver.ts";
import type { Health } from "./health/check-course.ts";
import type { NetworkProblem } from "./network/ports-of.ts";
import { isHeld, isSilent, type PlanInput } from "./reconcile-plan.ts";

/** What is wrong with a VM beside what the plan knows. */
export interface VmProblems {
  readonly network?: NetworkProblem | undefined;
  /** What could not be done about its disks while it runs. */
  readonly disks?: string | undefined;
  /** What its guest does not do about its processors and its memory. */
  readonly size?: string | undefined;
}

export function conditionsOf(input: PlanInput, { network, disks, size }: VmProblems = {}): ObservedCondition[] {
  const { instance, limits } = input;
  if (instance === undefined) return [];
  return [
    ...(isSilent(instance, input) ? [silent(limits.silentAfterMs)] : []),
    ...(instance.panic === undefined ? [] : [panicked(instance.panic)]),
    ...healthConditionOf(instance.health),
    ...(network === undefined ? [] : [withoutNetwork(network)]),
    ...disksConditionOf(input, instance.state, disks),
    ...(size === undefined ? [] : [notAsWanted("Resources", size)]),
  ];
}

/** One at most: what makes the guest stand still comes first. */
function disksConditionOf(input: PlanInput, state: InstanceState, problem: string | undefined): ObservedCondition[] {
  if (state.type === "io-error") return [diskFailed(state, input.hasRoom)];
  if (isHeld(input)) return [held];
  return problem === undefined ? [] : [notAsWanted("Disks", problem)];
}

function notAsWanted(type: "Disks" | "Resources", problem: string): ObservedCondition {
  const message = problem.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return { type, status: false, reason: "NotAsWanted", message };
}

function healthConditionOf(health: Health | undefined): ObservedCondition[] {
  if (health === undefined || health.status === "healthy") return [];
  const reason = { starting: "NotYetHealthy", unhealthy: "CheckFailed", unknown: "NotChecked" }[health.status];
  const message = health.message.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return [{ type: "Health", status: false, reason, message }];
}

function withoutNetwork({ reason, message }: NetworkProblem): ObservedCondition {
  const short = message.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return { type: "Network", status: false, reason, message: short };
}

/** `line` is the word of the guest. */
function panicked(line: string): ObservedCondition {
  const message = `on its console: ${line}`.slice(0, protocolLimits.vmConditionMessageLengthMax);
  return { type: "GuestPanic", status: true, reason: "PanicOnConsole", message };
}

/** `message` is the word of the machine. */
function diskFailed({ noSpace, message }: { noSpace: boolean; message: string }, hasRoom: boolean): ObservedCondition {
  const full = noSpace || !hasRoom;
  const until = full ? "it goes on when there is room" : "it is tried again";
  const whole = `${message}; the guest stands still, and ${until}`;
  return {
    ...{ type: "Disks", status: false, reason: full ? "NoSpace" : "DiskError" },
    message: whole.slice(0, protocolLimits.vmConditionMessageLengthMax),
  };
}

const held: ObservedCondition = {
  ...{ type: "Disks", status: false, reason: "NodeNearlyFull" },
  message: "the guest is paused, because the file system of its node is nearly full; it goes on when there is room",
};

function silent(silentAfterMs: number): ObservedCondition {
  const message = `the guest wrote nothing on its serial console in ${silentAfterMs / 1_000} s; it may have none`;
  return { type: "ConsoleOutput", status: false, reason: "ConsoleSilent", message };
}
