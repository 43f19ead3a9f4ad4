import { assert } from "@blixard/common";
import { type VmSpec, vmSpecSchema } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { conditionsOf } from "./conditions.ts";
import type { InstanceState } from "./driver.ts";
import { builtinImages } from "./images/builtin-images.ts";
import type { ExitRecord } from "./instance-record.ts";
import {
  type PlanDesired,
  type PlanInput,
  type PlanInstance,
  planVm,
  restartDelayMs,
  seeVm,
} from "./reconcile-plan.ts";
import type { DesiredVm } from "./vm-manager-types.ts";

const withPolicy = (restartPolicy: VmSpec["restartPolicy"]) =>
  vmSpecSchema.parse({ memoryMiB: 16, image: "nano", restartPolicy });
const [image] = builtinImages;
assert(image !== undefined, "there is a built-in image");
const desired = (change: Partial<DesiredVm> = {}): PlanDesired => ({
  image,
  desired: "running",
  fencingEpoch: 3,
  spec: withPolicy("on-failure"),
  ...change,
});
const instance = (state: InstanceState, change: Partial<PlanInstance> = {}): PlanInstance => ({
  state,
  fencingEpoch: 3,
  bootSinceMs: 1_000,
  guestReady: true,
  panic: undefined,
  health: undefined,
  diskRetryMs: 0,
  ...change,
});
const exit = (reason: ExitRecord["reason"], fencingEpoch = 3): ExitRecord => ({
  reason,
  message: "",
  fencingEpoch,
  unixMs: 0,
});
const input = (change: Partial<PlanInput> = {}): PlanInput => ({
  desiredKnown: true,
  desired: desired(),
  instance: undefined,
  fencingEpochSeen: 3,
  exit: null,
  failures: 0,
  notBeforeMs: 0,
  nowMs: 2_000,
  limits: { silentAfterMs: 5_000, restartsMax: 2, bootPollMs: 100, silentPollMs: 400 },
  mayRun: true,
  removed: false,
  mustHold: false,
  hasRoom: true,
  ...change,
});
const typeOf = (change: Partial<PlanInput>) => planVm(input(change)).type;
const running: InstanceState = { type: "running" };
const paused: InstanceState = { type: "paused" };
const unknown: InstanceState = { type: "unknown", message: "silent" };
const mute: InstanceState = { type: "not-responding", last: "running", message: "mute" };
const full: InstanceState = { type: "io-error", noSpace: true, message: "the disk data cannot be written: full" };
const ended: InstanceState = { type: "ended", reason: "process-lost", message: "" };

