/**
 * What every driver that runs real processes must do, seen through the VM manager with the nano guest. The cases need
 * no test framework: run each `run` with a fresh harness, it rejects when the driver does not conform.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { assert } from "@blixard/common";
import type { DriverKind, VmObservation } from "@blixard/protocol";
import { nanoGuestBanner } from "../guest/nano-guest.ts";
import { silentImage } from "./silent-guest.ts";
import { VmHarness, type VmHarnessOptions } from "./vm-harness.ts";

export interface DriverConformanceCase {
  readonly name: string;
  run(options: VmHarnessOptions, kind: DriverKind): Promise<void>;
}

export const driverConformanceCases: readonly DriverConformanceCase[] = [
  {
    name: "boots the guest and reads its banner from the serial port",
    run: withHarness(async (harness, kind) => {
      harness.want();
      const seen = await harness.untilReady();
      assert(seen.driver === kind, `the driver is ${kind}, not ${seen.driver}`);
      await harness.untilConsole(`${nanoGuestBanner}\n`);
      await harness.untilConsole("tick 1\n");
    }),
  },
  {
    name: "runs and is adopted in a data directory that is named relative to the working directory",
    run: withHarness(
      async (harness) => {
        harness.want();
        await harness.untilReady();
        const pid = await harness.process();
        await harness.reopen();
        harness.want();
        await harness.type("good morning");
        await harness.untilConsole("echo: good morning\n");
        assert((await harness.process()) === pid, "the process is the same");
      },
      { relativeDataDir: true, tunables: { restartsMax: 0 } },
    ),
  },
  {
    name: "lets a guest live that writes nothing on its console, and ends it only when its specification says so",
    run: withHarness(
      async (harness) => {
        const image = await silentImage(harness.manager);
        harness.want({ image });
        const silent = await harness.until("a silent console", hasSilentConsole);
        assert(silent.phase === "Running" && silent.restarts === 0, `it runs, not ${JSON.stringify(silent)}`);
        const pid = await harness.process();
        await harness.reopen();
        harness.want({ image });
        await harness.until("a silent console again", hasSilentConsole);
        assert((await harness.process()) === pid, "the process is the same");
        harness.want({ image, fencingEpoch: 2, spec: { bootDeadlineMs: 1_000, restartPolicy: "never" } });
        const failed = await harness.untilPhase("Failed");
        assert(failed.reason === "boot-deadline", `the reason is boot-deadline, not ${failed.reason}`);
        assert(failed.conditions === undefined, "what does not run has no such condition");
      },
      { tunables: { silentAfterMs: 300 } },
    ),
  },
  {
    name: "brings input to the guest",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      await harness.type("good morning");
      await harness.untilConsole("echo: good morning\n");
    }),
  },
  {
    name: "names the VM, its id and its fencing epoch in the arguments of one process",
    run: withHarness(async (harness) => {
      harness.want({ fencingEpoch: 7 });
      await harness.untilReady(7);
      const pid = await harness.process();
      const line = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
      assert(line.includes(`guest=${harness.name},process=blixard-${harness.name}-7`), `-name is missing: ${line}`);
      assert(line[line.indexOf("-uuid") + 1] === harness.vmId, "-uuid is missing");
    }),
  },
  {
    name: "stands still while paused and goes on after",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      // All of the banner first: what a guest has not printed yet when it is paused stays inside it.
      const before = await harness.untilConsole(nanoGuestBanner);
      harness.want({ desired: "paused" });
      await harness.untilPhase("Paused");
      await harness.type("while paused");
      harness.want();
      await harness.untilReady();
      // What was typed while paused waited at the serial port; the answer comes after the resume.
      await harness.untilConsole("echo: while paused\n", before);
    }),
  },
  {
    name: "stops on request and starts again",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      harness.want({ desired: "stopped" });
      const stopped = await harness.untilPhase("Stopped");
      assert(stopped.reason === "stop-requested", `the reason is stop-requested, not ${stopped.reason}`);
      assertEnds(stopped, "stop-requested quit");
      assert((await harness.processes()).length === 0, "no process is left");
      const end = (await harness.manager.readConsole(harness.vmId, { offset: -1, bytesMax: 1, waitMs: 0 })).endOffset;
      harness.want();
      await harness.untilReady();
      await harness.untilConsole(nanoGuestBanner, end);
    }),
  },
  {
    name: "reports a guest that powers off, with the reason, and leaves it stopped",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      await harness.type("poweroff");
      const stopped = await harness.untilPhase("Stopped");
      assert(stopped.reason === "guest-shutdown", `the reason is guest-shutdown, not ${stopped.reason}`);
      assert((await harness.processes()).length === 0, "no process is left");
      await harness.reopen();
      harness.want();
      const found = await harness.untilPhase("Stopped");
      assert(found.reason === "guest-shutdown", "the reason survives the manager");
      assertEnds(found, "guest-shutdown itself");
    }),
  },
  {
    name: "knows a guest that powered off while no manager ran",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      await harness.untilConsole("tick 1\n");
      await harness.type("poweroff");
      await harness.close();
      await harness.reopen();
      harness.want();
      const stopped = await harness.untilPhase("Stopped");
      assert(stopped.reason === "guest-shutdown", `the reason is guest-shutdown, not ${stopped.reason}`);
    }),
  },
  {
    name: "starts a guest again that resets itself, whatever the restart policy",
    run: withHarness(async (harness) => {
      harness.want({ spec: { restartPolicy: "never" } });
      await harness.untilReady();
      const first = await harness.process();
      await harness.type("reboot");
      await harness.until("ready after a restart", (seen) => seen.restarts === 1 && seen.guest === "ready");
      assert((await harness.process()) !== first, "the second start is another process");
    }),
  },
  {
    name: "reports a guest that panics as failed",
    run: withHarness(async (harness) => {
      harness.want({ spec: { restartPolicy: "never" } });
      await harness.untilReady();
      await harness.type("panic");
      const failed = await harness.untilPhase("Failed");
      assert(failed.reason === "guest-panic" && failed.guest === "panicked", `panicked, not ${JSON.stringify(failed)}`);
    }),
  },
  {
    name: "sees that its process was killed",
    run: withHarness(async (harness) => {
      harness.want({ spec: { restartPolicy: "never" } });
      await harness.untilReady();
      process.kill(await harness.process(), "SIGKILL");
      const failed = await harness.untilPhase("Failed");
      assert(failed.reason === "process-lost", `the reason is process-lost, not ${failed.reason}`);
    }),
  },
  {
    name: "starts a killed VM again under the policy on-failure",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      const first = await harness.process();
      process.kill(first, "SIGKILL");
      const again = await harness.until(
        "ready after a restart",
        (seen) => seen.restarts === 1 && seen.guest === "ready",
      );
      assertEnds(again, "process-lost itself");
      assert((await harness.process()) !== first, "the second start is another process");
    }),
  },
  {
    name: "is adopted by the next manager: the same process, the console goes on, never two processes",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      const pid = await harness.process();
      await harness.close();
      await harness.reopen();
      const found = await harness.until("found before anything is wanted", (seen) => seen.phase === "Running");
      assert(found.guest === "ready", "the guest is still ready");
      harness.want();
      await harness.type("still here");
      await harness.untilConsole("echo: still here\n");
      await harness.untilConsole(nanoGuestBanner);
      assert((await harness.process()) === pid, "the process is the same");
      harness.want({ desired: "stopped" });
      await harness.untilPhase("Stopped");
      assert((await harness.processes()).length === 0, "an adopted VM can be stopped");
    }),
  },
  {
    name: "is stopped before an instance of a newer epoch starts",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      const first = await harness.process();
      await harness.close();
      await harness.reopen();
      harness.want({ fencingEpoch: 2 });
      await harness.untilReady(2);
      assert((await harness.process()) !== first, "another process runs, and only one");
    }),
  },
  {
    name: "does not respond while its process is frozen, has nothing started beside it, and goes on after",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      const pid = await harness.process();
      process.kill(pid, "SIGSTOP");
      const frozen = await harness.untilNotResponding();
      assert(frozen.phase === "Running" && frozen.reason === "not-responding", `not ${JSON.stringify(frozen)}`);
      assert((await harness.process()) === pid, "no second process");
      process.kill(pid, "SIGCONT");
      const again = await harness.untilReady();
      assert(again.restarts === 0 && (await harness.process()) === pid, "the process is the same");
    }),
  },
  {
    name: "is found frozen by the next manager, is not started twice, and can still be stopped and deleted",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      const pid = await harness.process();
      process.kill(pid, "SIGSTOP");
      await harness.reopen();
      harness.want();
      const frozen = await harness.untilNotResponding();
      assert(frozen.phase === "Running", `it is Running, not ${frozen.phase}`);
      assert((await harness.process()) === pid, "no second process");
      harness.want({ desired: "stopped" });
      assertEnds(await harness.untilPhase("Stopped"), "stop-requested sigkill");
      assert((await harness.processes()).length === 0, "the frozen process is gone");
      harness.want({ desired: "deleted" });
      await harness.untilPhase("Deleted");
    }),
  },
  ...(["removed", "damaged", "removed with all its files"] as const).map((how) => ({
    name: `is adopted, and not started beside itself, when its record was ${how}`,
    run: withHarness(async (harness) => {
      harness.want({ fencingEpoch: 3 });
      await harness.untilReady(3);
      const pid = await harness.process();
      await harness.close();
      const record = harness.recordPath;
      if (how === "damaged") await writeFile(record, '{"format":1,"vmId":');
      else await rm(how === "removed" ? record : dirname(record), { recursive: true });
      await harness.reopen();
      harness.want({ fencingEpoch: 3 });
      await harness.until("Running in epoch 3", (seen) => seen.phase === "Running" && seen.fencingEpoch === 3);
      assert((await harness.process()) === pid, "the process is the same");
      harness.want({ fencingEpoch: 4 });
      await harness.untilReady(4);
      assert((await harness.process()) !== pid, "it was stopped before the next one started");
    }),
  })),
  {
    name: "is unknown, and not started, while somebody else's process has its id",
    run: withHarness(async (harness) => {
      const other = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)", "--", "-uuid", harness.vmId], {
        stdio: "ignore",
      });
      await once(other, "spawn");
      try {
        harness.want();
        const seen = await harness.untilPhase("Unknown");
        assert(seen.reason === "foreign-process", `the reason is foreign-process, not ${seen.reason}`);
        assert(seen.message.includes(`${other.pid}`), `the message names the process: ${seen.message}`);
        assert((await harness.process()) === other.pid, "nothing was started");
      } finally {
        other.kill("SIGKILL");
      }
      await harness.untilReady();
    }),
  },
  {
    name: "is unknown, and not started, when its record cannot be read, until it is deleted",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      harness.want({ desired: "stopped" });
      await harness.untilPhase("Stopped");
      await harness.close();
      await writeFile(harness.recordPath, "{}");
      await harness.reopen();
      harness.want({ fencingEpoch: 2 });
      const seen = await harness.untilPhase("Unknown");
      assert(seen.reason === "record-unreadable", `the reason is record-unreadable, not ${seen.reason}`);
      assert((await harness.processes()).length === 0, "nothing was started");
      harness.want({ desired: "deleted", fencingEpoch: 2 });
      await harness.untilPhase("Deleted");
    }),
  },
  {
    name: "is deleted with all its files",
    run: withHarness(async (harness) => {
      harness.want();
      await harness.untilReady();
      harness.want({ desired: "deleted" });
      await harness.untilPhase("Deleted");
      assert((await harness.processes()).length === 0, "no process is left");
      const left = await readdir(`${harness.dataDir}/instances`);
      assert(left.length === 0, `no file is left: ${left}`);
      harness.manager.setDesired([]);
      await harness.manager.observations.until((all) => !all.has(harness.vmId));
    }),
  },
];

const hasSilentConsole = ({ conditions = [] }: VmObservation) =>
  conditions.some(({ type, status, reason }) => type === "ConsoleOutput" && !status && reason === "ConsoleSilent");

function assertEnds({ ends = [] }: VmObservation, ...expected: readonly string[]): void {
  const seen = ends.map(({ reason, stoppedBy }) => `${reason} ${stoppedBy}`);
  assert(seen.join() === expected.join(), `the ends are ${expected.join()}, not ${seen.join()}`);
}

export function withHarness(
  run: (harness: VmHarness, kind: DriverKind) => Promise<void>,
  more: Partial<VmHarnessOptions> = {},
): (options: VmHarnessOptions, kind: DriverKind) => Promise<void> {
  return async (options, kind) => {
    const tunables = { quitDeadlineMs: 1_000, ...more.tunables, ...options.tunables };
    const harness = await VmHarness.open({ ...more, ...options, tunables });
    try {
      await run(harness, kind);
    } finally {
      await harness[Symbol.asyncDispose]();
    }
  };
}
