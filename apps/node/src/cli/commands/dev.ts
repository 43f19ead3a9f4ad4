/**
 * `blixard dev`: a cluster of real node processes in a temporary directory, with one VM on it, until Ctrl-C. It is what
 * `npm start` runs.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import { BlixardError, linkSignal } from "@blixard/common";
import type { NodeStatus } from "@blixard/protocol";
import { type Command, Option } from "commander";
import { type DevCluster, type DevNode, devClient, devToken, startDevCluster } from "../../dev/dev-cluster.ts";
import { type DevVm, runDevVm } from "../../dev/dev-vm.ts";
import { type CliContext, say } from "../cli-context.ts";
import { pageAddress } from "../page-address.ts";
import { parseInteger } from "../quantities.ts";
import { formatTable } from "../table.ts";

interface Options {
  readonly nodes: string;
  readonly transport: string;
  readonly vmDriver: string;
  readonly vm: boolean;
  readonly exitAfterReady?: boolean;
  readonly keep?: boolean;
}

const nodesMax = 16;
const vmName = "hello";

export function registerDev(command: Command, context: CliContext): void {
  command
    .option("--nodes <n>", "how many nodes", "3")
    .addOption(new Option("--transport <kind>", "iroh, grpc or dual").default("iroh"))
    .addOption(new Option("--vm-driver <driver>", "auto, qemu, embedded or fake").default("auto"))
    .option("--no-vm", "run no VM")
    .option("--exit-after-ready", "stop when everything runs, with exit code 0")
    .option("--keep", "leave the data directories behind")
    .action((options: Options) => runDev(context, options));
}

async function runDev(context: CliContext, options: Options): Promise<void> {
  const nodes = parseInteger(options.nodes, "--nodes", 1);
  if (nodes > nodesMax) throw new BlixardError("INVALID_ARGUMENT", `--nodes is at most ${nodesMax}`);
  const dataRoot = await mkdtemp(join(tmpdir(), "blixard-dev-"));
  const flags = ["--transport", options.transport, "--vm-driver", options.vmDriver, "--debug-api", "--stop-vms"];
  let stop: () => Promise<void> = async () => {};
  const ending = linkSignal(context.signal);
  // From the beginning: the nodes do not end with this process.
  process.once("SIGTERM", () => ending.abort());
  try {
    say(context, `starting ${nodes} nodes over ${options.transport}, each its own process`);
    const cluster = await startDevCluster({
      dataRoot,
      nodes,
      flags,
      onProgress: (text) => say(context, text),
      signal: ending.signal,
    });
    stop = cluster.stop;
    await Promise.race([present({ ...context, signal: ending.signal }, cluster, options), cluster.failed]);
    if (options.exitAfterReady !== true) {
      say(context, "Ctrl-C stops the cluster and removes its data");
      await Promise.race([interrupted(ending.signal), cluster.failed]);
    }
  } catch (error) {
    if (!ending.signal.aborted || context.signal.aborted) throw error;
  } finally {
    ending.release();
    say(context, "stopping");
    await stop();
    if (options.keep === true) say(context, `the data is left in ${dataRoot}`);
    else await rm(dataRoot, { recursive: true, force: true });
  }
}

/** Runs the VM and shows what there is now, as the cluster itself reports it. */
async function present(context: CliContext, cluster: DevCluster, options: Options): Promise<void> {
  const first = cluster.nodes[0];
  if (first === undefined) return;
  await using client = await devClient(first);
  const onProgress = (text: string) => say(context, text);
  const vm = options.vm ? await runDevVm(client, vmName, { onProgress, signal: context.signal }) : undefined;
  const status = await client.status({ signal: context.signal });
  context.stdout.write(`\n${summary(cluster.nodes, status, vm)}`);
  if (vm?.vm.driver === "embedded" && options.vmDriver === "auto") {
    say(context, "\nThis VM runs on the embedded driver, because QEMU is not there: apt-get install qemu-system-x86");
  }
  if (vm !== undefined && vm.page === undefined && options.vmDriver !== "fake") {
    say(context, "\nThis VM has no network, because passt is not there or does not work: apt-get install passt");
  }
  const page = await pageAddress(first.ready.http, devToken(first), context.signal);
  say(context, `\nthe page, logged in (opens once, within two minutes): ${page}`);
  suggest(context, client, first, vm !== undefined);
}

function suggest(context: CliContext, client: BlixardClient, first: DevNode, hasVm: boolean): void {
  const command = "npm run node --";
  say(context, `\ntry, in another terminal (${client.address}):`);
  say(
    context,
    `  export BLIXARD_ADDRESS=${first.ready.bind} BLIXARD_TOKEN=$(cat ${join(first.dataDir, "admin.token")})`,
  );
  say(context, `  ${command} status`);
  say(context, `  ${command} page --data-dir ${first.dataDir}`);
  if (hasVm) say(context, `  ${command} vm console ${vmName}`);
  say(context, `  ${command} vm create web --image demo --memory 64M`);
  say(context, `  ${command} kv put greeting hello`);
}

function summary(nodes: readonly DevNode[], status: NodeStatus, run: DevVm | undefined): string {
  const rows = nodes.map(({ ready }) => {
    const role = ready.nodeId === status.leaderId ? "leader" : "follower";
    const vm = run !== undefined && run.vm.node === ready.nodeId ? `${run.vm.name} ${run.vm.phase}` : "-";
    return [`${ready.nodeId}`, role, vm, ready.bind, ready.http, `${ready.pid}`];
  });
  const table = formatTable(["NODE", "ROLE", "VM", "BIND", "DASHBOARD AND API", "PID"], rows);
  if (run === undefined) return table;
  const { vm, firstLine, page = "-" } = run;
  const cells = [vm.name, vm.phase, `${vm.node}`, `${vm.driver}`, `${vm.spec.memoryMiB} MiB`, firstLine, page];
  return `${table}\n${formatTable(["VM", "PHASE", "NODE", "DRIVER", "MEMORY", "CONSOLE", "PAGE"], [cells])}`;
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
