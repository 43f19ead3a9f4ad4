/** Admits a node: the ticket is judged here and used up by `apply`, in the step that binds node id and key. */
import { BlixardError, sleep } from "@blixard/common";
import type { MemberRole, NodeRecord, ParsedRequestOf } from "@blixard/protocol";
import { isRunningElsewhere } from "../node/peer-memory.ts";
import { nodeKey, sortedRecords } from "../state-machine/state.ts";
import type { Handlers } from "./handlers.ts";
import { propose, type ServiceCallScope, type ServiceContext, unremembered } from "./service-context.ts";
import { ticketOf } from "./ticket-service.ts";

type JoinRequest = ParsedRequestOf<"join.request">;
interface Admission {
  readonly nodeId: number;
  readonly role: MemberRole;
  readonly incarnation: number;
}

const runningPollMs = 250;
const runningWaitMs = 2_500;

export function joinHandlers(context: ServiceContext): Pick<Handlers, "join.request"> {
  return { "join.request": (request, call) => join(context, request, call) };
}

async function join(context: ServiceContext, request: JoinRequest, call: ServiceCallScope) {
  if (call.meta.actor.id !== request.endpointId) {
    throw denied("endpointId: is not the key of the connection that asks");
  }
  const known = isKnownMember(context, request.nodeId, request.endpointId);
  const ticket = known || request.ticket === null ? undefined : ticketOf(context, request.ticket);
  if (ticket === undefined && !known) assertJoinsWithoutTicket(context, request.addresses);
  if (known) await assertRunsOnce(context, request, call.signal);
  const role = ticket?.role ?? "voter";
  if (role === "operator" || role === "viewer") throw ticketOfPerson(role);
  const node: NodeRecord = {
    id: request.nodeId,
    name: request.nodeName ?? ticket?.nodeName ?? `n${request.nodeId}`,
    endpointId: request.endpointId,
    addresses: request.addresses,
    role,
    incarnation: 1,
    capacity: request.capacity,
    version: request.version,
    featureLevel: request.featureLevel,
    joinedUnixMs: context.clock.unixMs(),
    cordoned: false,
    ...(request.storeId === undefined ? {} : { storeId: request.storeId }),
    ...(request.starts === undefined ? {} : { starts: request.starts }),
  };
  const body = { type: "node.admit", node, ticketId: ticket?.id ?? null } as const;
  // Asking again is harmless: `apply` knows a machine that it has admitted.
  const { value } = await propose<Admission>(context, body, unremembered(call));
  await untilOutOfConfiguration(context, request.nodeId, call.signal);
  return {
    clusterId: context.identity().clusterId,
    role: value.role,
    incarnation: value.incarnation,
    nodes: sortedRecords(context.stateMachine.state, "nodes"),
  };
}

function ticketOfPerson(role: string): BlixardError {
  return new BlixardError("TICKET_INVALID", `this ticket gives a person the rights of ${role}, and makes no node`, {
    outcome: "not_applied",
    hint: "Use it with `blixard context add NAME TICKET`; ask for another one for a node: blixard ticket create",
  });
}

/** A machine that is in the cluster has proved its key; it needs no ticket to come back, and none that is left over. */
export function isKnownMember(
  { stateMachine }: Pick<ServiceContext, "stateMachine">,
  nodeId: number,
  endpointId: string,
): boolean {
  return stateMachine.state.nodes.get(nodeKey(nodeId))?.endpointId === endpointId;
}

/** A copy of the key on a second machine would push the first one out. @throws DUPLICATE_NODE */
async function assertRunsOnce(context: ServiceContext, request: JoinRequest, signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += runningPollMs) {
    if (!isRunningElsewhere(context.transport, request.nodeId, request.instance)) return;
    // A process that was killed just now looks alive for a moment.
    if (waitedMs >= runningWaitMs) {
      throw new BlixardError("DUPLICATE_NODE", `node ${request.nodeId} runs already, with the same key`, {
        outcome: "not_applied",
        hint: "Stop the other process first. Two machines never share a data directory or a node.key.",
      });
    }
    await sleep(context.clock, runningPollMs, signal);
  }
}

/** The old incarnation is a voter that others count on: nothing may answer in its name until it is none any more. */
async function untilOutOfConfiguration(context: ServiceContext, nodeId: number, signal: AbortSignal): Promise<void> {
  const { version } = context.stateMachine;
  const waits = () => context.stateMachine.state.nodes.get(nodeKey(nodeId))?.rejoining === true;
  await version.until(() => !waits(), { signal });
}

/** What the join policy says to a machine that has only an address. @throws PERMISSION_DENIED */
export function assertJoinsWithoutTicket(
  context: Pick<ServiceContext, "options" | "transport">,
  joinerAddresses: readonly string[],
): void {
  const { joinPolicy } = context.options;
  const local = [...joinerAddresses, ...context.transport.addresses()].every(isLoopback);
  if (joinPolicy === "loopback" && local && joinerAddresses.length > 0) return;
  const why = joinPolicy === "loopback" ? "only loopback addresses may join without a ticket" : "a ticket is needed";
  throw denied(why, "Create one on a member with: blixard ticket create");
}

export function isLoopback(address: string): boolean {
  const host = address.slice(0, address.lastIndexOf(":"));
  return host === "localhost" || host === "[::1]" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function denied(message: string, hint?: string): BlixardError {
  return new BlixardError("PERMISSION_DENIED", message, {
    outcome: "not_applied",
    ...(hint === undefined ? {} : { hint }),
  });
}
