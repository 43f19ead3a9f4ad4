import { readdirSync, readlinkSync } from "node:fs";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const embedded = { name: "the embedded driver", present: true, install: "npm install" };
const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};

for (const [driver, component] of [["embedded", embedded] as const, ["qemu", qemu] as const]) {
  describeWith(describe, component)(`a VM on the ${driver} driver`, () => vmSurvives(driver));
}

/** Files that the process of a VM has open and that are not its own, such as the stores of its node. */
function foreignFiles(pid: number, vmId: string): string[] {
  const open = readdirSync(`/proc/${pid}/fd`).map((name) => readlinkSync(`/proc/${pid}/fd/${name}`));
  return open.filter((path) => path.startsWith("/") && !path.startsWith("/dev/") && !path.includes(`/${vmId}/`));
}

function vmSurvives(driver: string): void {
  let cluster: ProcessCluster;

  beforeAll(async () => {
    cluster = await ProcessCluster.start({
      binary: builtBinary(),
      flags: ["--transport", "iroh", "--vm-driver", driver],
    });
  });

  afterAll(async () => {
    await cluster?.close();
  });

  it("outlives the SIGKILL of the leader that runs it, is adopted after its restart, and never runs twice", async () => {
    const writer = cluster.client(2);
    const { vm } = await writer.vms.create("web", { vcpus: 1, memoryMiB: 64, image: "demo", onNodeLoss: "wait" });
    const running = await writer.vms.waitForPhase("web", ["Running"], { timeoutMs: 120_000 });
    writer.close();
    expect(instanceProcesses(vm.vmId)).toHaveLength(1);
    const [pid = 0] = instanceProcesses(vm.vmId);
    expect(foreignFiles(pid, vm.vmId)).toEqual([]);
    const owner = running.node ?? 0;

    // The leader is made to be the owner, so that one kill takes both.
    const admin = cluster.client();
    if ((await cluster.waitForLeader()) !== owner) await admin.cluster.transferLeader(owner);
    await cluster.waitFor(`node ${owner} to lead`, ({ leaderId }) => leaderId === owner);
    await cluster.kill(owner);
    const leader = await cluster.waitForLeader();
    expect(leader).not.toBe(owner);

    const other = cluster.client(leader);
    expect((await other.vms.get("web")).vmId).toBe(vm.vmId);
    expect(instanceProcesses(vm.vmId)).toEqual([pid]);

    await cluster.restart(owner);
    await other.vms.waitForPhase("web", ["Running"], { timeoutMs: 120_000 });
    expect(instanceProcesses(vm.vmId)).toEqual([pid]);
    expect((await other.vms.get("web")).fencingEpoch).toBe(running.fencingEpoch);
    expect(foreignFiles(pid, vm.vmId)).toEqual([]);

    // The adopted instance still speaks: its serial output is read through another node.
    const output = await other.vms.readConsole({ name: "web", offset: 0 });
    expect(Buffer.from(output.data).toString()).toContain("nano guest");

    await other.vms.delete("web");
    const gone = other.vms.waitFor("web", "deleted", () => false, { timeoutMs: 120_000 });
    await expect(gone).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    expect(instanceProcesses(vm.vmId)).toEqual([]);
    other.close();
    admin.close();
  });
}
