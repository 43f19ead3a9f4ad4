/** `blixard check`, `blixard recover` and `blixard cluster recover`: for the data directory of a node that does not run. */

import { errorCodes } from "@blixard/common";
import { type Command, Option } from "commander";
import type { ClusterRecoveryPlan, DataDirReport, NodeRecoveryPlan } from "../../offline/index.ts";
import { type CliContext, say } from "../cli-context.ts";
import { confirm } from "../confirm.ts";
import { parseOutputFormat, print } from "../output.ts";
import { formatTable } from "../table.ts";

interface OfflineOptions {
  readonly dataDir: string;
  readonly output: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

interface RecoverOptions extends OfflineOptions {
  readonly adminToken?: boolean;
}

function withOfflineOptions(command: Command): Command {
  return command
    .requiredOption("--data-dir <dir>", "data directory of the node, which must not run")
    .addOption(new Option("-o, --output <format>", "table, json or yaml").default("table"));
}

function withChangeOptions(command: Command): Command {
  return withOfflineOptions(command).option("--dry-run", "only show what would be done").option("--yes", "do not ask");
}

export function registerCheck(command: Command, context: CliContext): void {
  withOfflineOptions(command).action(async ({ dataDir, output }: OfflineOptions) => {
    const format = parseOutputFormat(output);
    const { checkDataDir } = await import("../../offline/index.ts");
    const report = await checkDataDir(dataDir);
    const nextCommand = report.damaged ? nextAfter(report) : null;
    const data = { dataDir: report.dataDir, ok: !report.damaged, findings: report.findings, nextCommand };
    const text = () =>
      formatTable(
        ["PART", "RESULT", "DETAIL"],
        report.findings.map(({ part, ok, detail }) => [part, ok ? "ok" : "WRONG", detail]),
      );
    await print(context, format, data, text, []);
    if (nextCommand === null) return;
    say(context, `the data is not whole; next: ${nextCommand}`);
    context.exitCode = errorCodes["STORAGE_CORRUPT"].exitCode;
  });
}

/** A damaged key or identity is nothing that the others could give back. */
function nextAfter({ dataDir, findings }: DataDirReport): string {
  const identity = findings.find(({ part, ok }) => !ok && part.startsWith("node."));
  if (identity !== undefined) return `restore ${identity.part} in ${dataDir} from a backup`;
  return `blixard recover --data-dir ${dataDir}`;
}

export function registerRecover(command: Command, context: CliContext): void {
  withChangeOptions(command).option(
    "--admin-token",
    "only give a voter a new administrator's token, when nobody is left who may do everything",
  );
  command.action(async (options: RecoverOptions) => {
    if (options.adminToken) return recoverAdminToken(context, options);
    const { dataDir, output, dryRun, yes } = options;
    const format = parseOutputFormat(output);
    const { systemClock } = await import("@blixard/common/system");
    const { planNodeRecovery, recoverNode } = await import("../../offline/index.ts");
    const plan = await planNodeRecovery(dataDir, systemClock);
    say(context, describeNode(plan));
    if (dryRun !== true) {
      await confirm(context, `Let node ${plan.nodeId} come back without its store?`, yes);
      await recoverNode(plan, systemClock);
    }
    const start = `blixard node --id ${plan.nodeId} --data-dir ${plan.dataDir}${plan.others.length > 0 ? "" : " --join HOST:PORT"}`;
    const data = { ...plan, done: dryRun !== true, nextCommand: start };
    const text = () =>
      dryRun === true ? "nothing was changed\n" : `done; start the node as before, for example: ${start}\n`;
    await print(context, format, data, text, []);
  });
}

async function recoverAdminToken(context: CliContext, { dataDir, output, dryRun, yes }: OfflineOptions): Promise<void> {
  const format = parseOutputFormat(output);
  const { planTokenRecovery, recoverToken } = await import("../../offline/index.ts");
  const plan = await planTokenRecovery(dataDir);
  say(context, `node ${plan.nodeId} of cluster ${plan.clusterId} gets a new administrator's token at its next start`);
  if (dryRun !== true) {
    await confirm(context, `Write a new token into ${plan.dataDir}/admin.token?`, yes);
    await recoverToken(plan);
  }
  const start = `blixard node --id ${plan.nodeId} --data-dir ${plan.dataDir}`;
  const data = { ...plan, done: dryRun !== true, nextCommand: start };
  const text = () => (dryRun === true ? "nothing was changed\n" : `done; start the node as before: ${start}\n`);
  await print(context, format, data, text, []);
}

function describeNode(plan: NodeRecoveryPlan): string {
  const others = plan.others.map(({ id, addresses }) => `node ${id} (${addresses.join(", ")})`).join(", ");
  return [
    `node ${plan.nodeId} of cluster ${plan.clusterId}; its store is ${plan.store}`,
    ...plan.damage.map((line) => `  ${line}`),
    plan.store === "missing" ? "there is nothing to move aside" : `the store is moved to ${plan.backup}`,
    "its key, its name and its VMs stay",
    `at the next start it asks to be admitted again as a learner: ${others || "give --join HOST:PORT, no member is known"}`,
    ...(plan.store === "whole"
      ? ["the store reads well: recover only if the node was refused because it is too old"]
      : []),
  ].join("\n");
}

export function addClusterRecover(command: Command, context: CliContext): void {
  command.description("offline: make one survivor the only voter after the majority is lost for good");
  withChangeOptions(command).action(async ({ dataDir, output, dryRun, yes }: OfflineOptions) => {
    const format = parseOutputFormat(output);
    const { systemClock } = await import("@blixard/common/system");
    const { planClusterRecovery, recoverCluster } = await import("../../offline/index.ts");
    const plan = await planClusterRecovery(dataDir, systemClock);
    say(context, describeCluster(plan));
    if (dryRun !== true) {
      await confirm(context, `Is the majority lost for good, and node ${plan.nodeId} the most advanced survivor?`, yes);
      await recoverCluster(plan, systemClock);
    }
    const start = `blixard node --id ${plan.nodeId} --data-dir ${plan.dataDir}`;
    const data = { ...plan, done: dryRun !== true, nextCommand: start };
    const text = () => (dryRun === true ? "nothing was changed\n" : `done; start it: ${start}\n`);
    await print(context, format, data, text, []);
  });
}

function describeCluster(plan: ClusterRecoveryPlan): string {
  const removed = plan.removed.map(({ id, name }) => `${id} (${name})`).join(", ");
  const list = (ids: readonly number[]) => (ids.length === 0 ? "none" : ids.join(", "));
  return [
    `survivor: node ${plan.nodeId} of cluster ${plan.clusterId}`,
    `  last entry: index ${plan.lastIndex} of term ${plan.lastTerm}; known as committed: ${plan.commitIndex}`,
    "  another survivor with a higher term, or with the same term and a higher index, is the better one",
    `configuration now:   voters ${list(plan.voters)}; learners ${list(plan.learners)}`,
    `configuration after: voters ${plan.nodeId}; learners none`,
    `removed for good: ${removed}; they must never start again with their present data`,
    ...(plan.orphanedVms.length > 0 ? [`VMs that nobody runs then: ${plan.orphanedVms.join(", ")}`] : []),
    `what only the lost nodes held is gone; the store is copied to ${plan.backup} first`,
  ].join("\n");
}
