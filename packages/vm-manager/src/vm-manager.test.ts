import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ImageRecord, VmObservation } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import type { VmDriver } from "./driver.ts";
import { EmbeddedDriver } from "./embedded/embedded-driver.ts";
import { FakeDriver } from "./fake/fake-driver.ts";
import { nanoGuestElf } from "./guest/nano-guest.ts";
import { builtinImages } from "./images/builtin-images.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { findVmProcesses } from "./process/find-processes.ts";
import { VmHarness } from "./testing/vm-harness.ts";

const fake = new FakeDriver();
const embedded = new EmbeddedDriver({ clock: systemClock });
const quick = { restartBackoffMs: 1, restartBackoffMsMax: 2, quitDeadlineMs: 1_000 };

/** Changes the record that a manager left on disk. */
async function tamper(
  harness: VmHarness,
  change: (record: InstanceRecord) => InstanceRecord,
  vmId = harness.vmId,
): Promise<void> {
  const path = join(harness.dataDir, "instances", vmId, "instance.json");
  const record = JSON.parse(await readFile(path, "utf8")) as InstanceRecord;
  await writeFile(path, JSON.stringify(change(record)));
}

/** As if the host had been started anew since. */
const bootedBefore = (record: InstanceRecord): InstanceRecord => ({
  ...record,
  handle: record.handle === null ? null : { ...record.handle, bootId: "an-earlier-boot" },
});

const foreignImage = (image: Partial<ImageRecord>): ImageRecord => ({
  name: "other",
  format: "multiboot",
  builtin: false,
  blobs: [{ role: "kernel", digest: "ab".repeat(32), sizeBytes: 10 }],
  commandLine: "",
  minMemoryMiB: 8,
  sources: [2],
  createdUnixMs: 0,
  ...image,
});

describe("VmManager with the fake driver", () => {
  it("starts a VM when its user data can be opened, and keeps them no longer than it runs", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    const seed = join(harness.dataDir, "instances", harness.vmId, "seed.iso");
    const spec = { cloudInit: { userData: "(sealed, 7 bytes)" } };
    harness.want({ spec, openUserData: () => undefined });
    await harness.until("a wait", ({ message }) => message.includes("not sealed to this node"));
    await expect(readFile(seed)).rejects.toMatchObject({ code: "ENOENT" });
    harness.want({ spec, openUserData: () => Buffer.from("hunter2") });
    await harness.untilReady();
    expect((await readFile(seed)).includes("hunter2")).toBe(true);
    expect(await readFile(join(harness.dataDir, "instances", harness.vmId, "instance.json"), "utf8")).not.toContain(
      "hunter2",
    );
    harness.want({ spec, desired: "stopped" });
    await harness.untilPhase("Stopped");
    await expect(readFile(seed)).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("says that a fake VM runs nothing", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    expect(harness.capacity).toMatchObject({
      drivers: ["fake"],
      capabilities: [{ kind: "fake", imageFormats: ["multiboot", "linux", "disk"] }],
    });
    harness.want();
    expect(await harness.untilReady()).toMatchObject({ driver: "fake", guest: "ready" });
    await harness.untilConsole("this VM runs nothing");
  });

  it("lets one manager hold a data directory", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await expect(harness.startManager()).rejects.toMatchObject({ code: "DATA_DIR_IN_USE" });
    await harness.reopen();
    expect(harness.capacity).toBeDefined();
  });

  it("takes over the lock of a manager that died", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await harness.close();
    await writeFile(join(harness.dataDir, "vm-manager.lock"), JSON.stringify({ pid: process.pid, startTime: "1" }));
    await harness.reopen();
    await harness.close();
    await writeFile(join(harness.dataDir, "vm-manager.lock"), "");
    await harness.reopen();
  });

  it("gives up after too many ends in a row, until a new epoch is asked for", async () => {
    await using harness = await VmHarness.open({ drivers: [fake], tunables: { ...quick, restartsMax: 2 } });
    const spec = { restartPolicy: "always" } as const;
    harness.want({ spec });
    for (let restarts = 0; restarts <= 2; restarts++) {
      await harness.until("ready", (seen) => seen.restarts === restarts && seen.guest === "ready");
      await harness.type("poweroff");
    }
    const failed = await harness.untilPhase("Failed");
    expect(failed).toMatchObject({ reason: "restart-limit", message: expect.stringContaining("guest-shutdown") });
    harness.want({ spec, fencingEpoch: 2 });
    expect(await harness.untilReady(2)).toMatchObject({ restarts: 0 });
  });

  it("forgets earlier ends after a stable run", async () => {
    await using harness = await VmHarness.open({
      drivers: [fake],
      tunables: { ...quick, restartsMax: 1, stableRunMs: 0 },
    });
    harness.want({ spec: { restartPolicy: "always" } });
    for (let restarts = 0; restarts <= 4; restarts++) {
      await harness.until("ready", (seen) => seen.restarts === restarts && seen.guest === "ready");
      await harness.type("poweroff");
    }
    await harness.until("ready once more", (seen) => seen.restarts === 5 && seen.guest === "ready");
  });

  it("stops and forgets a VM that is not in the set any more", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    harness.want();
    await harness.untilReady();
    harness.manager.setDesired([]);
    await harness.manager.observations.until((all) => all.size === 0);
    await expect(harness.type("hello")).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    harness.want({ fencingEpoch: 2 });
    await harness.untilReady(2);
  });

  it("does nothing on a wish after its close", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    const manager = harness.manager;
    await harness.close();
    await manager.close();
    manager.setDesired([harness.wish()]);
    await expect(manager.writeConsole(harness.vmId, new Uint8Array(1))).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
  });

  it("does not act on a wish with an older epoch", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    harness.want({ fencingEpoch: 5 });
    await harness.untilReady(5);
    harness.want({ fencingEpoch: 4, desired: "stopped" });
    harness.want({ fencingEpoch: 5, desired: "paused" });
    await harness.untilPhase("Paused");
    expect(harness.observation()).toMatchObject({ fencingEpoch: 5 });
  });
});

