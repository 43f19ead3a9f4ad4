/** What other nodes tell of a VM: while its process stands still, after its end, after all machines lost their power. */
import { readFileSync } from "node:fs";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessCluster, type ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const names = ["e", "b", "d", "a", "c", "f"] as const;
/** The later in the alphabet, the earlier it starts. */
const orderOf = (name: string) => 200 - name.charCodeAt(0);
const countIntervalMs = 100;

let cluster: ProcessCluster;
let vmIds: readonly string[] = [];

beforeAll(async () => {
  cluster = await ProcessCluster.start({
    binary: builtBinary(),
    flags: ["--transport", "iroh", "--vm-driver", "embedded"],
  });
}, 180_000);

afterAll(async () => {
  await cluster?.close();
  // The VMs outlive their nodes.
  for (const pid of vmIds.flatMap(instanceProcesses)) process.kill(pid, "SIGKILL");
});

/** In clock ticks since the boot of this machine (proc(5), field 22 of stat). */
function startTimeOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** The command line on the machine of a node. */
const at = (id: number, ...args: string[]) => runBinary([...args, "--data-dir", `${cluster.dataRoot}/node-${id}`]);

describe("a VM, as another node tells of it", () => {
  it("does not respond while its process stands still, and has its end in its record afterwards", async () => {
    const create = ["vm", "create", "web", "--image", "demo", "--memory", "32M", "--boot-deadline", "90s"];
    // So many failures that the process is known to stand still long before they would end the VM.
    const health = ["--health", "http:80,interval=500ms,failures=20", "--health", "console:tick,recovery=none"];
    expect(await at(1, ...create, "--autostart-order", "3", ...health)).toMatchObject({ code: 0 });
    const client = cluster.client();
    const { vmId, node, spec } = await client.vms.get("web");
    expect(spec).toMatchObject({ bootDeadlineMs: 90_000, autostart: { order: 3 } });
    const [pid = 0] = instanceProcesses(vmId);
    const other = node === 1 ? 2 : 1;
    const waitFor = (what: string, holds: (vm: VmRecord) => boolean) =>
      client.vms.waitFor("web", what, holds, { timeoutMs: 120_000 });
    await waitFor("ready", ({ guest }) => guest === "ready");

    const explained = (await at(other, "vm", "explain", "web")).stdout;
    expect(explained).toMatch(new RegExp(`^lease {6}node ${node} holds it for \\d+\\.\\d s more, and renews it$`, "m"));
    process.kill(pid, "SIGSTOP");
    await waitFor("not responding", ({ guest }) => guest === "not-responding");
    expect((await at(other, "vm", "list", "-o", "wide")).stdout).toMatch(/^web +Running .* not-responding /m);
    expect((await at(other, "vm", "explain", "web")).stdout).toContain(`(not-responding): process ${pid} `);
    process.kill(pid, "SIGCONT");
    await waitFor("ready", ({ guest }) => guest === "ready");
    expect(instanceProcesses(vmId)).toEqual([pid]);

    process.kill(pid, "SIGKILL");
    await waitFor("started again", ({ ends = [], guest }) => ends.length === 1 && guest === "ready");
    expect((await at(other, "vm", "explain", "web")).stdout).toMatch(
      new RegExp(`^ended {6}\\S+ process-lost, by itself, on node ${node}: `, "m"),
    );
    expect((await at(other, "vm", "get", "web")).stdout).toMatch(/^\S+ +process-lost +by itself +/m);

    const isHealthy = ({ conditions }: VmRecord) => !conditions.some(({ type }) => type === "Health");
    await waitFor("healthy", isHealthy);
    const typed = await runBinary(["vm", "console", "web", "--data-dir", `${cluster.dataRoot}/node-1`], {
      input: "ill\n",
    });
    expect(typed).toMatchObject({ code: 0 });
    await waitFor("healthy again", (vm) => vm.ends?.length === 2 && vm.guest === "ready" && isHealthy(vm));
    expect((await at(other, "vm", "explain", "web")).stdout).toMatch(
      / unhealthy, killed \(quit\), on node \d: http 80\/ failed 20 times in a row: the answer is 503$/m,
    );
    expect(await at(other, "vm", "delete", "web", "--yes")).toMatchObject({ code: 0 });
    client.close();
  }, 300_000);

  it.each([
    [["--boot-deadline", "1ms"], "bootDeadlineMs"],
    [["--autostart-order", "-1"], "autostart"],
    [["--autostart-delay", "5s"], "autostart.order"],
    [["--health", "tcp:70000"], "health"],
    [["--health", "smtp:25"], "--health smtp:25: use tcp:PORT"],
    [["--health", "tcp:22,every=5s"], "every=5s is unknown"],
    [["--health", "tcp:22", "--network", "none"], "checks of ports lead through the network user"],
  ])("is refused with %j, and the field is named", async (options, field) => {
    const refused = await at(1, "vm", "create", "bad", "--image", "demo", ...options);
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining(field) });
  });
});

