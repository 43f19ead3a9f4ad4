import type { BlixardClient } from "@blixard/client";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster, watchdogProcesses } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { ProcessCounter } from "./process-counter.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};
const patienceMs = 120_000;
/** Than the lease of a node that is lost, with all that the leader waits beside it. */
const longerThanLeaseMs = 20_000;

describeWith(describe, qemu)("a VM that moves", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let vm: VmRecord;
  let counter: ProcessCounter;

  beforeEach(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu"] });
    client = cluster.client();
    await client.vms.create("web", { vcpus: 1, memoryMiB: 32, image: "demo" });
    vm = await client.vms.waitForPhase("web", ["Running"], { timeoutMs: patienceMs });
    expect(vm.lossPolicy).toEqual({ onNodeLoss: "move", onPartition: "stop", effect: "moves" });
    counter = new ProcessCounter([vm.vmId]);
  });

  afterEach(async () => {
    await counter?.stop();
    client?.close();
    for (const node of cluster?.nodes ?? []) if (node.isRunning) node.signal("SIGCONT");
    await cluster?.close();
  });

  const owner = () => vm.node ?? 0;
  const other = () => [1, 2, 3].find((id) => id !== owner()) ?? 0;

  /** It runs on another node, in a later epoch, and never ran twice. */
  async function movesAway(): Promise<VmRecord> {
    const asked = cluster.client(other());
    const away = (seen: VmRecord) => seen.phase === "Running" && seen.node !== owner();
    const moved = await asked.vms.waitFor("web", "on another node", away, { timeoutMs: patienceMs });
    asked.close();
    expect(moved.fencingEpoch).toBeGreaterThan(vm.fencingEpoch);
    expect(instanceProcesses(vm.vmId)).toHaveLength(1);
    expect(counter.most).toBe(1);
    expect(counter.samples).toBeGreaterThan(10);
    return moved;
  }

  it("runs elsewhere after the SIGKILL of its node alone, whose watchdog has ended it before", async () => {
    const [pid] = instanceProcesses(vm.vmId);
    await cluster.kill(owner());
    await movesAway();
    expect(instanceProcesses(vm.vmId)).not.toContain(pid);
    await cluster.restart(owner());
    expect(counter.most).toBe(1);
  });

  it("runs elsewhere while its node is stopped, and does not come back with it", async () => {
    cluster.node(owner()).signal("SIGSTOP");
    const moved = await movesAway();
    cluster.node(owner()).signal("SIGCONT");
    const asked = cluster.client(owner());
    await asked.vms.waitFor("web", "where it is", ({ node }) => node === moved.node, { timeoutMs: patienceMs });
    asked.close();
    expect(counter.most).toBe(1);
  });

  it("keeps its process while its node is stopped, and started again when any other lease would be over", async () => {
    const before = instanceProcesses(vm.vmId);
    await cluster.node(owner()).stop("SIGTERM");
    await sleep(systemClock, longerThanLeaseMs);
    expect(instanceProcesses(vm.vmId)).toEqual(before);
    await cluster.restart(owner());
    const asked = cluster.client(owner());
    const back = await asked.vms.waitForPhase("web", ["Running"], { timeoutMs: patienceMs });
    asked.close();
    expect(back).toMatchObject({ node: owner(), fencingEpoch: vm.fencingEpoch });
    expect(instanceProcesses(vm.vmId)).toEqual(before);
    expect(counter.most).toBe(1);
  });

  it("ends at once with its watchdog and its node, and runs elsewhere", async () => {
    const watchdogs = watchdogProcesses(cluster.node(owner()).dataDir);
    expect(watchdogs).toHaveLength(1);
    const killed = cluster.kill(owner());
    for (const pid of watchdogs) process.kill(pid, "SIGKILL");
    await killed;
    await movesAway();
  });

  it("runs on when the leader is lost, which is another node", async () => {
    const leaderId = await cluster.waitForLeader();
    // VMs spread over the nodes, so that the second one is elsewhere.
    const name = owner() === leaderId ? "beside" : "web";
    if (name === "beside") await client.vms.create(name, { vcpus: 1, memoryMiB: 32, image: "demo" });
    const before = await client.vms.waitForPhase(name, ["Running"], { timeoutMs: patienceMs });
    expect(before.node).not.toBe(leaderId);
    const processes = instanceProcesses(before.vmId);
    await cluster.kill(leaderId);
    const successor = await cluster.waitForLeader();
    await sleep(systemClock, longerThanLeaseMs);
    const asked = cluster.client(successor);
    const after = await asked.vms.get(name);
    asked.close();
    expect(after).toMatchObject({ phase: "Running", node: before.node, fencingEpoch: before.fencingEpoch });
    expect(instanceProcesses(before.vmId)).toEqual(processes);
  });

  it("ends while its node and its watchdog stand still, because somebody guards the watchdog", async () => {
    const [watchdog = 0] = watchdogProcesses(cluster.node(owner()).dataDir);
    cluster.node(owner()).signal("SIGSTOP");
    process.kill(watchdog, "SIGSTOP");
    await movesAway();
  });
});