describe("planVm", () => {
  it("does nothing before the first set of wishes, but collects what ended", () => {
    expect(typeOf({ desiredKnown: false, desired: undefined, instance: instance(running) })).toBe("wait");
    expect(typeOf({ desiredKnown: false, desired: undefined })).toBe("wait");
    expect(typeOf({ desiredKnown: false, desired: undefined, instance: instance(ended) })).toBe("collect");
  });

  it("starts, pauses, resumes and stops towards the wish", () => {
    expect(typeOf({})).toBe("start");
    expect(typeOf({ instance: instance(running) })).toBe("wait");
    expect(typeOf({ instance: instance(paused) })).toBe("resume");
    expect(typeOf({ desired: desired({ desired: "paused" }) })).toBe("start");
    expect(typeOf({ desired: desired({ desired: "paused" }), instance: instance(running) })).toBe("pause");
    expect(typeOf({ desired: desired({ desired: "paused" }), instance: instance(paused) })).toBe("wait");
    expect(typeOf({ desired: desired({ desired: "stopped" }), instance: instance(running) })).toBe("stop");
    expect(typeOf({ desired: desired({ desired: "stopped" }) })).toBe("wait");
  });

  it("never starts a second instance beside one that does not answer", () => {
    expect(typeOf({ instance: instance(unknown) })).toBe("wait");
    expect(typeOf({ instance: instance(mute) })).toBe("wait");
    expect(typeOf({ desired: desired({ desired: "paused" }), instance: instance(mute) })).toBe("wait");
    expect(typeOf({ desired: desired({ desired: "stopped" }), instance: instance(mute) })).toBe("stop");
    expect(typeOf({ desired: desired({ desired: "paused" }), instance: instance(unknown) })).toBe("wait");
    // Silence of the process says nothing about the guest: the boot deadline does not count.
    expect(typeOf({ instance: instance(unknown, { guestReady: false }), nowMs: 99_000 })).toBe("wait");
    expect(typeOf({ desired: desired({ desired: "stopped" }), instance: instance(unknown) })).toBe("stop");
    expect(typeOf({ desired: desired({ desired: "deleted" }), instance: instance(unknown) })).toBe("stop");
  });

  it("stops an instance of an older epoch, and ignores a wish of one", () => {
    const older = instance(running, { fencingEpoch: 2 });
    expect(planVm(input({ instance: older, fencingEpochSeen: 2 }))).toMatchObject({ type: "stop", reason: "fenced" });
    expect(typeOf({ instance: instance(running, { fencingEpoch: 4 }), fencingEpochSeen: 4 })).toBe("wait");
    expect(typeOf({ fencingEpochSeen: 4 })).toBe("wait");
  });

  it("stops and forgets a VM that this node does not own", () => {
    expect(typeOf({ desired: undefined, instance: instance(running) })).toBe("stop");
    expect(typeOf({ desired: undefined })).toBe("remove");
    expect(typeOf({ desired: undefined, removed: true })).toBe("forget");
  });

  it("deletes: stop, remove, and stay deleted", () => {
    const gone = desired({ desired: "deleted" });
    expect(planVm(input({ desired: gone, instance: instance(running) }))).toMatchObject({
      type: "stop",
      graceful: false,
    });
    expect(typeOf({ desired: gone })).toBe("remove");
    expect(typeOf({ desired: gone, removed: true })).toBe("wait");
  });

  it("collects what halted or ended, whatever is wanted", () => {
    expect(typeOf({ instance: instance(ended) })).toBe("collect");
    expect(typeOf({ instance: instance({ type: "halted", reason: "guest-panic" }) })).toBe("collect");
  });

  it("lets a guest be that writes nothing, and looks at it more seldom after a time", () => {
    const silent = instance(running, { guestReady: false });
    expect(planVm(input({ instance: silent }))).toEqual({ type: "wait", untilMs: 2_100 });
    expect(planVm(input({ instance: silent, nowMs: 6_000 }))).toEqual({ type: "wait", untilMs: 6_400 });
    expect(conditionsOf(input({ instance: silent }))).toEqual([]);
    expect(conditionsOf(input({ instance: silent, nowMs: 6_000 }))).toMatchObject([{ reason: "ConsoleSilent" }]);
    expect(conditionsOf(input({ instance: { ...silent, state: paused }, nowMs: 6_000 }))).toEqual([]);
    expect(conditionsOf(input({ instance: instance(running), nowMs: 6_000 }))).toEqual([]);
  });

  it("gives up on a guest that writes nothing within the deadline of its specification", () => {
    const spec = { ...withPolicy("on-failure"), bootDeadlineMs: 10_000 };
    const silent = { desired: desired({ spec }), instance: instance(running, { guestReady: false }) };
    expect(planVm(input({ ...silent, nowMs: 10_900 }))).toEqual({ type: "wait", untilMs: 11_000 });
    expect(planVm(input({ ...silent, nowMs: 11_000 }))).toMatchObject({ type: "stop", reason: "boot-deadline" });
    expect(typeOf({ ...silent, instance: instance(running), nowMs: 11_000 })).toBe("wait");
  });

  it.each([
    ["guest-shutdown", "never", "wait"],
    ["guest-shutdown", "on-failure", "wait"],
    ["guest-shutdown", "always", "start"],
    ["process-lost", "never", "wait"],
    ["process-lost", "on-failure", "start"],
    ["guest-panic", "on-failure", "start"],
    ["host-reboot", "never", "wait"],
    ["host-reboot", "on-failure", "start"],
    ["boot-deadline", "on-failure", "start"],
    ["guest-reset", "never", "start"],
    ["stop-requested", "never", "start"],
    ["fenced", "never", "start"],
    ["image-refused", "always", "wait"],
    ["disk-missing", "always", "wait"],
    ["driver-unsupported", "always", "wait"],
  ] as const)("after %s under the policy %s: %s", (reason, restartPolicy, action) => {
    expect(typeOf({ desired: desired({ spec: withPolicy(restartPolicy) }), exit: exit(reason) })).toBe(action);
  });

  it("waits for the back-off, and stops trying at the limit", () => {
    const failed = { exit: exit("process-lost"), failures: 1 };
    expect(planVm(input({ ...failed, notBeforeMs: 5_000 }))).toEqual({ type: "wait", untilMs: 5_000 });
    expect(typeOf({ ...failed, failures: 2 })).toBe("start");
    expect(typeOf({ ...failed, failures: 3 })).toBe("wait");
  });

  it("starts a new epoch at once, whatever ended before", () => {
    const earlier = { exit: exit("process-lost", 2), fencingEpochSeen: 2, failures: 9, notBeforeMs: 9_000 };
    expect(typeOf({ ...earlier, desired: desired({ spec: withPolicy("never") }) })).toBe("start");
  });
});

