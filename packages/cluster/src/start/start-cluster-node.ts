/**
 * The start of a node, in named steps. Each needs what the ones before it have opened; one that fails, or an abort
 * between two of them, closes all of that in the reverse order:
 *
 *     read the state      -> the node answers `whileStarting` methods from here on
 *     read the log
 *     check the store     -> the others say whether it holds what this node has promised
 *     start the VMs       -> the VM manager looks for what runs on this host
 *     be admitted         -> joins only
 *     open Raft
 *     serve               -> the node answers everything
 *     write the first entries -> bootstraps only
 *     start the duties
 */
import { abortReason, CloseStack, errorCodeOf, linkSignal, messageOf, withTimeLimit } from "@blixard/common";
import { commands, createCommandCodec, type NodeCapacity, type NodeRecord, understoodLevel } from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  emptyConfState,
  type LogStore,
  noNode,
  openRaftNode,
  type RaftNode,
  raftDefaults,
} from "@blixard/raft";
import { CallRouter } from "../calls/call-router.ts";
import { LeaderContact } from "../calls/leader-contact.ts";
import { nodeMeta, PeerCalls } from "../calls/peer-calls.ts";
import type { CloseOptions, ClusterNode, ClusterNodeDeps, StartMode } from "../cluster-node-types.ts";
import { createClusterStateMachine } from "../cluster-state-machine.ts";
import { LeaseBook } from "../leases/lease-book.ts";
import { bindClusterMetrics } from "../metrics.ts";
import { NodeLifecycle } from "../node-lifecycle.ts";
import type { NodeIdentity, NodeParts } from "../node-parts.ts";
import { type ClusterNodeOptions, resolveClusterNodeOptions } from "../options.ts";
import { AddressBook } from "../peers/address-book.ts";
import { MemberBudgets } from "../peers/member-budgets.ts";
import { NewerStartClaims, otherVoters } from "../peers/newer-start-claims.ts";
import { peersOf } from "../peers/peer-list.ts";
import { notRunningRaft, PeerPromises } from "../peers/peer-promises.ts";
import { RaftGate, type RaftGateView } from "../peers/raft-gate.ts";
import { noLocalJoins } from "../ports/local-joins.ts";
import { noCertificates } from "../ports/node-certificates.ts";
import { RunningNode } from "../running-node.ts";
import {
  type ServedNodeDeps,
  type StartingHandlers,
  type StartingNode,
  servingNode,
  startingNode,
  stoppedNode,
} from "../served-node.ts";
import { whoAnswers } from "../services/cluster.ts";
import { createServices } from "../services/handlers.ts";
import { verifyHandler } from "../services/node.ts";
import { createProposals } from "../services/propose.ts";
import { tokenHolder } from "../services/token.ts";
import type { AppliedCommand } from "../state-machine/apply-command.ts";
import { clusterLevel } from "../state-machine/level.ts";
import { clusterKey, nodeKey } from "../state-machine/state.ts";
import { type JoinSeed, requestJoin } from "./join-flow.ts";
import { type LoadedLog, loadLog } from "./loaded-log.ts";
import { peerLogSource } from "./peer-log-source.ts";
import { firstCommand, joinerOf } from "./self-description.ts";
import { checkWithPeers, knownNodes } from "./start-check.ts";
import { startDuties } from "./start-duties.ts";
import { type HeldBack, startingStatus } from "./starting-status.ts";

const joinTimeoutMsDefault = 30_000;
const initTimeoutMs = 30_000;

type How<Mode extends StartMode["mode"]> = Extract<StartMode, { readonly mode: Mode }>;

/** What is known of the membership of this node beside its state: from the join answer, or the seed that was kept of it. */
type Admitted = Pick<JoinSeed, "clusterId" | "incarnation" | "admission"> & Partial<Pick<JoinSeed, "nodes">>;

