/** Nodes with QEMU, and the smallest guest that there is. */
import { copyFileSync, mkdtempSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { BlixardClient } from "@blixard/client";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import { cleanAtEnd } from "../proc/endings.ts";
import { binary } from "../sides/binary.ts";
import { type BareMachine, bareMachineOf } from "./bare-qemu.ts";

/** Without network cards: a bare QEMU has none either. */
const spec = { image: "builtin/nano", memoryMiB: 16, networks: [], restartPolicy: "never" as const };
const patienceMs = 300_000;

export class VmBed implements AsyncDisposable {
  /** What the guest writes when it is ready. */
  readonly banner = "blixard nano guest ready";
  readonly #cluster: ProcessCluster;
  readonly #client: BlixardClient;
  readonly #directory: string;
  readonly #clean: () => void;

  private constructor(cluster: ProcessCluster) {
    this.#cluster = cluster;
    this.#client = cluster.client();
    this.#directory = mkdtempSync(join(tmpdir(), "blixard-bench-"));
    this.#clean = cleanAtEnd(() => rmSync(this.#directory, { recursive: true, force: true }));
  }

  static async open(nodes: number): Promise<VmBed> {
    return new VmBed(await ProcessCluster.start({ binary, nodes, flags: ["--vm-driver", "qemu"] }));
  }

  /** Of a VM that is started for this once; its kernel is kept for the bare ones. */
  async machine(): Promise<BareMachine> {
    await this.startMs("first");
    const { vmId } = await this.#client.vms.get("first");
    const [pid] = instanceProcesses(vmId);
    if (pid === undefined) throw new Error("the VM has no process");
    const machine = bareMachineOf(pid);
    const at = machine.arguments.indexOf("-kernel") + 1;
    const kernel = join(this.#directory, "kernel");
    copyFileSync(resolve(readlinkSync(`/proc/${pid}/cwd`), machine.arguments[at] ?? ""), kernel);
    await this.remove(["first"]);
    return { ...machine, arguments: machine.arguments.with(at, kernel) };
  }

  /** Milliseconds from the call that creates it until the cluster says that the guest is ready. */
  async startMs(name: string): Promise<number> {
    const startedMs = performance.now();
    await this.#client.vms.create(name, spec, { timeoutMs: patienceMs });
    const isReady = ({ guest }: { readonly guest: string }) => guest === "ready";
    await this.#client.vms.waitFor(name, "ready", isReady, { timeoutMs: patienceMs });
    return performance.now() - startedMs;
  }

  /**
   * Kills all nodes and starts them again. Milliseconds from the first start until each VM is in the hands of its node, which then
   * takes what is typed on its console. @throws when one has another process than before
   */
  async adoptMs(names: readonly string[]): Promise<number> {
    const vms = await Promise.all(names.map((name) => this.#client.vms.get(name)));
    const pidsOf = () => vms.map(({ vmId }) => instanceProcesses(vmId).join());
    const before = pidsOf();
    const ids = this.#cluster.nodes.map(({ id }) => id);
    await Promise.all(ids.map((id) => this.#cluster.kill(id)));
    const startedMs = performance.now();
    await Promise.all(ids.map((id) => this.#cluster.restart(id)));
    const [node] = this.#cluster.nodes;
    if (node === undefined) throw new Error("there is a node");
    const type = { method: "POST", headers: { authorization: `Bearer ${await node.token()}` }, body: "\n" };
    await Promise.all(names.map((name) => untilTaken(`${node.ready.http}/v1/vms/${name}/console`, type)));
    const adoptedMs = performance.now() - startedMs;
    if (pidsOf().join(" ") !== before.join(" ")) throw new Error("VMs were started anew instead of being found again");
    return adoptedMs;
  }

  /** How many VMs each node has. */
  async placed(): Promise<number[]> {
    const vms = await this.#client.vms.list();
    return this.#cluster.nodes.map(({ id }) => vms.filter(({ node }) => node === id).length);
  }

  /** Resolves when they are gone. */
  async remove(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#client.vms.delete(name, { timeoutMs: patienceMs })));
    const endMs = performance.now() + patienceMs;
    while ((await this.#client.vms.list()).some(({ name }) => names.includes(name))) {
      if (performance.now() > endMs) throw new Error("the VMs were not deleted in time");
      await sleep(50);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const vms = await this.#client.vms.list().catch(() => []);
    this.#client.close();
    await this.#cluster.close();
    for (const pid of vms.flatMap(({ vmId }) => instanceProcesses(vmId))) process.kill(pid, "SIGKILL");
    this.#clean();
  }
}

async function untilTaken(url: string, input: RequestInit): Promise<void> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const said = await fetch(url, input).then(
      ({ ok, status }) => (ok ? undefined : `status ${status}`),
      (error: unknown) => String(error),
    );
    if (said === undefined) return;
    if (performance.now() > endMs) throw new Error(`${url}: ${said}`);
    await sleep(20);
  }
}
