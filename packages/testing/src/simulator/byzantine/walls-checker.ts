/**
 * What liars must not change: who the members are and where, their roles, the tokens, tickets and images, and the VMs of
 * others. What they would have changed bears `forgedName`, or stands where nobody else changes anything.
 */
import type { ClusterNode, ClusterState } from "@blixard/cluster";
import { errorCodeOf } from "@blixard/common";
import type { SimMachine } from "../sim-machine.ts";
import type { SimNetwork } from "../sim-network.ts";
import type { Violations } from "../violation.ts";
import { forgedName } from "./forged-calls.ts";
import type { Member } from "./liar.ts";

export interface WallsDeps {
  readonly violations: Violations;
  readonly network: SimNetwork;
  readonly honest: () => readonly SimMachine<ClusterNode>[];
  readonly taken: () => readonly Member[];
  readonly endpointIdOf: (nodeId: number) => string | undefined;
  readonly addressOf: (nodeId: number) => string;
  /** True for a node that the operator has asked to leave. */
  readonly isRemoved: (nodeId: number) => boolean;
}

const property = "members that were taken over change nothing of others";
const adminTokenId = "admin";

export class WallsChecker {
  readonly #deps: WallsDeps;

  constructor(deps: WallsDeps) {
    this.#deps = deps;
  }

  /** A node that nobody has taken over ended by itself. */
  ended(nodeId: number, error: unknown, served: boolean): void {
    const code = errorCodeOf(error);
    if (this.#isTaken(nodeId) || this.#deps.isRemoved(nodeId)) return;
    if (code === "REMOVED" || (code === "DUPLICATE_NODE" && served)) {
      this.#deps.violations.report("no member's word ends another node", `node ${nodeId} ended: ${String(error)}`);
    }
  }

  /** Looks at every node that nobody has taken over. */
  check(): void {
    for (const { id, node } of this.#deps.honest()) {
      if (node === undefined) continue;
      const wrong = this.#wrongIn(node.state) ?? this.#wrongPeers(id);
      if (wrong !== undefined) this.#deps.violations.report(property, `at node ${id}: ${wrong}`);
    }
  }

  #isTaken(nodeId: number): boolean {
    return this.#deps.taken().some(({ machine }) => machine.id === nodeId);
  }

  #wrongIn(state: ClusterState): string | undefined {
    return this.#wrongMember(state) ?? wrongSecret(state) ?? this.#wrongVm(state) ?? wrongValue(state);
  }

  #wrongMember(state: ClusterState): string | undefined {
    const { endpointIdOf, taken, addressOf, isRemoved } = this.#deps;
    for (const { id, endpointId, role, cordoned, leaving, addresses, name } of state.nodes.values()) {
      const liar = taken().find(({ machine }) => machine.id === id);
      if (endpointId !== endpointIdOf(id)) return `node ${id} has another key, or nobody let it in`;
      if (role !== (liar?.role ?? "voter")) return `node ${id} is a ${role}`;
      if (cordoned) return `node ${id} is cordoned`;
      if (leaving && !isRemoved(id)) return `node ${id} is leaving`;
      if (name === forgedName) return `node ${id} has a name that was made up`;
      if (liar === undefined && addresses.join() !== addressOf(id)) return `node ${id} is at ${addresses.join()}`;
    }
    for (const { endpointId } of state.removed.values()) {
      if (taken().some((liar) => liar.endpointId === endpointId)) return `the member ${endpointId} was removed`;
    }
    return undefined;
  }

  #wrongVm(state: ClusterState): string | undefined {
    for (const { name, node, reason, spec } of state.vms.values()) {
      if (name === forgedName || spec.memoryMiB !== 64) return `the VM ${name} was made up`;
      if (reason === forgedName && node !== null && !this.#isTaken(node))
        return `the VM ${name} was observed by a liar`;
    }
    for (const { name, sources } of state.images.values()) {
      if (name === forgedName || sources.length > 0) return `the image ${name} was made up`;
    }
    return state.images.size === 0 && state.cluster.size > 0 ? "the images are gone" : undefined;
  }

  /** The member list that it gave to its transport. */
  #wrongPeers(nodeId: number): string | undefined {
    const { network, endpointIdOf, addressOf } = this.#deps;
    for (const peer of network.peersOf(endpointIdOf(nodeId) ?? "")) {
      if (peer.endpointId !== endpointIdOf(peer.nodeId)) return `it believes in a member ${peer.nodeId} that is none`;
      if (this.#isTaken(peer.nodeId) || peer.addresses.every((address) => address === addressOf(peer.nodeId))) continue;
      return `it looks for node ${peer.nodeId} at ${peer.addresses.join()}`;
    }
    return undefined;
  }

  /** Everything that stays as it is while nobody but liars says anything, as text. */
  still(): string {
    const { honest, isRemoved } = this.#deps;
    const machines = honest().filter(({ id, node }) => node !== undefined && !isRemoved(id));
    const [first] = machines;
    const state = first?.node?.state;
    const terms = machines.map(({ id, node }) => [id, node?.status().term, node?.status().leaderId]);
    if (state === undefined) return JSON.stringify(terms);
    const vms = [...state.vms.values()]
      .filter(({ node }) => node === null || !this.#isTaken(node))
      .map(({ name, vmId, node, desired, fencingEpoch }) => [name, vmId, node, desired, fencingEpoch]);
    const records = [state.tokens, state.tickets, state.banned, state.images, state.kv].map((table) =>
      [...table].sort(byKey),
    );
    return JSON.stringify([terms, records, vms.sort()]);
  }

  assertStill(before: string): void {
    const after = this.still();
    if (after === before) return;
    const at = [...after].findIndex((letter, index) => letter !== before[index]);
    const around = (text: string) => text.slice(Math.max(0, at - 60), at + 60);
    const detail = `in a calm cluster ${around(before)} became ${around(after)}`;
    this.#deps.violations.report(property, detail);
  }
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : Number(a > b);
}

function wrongSecret({ tokens, tickets, banned }: ClusterState): string | undefined {
  for (const { nodeId } of banned.values()) return `somebody banned the key of node ${nodeId}`;
  for (const { id, role, revoked } of tokens.values()) {
    if (id !== adminTokenId) return `somebody made the token ${id}`;
    if (role !== "admin" || revoked === true) return `the token ${id} lost its rights`;
  }
  for (const { id, nodeName, revoked } of tickets.values()) {
    if (nodeName === forgedName || revoked) return `somebody made or revoked the ticket ${id}`;
  }
  return undefined;
}

function wrongValue({ kv }: ClusterState): string | undefined {
  for (const { key, value } of kv.values()) if (value === forgedName) return `the key ${key} was forged`;
  return undefined;
}
