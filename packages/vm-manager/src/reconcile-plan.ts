/**
 * What to do next for one VM, as a pure function of what is wanted, what is recorded and what was seen. It holds no
 * clock and does no I/O; the machine that owns the VM carries the action out and asks again.
 */
import type { VmObservation } from "@blixard/protocol";
import type { ExitReason, InstanceState } from "./driver.ts";
import type { Health } from "./health/check-course.ts";
import type { ExitRecord, RecordedExitReason } from "./instance-record.ts";
import type { DesiredVm } from "./vm-manager-types.ts";

/** What the cluster wants, with the whole specification; or that the VM stops because its manager does. */
export type PlanDesired =
  | Pick<DesiredVm, "desired" | "fencingEpoch" | "spec" | "cards" | "image" | "volumeIds" | "disksIndex">
  | { readonly desired: "stopped"; readonly fencingEpoch: number; readonly spec?: never };

/** What may run. */
type PlanWanted = PlanDesired & Pick<DesiredVm, "spec">;

export interface PlanInstance {
  readonly state: InstanceState;
  readonly fencingEpoch: number;
  /** When the guest began to boot, was adopted or went on after a pause, in monotonic milliseconds. */
  readonly bootSinceMs: number;
  /** The guest wrote on its serial console. */
  readonly guestReady: boolean;
  /** What the kernel of the guest says of its panic on the console. */
  readonly panic: string | undefined;
  /** What its health checks say; undefined where it has none. */
  readonly health: Health | undefined;
  /** When a guest whose disk failed is told to go on, in monotonic milliseconds. */
  readonly diskRetryMs: number;
}

export interface PlanInput {
  /** False until the cluster gave a set of VMs for the first time: before, nothing is started and nothing stopped. */
  readonly desiredKnown: boolean;
  /** Undefined when this node does not own the VM. */
  readonly desired: PlanDesired | undefined;
  readonly instance: PlanInstance | undefined;
  /** The highest epoch that this node ever acted on for the VM. */
  readonly fencingEpochSeen: number;
  /** The last end; null when the VM never ended, or a new start was asked for since. */
  readonly exit: ExitRecord | null;
  readonly failures: number;
  /** Earliest time of the next start. */
  readonly notBeforeMs: number;
  readonly nowMs: number;
  readonly limits: {
    readonly silentAfterMs: number;
    readonly restartsMax: number;
    /** How often to look at the console of a guest that is expected to write, and of one that is silent. */
    readonly bootPollMs: number;
    readonly silentPollMs: number;
  };
  /** False for a VM that needs the lease of this node while there is none. */
  readonly mayRun: boolean;
  /** True for a VM with disks while it must not write: the file system of the node is nearly full. */
  readonly mustHold: boolean;
  /** There is room on the file system of the VMs. */
  readonly hasRoom: boolean;
  /** True when the VM's files are gone. */
  readonly removed: boolean;
}

export type PlanAction =
  /** Nothing until something changes, or until `untilMs`. */
  | { readonly type: "wait"; readonly untilMs: number | undefined }
  | { readonly type: "start" }
  | {
      readonly type: "stop";
      readonly reason: Extract<
        RecordedExitReason,
        "stop-requested" | "fenced" | "lease-lost" | "boot-deadline" | "unhealthy"
      >;
      readonly message: string;
      readonly graceful: boolean;
    }
  /** The instance is over: write down why, and clear away what is left of it. */
  | { readonly type: "collect" }
  | { readonly type: "pause" }
  | { readonly type: "resume" }
  | { readonly type: "remove" }
  /** The VM is not ours and nothing of it is left: drop it from memory. */
  | { readonly type: "forget" };

const wait = (untilMs?: number): PlanAction => ({ type: "wait", untilMs });

export function planVm(input: PlanInput): PlanAction {
  const { desired, instance } = input;
  if (instance !== undefined && (instance.state.type === "ended" || instance.state.type === "halted")) {
    return { type: "collect" };
  }
  if (!input.desiredKnown) return wait();
  if (desired === undefined || desired.desired === "deleted") return planGone(input, desired);
  // A wish older than what this node acted on is a late one; the newer wish comes.
  if (input.fencingEpochSeen > desired.fencingEpoch) return wait();
  if (instance === undefined) return planWithoutInstance(input, desired);
  if (instance.fencingEpoch < desired.fencingEpoch) {
    const message = `epoch ${desired.fencingEpoch} replaces epoch ${instance.fencingEpoch}`;
    return { type: "stop", reason: "fenced", message, graceful: true };
  }
  // Nobody has the time to ask the guest: it may be started elsewhere soon.
  if (!input.mayRun) return { type: "stop", reason: "lease-lost", message: leaseLost, graceful: false };
  if (desired.desired === "stopped") {
    return { type: "stop", reason: "stop-requested", message: "stopped on request", graceful: true };
  }
  return planRunning(input, desired, instance);
}