/** What a node has before it reads its disk. */
type Base = ReturnType<typeof createBase> & {
  /** Of the log, once it was read. */
  lastEntry?: LoadedLog["lastEntry"];
};

/**
 * Starts a node. A bootstrap resolves when the cluster exists, a join when the cluster has admitted this node, a resume
 * when the disk was read and those of the others that answer found nothing wrong: one that is held back waits for them,
 * see `onHeldBack`. Wait for `ready` after that. When it
 * rejects, the VM manager and the stores are closed.
 * @throws STORAGE_CORRUPT when the store is older than what this node promised, DUPLICATE_NODE, REMOVED, the errors of
 * `requestJoin`, of the stores and of the VM manager, and the reason of `signal`
 */
export async function startClusterNode(
  deps: ClusterNodeDeps,
  options: ClusterNodeOptions,
  how: StartMode,
  { signal: outer }: { readonly signal?: AbortSignal } = {},
): Promise<ClusterNode> {
  const starting = linkSignal(outer);
  const opened = new CloseStack<CloseOptions>(deps.logger);
  const base: Base = createBase(deps, options, (error) => starting.abort(error));
  try {
    return await start(base, opened, how, starting.signal);
  } catch (error) {
    // The first error says more than those of closing, which are in the log.
    await opened.close({}).catch(() => {});
    throw base.lifecycle.watch.value.error ?? error;
  } finally {
    starting.release();
  }
}

async function start(
  base: Base,
  opened: CloseStack<CloseOptions>,
  how: StartMode,
  signal: AbortSignal,
): Promise<ClusterNode> {
  const { deps, stateMachine, options } = base;
  const seed = how.mode === "resume" ? how.seed : undefined;
  const atStep = (): void => {
    if (signal.aborted) throw abortReason(signal);
  };
  const releaseStores = opened.add("stores", () => closeStores(base));
  await stateMachine.load();
  let identity = identityOf(base, seed);
  opened.add("service", async () => deps.transport.serve(stoppedNode));
  serveStarting(base, identity);
  atStep();
  const nodes = knownNodes(stateMachine.state, seed);
  const log = await readLog(base, nodes, signal);
  base.lastEntry = log.lastEntry;
  atStep();
  // Before anything is done with VMs or in the name of this node.
  await checkStore(base, log, nodes, identity, signal).catch(async (error: unknown) => {
    if (errorCodeOf(error) === "REMOVED") await stopLeftVms(base);
    throw error;
  });
  atStep();
  const vmManager = await deps.startVmManager();
  opened.add("VM manager", (closing) => vmManager.close(closing));
  atStep();
  const admitted = await beAdmitted(base, how, vmManager.capacity, signal);
  atStep();
  identity = identityOf(base, admitted);
  // Before the member list: the transport tells the others the incarnation when it connects.
  serveStarting(base, identity);
  if (admitted?.nodes !== undefined) deps.transport.setPeers(peersOf(admitted.nodes, options.nodeId));
  const { raft, gate } = await openRaft(base, log.store, how, admitted);
  opened.add("Raft gate", async () => gate.close());
  // Raft closes the stores that it runs on.
  releaseStores();
  opened.add("Raft", () => raft.close());
  atStep();
  const parts = composeParts(base, { vmManager, raft, identity }, admitted);
  const router = serve(base, parts);
  opened.add("open streams", async () => router.close());
  if (how.mode === "bootstrap") await writeFirstEntries(base, parts, how, signal);
  atStep();
  base.lifecycle.assertServing();
  const { onRemoved } = base;
  const duties = startDuties({ deps, parts, router, gate, seedNodes: admitted?.nodes ?? [], onRemoved });
  opened.add("duties", () => duties.stop());
  return new RunningNode({ parts, router, lifecycle: base.lifecycle, duties, opened });
}

