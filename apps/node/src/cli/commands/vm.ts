/** `blixard vm create|list|get|start|stop|restart|pause|resume|delete|explain|logs|console` */
import { BlixardError, errorCodeOf } from "@blixard/common";
import {
  formerLossPolicy,
  isOnLostNode,
  type LossPolicy,
  type VmChange,
  type VmPhase,
  type VmRecord,
} from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print, printItem, printList } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { type ChangedItem, showFollowed, showFollowedItem, type WatchOptions, withWatchOption } from "../watch.ts";
import { vmView } from "./views.ts";
import { registerConsole } from "./vm-console.ts";
import { diskLines, disksTable } from "./vm-disks.ts";
import { endLines, endsTable } from "./vm-ends.ts";
import { addSpecOptions, specOf } from "./vm-spec-options.ts";

type MutationOptions = ClientOptions & {
  readonly detach?: boolean;
  readonly ifMatch?: string;
  readonly yes?: boolean;
};
type ForcedOptions = MutationOptions & { readonly force?: boolean };
type CreateOptions = MutationOptions & { readonly stopped?: boolean };

const waitMsDefault = 120_000;

export function registerVm(command: Command, context: CliContext): void {
  registerCreate(command, context);
  registerReads(command, context);
  const verbs: readonly [string, string, readonly VmPhase[]][] = [
    ["start", "start a stopped VM", ["Running"]],
    ["stop", "ask the guest to power off, and see to it that it does", ["Stopped"]],
    ["restart", "stop and start a VM", ["Running"]],
    ["pause", "freeze a running VM", ["Paused"]],
    ["resume", "let a paused VM run on", ["Running"]],
  ];
  for (const [verb, summary, phases] of verbs) {
    const added = withMutationOptions(command.command(`${verb} <name>`).description(summary));
    if (verb === "stop")
      added.option("--force", "also while its node does not answer: as soon as that is known to be done");
    added.action((name: string, options: ForcedOptions) =>
      withClient(context, options, async (session) => {
        const { client } = session;
        const call = client.vms[verb as "start" | "stop" | "restart" | "pause" | "resume"];
        const { vm, effect, operation } = await call(name, { ...ifMatch(options), ...forced(options) });
        sayEffect(context, name, effect, operation);
        await finish(session, vm, phases, effect === undefined ? options : { ...options, detach: true });
      }),
    );
  }
  registerDelete(command, context);
  registerConsole(command, context);
}

function withMutationOptions(command: Command): Command {
  return withClientOptions(command)
    .option("--detach", "do not wait for the result")
    .option("--wait", "wait for the result (the default)")
    .option("--if-match <index>", "only if the VM was last changed at this index");
}

function registerCreate(command: Command, context: CliContext): void {
  addSpecOptions(withMutationOptions(command.command("create <name>").description("create a VM and start it")))
    .option("--stopped", "do not start it")
    .action((name: string, options: CreateOptions) =>
      withClient(context, options, async (session) => {
        const desired = options.stopped === true ? "stopped" : "running";
        const { vm } = await session.client.vms.create(name, specOf(options), { desired, ...ifMatch(options) });
        say(context, `${name}: placed on node ${vm.node}${vm.placement === "" ? "" : ` (${vm.placement})`}`);
        await finish(session, vm, [desired === "running" ? "Running" : "Stopped"], options);
      }),
    );
}

function registerReads(command: Command, context: CliContext): void {
  withWatchOption(withClientOptions(command.command("list").description("list VMs")))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showFollowed(session, options, {
          read: () => session.client.vms.list(),
          changes: () => session.client.vms.watch({}, { signal: context.signal }),
          itemOf: changedVm,
          print: (vms) => printList(context, session.format, vmView, vms),
        }),
      ),
    );
  withWatchOption(withClientOptions(command.command("get <name>").description("show one VM"))).action(
    (name: string, options: WatchOptions) =>
      withClient(context, options, (session) =>
        showFollowedItem(session, options, {
          read: () => session.client.vms.get(name),
          changes: () => session.client.vms.watch({ name }, { signal: context.signal }),
          itemOf: changedVm,
          print: (vm) => printItem(context, session.format, vmView, vm, detailsOf),
        }),
      ),
  );
  withClientOptions(command.command("explain <name>").description("why the VM is where and how it is")).action(
    (name: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const vm = await client.vms.get(name);
        await print(context, format, vm, () => explanation(vm), [name]);
      }),
  );
}

/** What stands under the line of a VM. */
function detailsOf(vm: VmRecord): string {
  const { effect } = vm.lossPolicy ?? formerLossPolicy;
  return `\nWithout its node it ${effect}.\n${disksTable(vm)}${endsTable(vm)}`;
}

function changedVm(change: VmChange): ChangedItem<VmRecord> | undefined {
  if (change.type === "put") return { key: change.vm.name, item: change.vm };
  return change.type === "delete" ? { key: change.name } : undefined;
}

