/** `blixard nodes drain|resume|evacuate`, `blixard cluster rebalance` */
import { BlixardError, errorCodeOf } from "@blixard/common";
import type { DrainMode, PlannedVm } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { nodeIdOf } from "../node-name.ts";
import { print, printList } from "../output.ts";
import { parseDurationMs, parseInteger } from "../quantities.ts";
import { finishOperation, partlyDoneExitCode, plannedVmView, type WaitingOptions } from "./operation-views.ts";

type WorkOptions = WaitingOptions & { readonly dryRun?: boolean };
type PacedOptions = WorkOptions & { readonly parallel?: string; readonly deadline?: string };
type DrainOptions = PacedOptions & {
  readonly mode?: string;
  readonly vmMode?: readonly string[];
  readonly yes?: boolean;
};

/** Adds a command that starts an operation. */
function work(command: Command, usage: string, summary: string): Command {
  return withClientOptions(command.command(usage).description(summary))
    .option("--dry-run", "only say what it would do")
    .option("--detach", "do not wait; see blixard operations");
}

function paced(command: Command): Command {
  return command
    .option("--parallel <count>", "VMs that are under way at once (default 2)")
    .option("--deadline <time>", "fail when it is not done by then (default 10m)");
}

export function addRebalance(command: Command, context: CliContext): void {
  const summary = "move running VMs that lose nothing by it to nodes that suit them better";
  paced(work(command, "rebalance", summary)).action((options: PacedOptions) =>
    withClient(context, options, async (session) => {
      const { scheduling } = session.client;
      const dryRun = options.dryRun === true;
      const { plan, operation, more } = await scheduling.rebalance(dryRun ? { dryRun } : pace(options));
      if (dryRun) await showPlan(session, plan);
      else await finish(session, operation, options);
      if (more === undefined) return;
      say(
        context,
        `one run moves ${plan.length} VMs, and more may gain by it: the same command goes on when it is over`,
      );
      if (!dryRun) context.exitCode = partlyDoneExitCode;
    }),
  );
}

export function registerNodeWork(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => work(command, usage, summary);
  paced(add("drain <node>", "cordon a node, and move its VMs away or stop them"))
    .option(
      "--mode <mode>",
      "for every VM: restart (on another node), migrate (there, with its disks) or stop; default: restart what moves, stop the rest",
    )
    .option("--vm-mode <name=mode...>", "the same for single VMs")
    .option("--yes", "do not ask")
    .action((node: string, options: DrainOptions) =>
      withClient(context, options, (session) => drain(session, node, options)),
    );
  paced(add("resume <node>", "place VMs on a node again, and bring back those that a drain took from there")).action(
    (node: string, options: PacedOptions) => withClient(context, options, (session) => resume(session, node, options)),
  );
  add("evacuate <node>", "start the VMs of a lost node elsewhere, as far as that is safe").action(
    (node: string, options: WorkOptions) => withClient(context, options, (session) => evacuate(session, node, options)),
  );
}

async function drain(session: ClientSession, node: string, options: DrainOptions): Promise<void> {
  const { client, context } = session;
  const id = await nodeIdOf(client, node);
  const request = {
    ...{ id, vmModes: (options.vmMode ?? []).map(vmModeOf) },
    ...(options.mode === undefined ? {} : { mode: modeOf(options.mode) }),
    ...pace(options),
  };
  if (options.dryRun === true) return showPlan(session, (await client.nodes.drain({ ...request, dryRun: true })).plan);
  if (options.yes !== true) {
    const { plan } = await client.nodes.drain({ ...request, dryRun: true });
    for (const { vm, action, to, why } of plan)
      say(context, `${vm}: ${action}${to === undefined ? "" : ` to node ${to}`} (${why})`);
    await confirm(context, `Drain node ${id}?`, options.yes);
  }
  await finish(session, (await client.nodes.drain(request)).operation, options);
}

async function resume(session: ClientSession, node: string, options: PacedOptions): Promise<void> {
  const { client, context, format } = session;
  const id = await nodeIdOf(client, node);
  const request = { id, ...pace(options) };
  if (options.dryRun === true) return showPlan(session, (await client.nodes.resume({ ...request, dryRun: true })).plan);
  try {
    const { operation } = await client.nodes.resume(request);
    await finish(session, operation, options, () => `node ${id} resumed\n`);
  } catch (error) {
    // Members of an earlier release have drained nothing, so that there is nothing to bring back.
    if (errorCodeOf(error) !== "NEEDS_UPGRADE") throw error;
    const written = await client.nodes.cordon(id, false);
    await print(context, format, written, () => `node ${id} resumed\n`, [String(id)]);
  }
}

async function evacuate(session: ClientSession, node: string, options: WorkOptions): Promise<void> {
  const { client } = session;
  const id = await nodeIdOf(client, node);
  const { plan, operation } = await client.nodes.evacuate({ id, ...(options.dryRun === true ? { dryRun: true } : {}) });
  if (options.dryRun === true) return showPlan(session, plan);
  await finish(session, operation, options);
}

async function finish(
  session: ClientSession,
  operation: Parameters<typeof finishOperation>[1] | undefined,
  options: WaitingOptions,
  text?: () => string,
): Promise<void> {
  if (operation === undefined) throw new BlixardError("ANSWER_UNREADABLE", "the node named no operation");
  await finishOperation(session, operation, options, text);
}

function showPlan({ context, format }: ClientSession, plan: readonly PlannedVm[]): Promise<void> {
  return printList(context, format, plannedVmView, plan);
}

function pace({ parallel, deadline }: PacedOptions) {
  return {
    ...(parallel === undefined ? {} : { parallel: parseInteger(parallel, "--parallel", 1) }),
    ...(deadline === undefined ? {} : { deadlineMs: parseDurationMs(deadline) }),
  };
}

/** @throws INVALID_ARGUMENT */
function modeOf(text: string): DrainMode {
  if (text === "restart" || text === "migrate" || text === "stop") return text;
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no way to leave a node`, {
    hint: "Use restart, migrate or stop.",
  });
}

/** @throws INVALID_ARGUMENT */
function vmModeOf(text: string): { readonly vm: string; readonly mode: DrainMode } {
  const [vm = "", mode, ...rest] = text.split("=");
  if (mode !== undefined && rest.length === 0) return { vm, mode: modeOf(mode) };
  throw new BlixardError("INVALID_ARGUMENT", `--vm-mode: "${text}" is not NAME=MODE`, {
    hint: "For example: --vm-mode web=stop --vm-mode db=restart",
  });
}
