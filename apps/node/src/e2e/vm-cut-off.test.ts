import type { BlixardClient } from "@blixard/client";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, type Lan, ProcessCluster, startLan } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { ProcessCounter } from "./process-counter.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};
const patienceMs = 120_000;
const spec = { vcpus: 1, memoryMiB: 32, image: "demo" };

describeWith(describe, qemu)("a node whose cable is pulled", () => {
  let lan: Lan;
  let cluster: ProcessCluster;
  let client: BlixardClient;
  const vms: VmRecord[] = [];

  beforeAll(async () => {
    lan = await startLan(3);
    cluster = await ProcessCluster.start({
      binary: builtBinary(),
      machines: lan.machines,
      flags: ["--vm-driver", "qemu", "--no-relay"],
    });
    client = cluster.client();
  });

  afterAll(async () => {
    client?.close();
    await cluster?.close();
    // VMs outlive their nodes.
    for (const pid of vms.flatMap(({ vmId }) => instanceProcesses(vmId))) process.kill(pid, "SIGKILL");
    await lan?.close();
  });

  /** VMs spread over the nodes: one of as many as there are nodes is on this one. */
  async function oneThatWaits(owner: number): Promise<VmRecord> {
    const names = ["waits-1", "waits-2", "waits-3"];
    for (const name of names) await client.vms.create(name, { ...spec, onNodeLoss: "wait", onPartition: "keep" });
    const all = names.map((name) => client.vms.waitForPhase(name, ["Running"], { timeoutMs: patienceMs }));
    vms.push(...(await Promise.all(all)));
    const found = vms.find(({ name, node }) => names.includes(name) && node === owner);
    if (found === undefined) throw new Error("no VM that waits came to the node");
    return found;
  }

  it("runs no VM that moves when that runs elsewhere, and keeps the one that waits", async () => {
    await client.vms.create("moves", spec);
    const moves = await client.vms.waitForPhase("moves", ["Running"], { timeoutMs: patienceMs });
    vms.push(moves);
    const owner = moves.node ?? 0;
    const waits = await oneThatWaits(owner);
    const counter = new ProcessCounter([moves.vmId, waits.vmId]);
    const kept = instanceProcesses(waits.vmId);
    const cable = lan.machines[owner - 1];
    await cable?.plug(false);

    const others = [1, 2, 3].filter((id) => id !== owner);
    const asked = cluster.client(others[0]);
    const away = await asked.vms.waitFor(
      "moves",
      "on another node",
      ({ phase, node }) => phase === "Running" && node !== owner,
      { timeoutMs: patienceMs },
    );
    asked.close();
    expect(away.fencingEpoch).toBeGreaterThan(moves.fencingEpoch);
    expect(instanceProcesses(moves.vmId)).toHaveLength(1);
    expect(instanceProcesses(waits.vmId)).toEqual(kept);

    await cable?.plug(true);
    const back = cluster.client(owner);
    await back.vms.waitFor("moves", "where it is", ({ node }) => node === away.node, { timeoutMs: patienceMs });
    const still = await back.vms.waitForPhase(waits.name, ["Running"], { timeoutMs: patienceMs });
    back.close();
    expect(still).toMatchObject({ node: owner, fencingEpoch: waits.fencingEpoch });
    expect(instanceProcesses(waits.vmId)).toEqual(kept);
    await counter.stop();
    expect(counter.most).toBe(1);
  });
});
