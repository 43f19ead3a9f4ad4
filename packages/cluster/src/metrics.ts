/** Metrics of the service and of the duties of a node. */
import { type BoundMetrics, bindMetrics, type MetricDeclarations, type Metrics } from "@blixard/common";
import { budgetKinds } from "./peers/member-budgets.ts";
import { type PeerMessageType, raftAccess, type SenderRole } from "./peers/raft-access.ts";

const duties = [
  "leader",
  "count-state",
  "discovery",
  "addresses",
  "peers",
  "own-record",
  "own-key",
  "own-token",
  "removal-probe",
  "own-lease",
  "move",
  "queue",
  "operations",
  "vm-desired",
  "vm-observe",
  "volume-desired",
  "image-observe",
  "image-copies",
  "disk-copies",
  "reseal",
  "volume-observe",
  "networks-desired",
] as const;
/** The name of a duty, in its metric and in the log. */
export type DutyName = (typeof duties)[number];

const messageTypes = Object.keys(raftAccess) as readonly PeerMessageType[];
const senderRoles = Object.keys(raftAccess.MsgApp) as readonly SenderRole[];

const declarations = {
  calls: {
    type: "counter",
    name: "blixard_service_calls_total",
    help: "Service calls that ended on this node, by method and by error code (OK for success).",
    labels: { method: "any", code: "any" },
  },
  callDuration: {
    type: "histogram",
    name: "blixard_service_call_duration_seconds",
    help: "Time from a call until its answer, forwarding included.",
    labels: { method: "any" },
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  },
  forwards: {
    type: "counter",
    name: "blixard_service_forwards_total",
    help: "Calls that this node passed on to another one.",
    labels: { method: "any" },
  },
  dutyFailures: {
    type: "counter",
    name: "blixard_duty_failures_total",
    help: "Rounds of background work that failed and are tried again.",
    labels: { duty: duties },
  },
  joinRequests: {
    type: "counter",
    name: "blixard_join_requests_total",
    help: "Requests of strangers to join or to redeem a ticket, by the error code of the answer (OK for success).",
    labels: { code: "any" },
  },
  joinsPending: {
    type: "gauge",
    name: "blixard_joins_pending",
    help: "Machines that asked this node, as the leader, to join without a ticket and wait for an operator.",
  },
  startChecks: {
    type: "counter",
    name: "blixard_start_checks_total",
    help: "Members that asked this node at their start, by the verdict: fits, or refused as behind, other or running.",
    labels: { verdict: ["fits", "behind", "other", "running"] },
  },
  refusedMessages: {
    type: "counter",
    name: "blixard_raft_messages_refused_total",
    help: "Raft messages that their sender may not send, by type and by the role of the sender as this node knows it.",
    labels: { type: messageTypes, role: senderRoles },
  },
  memberClaims: {
    type: "counter",
    name: "blixard_member_claims_total",
    help: "How often a member said that this node was started elsewhere or removed. Only a majority of the voters is believed.",
    labels: { claim: ["newer_start", "removed"], by: ["voter", "other"] },
  },
  refusedForwards: {
    type: "counter",
    name: "blixard_forwards_refused_total",
    help: "Calls that a member passed on in a name that it may not use: that of another node, or of a person while it is no voter.",
    labels: { of: ["node", "person"] },
  },
  refusedAddressClaims: {
    type: "counter",
    name: "blixard_address_claims_refused_total",
    help: "Addresses that were claimed for a node without its signature, or longer than allowed, by the role of who sent them.",
    labels: {
      reason: ["unsigned", "forged", "oversized"],
      by: ["voter", "learner", "worker", "witness", "unknown"],
    },
  },
  exceededBudgets: {
    type: "counter",
    name: "blixard_member_budget_exceeded_total",
    help: "What a member asked of this node and was refused, because it had taken what a member may take, by kind.",
    labels: { of: budgetKinds },
  },
  members: { type: "gauge", name: "blixard_cluster_nodes", help: "Nodes in the replicated state." },
  vms: {
    type: "gauge",
    name: "blixard_cluster_vms",
    help: "VMs in the replicated state, by phase.",
    labels: { phase: "any" },
  },
} as const satisfies MetricDeclarations;

export type ClusterMetrics = BoundMetrics<typeof declarations>;

export function bindClusterMetrics(metrics: Metrics): ClusterMetrics {
  return bindMetrics(metrics, declarations);
}