function createBase(deps: ClusterNodeDeps, given: ClusterNodeOptions, abortStart: (error: unknown) => void) {
  const options = resolveClusterNodeOptions(given, () => deps.transport.addresses());
  const metrics = bindClusterMetrics(deps.metrics);
  const { hashWindow, requestWindow, featureLevel } = options;
  const codec = createCommandCodec(commands, understoodLevel(featureLevel));
  const stateMachine = createClusterStateMachine(deps.stateStore, deps.sha256, { hashWindow, requestWindow, codec });
  const lifecycle = new NodeLifecycle(deps.logger);
  const onFatal = (error: unknown): void => {
    lifecycle.becomeFailed(error);
    abortStart(error);
    deps.onFatal(error);
  };
  return {
    deps,
    options,
    metrics,
    stateMachine,
    lifecycle,
    budgets: new MemberBudgets(
      { ...deps, exceeded: metrics.exceededBudgets, nodeId: options.nodeId, state: () => stateMachine.state },
      options.memberBudgets,
    ),
    peerPromises: new PeerPromises(() => stateMachine.state, deps.transport, metrics.startChecks),
    peerCalls: new PeerCalls({ ...deps, nodeId: options.nodeId, state: () => stateMachine.state }),
    newerStartClaims: new NewerStartClaims({
      ...{ clock: deps.clock, logger: deps.logger, metrics, nodeId: options.nodeId },
      otherVoters: () => otherVoters([...stateMachine.state.nodes.values()], options.nodeId),
      onReplaced: onFatal,
    }),
    onRemoved: lifecycle.becomeRemoved.bind(lifecycle),
    onFatal,
  };
}

async function closeStores({ stateMachine, deps }: Base): Promise<void> {
  await Promise.allSettled([stateMachine.close(), deps.log.close(), deps.snapshots.close()]);
}

function identityOf({ stateMachine, options }: Base, admitted: Admitted | undefined): () => NodeIdentity {
  return () => {
    const { cluster, nodes } = stateMachine.state;
    const recorded = nodes.get(nodeKey(options.nodeId))?.incarnation ?? 1;
    return {
      clusterId: cluster.get(clusterKey)?.clusterId ?? admitted?.clusterId ?? "",
      // While the log is replayed, the record here may still be that of an earlier incarnation.
      incarnation: Math.max(recorded, admitted?.incarnation ?? 1),
    };
  };
}

function serveStarting(base: Base, identity: () => NodeIdentity): void {
  const { deps } = base;
  deps.transport.serve(startingOf(base, identity, undefined));
}

/** `heldBack` says why; undefined while the start goes on. */
function startingOf(base: Base, identity: () => NodeIdentity, heldBack: HeldBack | undefined): StartingNode {
  const { options, deps } = base;
  const handlers: StartingHandlers = {
    "node.verify": verifyHandler(base.peerPromises, () => notRunningRaft, {
      confirm: async () => false,
      lastEntry: () => base.lastEntry,
    }),
  };
  const held = heldBack && {
    reason: heldBack.reason,
    "status.get": async () => startingStatus({ ...base, transport: deps.transport, identity, heldBack }),
    "identity.get": async () => whoAnswers({ ...base, transport: deps.transport, identity }),
  };
  return startingNode({ ...servedDeps(base, identity), options, clock: deps.clock, heldBack: held }, handlers);
}

/** From now on this node says why it does not go on with its start. */
function serveHeldBack(base: Base, identity: () => NodeIdentity, heldBack: HeldBack): void {
  const { deps, stateMachine } = base;
  const node = startingOf(base, identity, heldBack);
  deps.transport.serve(node);
  deps.onHeldBack?.({
    reason: heldBack.reason,
    call: node.answer,
    authenticate: (token) => tokenHolder(stateMachine.state, deps, token),
  });
}

function servedDeps({ deps, stateMachine, newerStartClaims }: Base, identity: () => NodeIdentity): ServedNodeDeps {
  return { stateMachine, identity, store: deps.store, newerStartClaims };
}