describe("a cluster whose machines all lost their power", () => {
  it("starts each VM of the nodes that are back once, in order, and those of the last one when it is back", async () => {
    const client = cluster.client();
    for (const name of names) {
      // Those of the missing node wait for it.
      const autostart = { order: orderOf(name), delayMs: 50 };
      await client.vms.create(name, { memoryMiB: 32, image: "demo", onNodeLoss: "wait", autostart });
    }
    for (const name of names) await client.vms.waitForPhase(name, ["Running"], { timeoutMs: 120_000 });
    const vms = await client.vms.list();
    vmIds = vms.map(({ vmId }) => vmId);
    client.close();
    const nodeOf = (name: string) => vms.find((vm) => vm.name === name)?.node ?? 0;
    const pidsOf = (name: string) => instanceProcesses(vms.find((vm) => vm.name === name)?.vmId ?? "");

    await Promise.all(cluster.nodes.map((node: ProcessNode) => cluster.kill(node.id)));
    for (const name of names) for (const pid of pidsOf(name)) process.kill(pid, "SIGKILL");
    let most = 0;
    const counting = setInterval(() => {
      most = Math.max(most, ...names.map((name) => pidsOf(name).length));
    }, countIntervalMs);
    try {
      const [missing = 0, ...back] = shuffled([1, 2, 3]);
      const here = names.filter((name) => nodeOf(name) !== missing);
      await Promise.all(back.map((id) => cluster.restart(id)));
      const first = cluster.client(back[0]);
      const started = ({ ends = [], phase }: { ends?: readonly unknown[]; phase: string }) =>
        ends.length === 1 && phase === "Running";
      for (const name of here) await first.vms.waitFor(name, "started again", started, { timeoutMs: 120_000 });
      for (const id of back) expect(startOrder(here.filter((name) => nodeOf(name) === id))).toBe("in order");
      for (const name of names.filter((other) => !here.includes(other))) {
        await first.vms.waitFor(name, "unknown", ({ phase }) => phase === "Unknown", { timeoutMs: 120_000 });
        expect(pidsOf(name)).toEqual([]);
      }
      await cluster.restart(missing);
      for (const name of names) await first.vms.waitFor(name, "started again", started, { timeoutMs: 120_000 });
      first.close();
      expect(startOrder(names.filter((name) => nodeOf(name) === missing))).toBe("in order");
      expect(names.map((name) => pidsOf(name).length)).toEqual(names.map(() => 1));
      expect(most).toBe(1);
    } finally {
      clearInterval(counting);
    }

    /** Whether the processes of these VMs, all of one node, are as old as their orders say. */
    function startOrder(here: readonly string[]): string {
      const byOrder = [...here].sort((a, b) => orderOf(a) - orderOf(b));
      const times = byOrder.map((name) => startTimeOf(pidsOf(name)[0] ?? 0));
      const inOrder = times.every((time, at) => at === 0 || time > (times[at - 1] ?? 0));
      return inOrder ? "in order" : `${byOrder.join()} started at ${times.join()}`;
    }
  }, 600_000);
});