describe("seeVm", () => {
  const phaseOf = (change: Partial<PlanInput>) => {
    const { phase, reason, guest } = seeVm(input(change), undefined, "");
    return { phase, reason, guest };
  };

  it("keeps process and guest apart", () => {
    const panicked = { instance: instance(running, { panic: "Kernel panic - not syncing" }) };
    expect(phaseOf(panicked)).toEqual({ phase: "Running", reason: "running", guest: "panicked" });
    expect(typeOf(panicked)).toBe("wait");
    const silent = instance(running, { guestReady: false });
    expect(phaseOf({ instance: silent })).toEqual({ phase: "Running", reason: "running", guest: "booting" });
    expect(phaseOf({ instance: instance(running) })).toMatchObject({ phase: "Running", guest: "ready" });
    expect(phaseOf({ instance: instance(unknown) })).toMatchObject({ phase: "Unknown", guest: "none" });
    expect(phaseOf({ instance: instance(mute) })).toEqual({
      phase: "Running",
      reason: "not-responding",
      guest: "not-responding",
    });
    expect(phaseOf({ instance: instance({ ...mute, last: "paused" }) })).toMatchObject({ phase: "Paused" });
  });

  it("tells Stopped from Failed by the reason of the end", () => {
    expect(phaseOf({})).toMatchObject({ phase: "Pending" });
    expect(phaseOf({ exit: exit("guest-shutdown") })).toMatchObject({ phase: "Stopped", reason: "guest-shutdown" });
    const never = desired({ spec: withPolicy("never") });
    expect(phaseOf({ desired: never, exit: exit("host-reboot") })).toMatchObject({ phase: "Stopped" });
    expect(phaseOf({ desired: never, exit: exit("guest-panic") })).toEqual({
      phase: "Failed",
      reason: "guest-panic",
      guest: "panicked",
    });
    expect(phaseOf({ exit: exit("process-lost"), failures: 1 })).toMatchObject({
      phase: "Pending",
      reason: "restart-backoff",
    });
    expect(phaseOf({ exit: exit("process-lost"), failures: 3 })).toMatchObject({
      phase: "Failed",
      reason: "restart-limit",
    });
    const off = desired({ desired: "stopped" });
    expect(phaseOf({ desired: off, exit: exit("process-lost") })).toMatchObject({ phase: "Stopped" });
    expect(phaseOf({ desired: off })).toMatchObject({ phase: "Stopped", reason: "not-started" });
  });
});

describe("restartDelayMs", () => {
  it("doubles up to its bound; a first reset and a request wait for nothing", () => {
    const backoff = { restartBackoffMs: 500, restartBackoffMsMax: 3_000 };
    const delays = [1, 2, 3, 4, 5].map((failures) => restartDelayMs("process-lost", failures, backoff));
    expect(delays).toEqual([500, 1_000, 2_000, 3_000, 3_000]);
    expect(restartDelayMs("guest-reset", 1, backoff)).toBe(0);
    expect(restartDelayMs("guest-reset", 2, backoff)).toBe(1_000);
    expect(restartDelayMs("stop-requested", 0, backoff)).toBe(0);
    expect(restartDelayMs("host-reboot", 3, backoff)).toBe(0);
  });
});

describe("a VM whose disk is full", () => {
  const stalled = instance(full, { diskRetryMs: 3_000 });

  it("goes on when there is room, after a while, and not because time has passed", () => {
    expect(planVm(input({ instance: stalled }))).toEqual({ type: "wait", untilMs: 3_000 });
    expect(typeOf({ instance: stalled, nowMs: 3_000 })).toBe("resume");
    expect(planVm(input({ instance: stalled, nowMs: 9_000, hasRoom: false }))).toEqual({
      type: "wait",
      untilMs: undefined,
    });
    expect(typeOf({ instance: stalled, nowMs: 9_000, desired: desired({ desired: "paused" }) })).toBe("wait");
    expect(typeOf({ instance: stalled, desired: desired({ desired: "stopped" }) })).toBe("stop");
  });

  it("says which one, and that it stands still", () => {
    const given = input({ instance: stalled });
    const seen = {
      phase: "Paused",
      reason: "io-error",
      guest: "io-error",
      message: "the disk data cannot be written: full",
    };
    expect(seeVm(given, undefined, "")).toEqual(seen);
    expect(conditionsOf(given)).toMatchObject([{ type: "Disks", status: false, reason: "NoSpace" }]);
    const broken = instance({ ...full, noSpace: false } as InstanceState);
    expect(conditionsOf(input({ instance: broken }))).toMatchObject([{ reason: "DiskError" }]);
  });
});

describe("a VM with disks on a node whose file system is nearly full", () => {
  const held = { mustHold: true } as const;

  it("is paused, and goes on when there is room", () => {
    expect(typeOf({ ...held, instance: instance(running) })).toBe("pause");
    expect(typeOf({ ...held, instance: instance(paused) })).toBe("wait");
    expect(typeOf({ ...held, instance: instance(full) })).toBe("wait");
    expect(typeOf({ instance: instance(paused) })).toBe("resume");
    expect(typeOf({ ...held })).toBe("wait");
    expect(typeOf({ ...held, instance: instance(running), desired: desired({ desired: "stopped" }) })).toBe("stop");
  });

  it("says so, unless somebody paused it", () => {
    const given = input({ ...held, instance: instance(paused) });
    expect(seeVm(given, undefined, "")).toMatchObject({ phase: "Paused", reason: "no-room", guest: "ready" });
    expect(conditionsOf(given)).toMatchObject([{ type: "Disks", reason: "NodeNearlyFull" }]);
    const wanted = input({ ...held, instance: instance(paused), desired: desired({ desired: "paused" }) });
    expect(seeVm(wanted, undefined, "")).toMatchObject({ phase: "Paused", reason: "paused" });
    expect(conditionsOf(wanted)).toEqual([]);
    expect(seeVm(input(held), undefined, "")).toMatchObject({ phase: "Pending", reason: "no-room" });
  });
});
