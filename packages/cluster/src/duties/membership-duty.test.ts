import { discardMetrics, notApplied, seededRandom, silentLogger, Watch } from "@blixard/common";
import {
  encodeCommand,
  encodeServiceResponse,
  featureLevels,
  type NodeCapacity,
  type NodeRecord,
} from "@blixard/protocol";
import { asLogIndex, asNodeId, asTerm, emptyConfState, type RaftNodeStatus } from "@blixard/raft";
import { settle, VirtualClock } from "@blixard/raft/testing";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { CallRouter } from "../calls/call-router.ts";
import { PeerCalls } from "../calls/peer-calls.ts";
import { type ClusterStateMachine, createClusterStateMachine } from "../cluster-state-machine.ts";
import { bindClusterMetrics } from "../metrics.ts";
import { resolveClusterNodeOptions } from "../options.ts";
import { AddressBook } from "../peers/address-book.ts";
import type { ClusterPeer, ClusterTransport } from "../ports/cluster-transport.ts";
import { ClusterGroup, sha256 } from "../testing/cluster-group.ts";
import { commandOf, initBody, sampleNode } from "../testing/command-samples.ts";
import { madeUpSignatures } from "../testing/made-up-signatures.ts";
import { MemoryStateStore } from "../testing/memory-state-store.ts";
import { MemoryVmManager } from "../testing/memory-vm-manager.ts";
import { MembershipDuty, type MembershipDutyDeps, type MembershipParts } from "./membership-duty.ts";

const selfId = 3;
const noEntry = asLogIndex(0);
const withoutLeader: RaftNodeStatus = {
  id: asNodeId(selfId),
  role: "StateFollower",
  term: asTerm(0),
  leaderId: asNodeId(0),
  ...{ commitIndex: noEntry, appliedIndex: noEntry, lastLogIndex: noEntry, snapshotIndex: noEntry },
  lastLogTerm: asTerm(0),
  confState: emptyConfState(),
  confIndex: noEntry,
  ready: false,
};
let stopping: AbortController;
beforeEach(() => {
  stopping = new AbortController();
});
afterEach(() => stopping.abort());

/** The duty of node 3, which hears no leader, over a real state machine; what it tells the transport is kept. */
class Duty {
  readonly clock = new VirtualClock();
  readonly stateMachine: ClusterStateMachine = createClusterStateMachine(new MemoryStateStore(), sha256);
  readonly status = new Watch(withoutLeader);
  readonly removalClaims = new Watch(0);
  peers: readonly ClusterPeer[] = [];
  #index = 0;

