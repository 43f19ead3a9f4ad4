import type { BlixardClient } from "@blixard/client";
import type { OperationRecord, VmRecord, VmSpecInput } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { until } from "./inside-the-wall/wall-cluster.ts";
import { ProcessCounter } from "./process-counter.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};
const patienceMs = 120_000;
const ids = [1, 2, 3];

describeWith(describe, qemu)("the VMs of a node as a whole, from the command line", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let counter: ProcessCounter | undefined;

  beforeEach(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu", "--stop-vms"] });
    client = cluster.client();
  });

  afterEach(async () => {
    await counter?.stop();
    counter = undefined;
    client?.close();
    await cluster?.close();
  });

  /** VMs on one node, which run. */
  async function runOn(node: number, vms: Readonly<Record<string, Partial<VmSpecInput>>>): Promise<VmRecord[]> {
    const others = ids.filter((id) => id !== node);
    for (const id of others) await client.nodes.cordon(id, true);
    for (const [name, fields] of Object.entries(vms)) {
      await client.vms.create(name, { vcpus: 1, memoryMiB: 32, image: "demo", ...fields });
    }
    for (const id of others) await client.nodes.cordon(id, false);
    const running = Object.keys(vms).map((name) =>
      client.vms.waitForPhase(name, ["Running"], { timeoutMs: patienceMs }),
    );
    const records = await Promise.all(running);
    counter = new ProcessCounter(records.map(({ vmId }) => vmId));
    return records;
  }

  const blixard = (args: readonly string[], options: Parameters<typeof runBinary>[1] = {}): Promise<BinaryRun> => {
    const BLIXARD_ADDRESS = cluster.nodes.map(({ ready }) => ready.http).join(",");
    return runBinary(args, { ...options, env: { BLIXARD_ADDRESS, BLIXARD_TOKEN: cluster.token } });
  };
  const json = async <T>(...args: readonly string[]): Promise<T> => {
    const { code, stdout, stderr } = await blixard([...args, "-o", "json"]);
    if (code !== 0) throw new Error(`blixard ${args.join(" ")} ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as T;
  };
  const vmsNow = async () => new Map((await client.vms.list()).map((vm) => [vm.name, vm]));

  it("drains a node while its leader is killed, and brings everything back", async () => {
    const leader = await cluster.waitForLeader();
    const drained = ids.find((id) => id !== leader) ?? 0;
    const vms = await runOn(drained, { a: {}, b: {}, c: {}, data: { onNodeLoss: "wait" } });
    const foreseen = await blixard(["nodes", "drain", String(drained), "--dry-run"]);
    expect(foreseen).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VM +ACTION +TO +WHY\na +move +\d/) });
    expect(await blixard(["nodes", "drain", String(drained)])).toMatchObject({ code: 64 });
    const draining = blixard(["nodes", "drain", String(drained), "--yes", "--parallel", "1"]);
    await until("a VM on its way", async () => [...(await vmsNow()).values()].some(({ home }) => home !== undefined));
    await cluster.kill(leader);
    const { code, stdout, stderr } = await draining;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toMatch(/node-drain +node \d +done +100 %/);
    const away = await vmsNow();
    for (const name of ["a", "b", "c"]) {
      expect(away.get(name)).toMatchObject({ phase: "Running", home: { node: drained } });
      expect(away.get(name)?.node).not.toBe(drained);
    }
    expect(away.get("data")).toMatchObject({ node: drained, phase: "Stopped" });
    await cluster.restart(leader);
    expect(await blixard(["nodes", "resume", String(drained)])).toMatchObject({
      code: 0,
      stdout: `node ${drained} resumed\n`,
    });
    for (const { name, vmId } of vms) {
      expect((await vmsNow()).get(name)).toMatchObject({ phase: "Running", node: drained });
      expect(instanceProcesses(vmId)).toHaveLength(1);
    }
    expect(counter?.most).toBe(1);
    const listed = await json<OperationRecord[]>("operations", "list");
    expect(listed.map(({ kind, state }) => `${kind} ${state}`)).toEqual(["node-drain done", "node-resume done"]);
  });

  it("says at once what can be done about VMs of a lost node, and does it when it is forced", async () => {
    const lost = 2;
    const [keeps] = await runOn(lost, {
      keeps: { onNodeLoss: "wait" },
      ends: { onNodeLoss: "wait", onPartition: "stop" },
      old: { onNodeLoss: "wait" },
    });
    await cluster.kill(lost);
    await until("the VMs to be Unknown", async () =>
      [...(await vmsNow()).values()].every(({ phase }) => phase === "Unknown"),
    );
    expect((await blixard(["vm", "explain", "keeps"])).stdout).toMatch(/^lost .* waits for it: that was asked for/m);
    expect((await blixard(["status"])).stderr).toContain("3 wait for node 2");
    const refused = await blixard(["vm", "stop", "keeps", "-o", "json"]);
    expect(refused.code).toBe(6);
    expect(JSON.parse(refused.stderr)).toMatchObject({
      error: {
        code: "NODE_LOST",
        message: "node 2 does not answer, and the VM keeps may still run there",
        hint: expect.stringContaining("blixard vm stop keeps --force, which takes effect when node 2 is back"),
        outcome: "not_applied",
      },
    });
    expect(await blixard(["vm", "logs", "keeps"])).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("NODE_LOST"),
    });
    const stop = await blixard(["vm", "stop", "keeps", "--force"]);
    expect(stop).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("keeps: recorded; it is stopped when node 2 is back"),
    });
    const evacuated = await blixard(["nodes", "evacuate", "2"]);
    expect(evacuated).toMatchObject({ code: 8, stdout: expect.stringContaining("onPartition keep") });
    expect((await vmsNow()).get("ends")?.node).not.toBe(lost);
    const deleted = await blixard(["vm", "delete", "old", "--force", "--yes"]);
    expect(deleted).toMatchObject({ code: 0, stdout: "old deleted\n" });
    expect(await blixard(["vm", "get", "old"])).toMatchObject({ code: 3 });
    const [id = ""] = /[0-9a-f]{12}/.exec(stop.stderr) ?? [];
    const left = await blixard(["operations", "wait", id], { until: id, untilSignal: "SIGINT" });
    expect(left).toMatchObject({ code: 130, stderr: expect.stringContaining(`the operation ${id} goes on`) });
    await cluster.restart(lost);
    expect(await blixard(["operations", "wait", id])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("done"),
    });
    await until("the end of its process", async () => instanceProcesses(keeps?.vmId ?? "").length === 0);
    expect((await vmsNow()).get("keeps")).toMatchObject({ phase: "Stopped", node: lost });
    expect(counter?.most).toBe(1);
  });
});