describe("startVmManager with drivers that do not work here", () => {
  const missing: VmDriver = {
    name: "missing",
    kinds: ["qemu-tcg"],
    capabilities: { imageFormats: ["disk"], vcpusMax: 1, memoryMiBMax: 1 },
    probe: async () => ({ works: false, reason: "it is not installed", hint: "install it" }),
    adopt: () => Promise.reject(new BlixardError("INVARIANT", "nothing runs here")),
  };

  it("rejects with the reason and the hint when none works, and holds no lock then", async () => {
    const opened = VmHarness.open({ drivers: [missing] });
    await expect(opened).rejects.toMatchObject({
      code: "VM_DRIVER_FAILED",
      message: "it is not installed",
      hint: "install it",
    });
    await using harness = await VmHarness.open({ drivers: [fake] });
    await harness.close();
    await expect(harness.startManager({ drivers: [] })).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
    await harness.reopen();
  });

  it("starts without one where that is allowed, and with the others", async () => {
    await using harness = await VmHarness.open({ drivers: [missing], allowNoDriver: true });
    expect(harness.manager.capacity).toMatchObject({ drivers: [], capabilities: [] });
    harness.want();
    expect((await harness.untilPhase("Failed")).message).toContain("none works");
    await using both = await VmHarness.open({ drivers: [missing, fake] });
    expect(both.manager.capacity).toMatchObject({ drivers: ["fake"] });
  });

  it("finds what an adopter started, and starts nothing with it", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want();
    await harness.untilReady();
    const pid = await harness.process();
    await harness.reopen({ drivers: [fake], adopters: [embedded] });
    harness.want();
    expect(await harness.untilReady()).toMatchObject({ driver: "embedded" });
    expect(await harness.process()).toBe(pid);
    harness.want({ fencingEpoch: 2 });
    expect(await harness.untilReady(2)).toMatchObject({ driver: "fake" });
    expect(await harness.processes()).toEqual([]);
  });

  it("leaves an instance alone that none of its drivers can find, and still closes", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want();
    await harness.untilReady();
    const pid = await harness.process();
    await harness.reopen({ drivers: [fake] });
    harness.want({ fencingEpoch: 2 });
    await harness.manager.close({ stopVms: true });
    expect(await harness.process()).toBe(pid);
    await harness.reopen();
    harness.want({ fencingEpoch: 2 });
    expect(await harness.untilReady(2)).toMatchObject({ driver: "embedded" });
  });
});