/** The VM is deleted, or lives elsewhere now. */
function planGone(input: PlanInput, desired: PlanDesired | undefined): PlanAction {
  if (input.instance !== undefined) {
    const message = desired === undefined ? "this node does not own the VM any more" : "the VM is deleted";
    return { type: "stop", reason: desired === undefined ? "fenced" : "stop-requested", message, graceful: false };
  }
  if (!input.removed) return { type: "remove" };
  return desired === undefined ? { type: "forget" } : wait();
}

function planWithoutInstance(input: PlanInput, desired: PlanDesired): PlanAction {
  if (desired.desired === "stopped" || holdOf(input, desired) !== undefined) return wait();
  if (!input.mayRun || input.mustHold) return wait();
  // The back-off belongs to one epoch: a new one was asked for by somebody and waits for nothing.
  const fresh = input.exit === null || input.exit.fencingEpoch < desired.fencingEpoch;
  return !fresh && input.nowMs < input.notBeforeMs ? wait(input.notBeforeMs) : { type: "start" };
}

function planRunning(input: PlanInput, desired: PlanWanted, instance: PlanInstance): PlanAction {
  const { state } = instance;
  // What does not answer is not gone: a second instance must never start beside it.
  if (state.type === "unknown" || state.type === "not-responding") return wait();
  if (desired.desired === "paused") return state.type === "running" ? { type: "pause" } : wait();
  if (input.mustHold) return state.type === "running" ? { type: "pause" } : wait();
  if (state.type === "io-error") return planDiskRetry(input, instance);
  if (state.type === "paused") return { type: "resume" };
  if (instance.health?.ends === true) {
    return { type: "stop", reason: "unhealthy", message: instance.health.message, graceful: true };
  }
  if (instance.guestReady) return wait();
  const { nowMs, limits } = input;
  // A guest may have no serial console: silence alone ends none.
  const { bootDeadlineMs = Number.POSITIVE_INFINITY } = desired.spec;
  const deadlineMs = instance.bootSinceMs + bootDeadlineMs;
  const pollMs = isSilent(instance, input) ? limits.silentPollMs : limits.bootPollMs;
  if (nowMs < deadlineMs) return wait(Math.min(deadlineMs, nowMs + pollMs));
  const message = `the guest wrote nothing on its console within ${bootDeadlineMs} ms`;
  return { type: "stop", reason: "boot-deadline", message, graceful: false };
}

/** What failed is done again, once there may be room for it. */
function planDiskRetry({ hasRoom, nowMs }: PlanInput, { diskRetryMs }: PlanInstance): PlanAction {
  if (!hasRoom) return wait();
  return nowMs < diskRetryMs ? wait(diskRetryMs) : { type: "resume" };
}

/** The guest had enough time to write on its serial console, and did not. */
export function isSilent({ state, guestReady, bootSinceMs }: PlanInstance, { nowMs, limits }: PlanInput): boolean {
  return state.type === "running" && !guestReady && nowMs - bootSinceMs >= limits.silentAfterMs;
}

/** Why a VM that shall run is left alone after its end; undefined when it may start. */
function holdOf(input: PlanInput, desired: PlanWanted): "policy" | "limit" | "final" | undefined {
  const { exit } = input;
  if (exit === null || exit.fencingEpoch < desired.fencingEpoch) return undefined;
  switch (exit.reason) {
    case "stop-requested":
    case "fenced":
    case "lease-lost":
    case "guest-reset":
      break;
    case "image-refused":
    case "disk-missing":
    case "driver-unsupported":
      return "final";
    case "guest-shutdown":
      if (desired.spec.restartPolicy !== "always") return "policy";
      break;
    default:
      if (desired.spec.restartPolicy === "never") return "policy";
  }
  return input.failures > input.limits.restartsMax ? "limit" : undefined;
}

/** What the machine is busy with, beside the instance's own state. */
export type Activity = "queued" | "preparing" | "starting" | "stopping" | undefined;

export type Seen = Pick<VmObservation, "phase" | "reason" | "message" | "guest">;

/** What the cluster is told; pure as the plan, and from the same input. */
export function seeVm(input: PlanInput, activity: Activity, activityMessage: string): Seen {
  const { instance, desired } = input;
  const none = { message: activityMessage, guest: "none" } as const;
  if (activity === "queued") return { ...none, phase: "Pending", reason: "autostart" };
  if (activity === "preparing") return { ...none, phase: "Preparing", reason: "image" };
  if (activity === "starting") return { ...none, phase: "Starting", reason: "process" };
  if (activity === "stopping") return { ...none, phase: "Stopping", reason: "stopping" };
  if (instance !== undefined) return seeInstance(instance, isHeld(input));
  if (desired?.desired === "deleted") {
    return { ...none, phase: input.removed ? "Deleted" : "Stopping", reason: "deleted" };
  }
  return seeWithoutInstance(input);
}

