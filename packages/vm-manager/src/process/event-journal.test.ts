import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "@jest/globals";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { foldState, readJournalReason, readJournalState, stateOfRunState } from "./event-journal.ts";

afterAll(removeTemporaryDirectories);

const header = '{"QMP": {"version": {}, "capabilities": ["oob"]}}\n{"return": {}}\n';

async function reasonOf(...events: readonly string[]) {
  return await readJournalReason(await journalOf(events));
}

async function stateAfter(...events: readonly string[]) {
  return await readJournalState(await journalOf(events));
}

async function journalOf(events: readonly string[]): Promise<string> {
  const path = join(await temporaryDirectory(), "events.out");
  await writeFile(path, `${header}${events.join("\n")}`);
  return path;
}

const quit = '{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}';

describe("readJournalReason", () => {
  it("tells the first reason: what follows is the tombstone being cleared", async () => {
    const off = '{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}';
    expect(await reasonOf(off, '{"event": "STOP"}', quit)).toBe("guest-shutdown");
    expect(await reasonOf('{"event": "GUEST_PANICKED", "data": {"action": "pause"}}', quit)).toBe("guest-panic");
    expect(await reasonOf('{"event": "STOP"}', '{"event": "RESUME"}', quit)).toBe("host-quit");
  });

  it("tells nothing for a journal without an end, a torn one or none", async () => {
    expect(await reasonOf('{"event": "STOP"}')).toBeUndefined();
    expect(await reasonOf('{"event": "SHUTDO')).toBeUndefined();
    expect(await readJournalReason(join(await temporaryDirectory(), "none"))).toBeUndefined();
  });

  it("counts a disk error only when the guest was stopped for it", async () => {
    expect(await reasonOf('{"event": "BLOCK_IO_ERROR", "data": {"action": "report"}}')).toBeUndefined();
    const failed =
      '{"event": "BLOCK_IO_ERROR", "data": {"action": "stop", "node-name": "disk-data", "nospace": true, "reason": "full"}}';
    expect(await stateAfter(failed, '{"event": "STOP"}')).toEqual({
      ...{ type: "io-error", noSpace: true },
      message: "the disk data cannot be written: full",
    });
    expect(await stateAfter(failed, '{"event": "STOP"}', '{"event": "RESUME"}')).toEqual({ type: "running" });
  });

  it("takes a failure of a disk for no end, and tells of the end that follows", async () => {
    const failed = '{"event": "BLOCK_IO_ERROR", "data": {"action": "stop"}}';
    expect(await reasonOf(failed)).toBeUndefined();
    expect(await reasonOf(failed, '{"event": "SHUTDOWN", "data": {"reason": "host-qmp-quit"}}')).toBe("host-quit");
  });
});

describe("foldState", () => {
  it("never leaves a halt: QEMU stops its CPUs after one", () => {
    const halted = { type: "halted", reason: "guest-shutdown" } as const;
    expect(foldState(halted, { event: "STOP", data: {} })).toBe(halted);
    expect(foldState({ type: "running" }, { event: "STOP", data: {} })).toEqual({ type: "paused" });
    expect(foldState({ type: "running" }, { event: "RTC_CHANGE", data: {} })).toEqual({ type: "running" });
  });
});

describe("stateOfRunState", () => {
  it("takes a run state that it does not know for unknown, never for stopped", () => {
    expect(stateOfRunState("running")).toEqual({ type: "running" });
    expect(stateOfRunState("guest-panicked")).toEqual({ type: "halted", reason: "guest-panic" });
    expect(stateOfRunState("colo")).toMatchObject({ type: "unknown" });
    expect(stateOfRunState(undefined)).toMatchObject({ type: "unknown" });
  });
});
