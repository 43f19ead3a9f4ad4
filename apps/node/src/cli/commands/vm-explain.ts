/** `blixard vm explain`: why a VM is where and how it is, what is being done about it, and what becomes of it without its node. */
import type { BlixardClient } from "@blixard/client";
import {
  formerLossPolicy,
  isOnLostNode,
  type LossPolicy,
  type NodeVerdict,
  type OperationRecord,
  type PendingField,
  type PlacementReport,
  pendingRestart,
  type VmRecord,
} from "@blixard/protocol";
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";
import { networkText } from "./views.ts";
import { diskLines } from "./vm-disks.ts";
import { endLines } from "./vm-ends.ts";
import { networkFactsOf, networkLines, type VmNetworkFacts } from "./vm-network-lines.ts";
import { placementLines, verdictTable } from "./vm-placement-options.ts";

export function registerExplain(command: Command, context: CliContext): void {
  withClientOptions(command.command("explain <name>").description("why the VM is where and how it is")).action(
    (name: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const vm = await client.vms.get(name);
        // No leader, or one of a release without them: the rest can be said all the same.
        const report = await client.vms.candidates({ name }).catch(() => undefined);
        const nodes = report?.nodes ?? [];
        const { leaseLeftMs: lease, ifLost } = report ?? {};
        const networks = await networkFactsOf(client, vm);
        const work = await operationsOf(client, vm);
        const text = () =>
          `${explanation(vm, networks)}${work.map(operationText).join("")}${leaseText(vm, { leaseLeftMs: lease, ifLost })}${ifLostText(vm, ifLost)}${candidatesText(vm, nodes)}${preemptsText(report?.preempts)}`;
        const times = { ...(lease === undefined ? {} : { leaseLeftMs: lease }), ...(ifLost && { ifLost }) };
        const more = { candidates: nodes, ...times };
        const shown = { ...vm, ...networks, ...(work.length === 0 ? {} : { operations: work }) };
        await print(context, format, report === undefined ? shown : { ...shown, ...more }, text, [name]);
      }),
  );
}

/** Those that are about it, and run. */
async function operationsOf(client: BlixardClient, { name, vmId, held }: VmRecord): Promise<OperationRecord[]> {
  const all = await client.operations.list().catch((): OperationRecord[] => []);
  return all.filter((operation) => {
    const isAbout = operation.vmId === vmId || operation.id === held?.operation || operation.vms.includes(name);
    return operation.state === "running" && isAbout;
  });
}

function operationText({ id, kind, percent, message }: OperationRecord): string {
  return `operation  ${id}, ${kind}, ${percent} %${message === "" ? "" : `: ${message}`}\n`;
}

/** What becomes of a VM whose node is silent, and when; while its node answers, the lease begins anew every other second. */
export function leaseText(vm: VmRecord, { leaseLeftMs: leftMs, ifLost }: LeaseFacts): string {
  if (isOnLostNode(vm))
    return `lost       node ${vm.node} does not answer; ${lostText(vm, { leaseLeftMs: leftMs, ifLost })}\n`;
  if (leftMs === undefined) return "";
  return `lease      node ${vm.node} holds it for ${secondsText(leftMs)} more, and renews it\n`;
}

type LeaseFacts = { readonly [Field in "leaseLeftMs" | "ifLost"]?: PlacementReport[Field] | undefined };

function lostText(vm: VmRecord, { leaseLeftMs: leftMs, ifLost }: LeaseFacts): string {
  const { node, desired, lossPolicy = formerLossPolicy } = vm;
  if (desired !== "running" && desired !== "paused") return `the VM is to be ${desired}, and starts nowhere`;
  if (lossPolicy.onNodeLoss === "wait") return waitsText(vm, lossPolicy);
  if (leftMs === undefined)
    return `the VM starts elsewhere when the lease of node ${node} is over; only a leader knows when`;
  const isOver = leftMs === 0;
  const when = isOver
    ? `the lease of node ${node} is over`
    : `in ${secondsText(leftMs)}, when the lease of node ${node} is over`;
  if (ifLost === undefined || ifLost.nodeId === null) {
    const why = ifLost === undefined ? "" : `: ${ifLost.message}`;
    return `${isOver ? when : `the lease is over in ${secondsText(leftMs)}`}, and no other node can take the VM${why}`;
  }
  return `the VM starts on node ${ifLost.nodeId} ${isOver ? "next: " : ""}${when}`;
}