describe("VmManager and images", () => {
  it("fetches an image from the nodes that hold it", async () => {
    const content = nanoGuestElf();
    const builtin = builtinImages[0]?.blobs[0];
    if (builtin === undefined) throw new BlixardError("INVARIANT", "there is a built-in blob");
    // The same kernel with another digest, so that it is not here yet.
    const longer = new Uint8Array([...content, 0]);
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", longer)).toString("hex");
    await using harness = await VmHarness.open({
      drivers: [embedded],
      fetchBlob: async (blob, path) => {
        expect(blob).toEqual({ digest, sizeBytes: longer.length, sources: [2] });
        await writeFile(path, longer);
        return { sources: [2], reportBadSources: () => {} };
      },
    });
    const image = foreignImage({ blobs: [{ role: "kernel", digest, sizeBytes: longer.length }] });
    harness.want({ image });
    await harness.untilReady();
    expect(await harness.manager.images.has(digest)).toBe(true);
  });

  it("reports an image that cannot be fetched, and tries again", async () => {
    await using harness = await VmHarness.open({ drivers: [fake], tunables: quick });
    harness.want({ image: foreignImage({}), spec: { restartPolicy: "never" } });
    expect(await harness.untilPhase("Failed")).toMatchObject({ reason: "start-failed" });
    harness.want({ image: foreignImage({}), fencingEpoch: 2 });
    const waiting = await harness.until(
      "waiting",
      (seen) => seen.phase === "Pending" && seen.reason === "restart-backoff",
    );
    expect(waiting.message).toContain("cannot be fetched");
  });

  it("refuses an image that is not what its record says", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    const blob = await harness.manager.images.put(
      (async function* () {
        yield new Uint8Array(100);
      })(),
      { raw: true },
    );
    harness.want({ image: foreignImage({ blobs: [{ role: "kernel", ...blob }] }) });
    const failed = await harness.untilPhase("Failed");
    expect(failed).toMatchObject({ reason: "image-refused", message: expect.stringContaining("multiboot") });
  });

  it("says why no driver can run a VM", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded] });
    harness.want({ spec: { vcpus: 4 } });
    const failed = await harness.untilPhase("Failed");
    expect(failed.reason).toBe("driver-unsupported");
    expect(failed.message).toContain("driver embedded has 1 vcpu, 4 are needed");
  });
});

