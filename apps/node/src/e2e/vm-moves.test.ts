import { readdirSync, readFileSync } from "node:fs";
import type { BlixardClient } from "@blixard/client";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { VmRecord } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { instanceProcesses } from "./instance-count.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};
const sampleMs = 100;
const patienceMs = 120_000;
/** Than the lease of a node that is lost, with all that the leader waits beside it. */
const longerThanLeaseMs = 20_000;

/** Counts the processes of VMs again and again, as anybody can who looks at this machine from outside. */
class ProcessCounter {
  readonly #stopping = new AbortController();
  readonly #counting: Promise<void>;
  /** The most processes of one VM that were there at once. */
  most = 0;
  samples = 0;

  constructor(vmIds: readonly string[]) {
    this.#counting = this.#count(vmIds);
  }

  async #count(vmIds: readonly string[]): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      for (const vmId of vmIds) this.most = Math.max(this.most, instanceProcesses(vmId).length);
      this.samples++;
      await sleep(systemClock, sampleMs, this.#stopping.signal).catch(() => {});
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#counting;
  }
}

/** The processes that hold the VMs of one node. */
function watchdogsOf(dataDir: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const given = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
        return given.includes("--blixard-watchdog") && given.some((part) => part.startsWith(`${dataDir}/`));
      } catch {
        return false;
      }
    })
    .map(Number);
}

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
    const watchdogs = watchdogsOf(cluster.node(owner()).dataDir);
    expect(watchdogs).toHaveLength(1);
    const killed = cluster.kill(owner());
    for (const pid of watchdogs) process.kill(pid, "SIGKILL");
    await killed;
    await movesAway();
  });

  it("ends while its node and its watchdog stand still, because somebody guards the watchdog", async () => {
    const [watchdog = 0] = watchdogsOf(cluster.node(owner()).dataDir);
    cluster.node(owner()).signal("SIGSTOP");
    process.kill(watchdog, "SIGSTOP");
    await movesAway();
  });
});