/** Why a VM waits for its node, and what it does there. */
function waitsText({ node, name, spec }: VmRecord, { onPartition }: LossPolicy): string {
  const asked =
    spec.onNodeLoss === "wait" ? "onNodeLoss wait" : spec.onPartition === "keep" ? "onPartition keep" : undefined;
  const why = asked === undefined ? `its disks are on node ${node} alone` : `that was asked for (${asked})`;
  const there = onPartition === "keep" ? "it may still run there" : "it ends there when the lease is over";
  return `the VM ${name} waits for it: ${why}; ${there}. Else: blixard nodes evacuate ${node} --dry-run`;
}

function secondsText(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** What becomes of it without its node; one that is lost already is told of by its lease. */
function ifLostText(vm: VmRecord, ifLost: PlacementReport["ifLost"]): string {
  if (ifLost === undefined || isOnLostNode(vm)) return "";
  const within = `within ${secondsText(ifLost.withinMs)} of its last word`;
  const then =
    ifLost.nodeId === null
      ? `no other node can take it: ${ifLost.message}`
      : `it is given to node ${ifLost.nodeId} ${within}, as long again when that node leads`;
  return `if lost    without node ${vm.node} now, ${then}\n`;
}

/** Where it would be placed now. */
function candidatesText({ node }: VmRecord, nodes: readonly NodeVerdict[]): string {
  if (nodes.length === 0) return "";
  return `\n${node === null ? "The nodes" : "If it were placed now"}:\n${verdictTable(nodes)}`;
}

function preemptsText(names: readonly string[] = []): string {
  return names.length === 0 ? "" : `\nTo make room for it, these are stopped: ${names.join(", ")}\n`;
}

/** Whether it was asked for or follows from what the VM has is seen in its specification. */
function lossText({ effect, onPartition }: LossPolicy): string {
  const without =
    onPartition === "stop" ? "it ends when its node has no lease" : "it runs on when its node has no lease";
  return effect === "waits" ? `waits for its node; ${without}` : `${effect} to another node; ${without}`;
}

export function pendingText({ field, runs, wanted }: PendingField): string {
  return runs === wanted ? `${field} ${wanted}` : `${field} ${wanted} (now ${runs})`;
}

function explanation(vm: VmRecord, networks: VmNetworkFacts): string {
  const lines = [
    `phase      ${vm.phase}${vm.reason === "" ? "" : ` (${vm.reason})`}${vm.message === "" ? "" : `: ${vm.message}`}`,
    `wanted     ${vm.desired}`,
    `placed     ${vm.node === null ? "on no node" : `on node ${vm.node}`}${vm.placement === "" ? "" : `: ${vm.placement}`}`,
    `networks   ${networkText(vm)}`,
    `node loss  ${vm.lossPolicy === undefined ? "waits" : lossText(vm.lossPolicy)}`,
    `restarts   ${vm.restarts}, policy ${vm.spec.restartPolicy}`,
    ...(vm.held === undefined
      ? []
      : [`held       by the operation ${vm.held.operation}, and ${vm.held.desired} again after it`]),
    ...(vm.home === undefined
      ? []
      : [`home       node ${vm.home.node}, from where a drain has taken it: blixard nodes resume ${vm.home.node}`]),
    ...(vm.preempted === undefined
      ? []
      : [`preempted  it was stopped to make room for the VM ${vm.preempted.by}: blixard vm start ${vm.name}`]),
    ...pendingRestart(vm).map((field) => `restart    needed for ${pendingText(field)}: blixard vm restart ${vm.name}`),
    ...(vm.nextLossPolicy === undefined
      ? []
      : [`then       without its node it ${vm.nextLossPolicy.policy.effect}, once it was restarted`]),
    ...placementLines(vm),
    ...vm.conditions.map((condition) => `condition  ${condition.type}=${condition.status} ${condition.message}`),
    ...networkLines(vm, networks),
    ...diskLines(vm),
    ...endLines(vm),
  ];
  return `${lines.join("\n")}\n`;
}
