/**
 * Keeps the record of this node true, and the member list of the transport equal to the node records. It also finds out
 * that this node was removed: a removed node gets no log any more from which it could learn that.
 */
import { BlixardError, errorCodeOf, firstOf, messageOf, pauseFor } from "@blixard/common";
import type { MemberStatus, NodeRecord } from "@blixard/protocol";
import type { RaftNodeStatus } from "@blixard/raft";
import type { VmManager } from "@blixard/vm-manager";
import type { CallRouter } from "../calls/call-router.ts";
import { nodeMeta } from "../calls/peer-calls.ts";
import type { StateVersion } from "../cluster-state-machine.ts";
import { randomRequestId } from "../ids.ts";
import type { ClusterMetrics } from "../metrics.ts";
import type { NodeParts } from "../node-parts.ts";
import { majorityOf, otherVoters } from "../peers/newer-start-claims.ts";
import { peersOf, withNewestKey } from "../peers/peer-list.ts";
import type { ClusterPeer, ClusterTransport } from "../ports/cluster-transport.ts";
import type { PeerFinder } from "../ports/peer-finder.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { clusterKey, nodeKey, sortedRecords } from "../state-machine/state.ts";
import { type LoopDeps, runLoop } from "./background-loop.ts";
import { DiscoveryDuty } from "./discovery-duty.ts";
import { publishedCapacity } from "./published-capacity.ts";

/** What this duty uses of the node. */
export type MembershipParts = Pick<
  NodeParts,
  "clock" | "random" | "logger" | "options" | "stateMachine" | "peerCalls" | "addressBook"
> & {
  readonly raft: Pick<NodeParts["raft"], "status">;
  readonly transport: Pick<ClusterTransport, "setPeers" | "sessions" | "usesRelay">;
};

/** How often a node with a relay compares its own addresses with its record. */
const ownAddressesMs = 2_000;
const updateTimeoutMs = 10_000;
const probeTimeoutMs = 2_000;

export interface MembershipDutyDeps {
  readonly parts: MembershipParts;
  readonly router: Pick<CallRouter, "call" | "removalClaims">;
  readonly loop: LoopDeps;
  readonly finders: readonly PeerFinder[];
  readonly vmManager: Pick<VmManager, "capacity" | "diskRoom">;
  /** The other members, from the answer to the join request. Empty for a node that knows them from its state. */
  readonly seedNodes: readonly NodeRecord[];
  /** Whether a node votes as far as this one knows: nobody else is believed who the members are. */
  readonly isVoter: (nodeId: number) => boolean;
  readonly store: { readonly storeId: string; readonly starts: number } | undefined;
  readonly metrics: Pick<ClusterMetrics, "memberClaims">;
  /** Called with the members, once the state has caught up with the leader. */
  readonly onMembers: (nodes: readonly NodeRecord[]) => void;
  readonly onRemoved: (error: BlixardError) => void;
  readonly caughtUp: (signal: AbortSignal) => Promise<void>;
}

export class MembershipDuty {
  readonly #deps: MembershipDutyDeps;
  /** Members that other nodes named and that the state of this node does not know yet, by their key. */
  readonly #learned = new Map<string, ClusterPeer>();

  constructor(deps: MembershipDutyDeps) {
    this.#deps = deps;
    this.#learn(peersOf(deps.seedNodes, deps.parts.options.nodeId));
  }