  async apply(body: Parameters<typeof commandOf>[0]): Promise<void> {
    const at = { index: asLogIndex(++this.#index), term: asTerm(1) };
    const entry = { ...at, kind: "normal", data: encodeCommand(commandOf(body)) } as const;
    await this.stateMachine.apply([entry], { ...at, confState: emptyConfState() });
    await settle();
  }

  async start(
    seedNodes: readonly NodeRecord[],
    call: ClusterTransport["call"],
    more: Partial<MembershipDutyDeps> = {},
  ): Promise<void> {
    await this.stateMachine.load();
    const { clock, stateMachine } = this;
    const transport = {
      setPeers: (peers: readonly ClusterPeer[]) => {
        this.peers = peers;
      },
      call,
      sessions: () => [],
    };
    const metrics = bindClusterMetrics(discardMetrics);
    const { endpointId } = sampleNode(selfId);
    const own = {
      ...{ nodeId: selfId, endpointId, addresses: () => [], starts: 1 },
      identity: () => ({ clusterId: "test-cluster", incarnation: 1 }),
    };
    const random = seededRandom(1);
    const parts: MembershipParts = {
      peerCalls: new PeerCalls({ clock, random, transport, nodeId: selfId, state: () => stateMachine.state }),
      ...{ clock, stateMachine, transport, random, logger: silentLogger },
      raft: { status: this.status },
      options: resolveClusterNodeOptions({ nodeId: selfId, version: "0.0.0-test", removalProbeMs: 100 }, () => []),
      addressBook: new AddressBook({
        ...{ clock, logger: silentLogger, metrics, own, signatures: madeUpSignatures(endpointId) },
        clusterLevel: () => 3,
        members: () => stateMachine.state.nodes.values(),
      }),
    };
    const router = {
      call: () => Promise.reject(new Error("this node makes no calls of its own")),
      removalClaims: this.removalClaims,
    };
    const deps: MembershipDutyDeps = {
      ...{ parts, router, vmManager: new MemoryVmManager({ vcpus: 1, memoryMiB: 1, drivers: [] }) },
      loop: { clock, logger: silentLogger, metrics, retryDelayMs: 10 },
      ...{
        seedNodes,
        metrics,
        finders: [],
        store: undefined,
        isVoter: () => true,
        onMembers: () => {},
        onRemoved: () => {},
      },
      caughtUp: () => new Promise<void>(() => {}),
      ...more,
    };
    void new MembershipDuty(deps).run(stopping.signal);
    await settle();
  }

  ids(): number[] {
    return this.peers.map(({ nodeId }) => nodeId).sort();
  }
}

const unreachable = () => Promise.reject(new Error("nobody answers"));

describe("MembershipDuty", () => {
  it("keeps the members of the join answer until the state knows or has removed them", async () => {
    const duty = new Duty();
    await duty.start([sampleNode(1), sampleNode(2)], unreachable);
    // The log is replayed from its start: at first the founder is the only member.
    await duty.apply(initBody);
    expect(duty.ids()).toEqual([1, 2]);
    await duty.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
    expect(duty.ids()).toEqual([1, 2]);
    await duty.apply({ type: "node.remove", nodeId: 2 });
    expect(duty.ids()).toEqual([1]);
  });

  it("publishes what its drivers can do when the level of the cluster has risen, though no record has changed", async () => {
    const published: unknown[] = [];
    const call = async (_: string, { capacity }: { readonly capacity: NodeCapacity }) => {
      published.push(capacity.capabilities);
    };
    const vmManager = new MemoryVmManager();
    const { capacity } = vmManager;
    const duty = new Duty();
    const router = { call, removalClaims: duty.removalClaims } as unknown as CallRouter;
    await duty.start([], unreachable, { router, vmManager, caughtUp: async () => {} });
    const { own } = featureLevels;
    await duty.apply({ ...initBody, node: sampleNode(1, { featureLevel: own }) } as typeof initBody);
    await duty.apply({ type: "node.admit", node: sampleNode(selfId, { featureLevel: own }), ticketId: null });
    expect(published).toEqual([undefined]);
    await duty.apply({ type: "cluster.setLevel", level: own });
    expect(published).toEqual([undefined, capacity.capabilities]);
    expect(capacity.capabilities).toHaveLength(1);
  });

  it("publishes how much room there is for disks whenever that has changed", async () => {
    const published: unknown[] = [];
    const vmManager = new MemoryVmManager();
    const duty = new Duty();
    const call = async (
      _: string,
      { nodeId, capacity }: { readonly nodeId: number; readonly capacity: NodeCapacity },
    ) => {
      published.push(capacity.disk);
      await duty.apply({ type: "node.update", nodeId, capacity });
    };
    const router = { call, removalClaims: duty.removalClaims } as unknown as CallRouter;
    await duty.start([], unreachable, { router, vmManager, caughtUp: async () => {} });
    const { own } = featureLevels;
    await duty.apply({ ...initBody, node: sampleNode(1, { featureLevel: own }) } as typeof initBody);
    await duty.apply({ type: "cluster.setLevel", level: own });
    await duty.apply({ type: "node.admit", node: sampleNode(selfId, { featureLevel: own }), ticketId: null });
    for (const freeMiB of [100, 10]) {
      vmManager.diskRoom.set({ totalMiB: 200, freeMiB });
      await settle();
    }
    expect(published.slice(-2)).toEqual([
      { totalMiB: 200, freeMiB: 100 },
      { totalMiB: 200, freeMiB: 10 },
    ]);
  });

  it.each([
    ["learns of a leader that joined since from a voter, while it hears none", true, [1, 4]],
    ["learns of no member from one that does not vote", false, [1]],
  ] as const)("%s", async (_, votes, known) => {
    const group = new ClusterGroup();
    await group.bootstrap();
    const status = group.node(1).status();
    const [first] = status.members;
    await group.close();
    const joined = { ...first, id: 4, endpointId: sampleNode(4).endpointId };
    const answer = encodeServiceResponse({ ...status, members: [...status.members, joined] });
    const asked: unknown[] = [];
    const duty = new Duty();
    const call: ClusterTransport["call"] = (to, method) => {
      if (method !== "status.get") return unreachable();
      asked.push(to);
      return Promise.resolve(answer);
    };
    await duty.start([], call, { isVoter: (id) => id === 1 && votes });
    await duty.apply(initBody);
    expect(duty.ids()).toEqual([1]);
    await duty.clock.advance(1_000);
    expect(asked[0]).toBe(1);
    expect(duty.ids()).toEqual(known);
  });

  describe("told that this node was removed", () => {
    const [voter, worker] = ["voter", "worker"] as const;
    const roles = new Map([
      [1, voter],
      [2, voter],
      [4, voter],
      [5, worker],
      [6, worker],
    ] as const);
    const members = [...roles].map(([id, role]) => sampleNode(id, { role }));

    /** The errors that end the node, when these members say so while a leader is heard, and one has said it before. */
    async function endedBy(...refusing: readonly number[]): Promise<readonly unknown[]> {
      const ended: unknown[] = [];
      const duty = new Duty();
      const confState = { ...emptyConfState(), voters: [1, 2, selfId, 4].map(asNodeId) };
      duty.status.set({ ...withoutLeader, leaderId: asNodeId(1), confState });
      const call = (to: unknown) =>
        refusing.includes(Number(to)) ? Promise.reject(notApplied("REMOVED", "removed")) : unreachable();
      await duty.start(members, call, { onRemoved: ({ code }) => ended.push(code) });
      await duty.apply(initBody);
      duty.removalClaims.set(1);
      await settle();
      await duty.clock.advance(1_000);
      return ended;
    }

    it("goes on when workers say so, however many, or one voter", async () => {
      expect(await endedBy(5, 6)).toEqual([]);
      expect(await endedBy(5, 6, 2)).toEqual([]);
    });

    it("ends when a majority of the other voters say so", async () => {
      expect(await endedBy(2, 4)).toEqual(["REMOVED"]);
    });
  });
});
