/**
 * Network cards in a Linux bridge, from the command line, on a machine that is a network namespace of its own: what is on the bridge
 * reaches a guest with its page, in QEMU that has no rights, and nobody there has to ask this cluster for anything.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { VmRecord } from "@blixard/protocol";
import { instanceProcesses, ProcessNode } from "@blixard/testing";
import {
  describeWith,
  networkGuestCommandLine,
  networkGuestComponent,
  networkGuestFiles,
} from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";
import { type SeparateNetworks, separateNetworks } from "./separate-networks.ts";

const execute = promisify(execFile);
const patienceMs = 120_000;
/** For an answer of a guest. */
const pageMs = 5_000;
/** Of the range for measurements (RFC 2544): what the bridge of the test gives, and to which cards. */
const addresses = { demo: "198.18.50.7", linux: "198.18.50.8" };
const macs = { demo: "02:00:00:00:00:07", linux: "02:00:00:00:00:08" };

describeWith(describe, networkGuestComponent)("network cards in a bridge", () => {
  let networks: SeparateNetworks;
  let root = "";
  let node: ProcessNode;
  let dhcp: ChildProcess | undefined;
  const vmIds: string[] = [];

  const namespace = () => networks.machines[0]?.namespace ?? "";
  /** Ends what waits when a test has waited for too long. */
  const over = new AbortController();
  const ip = (...args: string[]) => execute("ip", ["-n", namespace(), ...args]);

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-bridge-"));
    networks = await separateNetworks(1);
    await ip("link", "add", "br0", "mtu", "1400", "type", "bridge");
    await ip("address", "add", "198.18.50.1/24", "dev", "br0");
    await ip("link", "set", "br0", "up");
    const leases = Object.entries(addresses).map(
      ([name, address]) => `static_lease ${macs[name as keyof typeof macs]} ${address}`,
    );
    const settings = ["interface br0", "start 198.18.50.100", "end 198.18.50.110", "option subnet 255.255.255.0"];
    const files = [`lease_file ${join(root, "leases")}`, `pidfile ${join(root, "dhcp.pid")}`];
    await writeFile(join(root, "dhcp.conf"), [...settings, ...files, ...leases, ""].join("\n"));
    await writeFile(join(root, "leases"), "");
    const dhcpServer = ["busybox", "udhcpd", "-f", join(root, "dhcp.conf")];
    dhcp = spawn("ip", ["netns", "exec", namespace(), ...dhcpServer], { stdio: "ignore" });
    node = await ProcessNode.start({
      ...{ binary: builtBinary(), id: 1, dataDir: join(root, "node"), networkNamespace: namespace() },
      flags: ["--transport", "iroh", "--vm-driver", "qemu", "--allow-bridge", "br0,br9"],
    });
    const { kernel, initrd } = networkGuestFiles();
    await writeFile(join(root, "kernel"), kernel);
    await writeFile(join(root, "initrd"), initrd);
    const parts = ["--kernel", join(root, "kernel"), "--initrd", join(root, "initrd")];
    const imported = await run("image", "import", "guest", ...parts, "--append", networkGuestCommandLine);
    expect(imported).toMatchObject({ code: 0 });
  }, patienceMs);

  afterAll(async () => {
    over.abort();
    await node?.stop("SIGKILL");
    for (const pid of vmIds.flatMap((vmId) => instanceProcesses(vmId))) process.kill(pid, "SIGKILL");
    dhcp?.kill("SIGKILL");
    await networks?.close();
    await rm(root, { recursive: true, force: true });
  });

  const run = async (...args: readonly string[]) => {
    over.signal.throwIfAborted();
    const where = { networkNamespace: namespace(), timeoutMs: patienceMs };
    const { code, stdout, stderr } = await runBinary([...args, "--data-dir", join(root, "node")], where);
    return { code, said: `${stdout}${stderr}` };
  };

  const recordOf = async (name: string) => JSON.parse((await run("vm", "get", name, "-o", "json")).said) as VmRecord;

  /** What comes from the bridge to port 80 of a guest. */
  const pageOf = async (address: string) => {
    over.signal.throwIfAborted();
    const ask = `fetch("http://${address}/").then((answer) => answer.text()).then(console.log)`;
    const where = ["netns", "exec", namespace(), process.execPath, "-e", ask];
    const { stdout } = await execute("ip", where, { timeout: pageMs }).catch(() => ({ stdout: "nothing" }));
    return stdout;
  };
  const untilPage = async (address: string, text: string) => {
    for (let page = ""; !page.includes(text); ) page = await pageOf(address);
  };
  const untilConditions = async (name: string, holds: (reasons: readonly string[]) => boolean) => {
    for (let reasons = ["unknown"]; !holds(reasons); ) {
      reasons = (await recordOf(name)).conditions.map(({ reason }) => reason);
    }
  };
  const tapOf = async (name: string) =>
    /by the tap (bx\w+) of its node/.exec((await run("vm", "explain", name)).said)?.[1] ?? "none";

  /** As its node has written down what the process has. */
  const hasNoCards = async (vmId: string) => {
    const record = await readFile(join(root, "node", "vms", "instances", vmId, "instance.json"), "utf8");
    return (JSON.parse(record) as { readonly nics?: readonly unknown[] }).nics?.length === 0;
  };

  const create = (name: keyof typeof macs, ...more: string[]) =>
    run("vm", "create", name, ...more, "--network", `office,mac=${macs[name]}`);

  it(
    "are offered by a node that has the bridge and was told so, and nothing is promised that nobody keeps",
    async () => {
      for (const places of [[], ["--range", "10.1.0.0/24", "--bridge", "br0"], ["--bridge", "br0,br1"]]) {
        const refused = await run("network", "create", "office", ...places);
        expect(refused).toMatchObject({
          code: 64,
          said: expect.stringMatching(/either a range|is no name of a Linux/),
        });
      }
      expect(await run("network", "create", "office", "--bridge", "br0")).toMatchObject({ code: 0 });
      expect(await run("network", "create", "absent", "--bridge", "br9")).toMatchObject({ code: 0 });
      expect((await run("network", "list")).said).toMatch(/^office +bridge br0 +- +0 +- /m);
      const small = ["--image", "demo", "--memory", "32M"];
      for (const [wish, why] of [
        ["office,address=198.18.50.9", "the bridge br0: its addresses are not the cluster's to give"],
        ["office,groups=web", "the bridge br0: its frames pass no switch of the cluster"],
        ["office,egress=none", "a private network has no way out"],
      ]) {
        const refused = await run("vm", "create", "x", ...small, "--network", wish ?? "");
        expect(refused).toMatchObject({ code: 64, said: expect.stringContaining(why ?? "") });
      }
      const waits = await run("vm", "create", "x", ...small, "--network", "absent", "--fail-if-pending");
      expect(waits.code).not.toBe(0);
      expect(waits.said).toContain("offers no bridge br9 there, which the network absent is (bridges)");
    },
    patienceMs,
  );

  it(
    "carry what the guest and its neighbours there say, in a process without rights",
    async () => {
      expect(await create("demo", "--image", "demo", "--memory", "32M")).toMatchObject({ code: 0 });
      expect(await create("linux", "--image", "guest", "--memory", "128M")).toMatchObject({ code: 0 });
      await untilPage(addresses.demo, macs.demo);
      await untilPage(addresses.linux, "a page of the guest");
      for (const name of ["demo", "linux"]) {
        const { vmId, cards } = await recordOf(name);
        vmIds.push(vmId);
        expect(cards).toEqual([expect.objectContaining({ network: "office", bridge: "br0" })]);
        const [pid] = instanceProcesses(vmId);
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        expect(status).toMatch(/^Uid:\s+[1-9]/m);
        expect(status).toMatch(/^CapEff:\s+0+$/m);
      }
      expect((await run("vm", "list", "-o", "wide")).said).toContain(" office br0 ");
      const explained = (await run("vm", "explain", "linux")).said;
      expect(explained).toMatch(/office 02:00:00:00:00:08: in the bridge br0, by the tap bx[0-9a-f]{10} of its node/);
      const forwarded = await run("vm", "forward", "linux", "0:80", "--network", "user");
      expect(forwarded.code).not.toBe(0);
    },
    patienceMs,
  );

  it(
    "go on while their node is away, and what happens to them at the bridge is seen",
    async () => {
      const processes = vmIds.flatMap((vmId) => instanceProcesses(vmId));
      const tap = await tapOf("linux");
      await node.stop("SIGKILL");
      expect(await pageOf(addresses.linux)).toContain("a page of the guest");
      node = await node.restart();
      expect(vmIds.flatMap((vmId) => instanceProcesses(vmId))).toEqual(processes);
      await ip("link", "set", tap, "nomaster");
      await untilConditions("linux", (reasons) => reasons.includes("NetworkDown"));
      expect((await run("vm", "explain", "linux")).said).toContain(`its tap ${tap} is not in the bridge br0 any more`);
      await ip("link", "set", tap, "master", "br0");
      await untilConditions("linux", (reasons) => !reasons.includes("NetworkDown"));
      expect(await pageOf(addresses.linux)).toContain("a page of the guest");
    },
    patienceMs,
  );

  it(
    "come at a start alone, carry nothing from when they are taken away, and go with their process",
    async () => {
      expect(await run("network", "create", "lab", "--bridge", "br0")).toMatchObject({ code: 0 });
      const refused = await run("vm", "set", "linux", "--network", "lab");
      expect(refused.said).toContain("a VM that runs gets no card in the network lab, the bridge br0 (nicHotplug)");
      const taps = [await tapOf("demo"), await tapOf("linux")];
      // A guest of a multiboot image keeps its card, another one lets go of it.
      expect(await run("vm", "set", "demo", "--unset-network", "office")).toMatchObject({ code: 0 });
      for (let state = ""; !state.includes("state DOWN"); ) state = (await ip("link", "show", taps[0] ?? "")).stdout;
      expect(await pageOf(addresses.demo)).toBe("nothing");
      expect(await pageOf(addresses.linux)).toContain("a page of the guest");
      expect(await run("vm", "set", "linux", "--unset-network", "office")).toMatchObject({ code: 0 });
      while (!(await hasNoCards(vmIds[1] ?? ""))) expect(await run("vm", "get", "linux")).toMatchObject({ code: 0 });
      expect(await pageOf(addresses.linux)).toBe("nothing");
      await node.stop("SIGKILL");
      for (const vmId of vmIds) for (const pid of instanceProcesses(vmId)) process.kill(pid, "SIGKILL");
      for (const tap of taps) {
        while (await ip("link", "show", tap).catch(() => undefined)) expect(tap).toMatch(/^bx/);
      }
    },
    patienceMs,
  );
});