  /** Runs until `signal` aborts. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#runPeers(signal),
      this.#runAddresses(signal),
      this.#runOwnRecord(signal),
      this.#runProbe(signal),
      new DiscoveryDuty({ ...this.#deps, knownPeers: () => this.#knownPeers() }).run(signal),
    ]);
  }

  #runAddresses(signal: AbortSignal): Promise<void> {
    const { version } = this.#deps.parts.addressBook;
    let seen = version.value;
    return runLoop(this.#deps.loop, "addresses", signal, async () => {
      seen = await version.until((next) => next !== seen, { signal });
      this.#setPeers();
    });
  }

  #runPeers(signal: AbortSignal): Promise<void> {
    const { stateMachine } = this.#deps.parts;
    let seen = -1;
    return runLoop(this.#deps.loop, "peers", signal, async () => {
      const { changed } = await stateMachine.version.until((next) => next.changed.nodes !== seen, { signal });
      seen = changed.nodes;
      this.#setPeers();
    });
  }

  /**
   * Gives the transport its member list. A state that is behind may not know the leader yet, and the transport would
   * then refuse the very node whose entries bring its record. So members that other nodes named stay in the list until
   * the state knows them or has removed them.
   */
  #setPeers(): void {
    const { stateMachine, transport } = this.#deps.parts;
    const { nodes, removed } = stateMachine.state;
    for (const { endpointId } of [...nodes.values(), ...removed.values()]) this.#learned.delete(endpointId);
    const peers = this.#knownPeers();
    if (peers.length > 0 || nodes.size > 0) transport.setPeers(peers);
  }

  /** The other members of the state, with every address that this node knows of them. */
  #knownPeers(): ClusterPeer[] {
    const { stateMachine, options, addressBook } = this.#deps.parts;
    const { seedNodes } = this.#deps;
    const records = sortedRecords(stateMachine.state, "nodes").map((node) => withNewestKey(node, seedNodes));
    const known = peersOf(records, options.nodeId);
    const learned = [...this.#learned.values()].filter(({ nodeId }) => !known.some((peer) => peer.nodeId === nodeId));
    return [...known, ...learned].map((peer) => addressBook.complete(peer));
  }

  #learn(peers: readonly ClusterPeer[]): void {
    for (const peer of peers) this.#learned.set(peer.endpointId, peer);
  }

  async #runOwnRecord(signal: AbortSignal): Promise<void> {
    const { parts, router, loop, vmManager, store } = this.#deps;
    const { stateMachine, options, random } = parts;
    await this.#deps.caughtUp(signal).catch(() => {});
    let seen = -1;
    let seenRoom = vmManager.diskRoom.value;
    await runLoop(loop, "own-record", signal, async () => {
      const { clock } = parts;
      const moved = (version: StateVersion) => ownRecordIndex(version) !== seen;
      // There is no event for a relay that was found or changed, so the addresses are looked at again after a while.
      const look = parts.transport.usesRelay ? { limit: { clock, delayMs: ownAddressesMs } } : {};
      await firstOf(signal, (until) => [
        stateMachine.version.until(moved, { signal: until, ...look }),
        vmManager.diskRoom.until((room) => room !== seenRoom, { signal: until }),
      ]).catch(() => {});
      if (signal.aborted) return;
      const room = vmManager.diskRoom.value;
      const { state } = stateMachine;
      const changedIndex = ownRecordIndex(stateMachine.version.value);
      const own = state.nodes.get(nodeKey(options.nodeId));
      if (own === undefined) {
        if (state.cluster.has(clusterKey) && state.removed.has(nodeKey(options.nodeId))) this.#removed();
        seen = changedIndex;
        return;
      }
      if (store !== undefined && this.#isReplaced(own, store)) {
        seen = changedIndex;
        return;
      }
      if (changedIndex !== seen) this.#deps.onMembers(sortedRecords(state, "nodes"));
      const published = publishedCapacity(vmManager.capacity, clusterLevel(state));
      const { version, featureLevel } = options;
      const addresses = [...options.advertisedAddresses()];
      const news = staleFields(own, { addresses, capacity: published, version, featureLevel }, store);
      if (news !== undefined) {
        const meta = nodeMeta(options.nodeId, randomRequestId(random), updateTimeoutMs);
        await router.call("node.update", { nodeId: options.nodeId, ...news }, meta, { signal });
      }
      seen = changedIndex;
      seenRoom = room;
    });
  }

  /** True when another process with the key of this node started later. Then this one must end. */
  #isReplaced(own: NodeRecord, store: { readonly storeId: string; readonly starts: number }): boolean {
    const otherStore = own.storeId !== undefined && own.storeId !== store.storeId;
    if (!otherStore && (own.starts ?? 0) <= store.starts) return false;
    this.#deps.onRemoved(
      new BlixardError("DUPLICATE_NODE", `node ${own.id} was started elsewhere, with a copy of this key`, {
        hint: "Only one of the two may run. See which one with: blixard cluster members",
      }),
    );
    return true;
  }

  /**
   * Asks the others whether this node is still a member, for as long as it hears no leader, its configuration does not
   * name it, or somebody says that it was removed. A node that has applied its own removal hears no leader and cannot
   * campaign.
   */
  #runProbe(signal: AbortSignal): Promise<void> {
    const { clock, raft, options } = this.#deps.parts;
    const { removalClaims } = this.#deps.router;
    let heard = 0;
    return runLoop(this.#deps.loop, "removal-probe", signal, async () => {
      const inDoubt = (status: RaftNodeStatus) => status.leaderId === 0 || !isConfigured(status);
      await firstOf(signal, (until) => [
        raft.status.until(inDoubt, { signal: until }),
        removalClaims.until((claims) => claims !== heard, { signal: until }),
      ]);
      const isClaimed = removalClaims.value !== heard;
      heard = removalClaims.value;
      if (!isClaimed) await pauseFor(clock, options.removalProbeMs, signal);
      if (signal.aborted || !(isClaimed || inDoubt(raft.status.value))) return;
      await this.#askWhetherRemoved(signal);
      if (isClaimed) await pauseFor(clock, options.removalProbeMs, signal);
    });
  }

  /** One member alone, whatever it says, ends nobody: only a majority of the other voters does. */
  async #askWhetherRemoved(signal: AbortSignal): Promise<void> {
    const voters = this.#otherVoters();
    const needed = majorityOf(voters.size);
    const refusedBy: number[] = [];
    let reason: string | undefined;
    for (const { nodeId } of this.#knownPeers()) {
      if (signal.aborted) return;
      const refusal = await this.#refusalOf(nodeId, signal);
      if (refusal === undefined) continue;
      this.#deps.metrics.memberClaims.add(1, { claim: "removed", by: voters.has(nodeId) ? "voter" : "other" });
      if (voters.has(nodeId)) refusedBy.push(nodeId);
      else
        this.#deps.parts.logger.log("warn", "a member that does not vote says that this node was removed", { nodeId });
      if (refusedBy.length >= needed) return this.#removed(refusal);
      reason = refusal;
    }
    if (reason === undefined) return;
    this.#deps.parts.logger.log("warn", "some members say that this node was removed, and no majority of the voters", {
      refusedBy,
      needed,
      reason,
    });
  }

  /** As the newest configuration that this node has applied says, or before the first the answer to its request to join. */
  #otherVoters(): ReadonlySet<number> {
    const { raft, options } = this.#deps.parts;
    const { voters, votersOutgoing } = raft.status.value.confState;
    const configured: number[] = [...voters, ...votersOutgoing];
    if (configured.length === 0) return otherVoters(this.#deps.seedNodes, options.nodeId);
    return new Set(configured.filter((id) => id !== options.nodeId));
  }

  /** The words in which the member says that this node was removed; undefined when it does not. */
  async #refusalOf(nodeId: number, signal: AbortSignal): Promise<string | undefined> {
    const { peerCalls } = this.#deps.parts;
    try {
      const { members } = await peerCalls.ask(nodeId, "status.get", {}, { timeoutMs: probeTimeoutMs, signal });
      if (this.#deps.isVoter(nodeId)) this.#learnPeers(members);
      return undefined;
    } catch (error) {
      return errorCodeOf(error) === "REMOVED" ? messageOf(error) : undefined;
    }
  }

  /** Remembers members that others name: the leader may have been admitted after the last entry that this node has. */
  #learnPeers(members: readonly MemberStatus[]): void {
    const { options } = this.#deps.parts;
    const others = members.filter(({ id }) => id !== options.nodeId);
    this.#learn(others.map(({ id, endpointId, addresses }) => ({ nodeId: id, endpointId, addresses })));
    this.#setPeers();
  }

  #removed(message = "this node was removed from the cluster"): void {
    const hint = "Join again with a new ticket and an empty data directory.";
    this.#deps.onRemoved(new BlixardError("REMOVED", message, { hint }));
  }
}

function isConfigured({ id, confState }: RaftNodeStatus): boolean {
  const { voters, votersOutgoing, learners, learnersNext } = confState;
  return [voters, votersOutgoing, learners, learnersNext].some((ids) => ids.includes(id));
}

/** The index of the last change of the state on which the record of this node depends. */
function ownRecordIndex({ changed }: StateVersion): number {
  return Math.max(changed.nodes, changed.level);
}

/** The fields of this node's record that are no longer true; undefined when all of them are true. */
function staleFields(
  own: NodeRecord,
  now: Pick<NodeRecord, "addresses" | "capacity" | "version" | "featureLevel">,
  store: { readonly storeId: string; readonly starts: number } | undefined,
) {
  const news = { ...now, ...store };
  const kept = Object.fromEntries(Object.keys(news).map((field) => [field, own[field as keyof typeof news]]));
  return canonical(kept) === canonical(news) ? undefined : news;
}

/** The value as text, alike for every order of the fields of a record. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort())
      : part,
  );
}
