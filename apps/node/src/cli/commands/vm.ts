/** `blixard vm create|list|get|start|stop|restart|pause|resume|move|delete|explain`, and what stands in other files */
import { BlixardError, errorCodeOf } from "@blixard/common";
import {
  formerLossPolicy,
  isOnLostNode,
  isQueued,
  type Labels,
  labelsText,
  pendingRestart,
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
import { repeatedOption } from "./list-option.ts";
import { networkText, sizeLine, vmView } from "./views.ts";
import { agentLine, registerAgent } from "./vm-agent.ts";
import { cdromLines } from "./vm-cdroms.ts";
import { withCloudInitFiles } from "./vm-cloud-init.ts";
import { registerConsole } from "./vm-console.ts";
import { registerDisk } from "./vm-disk.ts";
import { disksTable } from "./vm-disks.ts";
import { endsTable } from "./vm-ends.ts";
import { pendingText, registerExplain } from "./vm-explain.ts";
import { registerForward } from "./vm-forward.ts";
import { registerMove } from "./vm-move.ts";
import { closedPortsOf } from "./vm-network-lines.ts";
import { isSelected, parseLabels, verdictTable } from "./vm-placement-options.ts";
import { registerSet } from "./vm-set.ts";
import { addSpecOptions, specOf } from "./vm-spec-options.ts";

type MutationOptions = ClientOptions & {
  readonly detach?: boolean;
  readonly ifMatch?: string;
  readonly yes?: boolean;
};
type ForcedOptions = MutationOptions & { readonly force?: boolean };
type CreateOptions = MutationOptions & {
  readonly stopped?: boolean;
  readonly label?: readonly string[];
  readonly failIfPending?: boolean;
  readonly dryRun?: boolean;
};
type ListOptions = WatchOptions & { readonly selector?: readonly string[] };

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
  registerMove(command, context);
  registerDelete(command, context);
  registerSet(command, context, (session, vm, options) => finish(session, vm, ["Running"], options));
  registerConsole(command, context);
  registerAgent(command, context);
  registerForward(command, context);
  registerDisk(command, context);
}

function withMutationOptions(command: Command): Command {
  return withClientOptions(command)
    .option("--detach", "do not wait for the result")
    .option("--wait", "wait for the result (the default)")
    .option("--if-match <index>", "only if the VM was last changed at this index");
}

function registerCreate(command: Command, context: CliContext): void {
  addSpecOptions(withMutationOptions(command.command("create <name>").description("create a VM and start it")))
    .addOption(repeatedOption({ flag: "--label <label>", hint: "KEY=VALUE" }, "a label of the VM"))
    .option("--stopped", "do not start it")
    .option("--fail-if-pending", "refuse a VM that no node can take now; otherwise it waits for room")
    .option("--dry-run", "only say where it would go")
    .action((name: string, options: CreateOptions) =>
      withClient(context, options, (session) =>
        options.dryRun === true ? showCandidates(session, options) : create(session, name, options),
      ),
    );
}

async function create(session: ClientSession, name: string, options: CreateOptions): Promise<void> {
  const { client, context } = session;
  const desired = options.stopped === true ? "stopped" : "running";
  const { failIfPending = false } = options;
  const creation = { desired, failIfPending, ...labelsGiven(options), ...ifMatch(options) } as const;
  const { vm } = await client.vms.create(name, await withCloudInitFiles(specOf(options)), creation);
  if (vm.node === null) {
    say(context, `${name}: ${vm.message}`);
    if (isQueued(vm)) say(context, `${name}: waits for room, and starts when there is some, whoever waits for it`);
  } else say(context, `${name}: placed on node ${vm.node}${vm.placement === "" ? "" : ` (${vm.placement})`}`);
  await finish(session, vm, [desired === "running" ? "Running" : "Stopped"], options);
}

/** @throws NO_CAPACITY when no node can take the VM, and that was asked about */
async function showCandidates(session: ClientSession, options: CreateOptions): Promise<void> {
  const { client, context, format } = session;
  const report = await client.vms.candidates({
    spec: await withCloudInitFiles(specOf(options)),
    ...labelsGiven(options),
  });
  const { nodeId, message, nodes } = report;
  const where = nodeId === null ? "It would wait for room.\n" : `It would be placed on node ${nodeId}.\n`;
  const text = () => `${where}\n${verdictTable(nodes)}`;
  await print(context, format, report, text, nodeId === null ? [] : [String(nodeId)]);
  if (nodeId === null && options.failIfPending === true) throw new BlixardError("NO_CAPACITY", message);
}

function labelsGiven({ label }: CreateOptions): { readonly labels?: Labels } {
  return label === undefined ? {} : { labels: parseLabels(label, "--label") };
}

function registerReads(command: Command, context: CliContext): void {
  withWatchOption(withClientOptions(command.command("list").description("list VMs")))
    .alias("ls")
    .addOption(
      repeatedOption(
        { flag: "-l, --selector <selector>", hint: 'KEY=VALUE, KEY, !KEY or "KEY in (A,B)"' },
        "only VMs with such labels",
      ),
    )
    .action((options: ListOptions) =>
      withClient(context, options, (session) =>
        showFollowed(session, options, {
          read: async () => (await session.client.vms.list()).filter((vm) => isSelected(vm, options.selector)),
          changes: () => session.client.vms.watch({}, { signal: context.signal }),
          itemOf: (change) => {
            const changed = changedVm(change);
            // One that is not chosen is not there.
            if (changed?.item === undefined || isSelected(changed.item, options.selector)) return changed;
            return { key: changed.key };
          },
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
  registerExplain(command, context);
}

/** What stands under the line of a VM. */
function detailsOf(vm: VmRecord): string {
  const { effect } = vm.lossPolicy ?? formerLossPolicy;
  const labels = vm.labels === undefined ? "" : `Its labels are ${labelsText(vm.labels)}.\n`;
  const pending = pendingRestart(vm).map(pendingText);
  const waits = pending.length === 0 ? "" : `When it is started again it has ${pending.join(", ")}.\n`;
  return `\nWithout its node it ${effect}.\nIts networks: ${networkText(vm)}.\n${labels}${sizeLine(vm)}${cdromLines(vm)}${conditionLines(vm)}${waits}${agentLine(vm)}${disksTable(vm)}${endsTable(vm)}`;
}

function conditionLines({ conditions }: VmRecord): string {
  return conditions.map(({ type, status, message }) => `Condition ${type}=${status}: ${message}\n`).join("");
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
  if (reached.phase !== "Running" || options.detach === true) return;
  for (const closed of await closedPortsOf(client, reached, context.signal)) say(context, `${vm.name}: ${closed}`);
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