function registerDelete(command: Command, context: CliContext): void {
  withMutationOptions(command.command("delete <name>").description("stop a VM and forget it"))
    .alias("rm")
    .option("--yes", "do not ask")
    .option("--force", "forget it without waiting for its node, which ends what runs of it when it is back")
    .action((name: string, options: ForcedOptions) =>
      withClient(context, options, async ({ client, format, timeoutMs }) => {
        await confirm(context, `Delete the VM ${name}?`, options.yes);
        const { vm, effect, operation } = await client.vms.delete(name, { ...ifMatch(options), ...forced(options) });
        sayEffect(context, name, effect, operation);
        if (options.detach !== true && options.force !== true) {
          // The record goes when the owner has let go of the VM.
          const { signal } = context;
          const wait = { timeoutMs: timeoutMs ?? waitMsDefault, signal, onProgress: progress(context, "Deleted") };
          await client.vms
            .waitFor(name, "deleted", (seen) => seen.vmId !== vm.vmId, wait)
            .catch((error: unknown) => {
              if (errorCodeOf(error) !== "VM_NOT_FOUND") throw error;
            });
        }
        const text = () => `${name} ${options.detach === true ? "is being deleted" : "deleted"}\n`;
        await print(context, format, { name, vmId: vm.vmId, deleted: options.detach !== true }, text, [name]);
      }),
    );
}

/** Waits until the VM is in one of the phases, unless asked not to, and prints it. */
async function finish(
  session: ClientSession,
  vm: VmRecord,
  phases: readonly VmPhase[],
  options: MutationOptions,
): Promise<void> {
  const { client, context, format, timeoutMs } = session;
  const reached =
    options.detach === true
      ? vm
      : await client.vms.waitForPhase(vm.name, phases, {
          timeoutMs: timeoutMs ?? waitMsDefault,
          signal: context.signal,
          onProgress: progress(context, phases[0] ?? ""),
        });
  await printItem(context, format, vmView, reached);
}

/** Says how the VM is. @throws NODE_LOST when its node is lost meanwhile, unless the VM is started elsewhere */
function progress(context: CliContext, target: string): (vm: VmRecord) => void {
  let answered = false;
  return (vm) => {
    const why = [vm.reason, vm.message].filter((part) => part !== "").join(": ");
    if (vm.phase !== target) say(context, `${vm.name}: ${vm.phase}${why === "" ? "" : ` (${why})`}`);
    const moves = vm.desired === "running" && vm.lossPolicy?.onNodeLoss === "move";
    if (!isOnLostNode(vm)) answered = true;
    else if (answered && !moves) throw nodeLost(vm);
  };
}

function nodeLost({ name, node, phase }: VmRecord): BlixardError {
  return new BlixardError("NODE_LOST", `node ${node} does not answer any more, and the VM ${name} is ${phase}`, {
    hint: `What was asked for is done when node ${node} is back. See: blixard vm explain ${name}.`,
    outcome: "unknown",
  });
}

function sayEffect(context: CliContext, name: string, effect: string | undefined, operation: string | undefined): void {
  if (effect === undefined) return;
  const wait = operation === undefined ? "" : `. Wait for it: blixard operations wait ${operation}`;
  say(context, `${name}: ${effect}${wait}`);
}

function forced({ force }: ForcedOptions): { readonly force?: boolean } {
  return force === undefined ? {} : { force };
}

function ifMatch(options: MutationOptions): { readonly ifMatchIndex?: number } {
  return options.ifMatch === undefined ? {} : { ifMatchIndex: parseInteger(options.ifMatch, "--if-match") };
}

/** Whether it was asked for or follows from what the VM has is seen in its specification. */
function lossText({ effect, onPartition }: LossPolicy): string {
  const without =
    onPartition === "stop" ? "it ends when its node has no lease" : "it runs on when its node has no lease";
  return effect === "waits" ? `waits for its node; ${without}` : `${effect} to another node; ${without}`;
}

function explanation(vm: VmRecord): string {
  const lines = [
    `phase      ${vm.phase}${vm.reason === "" ? "" : ` (${vm.reason})`}${vm.message === "" ? "" : `: ${vm.message}`}`,
    `wanted     ${vm.desired}`,
    `placed     ${vm.node === null ? "on no node" : `on node ${vm.node}`}${vm.placement === "" ? "" : `: ${vm.placement}`}`,
    `node loss  ${vm.lossPolicy === undefined ? "waits" : lossText(vm.lossPolicy)}`,
    `restarts   ${vm.restarts}, policy ${vm.spec.restartPolicy}`,
    ...(vm.held === undefined
      ? []
      : [`held       by the operation ${vm.held.operation}, and ${vm.held.desired} again after it`]),
    ...(vm.home === undefined
      ? []
      : [`home       node ${vm.home.node}, from where a drain has taken it: blixard nodes resume ${vm.home.node}`]),
    ...vm.conditions.map((condition) => `condition  ${condition.type}=${condition.status} ${condition.message}`),
    ...diskLines(vm),
    ...endLines(vm),
  ];
  return `${lines.join("\n")}\n`;
}
