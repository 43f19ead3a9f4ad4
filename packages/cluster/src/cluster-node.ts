/**
 * One node of a cluster, composed from its ports: the replicated state over Raft, the service that answers calls, the
 * duties of a leader and those of every node.
 *
 *     new -> starting -> serving -> closed
 *               |           +-----> removed (the others let this node go)
 *               +-------> failed  <-+ (a store failed or an invariant broke)
 */
import {
  assert,
  type BlixardError,
  firstOf,
  isBlixardError,
  linkSignal,
  notApplied,
  pauseFor,
  toBlixardError,
  Watch,
  withTimeLimit,
} from "@blixard/common";
import {
  type CallMeta,
  commands,
  createCommandCodec,
  decodeServiceCall,
  encodeServiceResponse,
  type MethodName,
  methods,
  type NodeCapacity,
  type NodeRecord,
  type RequestOf,
  type ResponseOf,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
  understoodLevel,
} from "@blixard/protocol";
import {
  asLogIndex,
  asNodeId,
  asTerm,
  type LogStore,
  openRaftNode,
  type RaftNode,
  trailingEntriesDefault,
} from "@blixard/raft";
import type { VmManager } from "@blixard/vm-manager";
import { CallRouter } from "./calls/call-router.ts";
import type { StreamScope } from "./calls/call-types.ts";
import { nodeMeta, PeerCalls } from "./calls/peer-calls.ts";
import type {
  AuthenticatedCaller,
  ClusterNode,
  ClusterNodeDeps,
  Lifecycle,
  Readiness,
  StartMode,
} from "./cluster-node-types.ts";
import { type ClusterStateMachine, createClusterStateMachine } from "./cluster-state-machine.ts";
import type { LoopDeps } from "./duties/background-loop.ts";
import { countState } from "./duties/count-state.ts";
import { LeaderDuties } from "./duties/leader-duties.ts";
import { MembershipDuty, peersOf } from "./duties/membership-duty.ts";
import { VmDuty } from "./duties/vm-duty.ts";
import { type ClusterMetrics, declareClusterMetrics } from "./metrics.ts";
import { type ClusterNodeOptions, type ResolvedClusterNodeOptions, resolveClusterNodeOptions } from "./options.ts";
import { createAddressBook } from "./peers/address-book.ts";
import { PeerMemory } from "./peers/peer-promises.ts";
import type { IncomingCall, IncomingStream } from "./ports/cluster-transport.ts";
import { statusOf } from "./services/cluster.ts";
import { createServices } from "./services/handlers.ts";
import { bestSuccessor } from "./services/member.ts";
import { PendingJoins } from "./services/pending-joins.ts";
import { propose } from "./services/propose.ts";
import type { ServiceContext } from "./services/service-context.ts";
import { tokenHolder } from "./services/token.ts";
import { type JoinSeed, requestJoin } from "./start/join-flow.ts";
import { type LoadedLog, loadLog } from "./start/loaded-log.ts";
import { peerLogSource } from "./start/peer-log-source.ts";
import { firstCommand, joinerOf } from "./start/self-description.ts";
import { checkWithPeers, knownNodes } from "./start/start-check.ts";
import type { AppliedCommand } from "./state-machine/apply-command.ts";
import { clusterLevel } from "./state-machine/level.ts";
import { clusterKey, nodeKey, tokenOfKey } from "./state-machine/state.ts";
import type { ClusterState } from "./state-machine/types.ts";

const joinTimeoutMsDefault = 30_000;
const handOverMsDefault = 2_000;
const initTimeoutMs = 30_000;
const readTryMs = 5_000;

export function createClusterNode(deps: ClusterNodeDeps, options: ClusterNodeOptions): ClusterNode {
  return new Node(deps, options);
}

/** What exists once Raft runs. */
interface Engine {
  readonly raft: RaftNode<AppliedCommand>;
  readonly context: ServiceContext;
  readonly router: CallRouter;
}