/** Paused by the node, and not because somebody wants it so. */
export function isHeld({ mustHold, desired, instance }: PlanInput): boolean {
  return mustHold && desired?.desired === "running" && instance?.state.type === "paused";
}

const noRoom = "it waits for room on the file system of this node";

function seeInstance({ state, guestReady, panic }: PlanInstance, held: boolean): Seen {
  const alive = guestReady ? "ready" : "booting";
  const guest = panic === undefined ? alive : "panicked";
  switch (state.type) {
    case "running":
      return { phase: "Running", reason: "running", message: "", guest };
    case "paused":
      return {
        phase: "Paused",
        ...(held ? { reason: "no-room", message: noRoom } : { reason: "paused", message: "" }),
        guest,
      };
    case "io-error":
      return { phase: "Paused", reason: "io-error", message: state.message, guest: "io-error" };
    case "not-responding":
      return {
        phase: state.last === "paused" ? "Paused" : "Running",
        reason: "not-responding",
        message: state.message,
        guest: "not-responding",
      };
    case "unknown":
      return { phase: "Unknown", reason: "no-answer", message: state.message, guest: "none" };
    case "halted":
      return {
        phase: "Stopping",
        reason: state.reason,
        message: exitMessages[state.reason],
        guest: guestOf(state.reason),
      };
    case "ended":
      return { phase: "Stopping", reason: state.reason, message: state.message, guest: guestOf(state.reason) };
    default:
      return state satisfies never;
  }
}

/** Why a VM that moves has ended, or does not start, on a node without a lease. */
const leaseLost = "this node has no lease, so the VM may be started elsewhere";

function seeWithoutInstance(input: PlanInput): Seen {
  const { exit, desired } = input;
  if (!input.mayRun && desired !== undefined && desired.desired !== "stopped" && holdOf(input, desired) === undefined) {
    return { phase: "Pending", reason: "no-lease", message: leaseLost, guest: "none" };
  }
  if (input.mustHold && desired?.desired === "running" && holdOf(input, desired) === undefined) {
    return { phase: "Pending", reason: "no-room", message: noRoom, guest: "none" };
  }
  if (exit === null || (desired !== undefined && exit.fencingEpoch < desired.fencingEpoch)) {
    const stopped = desired?.desired === "stopped";
    return {
      phase: stopped ? "Stopped" : "Pending",
      reason: stopped ? "not-started" : "waiting",
      message: "",
      guest: "none",
    };
  }
  const { reason, message } = exit;
  const guest = guestOf(reason);
  if (desired === undefined || desired.desired === "stopped") return { phase: "Stopped", reason, message, guest };
  const hold = holdOf(input, desired);
  if (hold === undefined)
    return { phase: "Pending", reason: "restart-backoff", message: `${reason}: ${message}`, guest };
  if (hold === "limit") return { phase: "Failed", reason: "restart-limit", message: `${reason}: ${message}`, guest };
  const clean = reason === "guest-shutdown" || reason === "host-reboot";
  return { phase: clean ? "Stopped" : "Failed", reason, message, guest };
}

/** What each way to end means, for people. */
export const exitMessages: Readonly<Record<ExitReason | "lease-lost", string>> = {
  "guest-shutdown": "the guest powered off",
  "guest-reset": "the guest asked for a reset",
  "guest-panic": "the guest panicked",
  "internal-error": "the emulated machine failed",
  "host-signal": "a signal ended the VM's process",
  "host-quit": "somebody told the VM's process to quit",
  "process-lost": "the VM's process is gone and left no reason",
  "host-reboot": "the host was started anew",
  "driver-closed": "the driver ended with its manager",
  "lease-lost": leaseLost,
};

function guestOf(reason: RecordedExitReason): VmObservation["guest"] {
  return reason === "guest-panic" ? "panicked" : "none";
}

/** Delay before start number `failures + 1`; a first reset of the guest is a reboot and waits for nothing. */
export function restartDelayMs(
  reason: RecordedExitReason,
  failures: number,
  backoff: { readonly restartBackoffMs: number; readonly restartBackoffMsMax: number },
): number {
  if (reason === "stop-requested" || reason === "fenced" || reason === "lease-lost" || reason === "host-reboot")
    return 0;
  if (reason === "guest-reset" && failures <= 1) return 0;
  return Math.min(backoff.restartBackoffMs * 2 ** Math.max(0, failures - 1), backoff.restartBackoffMsMax);
}