describe("VmManager and instances that it finds", () => {
  it("leaves a running VM alone until the first set of wishes, then stops what is not in it", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want();
    await harness.untilReady();
    const pid = await harness.process();
    await harness.reopen();
    await harness.untilPhase("Running");
    expect(await harness.process()).toBe(pid);
    harness.manager.setDesired([]);
    await harness.manager.observations.until((all) => all.size === 0);
    expect(await harness.processes()).toEqual([]);
  });

  it("finds the process of a start that its manager did not live to write down", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want();
    await harness.untilReady();
    const pid = await harness.process();
    await harness.close();
    await tamper(harness, (record) => ({ ...record, status: "starting", handle: null }));
    await harness.reopen();
    harness.want();
    await harness.untilReady();
    expect(await harness.process()).toBe(pid);
  });

  it.each([
    ["never", "Stopped"],
    ["on-failure", "Running"],
  ] as const)("after a boot of the host, under the policy %s, a VM is %s", async (restartPolicy, phase) => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want({ spec: { restartPolicy } });
    await harness.untilReady();
    await harness.close();
    process.kill(await harness.process(), "SIGKILL");
    // Another boot: the pid means nothing any more, even if a process has it.
    await tamper(harness, bootedBefore);
    await harness.reopen();
    const found = await harness.until("an end", (seen) => seen.reason === "host-reboot");
    expect(found.driver).toBeNull();
    harness.want({ spec: { restartPolicy } });
    const after = await harness.untilPhase(phase);
    // A start that follows does not hide why it was needed.
    expect(after.ends).toMatchObject([{ reason: "host-reboot", stoppedBy: "host", fencingEpoch: 1 }]);
  });

  it.each([
    ["poweroff", "guest-shutdown", "Stopped"],
    ["panic", "guest-panic", "Failed"],
  ] as const)("a boot of the host does not hide a %s before it", async (command, reason, phase) => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: { ...quick, restartsMax: 0 } });
    harness.want();
    await harness.untilReady();
    await harness.untilConsole("tick 1\n");
    const pid = await harness.process();
    await harness.type(command);
    await harness.close();
    // The guest ends while no manager runs, and its journal says how.
    const journal = join(harness.dataDir, "instances", harness.vmId, "events-1.out");
    while (!(await readFile(journal, "utf8")).includes(reason)) await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(pid, "SIGKILL");
    await tamper(harness, bootedBefore);
    await harness.reopen();
    harness.want();
    const seen = await harness.untilPhase(phase);
    const message = expect.stringContaining("the host was started anew after that");
    expect(seen.ends).toMatchObject([{ reason, stoppedBy: "itself", message }]);
  });

  it("counts a run as stable that began under an earlier manager", async () => {
    const tunables = {
      ...quick,
      restartBackoffMs: 500,
      restartBackoffMsMax: 1_000,
      restartsMax: 1,
      stableRunMs: 3_000,
    };
    await using harness = await VmHarness.open({ drivers: [embedded], tunables });
    harness.want();
    await harness.untilReady();
    process.kill(await harness.process(), "SIGKILL");
    await harness.untilPhase("Pending");
    const { endOffset } = await harness.manager.readConsole(harness.vmId, { offset: -1, bytesMax: 1, waitMs: 0 });
    await harness.until("ready after a failure", (seen) => seen.restarts === 1 && seen.guest === "ready");
    await harness.untilConsole("tick 4\n", endOffset);
    await harness.reopen();
    harness.want();
    await harness.untilReady();
    process.kill(await harness.process(), "SIGKILL");
    const again = await harness.until("an end", ({ ends = [], phase }) => ends.length === 2 && phase !== "Stopping");
    expect(again.reason).not.toBe("restart-limit");
    await harness.until("ready after another", (seen) => seen.restarts === 2 && seen.guest === "ready");
  });

  it("starts the VMs in their order when it comes up, one order after the other, each once", async () => {
    const orders = [30, undefined, 10, 20, 10];
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    const wishes = orders.map((order) => ({
      ...harness.wish({ spec: order === undefined ? {} : { autostart: { order } } }),
      vmId: randomUUID(),
    }));
    const seenOf = ({ vmId }: { vmId: string }) => harness.manager.observations.value.get(vmId);
    const untilAll = (holds: (seen: VmObservation) => boolean) =>
      harness.manager.observations.until(() =>
        wishes.every((wish) => {
          const seen = seenOf(wish);
          return seen !== undefined && holds(seen);
        }),
      );
    harness.manager.setDesired(wishes);
    try {
      await untilAll(({ guest }) => guest === "ready");
      await harness.close();
      for (const wish of wishes) {
        for (const { pid } of await findVmProcesses(wish.vmId)) process.kill(pid, "SIGKILL");
        await tamper(harness, bootedBefore, wish.vmId);
      }
      await harness.reopen();
      const started: (number | undefined)[] = [];
      const watch = harness.manager.observations.until(() => {
        for (const [at, wish] of wishes.entries()) {
          const isNew = seenOf(wish)?.phase === "Starting" && !started.includes(at);
          if (isNew) started.push(at);
        }
        return started.length === wishes.length;
      });
      harness.manager.setDesired(wishes);
      await Promise.all([watch, untilAll(({ guest }) => guest === "ready")]);
      expect(started.map((at) => orders[at ?? 0])).toEqual([10, 10, 20, 30, undefined]);
      for (const wish of wishes) {
        expect(seenOf(wish)).toMatchObject({ restarts: 1, ends: [{ reason: "host-reboot" }] });
        expect(await findVmProcesses(wish.vmId)).toHaveLength(1);
      }
    } finally {
      harness.manager.setDesired([]);
      await harness.manager.observations.until((all) => all.size === 0);
    }
  }, 60_000);

  it("keeps the order for VMs that wait for the lease of their node", async () => {
    const orders = [20, 40, 10, 30];
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    const wishes = orders.map((order) => ({
      ...harness.wish({ spec: { autostart: { order } } }),
      ...{ vmId: randomUUID(), needsLease: true },
    }));
    const { manager } = harness;
    const phases = () => wishes.map(({ vmId }) => manager.observations.value.get(vmId)?.phase);
    const started: (number | undefined)[] = [];
    manager.setDesired(wishes);
    try {
      await manager.observations.until((all) => wishes.every(({ vmId }) => all.get(vmId)?.reason === "no-lease"));
      const watch = manager.observations.until(() => {
        for (const [at, phase] of phases().entries()) {
          if (phase === "Starting" && !started.includes(orders[at])) started.push(orders[at]);
        }
        return started.length === orders.length;
      });
      await manager.leases.extend(manager.leases.nowMs() + 600_000);
      await watch;
      expect(started).toEqual([10, 20, 30, 40]);
    } finally {
      manager.setDesired([]);
      await manager.observations.until((all) => all.size === 0);
    }
  }, 60_000);

  it("stops every VM when it is closed with stopVms, and starts them again at the next start", async () => {
    await using harness = await VmHarness.open({ drivers: [embedded], tunables: quick });
    harness.want();
    await harness.untilReady();
    await harness.manager.close({ stopVms: true });
    expect(await harness.processes()).toEqual([]);
    await harness.reopen();
    harness.want();
    await harness.untilReady();
  });

  it("interrupts a start that is not wanted any more", async () => {
    await using harness = await VmHarness.open({
      drivers: [fake],
      fetchBlob: (_blob, _path, signal) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(new BlixardError("CANCELLED", "cancelled")));
        }),
    });
    harness.want({ image: foreignImage({}) });
    await harness.untilPhase("Preparing");
    harness.want({ image: foreignImage({}), desired: "deleted" });
    await harness.untilPhase("Deleted");
  });
});

describe("VmManager.readConsole", () => {
  it("waits for a first byte, but not for ever, and reads at most what was asked for", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    harness.want();
    await harness.untilReady();
    const all = await harness.manager.readConsole(harness.vmId, { offset: 0, bytesMax: 1000, waitMs: 0 });
    const nothing = await harness.manager.readConsole(harness.vmId, { offset: all.endOffset, bytesMax: 9, waitMs: 1 });
    expect(nothing).toEqual({ offset: all.endOffset, data: new Uint8Array(0), endOffset: all.endOffset });
    const waiting = harness.manager.readConsole(harness.vmId, { offset: all.endOffset, bytesMax: 4, waitMs: 30_000 });
    await harness.type("hello");
    expect(Buffer.from((await waiting).data).toString()).toBe("echo");
    const cancelled = new AbortController();
    const options = { offset: all.endOffset + 12, bytesMax: 4, waitMs: 30_000, signal: cancelled.signal };
    const read = harness.manager.readConsole(harness.vmId, options);
    cancelled.abort();
    await expect(read).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("refuses a VM that is not here", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await expect(
      harness.manager.readConsole(harness.vmId, { offset: 0, bytesMax: 1, waitMs: 0 }),
    ).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
  });
});