function readLog(base: Base, nodes: readonly NodeRecord[], signal: AbortSignal): Promise<LoadedLog> {
  const { deps, options, peerCalls } = base;
  return loadLog(deps, {
    repairFrom: peerLogSource({ ...deps, peerCalls }, { nodeId: options.nodeId, nodes, signal }),
    trailingEntries: options.raft.trailingEntries ?? raftDefaults.trailingEntries,
  });
}

async function checkStore(
  base: Base,
  log: LoadedLog,
  nodes: readonly NodeRecord[],
  identity: () => NodeIdentity,
  signal: AbortSignal,
): Promise<void> {
  const { deps, options, peerCalls } = base;
  const { store, transport } = deps;
  if (store === undefined || nodes.length === 0) return;
  const instance = transport.instance === undefined ? {} : { instance: transport.instance };
  const { incarnation } = identity();
  const request = { nodeId: options.nodeId, incarnation, ...store, ...instance, ...log.end };
  const onHeldBack = (reason: string) => serveHeldBack(base, identity, { reason, ...log.end });
  const onRefused = (by: readonly number[]) => {
    base.peerPromises.refusedBy = by;
  };
  await checkWithPeers({ ...deps, peerCalls, onHeldBack, onRefused }, nodes, request, log.lastEntry, signal);
  // Nobody is told any more that it is held back.
  serveStarting(base, identity);
}

/** The cluster does not know the VMs of a removed node any more: nobody could ever stop what an earlier start left running. */
async function stopLeftVms({ deps }: Base): Promise<void> {
  try {
    await (await deps.startVmManager()).close({ stopVms: true });
  } catch (error) {
    deps.logger.log("error", "the VMs that this node left running could not be stopped", { error: messageOf(error) });
  }
}

/** What the cluster says, or has said, when it admitted this node; undefined when only the state knows. */
async function beAdmitted(
  { deps, options, stateMachine }: Base,
  how: StartMode,
  capacity: NodeCapacity,
  signal: AbortSignal,
): Promise<Admitted | undefined> {
  switch (how.mode) {
    case "bootstrap":
      return { clusterId: how.clusterId, incarnation: 1 };
    case "resume":
      return how.seed;
    case "join": {
      if (stateMachine.state.cluster.has(clusterKey)) return undefined;
      const seed = await requestJoin(deps, how.target, joinerOf(deps, options, how, capacity), {
        timeoutMs: how.timeoutMs ?? joinTimeoutMsDefault,
        ...(how.onPending === undefined ? {} : { onPending: how.onPending }),
        ...(how.onAttempt === undefined ? {} : { onAttempt: how.onAttempt }),
        signal,
      });
      await how.onAdmitted(seed);
      return seed;
    }
    default:
      return how satisfies never;
  }
}

async function openRaft(
  { deps, options, stateMachine, metrics, peerCalls, peerPromises, budgets, onFatal }: Base,
  log: LogStore,
  how: StartMode,
  admitted: Admitted | undefined,
): Promise<{ readonly raft: RaftNode<AppliedCommand>; readonly gate: RaftGate }> {
  const id = asNodeId(options.nodeId);
  const { index, term } = admitted?.admission ?? {};
  let raft: RaftNode<AppliedCommand> | undefined;
  const gate = new RaftGate({
    ...{ ...deps, stateMachine, peerCalls, budgets, nodeId: id, seed: admitted, refused: metrics.refusedMessages },
    raft: () => (raft === undefined ? notOpenYet : viewOf(raft)),
  });
  raft = await openRaftNode<AppliedCommand>(
    { ...deps, log, stateMachine, transport: peerPromises.listen(gate.guard(deps.transport.peers)), onFatal },
    {
      // Calls are forwarded to the leader as a whole, because it decides what is proposed: never the proposals themselves.
      ...{ ...options.raft, forwardProposals: false, id },
      ...(how.mode === "bootstrap" ? { bootstrap: { voters: [id] } } : {}),
      ...(index === undefined || term === undefined
        ? {}
        : { admission: { index: asLogIndex(index), term: asTerm(term) } }),
    },
  );
  return { raft, gate };
}