class Node implements ClusterNode {
  readonly #deps: ClusterNodeDeps;
  readonly #options: ResolvedClusterNodeOptions;
  readonly #ownKey: string;
  readonly #metrics: ClusterMetrics;
  readonly #stateMachine: ClusterStateMachine;
  readonly #stop = new AbortController();
  readonly #lifecycle = new Watch<Lifecycle>({ phase: "new" });
  readonly #caughtUp = new Watch(false);
  readonly #memory: PeerMemory;
  readonly #peerCalls: PeerCalls;
  #vmManager: VmManager | undefined;
  #engine: Engine | undefined;
  #seed: (Pick<JoinSeed, "clusterId" | "incarnation" | "admission"> & Partial<Pick<JoinSeed, "nodes">>) | undefined;
  #duties: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(deps: ClusterNodeDeps, options: ClusterNodeOptions) {
    this.#deps = deps;
    this.#options = resolveClusterNodeOptions(options, () => deps.transport.addresses());
    this.#ownKey = nodeKey(options.nodeId);
    this.#metrics = declareClusterMetrics(deps.metrics);
    this.#memory = new PeerMemory(() => this.state, deps.transport, this.#metrics.startChecks);
    this.#peerCalls = new PeerCalls({ ...deps, nodeId: options.nodeId });
    const { hashWindow, requestWindow, featureLevel } = this.#options;
    const codec = createCommandCodec(commands, understoodLevel(featureLevel));
    this.#stateMachine = createClusterStateMachine(deps.stateStore, deps.sha256, { hashWindow, requestWindow, codec });
  }

  get state(): ClusterState {
    return this.#stateMachine.state;
  }

  get incarnation(): number {
    // While the log is replayed, the record here may still be that of an earlier incarnation.
    return Math.max(this.state.nodes.get(this.#ownKey)?.incarnation ?? 1, this.#seed?.incarnation ?? 1);
  }

  get lifecycle(): ClusterNode["lifecycle"] {
    return this.#lifecycle;
  }

  async start(how: StartMode, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { phase: before } = this.#lifecycle.value;
    assert(before === "new", "a cluster node starts once");
    this.#lifecycle.set({ phase: "starting" });
    try {
      await this.#stateMachine.load();
      const seed = how.mode === "resume" ? how.seed : undefined;
      this.#seed ??= seed;
      const sources = { nodeId: this.#options.nodeId, nodes: knownNodes(this.state, seed), ...options };
      const log = await loadLog(this.#deps, {
        repairFrom: peerLogSource({ ...this.#deps, peerCalls: this.#peerCalls }, sources),
        trailingEntries: this.#options.raft.trailingEntries ?? trailingEntriesDefault,
      });
      // Before anything is done with VMs or in the name of this node.
      await this.#checkStore(log, seed, options.signal);
      this.#assertOpen();
      const vmManager = await this.#startVmManager();
      this.#assertOpen();
      if (how.mode === "join" && !this.#hasState()) await this.#join(how, vmManager.capacity, options.signal);
      if (seed !== undefined) this.#takeSeed(seed);
      if (how.mode === "bootstrap") this.#seed = { clusterId: how.clusterId, incarnation: 1 };
      this.#assertOpen();
      const engine = await this.#openEngine(log.store, vmManager, how.mode === "bootstrap");
      this.#engine = engine;
      this.#assertOpen();
      if (how.mode === "bootstrap" && !this.#hasState()) await this.#initCluster(engine, how, options.signal);
      this.#assertOpen();
      this.#startDuties(engine);
      if (this.#lifecycle.value.phase === "starting") this.#lifecycle.set({ phase: "serving" });
    } catch (error) {
      this.#fail(error);
      // A close that came before Raft ran could not close it.
      if (this.#closing !== undefined) await this.#engine?.raft.close();
      throw error;
    }
  }

  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<ResponseOf<Name>> {
    return this.#serve((engine) => engine.router.call(name, request, meta, options));
  }

  handleRpc(call: IncomingCall, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#engine === undefined && call.method === "node.verify" && this.#hasState()) return this.#verifyEarly(call);
    return this.#serve((engine) => engine.router.handleRpc(call, signal));
  }

  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    return this.#serve((engine) => engine.router.stream(name, request, meta, scope));
  }

  handleRpcStream(call: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#serve((engine) => engine.router.handleRpcStream(call, signal));
  }

  async authenticate(token: string): Promise<AuthenticatedCaller | undefined> {
    return tokenHolder(this.state, this.#deps.sha256, token);
  }

  isGuest(endpointId: string): boolean {
    return tokenOfKey(this.state, endpointId) !== undefined;
  }

  status() {
    return statusOf(this.#running().context);
  }

  ready(): Readiness {
    const { phase, error } = this.#lifecycle.value;
    if (phase !== "serving") return { ready: false, reason: error?.message ?? `the node is ${phase}` };
    if (this.#running().raft.status.value.leaderId === 0) return { ready: false, reason: "no leader is known" };
    if (!this.#caughtUp.value) return { ready: false, reason: "the node is catching up with the leader" };
    return { ready: true, reason: "" };
  }

  async untilReady(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { phase, error } = await this.#lifecycle.until(
      (now) => now.phase !== "new" && now.phase !== "starting",
      options,
    );
    if (phase !== "serving") throw error ?? stopped();
    const link = linkSignal(options.signal);
    const { raft } = this.#running();
    const followed = async (signal: AbortSignal) => {
      await this.#caughtUp.until((caughtUp) => caughtUp, { signal });
      await raft.status.until((status) => status.leaderId !== 0, { signal });
    };
    try {
      await firstOf(link.signal, (signal) => [
        followed(signal),
        this.#lifecycle.until((now) => now.phase !== "serving", { signal }),
      ]);
    } finally {
      link.release();
    }
    const now = this.#lifecycle.value;
    if (now.phase !== "serving") throw now.error ?? stopped();
  }

  isLeader(): boolean {
    return this.#engine?.raft.status.value.ready === true;
  }

  async shutdown(options: { readonly handOverMs?: number; readonly stopVms?: boolean } = {}): Promise<void> {
    const engine = this.#engine;
    const successor = engine !== undefined && this.isLeader() ? bestSuccessor(engine.context) : undefined;
    if (engine !== undefined && successor !== undefined) {
      const limitMs = options.handOverMs ?? handOverMsDefault;
      try {
        await withTimeLimit(this.#deps.clock, limitMs, this.#stop.signal, (signal) =>
          engine.raft.transferLeader(asNodeId(successor), { signal }),
        );
      } catch (error) {
        this.#deps.logger.log("warn", "leadership could not be handed over", { error: String(error) });
      }
    }
    await this.close(options);
  }

  close(options: { readonly stopVms?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(options: { readonly stopVms?: boolean }): Promise<void> {
    this.#stop.abort(stopped());
    this.#engine?.router.close();
    await this.#duties;
    const { error } = this.#lifecycle.value;
    this.#lifecycle.set({ phase: "closed", ...(error === undefined ? {} : { error }) });
    await this.#vmManager?.close(options);
    if (this.#engine !== undefined) return this.#engine.raft.close();
    // Raft closes its ports; without it they are still open.
    await Promise.allSettled([this.#stateMachine.close(), this.#deps.log.close(), this.#deps.snapshots.close()]);
  }

  /** Known from the moment on that it runs, so that a close in the middle of the start closes it too. */
  async #startVmManager(): Promise<VmManager> {
    const vmManager = await this.#deps.startVmManager();
    this.#vmManager = vmManager;
    if (this.#closing !== undefined) await vmManager.close();
    return vmManager;
  }

  /** A close in the middle of the start ends it at the next step. */
  #assertOpen(): void {
    if (this.#closing !== undefined) throw stopped();
  }

  #hasState(): boolean {
    return this.state.cluster.has(clusterKey);
  }

  #takeSeed(seed: JoinSeed): void {
    this.#seed = seed;
    this.#deps.transport.setPeers(peersOf(seed.nodes, this.#options.nodeId));
  }

  /** Asks the others, unless the cluster has just admitted this very store. */
  async #checkStore(log: LoadedLog, seed: JoinSeed | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { store, transport } = this.#deps;
    const nodes = knownNodes(this.state, seed);
    if (store === undefined || nodes.length === 0) return;
    const { incarnation } = this.#identity();
    const instance = transport.instance === undefined ? {} : { instance: transport.instance };
    const request = { nodeId: this.#options.nodeId, incarnation, ...store, ...instance, ...log.end };
    await checkWithPeers({ ...this.#deps, peerCalls: this.#peerCalls }, nodes, request, signal);
  }

  /** Nodes that start together answer each other from what they have on disk; otherwise each would wait in vain. */
  async #verifyEarly({ payload, remote }: IncomingCall): Promise<Uint8Array> {
    const parsed = methods["node.verify"].request.parse(decodeServiceCall(payload).request);
    if (this.state.nodes.get(nodeKey(parsed.nodeId))?.endpointId !== remote.endpointId) {
      throw notApplied("UNKNOWN_PEER", "only members may call this");
    }
    return encodeServiceResponse(this.#memory.judge(parsed));
  }

  async #join(
    how: Extract<StartMode, { readonly mode: "join" }>,
    capacity: NodeCapacity,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const joiner = joinerOf(this.#deps, this.#options, how, capacity);
    const timeoutMs = how.timeoutMs ?? joinTimeoutMsDefault;
    const seed = await requestJoin(this.#deps, how.target, joiner, {
      timeoutMs,
      ...(how.onPending === undefined ? {} : { onPending: how.onPending }),
      ...(signal === undefined ? {} : { signal }),
    });
    await how.onAdmitted(seed);
    this.#takeSeed(seed);
  }

  async #openEngine(log: LogStore, vmManager: VmManager, bootstrap: boolean): Promise<Engine> {
    const { deps, options } = { deps: this.#deps, options: this.#options };
    const id = asNodeId(options.nodeId);
    const admission = this.#seed?.admission;
    // Calls are forwarded to the leader as a whole, because it decides what is proposed: never the proposals themselves.
    const raft = await openRaftNode<AppliedCommand>(
      {
        ...deps,
        log,
        stateMachine: this.#stateMachine,
        transport: this.#memory.listen(deps.transport.peers),
        onFatal: (error) => {
          this.#fail(error);
          deps.onFatal(error);
        },
      },
      {
        ...{ forwardProposals: false, ...options.raft, id },
        ...(bootstrap ? { bootstrap: { voters: [id] } } : {}),
        ...(admission === undefined
          ? {}
          : { admission: { index: asLogIndex(admission.index), term: asTerm(admission.term) } }),
      },
    );
    const healthy = () => ({ healthy: true, lastError: null, corruptions: 0, repairs: 0 });
    const context: ServiceContext = {
      ...deps,
      vmManager,
      stateMachine: this.#stateMachine,
      raft,
      options,
      identity: () => this.#identity(),
      peerMemory: this.#memory,
      peerCalls: this.#peerCalls,
      addressBook: createAddressBook(deps, options, () => this.state.nodes.values()),
      storageHealth: deps.storageHealth ?? healthy,
      reservations: new Set(),
      pendingJoins: new PendingJoins(deps.clock, this.#metrics),
    };
    const router = new CallRouter({
      context,
      metrics: this.#metrics,
      ...createServices(context),
      onRemoved: (error) => this.#removed(error),
    });
    return { raft, context, router };
  }

  #identity() {
    const clusterId = this.state.cluster.get(clusterKey)?.clusterId ?? this.#seed?.clusterId ?? "";
    return { clusterId, incarnation: this.incarnation };
  }

  /** The first entries of a new cluster. After a crash between them, the next bootstrap goes on. */
  async #initCluster(
    engine: Engine,
    how: Extract<StartMode, { readonly mode: "bootstrap" }>,
    outer: AbortSignal | undefined,
  ): Promise<void> {
    const body = firstCommand(this.#deps, this.#options, how, engine.context.vmManager);
    await withTimeLimit(this.#deps.clock, initTimeoutMs, outer ?? this.#stop.signal, async (limited) => {
      await engine.raft.status.until((status) => status.ready, { signal: limited });
      if (this.#hasState()) return;
      const meta = nodeMeta(this.#options.nodeId, "", initTimeoutMs);
      // A new cluster has the level of its first node, which writes its record at that level.
      const level = understoodLevel(this.#options.featureLevel);
      const raised = { type: "cluster.setLevel", level } as const;
      if (level > clusterLevel(this.state)) await propose(engine.context, raised, { meta, signal: limited });
      await propose(engine.context, body, { meta, signal: limited });
    });
  }

  #startDuties(engine: Engine): void {
    const { context, router } = engine;
    const { capacity } = context.vmManager;
    const { signal } = this.#stop;
    const { clock, logger } = this.#deps;
    const loop: LoopDeps = { clock, logger, metrics: this.#metrics, retryDelayMs: this.#options.retryDelayMs };
    const caughtUp = async (waiting: AbortSignal) => {
      await this.#caughtUp.until((value) => value, { signal: waiting });
    };
    const onRemoved = (error: BlixardError) => this.#removed(error);
    const seedNodes = this.#seed?.nodes ?? [];
    const { store, finders = [] } = this.#deps;
    const onMembers = (nodes: readonly NodeRecord[]) => this.#tellMembers(nodes);
    const duty = { context, router, loop, capacity, finders, seedNodes, store, onMembers, onRemoved, caughtUp };
    this.#duties = Promise.all([
      this.#catchUp(engine, signal),
      new LeaderDuties(context, this.#metrics).run(signal),
      new VmDuty(context, router, loop, caughtUp).run(signal),
      new MembershipDuty(duty).run(signal),
      countState(loop, this.#stateMachine, this.#metrics, signal),
    ]);
  }

  #tellMembers(nodes: readonly NodeRecord[]): void {
    const { nodeId } = this.#options;
    const own = nodes.find((node) => node.id === nodeId);
    if (own === undefined) return;
    const { role, incarnation } = own;
    this.#deps.onMembers?.({ clusterId: this.#identity().clusterId, nodeId, role, incarnation, nodes });
  }

  /** Reads once through the leader: from then on the state here is at least as new as this start. */
  async #catchUp(engine: Engine, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted && !this.#caughtUp.value) {
      try {
        await withTimeLimit(clock, readTryMs, signal, (limited) => engine.raft.readIndex({ signal: limited }));
        this.#caughtUp.set(true);
      } catch {
        // No leader yet, or no quorum: what is not known to be true is not acted on.
        await pauseFor(clock, this.#options.retryDelayMs, signal);
      }
    }
  }

  async #serve<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
    const { phase, error } = this.#lifecycle.value;
    if (phase === "removed" || phase === "failed") throw error ?? stopped();
    if (phase === "closed" || this.#closing !== undefined) throw stopped();
    return work(this.#running());
  }

  #running(): Engine {
    if (this.#engine !== undefined) return this.#engine;
    throw notApplied("UNAVAILABLE", "the node is starting", { hint: "Try again soon." });
  }

  #removed(error: BlixardError): void {
    const { phase } = this.#lifecycle.value;
    if (phase !== "serving" && phase !== "starting") return;
    this.#deps.logger.log("warn", "this node is no member of the cluster any more");
    this.#lifecycle.set({ phase: "removed", error });
  }

  #fail(error: unknown): void {
    const { phase } = this.#lifecycle.value;
    if (phase === "closed" || phase === "failed") return;
    const failure = isBlixardError(error) ? error : toBlixardError(error, "INTERNAL", "the node stopped");
    this.#lifecycle.set({ phase: "failed", error: failure });
  }
}

function stopped(): BlixardError {
  return notApplied("STOPPED", "the node is stopping");
}
