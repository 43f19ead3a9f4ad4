import { describe, expect, it } from "@jest/globals";
import { newInstanceRecord, recordOfEnd, recordOfStart } from "./instance-record.ts";

const fresh = newInstanceRecord({ vmId: "v", name: "web", desired: "running", fencingEpoch: 3 }, "run");
const start = {
  fencingEpoch: 3,
  driver: "fake",
  consoleStartOffset: 9,
  runDirectory: "other",
  hasDisk: false,
  disks: [],
  confinement: { uid: 7, controlGroups: [] },
  nics: [],
  startedWith: { vcpus: 1, memoryMiB: 64, onPartition: "keep" },
} as const;
const end = { message: "why", stoppedBy: "itself", stable: false, unixMs: 7 } as const;

describe("recordOfStart", () => {
  it("counts generations for ever, and restarts and failures within one epoch", () => {
    const first = recordOfStart({ ...fresh, hasDisk: true }, start);
    expect(first).toMatchObject({ ...start, status: "starting", generation: 1, restarts: 0, hasDisk: true });
    const over = recordOfEnd(first, { ...end, reason: "guest-panic" });
    expect(recordOfStart(over, start)).toMatchObject({ generation: 2, restarts: 1, failures: 1, exit: over.exit });
    expect(recordOfStart(over, { ...start, fencingEpoch: 4 })).toMatchObject({
      generation: 2,
      restarts: 0,
      failures: 0,
    });
  });
});

describe("recordOfEnd", () => {
  const started = { ...recordOfStart(fresh, start), failures: 2 };

  it.each([
    ["guest-panic", false, 3],
    ["guest-panic", true, 1],
    ["stop-requested", false, 0],
    ["fenced", false, 0],
    ["host-reboot", false, 2],
  ] as const)("after %s with a stable run %s has %s failures", (reason, stable, failures) => {
    expect(recordOfEnd(started, { ...end, reason, stable })).toMatchObject({
      status: "none",
      handle: null,
      failures,
      exit: { reason, message: "why", fencingEpoch: 3, unixMs: 7 },
    });
  });

  it("keeps the last five ends, over later starts and epochs too", () => {
    let record = started;
    for (let unixMs = 1; unixMs <= 6; unixMs++) {
      const over = recordOfEnd(record, { ...end, unixMs, reason: "guest-panic", message: "x".repeat(500) });
      record = recordOfStart(over, { ...start, fencingEpoch: unixMs });
    }
    expect(record.ends?.map(({ unixMs }) => unixMs)).toEqual([2, 3, 4, 5, 6]);
    const last = { unixMs: 6, reason: "guest-panic", message: "x".repeat(128), stoppedBy: "itself", fencingEpoch: 5 };
    expect(record.ends?.at(-1)).toEqual(last);
  });

  it("keeps the last end and the failures when a start was interrupted", () => {
    expect(recordOfEnd(started, { ...end, reason: undefined })).toEqual({ ...started, status: "none", handle: null });
  });
});