const viewOf = (raft: RaftNode<AppliedCommand>): RaftGateView => ({
  status: raft.status.value,
  unappliedChanges: () => raft.unappliedChanges(),
});

/** Messages that arrive while Raft is opened. */
const notOpenYet: RaftGateView = {
  status: { term: asTerm(0), leaderId: noNode, appliedIndex: asLogIndex(0), confState: emptyConfState() },
  unappliedChanges: () => [],
};

function composeParts(
  base: Base,
  opened: Pick<NodeParts, "vmManager" | "raft" | "identity">,
  admitted: Admitted | undefined,
): NodeParts {
  const { deps, options, stateMachine, metrics, peerCalls, peerPromises, budgets } = base;
  const { clock, random, logger, sha256, ticketCrypto, transport } = deps;
  const { rightsWithoutLeaderMs } = options;
  const leaderContact = new LeaderContact({ clock, status: opened.raft.status, rightsWithoutLeaderMs });
  const healthy = () => ({ healthy: true, lastError: null, corruptions: 0, repairs: 0 });
  return {
    ...opened,
    ...{ clock, random, logger, metrics, sha256, ticketCrypto, options, transport },
    ...{ stateMachine, peerCalls, peerPromises, budgets, leaderContact },
    leases: new LeaseBook(options),
    reservations: new Set(),
    certificates: deps.certificates ?? noCertificates,
    localJoins: deps.localJoins ?? noLocalJoins,
    ...{ signatures: deps.signatures, sealing: deps.sealing, keyRotation: deps.keyRotation },
    bulkRoutes: deps.bulkRoutes ?? (() => []),
    storageHealth: deps.storageHealth ?? healthy,
    proposals: createProposals({ clock, stateMachine, budgets, raft: opened.raft }),
    addressBook: new AddressBook({
      ...{ clock, logger, metrics, signatures: deps.signatures },
      own: {
        ...{ nodeId: options.nodeId, endpointId: transport.endpointId, starts: deps.store?.starts ?? 0 },
        ...{ identity: opened.identity, addresses: options.advertisedAddresses },
      },
      clusterLevel: () => clusterLevel(stateMachine.state),
      members: () => knownNodes(stateMachine.state, admitted),
    }),
  };
}

function serve(base: Base, parts: NodeParts): CallRouter {
  const { deps, lifecycle } = base;
  const router = new CallRouter({ parts, ...createServices(parts) });
  deps.transport.serve(servingNode({ ...servedDeps(base, parts.identity), router, lifecycle }));
  return router;
}

/** The first entries of a new cluster. After a crash between them, the next bootstrap goes on. */
async function writeFirstEntries(
  { deps, options, stateMachine }: Base,
  { clock, raft, proposals, vmManager }: NodeParts,
  how: How<"bootstrap">,
  signal: AbortSignal,
): Promise<void> {
  const hasState = () => stateMachine.state.cluster.has(clusterKey);
  if (hasState()) return;
  const body = firstCommand(deps, options, how, vmManager);
  await withTimeLimit(clock, initTimeoutMs, signal, async (limited) => {
    await raft.status.until((status) => status.ready, { signal: limited });
    if (hasState()) return;
    const call = { meta: nodeMeta(options.nodeId, "", initTimeoutMs), signal: limited };
    // A new cluster has the level of its first node, which writes its record at that level.
    const level = understoodLevel(options.featureLevel);
    if (level > clusterLevel(stateMachine.state)) await proposals.propose({ type: "cluster.setLevel", level }, call);
    await proposals.propose(body, call);
  });
  // The next start reads from the state which cluster this is, before it has a log to apply.
  await stateMachine.flush();
}
