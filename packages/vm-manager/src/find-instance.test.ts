import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "@jest/globals";
import { FakeDriver } from "./fake/fake-driver.ts";
import { journalArgument } from "./process/find-processes.ts";
import { VmHarness } from "./testing/vm-harness.ts";

const fake = new FakeDriver();
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** A process that says that it is the VM; `directory`: of its instance. */
async function runElsewhere(vmId: string, directory?: string): Promise<void> {
  const journal = directory === undefined ? [] : ["-chardev", journalArgument(join(directory, "events-1"))];
  const args = ["-e", "setInterval(() => {}, 1e6)", "--", "-uuid", vmId, ...journal];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  ends.push(() => child.kill("SIGKILL"));
  await once(child, "spawn");
}

describe("a VM that is to be deleted here and runs for another node of this machine", () => {
  it("is deleted, and never taken for one of which nothing is certain", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await runElsewhere(harness.vmId, `/elsewhere/vms/instances/${harness.vmId}`);
    harness.want({ desired: "deleted", fencingEpoch: 2 });
    expect(await harness.until("anything", () => true)).toMatchObject({ phase: "Deleted" });
  });

  it("is uncertain while a process has its id that says nothing of where it belongs", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await runElsewhere(harness.vmId);
    harness.want({ desired: "deleted", fencingEpoch: 2 });
    expect(await harness.until("anything", () => true)).toMatchObject({ phase: "Unknown", reason: "foreign-process" });
  });

  it("is uncertain while a process of this node has its id, whose record is gone", async () => {
    await using harness = await VmHarness.open({ drivers: [fake] });
    await runElsewhere(harness.vmId, join(harness.dataDir, "instances", harness.vmId));
    harness.want({ desired: "deleted", fencingEpoch: 2 });
    expect(await harness.until("anything", () => true)).toMatchObject({ phase: "Unknown", reason: "foreign-process" });
  });
});
