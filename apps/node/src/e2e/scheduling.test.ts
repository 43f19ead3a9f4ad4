import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import type { NodeView, PlacementReport, VmRecord } from "@blixard/protocol";
import { ProcessCluster } from "@blixard/testing";
import { describeWith, findProgram } from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { until } from "./inside-the-wall/wall-cluster.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install qemu-system-x86",
};
const patienceMs = 120_000;
const small = ["--image", "demo", "--memory", "32M"];

describeWith(describe, qemu)("where VMs are placed, from the command line", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-apply-"));
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu", "--stop-vms"] });
    client = cluster.client();
  });

  afterAll(async () => {
    client?.close();
    await cluster?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const blixard = (...args: readonly string[]): Promise<BinaryRun> => {
    const BLIXARD_ADDRESS = cluster.nodes.map(({ ready }) => ready.http).join(",");
    return runBinary(args, { env: { BLIXARD_ADDRESS, BLIXARD_TOKEN: cluster.token } });
  };
  const done = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await blixard(...args);
    if (code !== 0) throw new Error(`blixard ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  };
  const json = async <T>(...args: readonly string[]): Promise<T> => JSON.parse(await done(...args, "-o", "json")) as T;

  it("labels nodes, and places VMs by them, near to others and apart from them", async () => {
    expect(await done("nodes", "label", "1", "zone=a", "old=1")).toBe("node 1: old=1,zone=a\n");
    expect(await done("nodes", "label", "1", "old-")).toBe("node 1: zone=a\n");
    for (const id of ["2", "3"]) await done("nodes", "label", id, "zone=b");
    expect(await done("nodes", "list")).toMatch(/zone=b/);
    const web = [...small, "--label", "app=web", "--placement-affinity", "apart:app=web"];
    const inZone = (...selectors: string[]) => selectors.flatMap((selector) => ["--placement-constraint", selector]);
    const one = await json<VmRecord>("vm", "create", "web-1", ...web, ...inZone("zone=b"));
    const two = await json<VmRecord>("vm", "create", "web-2", ...web, ...inZone("zone in (b,c)", "!gpu"));
    expect([one.node, two.node].sort()).toEqual([2, 3]);
    const near = ["--placement-affinity", "near:app=web,topology=zone,soft", "--placement-priority", "70"];
    const { node } = await json<VmRecord>("vm", "create", "db", ...small, ...near, "--label", "app=db");
    expect([2, 3]).toContain(node);
    expect(await done("vm", "list", "-l", "app=web", "-o", "name")).toBe("web-1\nweb-2\n");
    const explained = await done("vm", "explain", "web-1");
    expect(explained).toMatch(/constraint zone=b\naffinity +apart from app=web\n/);
    expect(explained).toMatch(/\n1 +- +its labels are not zone=b\n/);
    expect(explained).toMatch(new RegExp(`\n${one.node} +\\d+ +vms \\d+, load \\d+, image 20\n`));
    expect(explained).toMatch(new RegExp(`\n${two.node} +- +a VM app=web is there\n`));
  });

  it("says where a VM would go, and refuses one that would wait when that was asked for", async () => {
    const nowhere = [...small, "--placement-constraint", "zone=c"];
    const report = await json<PlacementReport>("vm", "create", "far", ...nowhere, "--dry-run");
    expect(report).toMatchObject({ nodeId: null, nodes: [1, 2, 3].map((nodeId) => ({ nodeId, fits: false })) });
    expect(await done("vm", "create", "far", ...small, "--dry-run")).toMatch(/^It would be placed on node \d\.\n/);
    expect(await blixard("vm", "create", "far", ...nowhere, "--fail-if-pending")).toMatchObject({
      code: 7,
      stderr: expect.stringContaining("0 of 3 nodes fit: node 1: its labels are not zone=c"),
    });
    expect(await blixard("vm", "get", "far")).toMatchObject({ code: 3 });
    const vast = [...small, "--disk", "data,size=8T", "--fail-if-pending"];
    expect(await blixard("vm", "create", "vast", ...vast)).toMatchObject({
      code: 7,
      stderr: expect.stringContaining("disks need 8388608 MiB"),
    });
    const { capacity } = await json<NodeView>("nodes", "get", "1");
    expect(capacity.disk?.totalMiB).toBeGreaterThan(0);
  });

  it("lets a VM wait for room, says why, and places it when its node comes", async () => {
    const creating = blixard("vm", "create", "far", ...small, "--placement-constraint", "zone=c");
    await until("the VM", async () => (await client.vms.list()).some(({ name }) => name === "far"));
    expect(await client.vms.get("far")).toMatchObject({ phase: "Pending", node: null });
    await done("nodes", "label", "1", "zone=c");
    const { code, stdout, stderr } = await creating;
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("far: waits for room, and starts when there is some"),
    });
    expect(stdout).toMatch(/far +Running +1 /);
  });

  it("keeps the VMs of a project within its quota, and says what would become of them without a node", async () => {
    await done("quota", "set", "lab", "--vms", "1", "--memory", "64M");
    const vip = ["--placement-constraint", "zone=c", "--label", "project=lab"];
    await done("vm", "create", "vip", ...small, ...vip);
    expect(await blixard("vm", "create", "vip-2", ...small, ...vip)).toMatchObject({
      code: 7,
      stderr: expect.stringContaining("the project lab has 1 of 1 VMs, and this is 1 more"),
    });
    expect(await done("quota", "list")).toMatch(/lab +1 of 1 +1 +32 MiB of 64 MiB /);
    await done("quota", "remove", "lab");
    const lost = await done("capacity", "--if-lost", "1");
    expect(lost).toMatch(
      /\nVM +BECOMES +TO +WHY\nfar +pending +- +0 of 3 nodes fit: node 1: its lease is over; node 2: its/,
    );
  });

  it("changes a VM that runs, at once or with its next start, and says which", async () => {
    const before = await json<VmRecord>(
      "vm",
      "create",
      "sized",
      ...small,
      "--label",
      "app=a",
      "--on-partition",
      "keep",
    );
    expect(before).toMatchObject({ startedWith: { memoryMiB: 32, onPartition: "keep" } });
    const change = ["set", "sized", "--memory", "48M", "--restart-policy", "always", "--label", "tier=x"];
    const moves = ["--on-node-loss", "move", "--on-partition", "stop"];
    const foreseen = await done("vm", ...change, ...moves, "--dry-run");
    expect(foreseen).toMatch(/memoryMiB +32 +48 +when it is started again\n/);
    expect(foreseen).toMatch(/restartPolicy +"on-failure" +"always" +at once\n/);
    expect(await client.vms.get("sized")).toMatchObject({ spec: { memoryMiB: 32 } });
    const stale = await blixard("vm", ...change, "--if-match", String(before.createdIndex));
    expect(stale.stderr).toContain("PRECONDITION_FAILED");
    const changed = await blixard("vm", ...change, ...moves);
    expect(changed).toMatchObject({ code: 0, stdout: foreseen, stderr: expect.stringContaining("vm restart sized") });
    const explained = await done("vm", "explain", "sized");
    expect(explained).toMatch(/restart +needed for memoryMiB 48 \(now 32\)/);
    expect(explained).toMatch(/restart +needed for onPartition stop \(now keep\)/);
    expect(await client.vms.get("sized")).toMatchObject({
      lossPolicy: { onNodeLoss: "wait" },
      labels: { app: "a", tier: "x" },
    });
    await done("vm", "restart", "sized");
    const after = await json<VmRecord>("vm", "get", "sized");
    expect(after).toMatchObject({
      startedWith: { memoryMiB: 48, onPartition: "stop" },
      lossPolicy: { effect: "moves" },
    });
    expect(after).not.toHaveProperty("nextLossPolicy");
    expect(await done("vm", "explain", "sized")).not.toMatch(/^restart /m);
    for (const [option, value, code] of [
      ["--disk", "data,size=1G", "UNSUPPORTED"],
      ["--memory", "1M", "INVALID_ARGUMENT"],
      ["--memory", "1T", "NO_CAPACITY"],
    ] as const) {
      expect((await blixard("vm", "set", "sized", option, value)).stderr).toContain(code);
    }
    await done("vm", "delete", "sized", "--yes");
  });

  it("makes a VM as a file says, and changes it when the file is another one", async () => {
    const file = join(directory, "web.yaml");
    const apply = async (text: string, ...args: readonly string[]) => {
      await writeFile(file, text);
      return await blixard("vm", "apply", "-f", file, ...args);
    };
    const document = (spec: string) => `kind: VM\nname: filed\nlabels: { app: web }\nspec: { image: demo, ${spec} }\n`;
    expect(await apply(document("memoryMiB: 32, placement: { priority: 9 }"))).toMatchObject({ code: 0 });
    const again = await apply(document("memoryMiB: 32, placement: { priority: 9 }"));
    expect(again).toMatchObject({ code: 0, stdout: "filed: nothing changes\n" });
    const other = await apply(document("memoryMiB: 40, autostart: { order: 3 }"));
    expect(other.stdout).toMatch(/placement +\{"priority":9\} +- +when it is placed the next time\n/);
    expect((await client.vms.get("filed")).spec).toEqual({
      ...{ image: "demo", vcpus: 1, memoryMiB: 40, restartPolicy: "on-failure", autostart: { order: 3 } },
    });
    for (const text of [
      "kind: Pod\nname: filed\nspec: {}\n",
      document("memoryMiB: many"),
      document("colour: red"),
      "{",
    ]) {
      expect((await apply(text)).stderr).toContain("INVALID_ARGUMENT");
    }
    await done("vm", "delete", "filed", "--yes");
  });

  it("lets a VM wait over the end of its leader, until the settings leave room for it", async () => {
    await done("cluster", "scheduling", "--vcpu-overcommit", "0.1");
    const waiting = await json<VmRecord>("vm", "create", "more", ...small, "--detach");
    expect(waiting).toMatchObject({ phase: "Pending", node: null, reason: "no-node-fits" });
    const leader = await cluster.waitForLeader();
    await cluster.kill(leader);
    const changed = await done("cluster", "scheduling", "--vcpu-overcommit", "2.5", "--strategy", "binpack");
    expect(changed).toBe("strategy         binpack\nvcpu-overcommit  2.5\ndisk-overcommit  1\n");
    const { node } = await client.vms.waitForPhase("more", ["Running"], { timeoutMs: patienceMs });
    expect(node).not.toBe(leader);
    await cluster.restart(leader);
    expect(await done("cluster", "rebalance", "--dry-run")).toMatch(/^VM +ACTION +TO +WHY\n/);
  });
});
