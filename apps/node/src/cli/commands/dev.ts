/** `blixard dev`: a cluster of real node processes in a temporary directory, until Ctrl-C. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlixardError } from "@blixard/common";
import { type Command, Option } from "commander";
import { type DevNode, startDevCluster } from "../../dev/dev-cluster.ts";
import { type CliContext, say } from "../cli-context.ts";
import { parseInteger } from "../quantities.ts";
import { formatTable } from "../table.ts";

interface Options {
  readonly nodes: string;
  readonly transport: string;
  readonly vmDriver: string;
  readonly keep?: boolean;
}

const nodesMax = 16;

export function registerDev(command: Command, context: CliContext): void {
  command
    .option("--nodes <n>", "how many nodes", "3")
    .addOption(new Option("--transport <kind>", "iroh, grpc or dual").default("iroh"))
    .addOption(new Option("--vm-driver <driver>", "auto, qemu, embedded or fake").default("auto"))
    .option("--keep", "leave the data directories behind")
    .action((options: Options) => runDev(context, options));
}

async function runDev(context: CliContext, options: Options): Promise<void> {
  const nodes = parseInteger(options.nodes, "--nodes", 1);
  if (nodes > nodesMax) throw new BlixardError("INVALID_ARGUMENT", `--nodes is at most ${nodesMax}`);
  const dataRoot = await mkdtemp(join(tmpdir(), "blixard-dev-"));
  const flags = ["--transport", options.transport, "--vm-driver", options.vmDriver, "--debug-api", "--stop-vms"];
  let stop: () => Promise<void> = async () => {};
  try {
    const cluster = await startDevCluster({
      dataRoot,
      nodes,
      flags,
      onProgress: (text) => say(context, text),
      signal: context.signal,
    });
    stop = cluster.stop;
    context.stdout.write(summary(cluster.nodes));
    const first = cluster.nodes[0];
    if (first !== undefined) {
      say(context, `\ntry:  blixard status --data-dir ${first.dataDir}`);
      say(
        context,
        `or:   export BLIXARD_ADDRESS=${first.ready.bind} BLIXARD_TOKEN=$(cat ${join(first.dataDir, "admin.token")})`,
      );
    }
    say(context, "Ctrl-C stops the cluster and removes its data");
    await Promise.race([interrupted(context.signal), cluster.failed]);
  } finally {
    say(context, "stopping");
    await stop();
    if (options.keep === true) say(context, `the data is left in ${dataRoot}`);
    else await rm(dataRoot, { recursive: true, force: true });
  }
}

function summary(nodes: readonly DevNode[]): string {
  const rows = nodes.map(({ ready }) => [`${ready.nodeId}`, ready.bind, ready.http, `${ready.pid}`]);
  return formatTable(["NODE", "BIND", "HTTP AND PAGE", "PID"], rows);
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    process.once("SIGTERM", () => resolve());
  });
}
