/**
 * One member of a Raft group: the loop that drives the core over its ports.
 *
 *     proposals, reads --+                             +-> AppendPipeline -> LogStore (fsync)
 *     peer messages -----+-> inbox -> core -> Ready ---+-> PeerTransport, at once
 *     ticks, completions +                             +-> Applier -> StateMachine
 *
 * The loop owns the core and all its parts. Calls and messages from outside only enqueue. A turn takes the whole inbox
 * before it asks for a Ready, and a leader takes no proposals while its log is being written, so that everything that
 * waits shares the next write and the next messages (group commit).
 */
import { BlixardError, BoundedQueue, errorCodeOf, linkSignal, messageOf, notApplied, Watch } from "@blixard/common";
import { coalesce } from "./coalesce.ts";
import type { RaftEvent } from "./core/events.ts";
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type LogIndex,
  type Message,
  type NodeId,
  noNode,
  type Ready,
  type SoftState,
  type Status,
} from "./core/types.ts";
import type { AppendedJobs } from "./disk/append-pipeline.ts";
import { bestSuccessor, DiskGuard, healthierSuccessor } from "./disk/disk-watch.ts";
import type { LogCache } from "./disk/log-cache.ts";
import { type Recovered, recover } from "./disk/recovery.ts";
import { dropReason } from "./drop-reason.ts";
import { createEngine, type Engine } from "./engine.ts";
import { handOver, leave } from "./leadership.ts";
import { LoopTicks, stretchMaxOf } from "./loop-ticks.ts";
import { LoopTurns } from "./loop-turns.ts";
import { MemberChanges } from "./membership/member-changes.ts";
import { bindRaftMetrics, type RaftMetrics, setStatusMetrics, setTickMetrics } from "./metrics.ts";
import { NodeEvents, type RaftNodeEvent } from "./node-events.ts";
import { isCurrent, type StatusSource, statusOf } from "./node-status.ts";
import { type RaftNodeOptions, type ResolvedOptions, resolveOptions, ticksOf } from "./options.ts";
import type { AppliedState, PeerMessage } from "./ports.ts";
import { type AppliedBatch, type ProposalPayload, ProposalTable } from "./proposals/proposal-table.ts";
import type {
  AddOptions,
  Applied,
  CloseOptions,
  ConfChangeOptions,
  RaftNode,
  RaftNodeDeps,
  RaftNodeStatus,
  ReadOptions,
  SignalOptions,
} from "./raft-node-types.ts";

/**
 * Opens the ports, finishes what a crash interrupted and starts the loop. The node that this resolves with takes part
 * in the group, and its `close` closes the ports. When this rejects, the caller has to close them.
 * @throws INVALID_ARGUMENT when options contradict each other, STORAGE_CORRUPT when the stores do
 */
export async function openRaftNode<Result>(
  deps: RaftNodeDeps<Result>,
  options: RaftNodeOptions,
): Promise<RaftNode<Result>> {
  const resolved = resolveOptions(options);
  const recovered = await recover(deps, resolved);
  return new RaftNodeLoop(deps, resolved, recovered);
}

type Inbound = { readonly from: NodeId; readonly message: PeerMessage };

/** Refusals of the core that say nothing about this node's health. */
const harmlessCodes: readonly unknown[] = ["PROPOSAL_DROPPED", "STEP_PEER_NOT_FOUND", "STEP_LOCAL_MSG"];

class RaftNodeLoop<Result> implements RaftNode<Result> {
  readonly status: Watch<RaftNodeStatus>;
  readonly #deps: RaftNodeDeps<Result>;
  readonly #options: ResolvedOptions;
  readonly #metrics: RaftMetrics;
  readonly #proposals: ProposalTable<Result>;
  readonly #disk: DiskGuard;
  readonly #inbox: BoundedQueue<Inbound>;
  readonly #events = new NodeEvents();
  readonly #turns = new LoopTurns(() => this.#runTurn());
  readonly #members: MemberChanges;
  /** Aborts when the node stops. */
  readonly #stopping = new AbortController();
  readonly #engine: Engine<Result>;
  #phase: "running" | "closed" | "failed" = "running";
  #failure: BlixardError | undefined;
  readonly #ticks: LoopTicks;
  #softState: SoftState = { lead: noNode, role: "StateFollower" };
  #hardState: HardState;

  constructor(deps: RaftNodeDeps<Result>, options: ResolvedOptions, { cache, applied }: Recovered) {
    this.#deps = deps;
    this.#options = options;
    this.#metrics = bindRaftMetrics(deps.metrics);
    this.#proposals = new ProposalTable(
      { countMax: options.proposalsInFlightMax, bytesMax: options.proposalBytesInFlightMax },
      {
        nowMs: () => deps.clock.monotonicMs(),
        onOutcome: (outcome, durationMs) => {
          this.#metrics.proposals.add(1, { outcome });
          this.#metrics.proposalDuration.observe(durationMs / 1_000);
        },
      },
    );
    this.#members = new MemberChanges({
      clock: deps.clock,
      status: () => this.status.value,
      coreStatus: () => this.coreStatus(),
      isActive: (id) => this.#engine.activity.isActive(id),
      propose: (change, changeOptions) => this.proposeConfChange(change, changeOptions),
      onProgress: (id, progress) => this.#events.emit({ type: "memberProgress", id, progress }),
      pollIntervalMs: options.tickIntervalMs,
      electionTimeoutMs: options.electionTimeoutMs,
    });
    this.#disk = new DiskGuard(options, {
      logger: deps.logger,
      onEvent: (event) => this.#events.emit(event),
      leads: () => this.#softState.role === "StateLeader",
      stepDown: () => this.#giveUpLeadership(),
    });
    this.#inbox = new BoundedQueue(options.inboxMessagesMax);
    this.#hardState = cache.initialState().hardState;
    this.#proposals.skippedTo(applied.index, applied.term);
    this.#engine = this.#createEngine(cache, applied);
    this.status = new Watch(statusOf(this.#statusSource));
    this.#ticks = this.#startTicks();
    deps.transport.bind({
      onMessage: (from, message) => this.#enqueue({ from, message }),
      onUnreachable: (id) => this.#post(() => this.#engine.core.reportUnreachable(id)),
    });
    this.#post(() => this.#campaignWhenAlone(applied.confState));
  }

  #createEngine(cache: LogCache, applied: AppliedState): Engine<Result> {
    return createEngine<Result>(
      this.#deps,
      this.#options,
      { cache, applied, metrics: this.#metrics, proposals: this.#proposals },
      {
        post: (task) => this.#post(task),
        onError: (error) => this.#fail(error),
        onEvent: (event) => this.#events.emit(event),
        onCoreEvent: (event) => this.#onCoreEvent(event),
        onApplied: (batch, message) => this.#onApplied(batch, message),
        onAppended: (done) => this.#onAppended(done),
        onSnapshotReceived: (message) => this.#step(message),
        hardState: () => this.#hardState,
      },
    );
  }

  // The calls of users. Each only enqueues.
  propose(data: Uint8Array, options: SignalOptions = {}): Promise<Applied<Result>> {
    if (data.length === 0) {
      return Promise.reject(new BlixardError("INVALID_ARGUMENT", "an empty entry means a new leader, not a proposal"));
    }
    return new Promise((resolve, reject) => this.#propose({ kind: "normal", data, resolve }, reject, options));
  }

  proposeConfChange(change: ConfChange, options: ConfChangeOptions = {}): Promise<ConfState> {
    return new Promise((resolve, reject) => this.#propose({ kind: "confChange", change, resolve }, reject, options));
  }

  #propose(payload: ProposalPayload<Result>, reject: (error: Error) => void, options: ConfChangeOptions): void {
    if (this.#phase !== "running") reject(this.#stoppedError());
    else if (this.#proposals.add(payload, reject, options) !== undefined) this.#turns.wake();
  }

  async add(id: NodeId, options: AddOptions = {}): Promise<ConfState> {
    this.#assertRunning();
    const link = linkSignal(options.signal, this.#stopping.signal);
    try {
      return await this.#members.add(id, { ...options, signal: link.signal });
    } finally {
      link.release();
    }
  }

  async remove(id: NodeId, options: ConfChangeOptions = {}): Promise<ConfState> {
    this.#assertRunning();
    return this.#members.remove(id, options);
  }

  readIndex(options: SignalOptions = {}): Promise<LogIndex> {
    return this.read(options);
  }

  read(options: ReadOptions = {}): Promise<LogIndex> {
    if (this.#phase !== "running") return Promise.reject(this.#stoppedError());
    const read = this.#engine.reads.read(options);
    this.#turns.wake();
    return read;
  }

  async transferLeader(to: NodeId, options: SignalOptions = {}): Promise<void> {
    this.#assertRunning();
    const { clock } = this.#deps;
    const timeoutMs = 2 * this.#options.electionTimeoutMs;
    const begin = () => this.#post(() => this.#engine.core.transferLeader(to));
    await handOver({ clock, timeoutMs, status: this.status, begin }, to, options);
  }

  readLog(first: LogIndex, last: LogIndex, bytesMax: number): readonly Entry[] {
    this.#assertRunning();
    return this.#engine.cache.retained(first, last, bytesMax);
  }

  unappliedChanges(): readonly ConfChange[] {
    const { cache, applier } = this.#engine;
    return cache.changesAfter(applier.applied.index);
  }

  async takeSnapshot(): Promise<LogIndex> {
    this.#assertRunning();
    return this.#engine.applier.takeSnapshot();
  }

  coreStatus(): Status {
    return this.#engine.core.status();
  }

  events(options: SignalOptions = {}): AsyncIterable<RaftNodeEvent> {
    return this.#events.listen(options.signal);
  }

  async close(options: CloseOptions = {}): Promise<void> {
    if (options.transfer) await this.#leave();
    if (this.#phase === "closed") return;
    const failed = this.#phase === "failed";
    this.#phase = "closed";
    this.#stopWaiting(failed ? this.#stoppedError() : new BlixardError("STOPPED", "the node was closed"));
    this.#events.end();
    const { receiver, applier, pipeline } = this.#engine;
    await receiver.close();
    await applier.close();
    await pipeline.idle();
    const { log, snapshots, stateMachine } = this.#deps;
    const results = await Promise.allSettled([stateMachine.close(), log.close(), snapshots.close()]);
    for (const result of results) if (result.status === "rejected" && !failed) throw result.reason;
  }

  async #leave(): Promise<void> {
    if (this.#phase !== "running") return;
    const { electionTimeoutMs, tickIntervalMs } = this.#options;
    await leave({
      ...this.#deps,
      timeoutMs: 2 * electionTimeoutMs,
      pollIntervalMs: tickIntervalMs,
      turn: () => new Promise((resolve) => this.#post(resolve)),
      successor: () => this.#successor(),
      transfer: (to, signal) => this.transferLeader(to, { signal }),
      isBusy: () => this.#phase === "running" && this.#proposals.count > 0,
    });
  }

  #assertRunning(): void {
    if (this.#phase !== "running") throw this.#stoppedError();
  }

  #stoppedError(): BlixardError {
    if (this.#failure === undefined) return notApplied("STOPPED", "the node is not running");
    const { code, message, cause } = this.#failure;
    return notApplied(code, message, { cause });
  }

  #enqueue(inbound: Inbound): void {
    if (this.#phase !== "running") return;
    if (!this.#inbox.push(inbound)) this.#metrics.droppedMessages.add(1, { reason: "inbox_full" });
    this.#turns.wake();
  }

  #post(task: () => void): void {
    this.#turns.post(task);
  }

  #runTurn(): void {
    if (this.#phase !== "running") return;
    try {
      this.#turn();
    } catch (error) {
      this.#fail(error);
    }
  }

  #turn(): void {
    const { core, reads, router, applier, pipeline, commitNews } = this.#engine;
    this.#turns.runTasks();
    for (let inbound = this.#inbox.shift(); inbound !== undefined; inbound = this.#inbox.shift()) {
      this.#receive(inbound);
    }
    router.routeWaiting();
    reads.start();
    while (this.#phase === "running" && core.hasReady()) this.#handle(core.ready());
    pipeline.start();
    for (const message of commitNews.due()) this.#send(message);
    reads.applied(applier.applied.index);
    this.#publish();
  }

  #receive({ from, message }: Inbound): void {
    const { sender, receiver, router, activity } = this.#engine;
    activity.heard(from);
    switch (message.type) {
      case "raft":
        this.#receiveRaft(from, message.message);
        break;
      case "snapshotChunk":
        receiver.receive(from, message);
        break;
      case "snapshotAck":
        sender.acknowledged(from, message);
        break;
      case "proposal":
        router.receiveProposal(from, message);
        break;
      case "proposalAnswer":
        router.receiveAnswer(from, message);
        break;
      default:
        message satisfies never;
    }
  }

  #receiveRaft(from: NodeId, message: Message): void {
    const reason = dropReason(from, message, this.#engine);
    if (reason === undefined) this.#step(message);
    else this.#metrics.droppedMessages.add(1, { reason });
  }

  #step(message: Message): void {
    try {
      this.#engine.core.step(message);
    } catch (error) {
      if (!harmlessCodes.includes(errorCodeOf(error))) throw error;
      this.#metrics.droppedMessages.add(1, { reason: "refused" });
    }
  }

  #onCoreEvent(event: RaftEvent): void {
    this.#events.emit(event);
    const { type, ...fields } = event;
    const level = type === "becameLeader" || type === "quorumLost" ? "info" : "debug";
    this.#deps.logger.log(level, `raft: ${type}`, fields);
  }

  #handle(ready: Ready): void {
    const { reads, pipeline, applier, commitNews } = this.#engine;
    if (ready.softState !== undefined) this.#onSoftState(ready.softState);
    if (ready.hardState !== undefined) this.#hardState = ready.hardState;
    reads.confirm(ready.readStates);
    // The write is started first, so that it runs while the messages go out.
    for (const message of ready.messages) {
      if (message.to !== "append") continue;
      const { hardState, snapshot, messages } = ready;
      // Requests for votes wait for the write: a node that was elected and then forgets the term in a power cut could be
      // elected a second time in the same term.
      const responses = [...(message.responses ?? []), ...messages.filter(({ type }) => type === "MsgVote")];
      pipeline.submit({ entries: message.entries, hardState, snapshot, responses });
    }
    pipeline.start();
    for (const message of coalesce(ready.messages, this.#options.appendMessageBytesMax)) {
      if (message.to === "apply") applier.apply(message);
      else if (message.type !== "MsgVote" && !commitNews.holds(message)) this.#send(message);
    }
  }

  #send(message: Message): void {
    const { core, exchange } = this.#engine;
    const { to } = message;
    if (typeof to !== "number") return;
    if (message.type === "MsgSnap") exchange.send(to, message);
    else if (!this.#deps.transport.send(to, { type: "raft", message }) && message.type === "MsgApp") {
      this.#post(() => core.reportUnreachable(to));
    }
  }

  #deliver(responses: readonly Message[]): void {
    for (const response of coalesce(responses, this.#options.appendMessageBytesMax)) {
      if (response.to === this.#options.id) this.#step(response);
      else this.#send(response);
    }
  }

  #onSoftState(softState: SoftState): void {
    const { sender, reads, router } = this.#engine;
    const before = this.#softState;
    this.#softState = softState;
    if (before.role === "StateLeader" && softState.role !== "StateLeader") sender.cancelAll();
    if (softState.lead === before.lead) return;
    router.leaderChanged();
    this.#metrics.leaderChanges.add(1);
    this.#events.emit({ type: "leaderChanged", leaderId: softState.lead, term: this.coreStatus().term });
    if (softState.lead !== noNode) reads.leaderChanged();
  }

  #onAppended({ jobs, write }: AppendedJobs): void {
    const { applier, cache } = this.#engine;
    if (write !== undefined) {
      this.#metrics.appendDuration.observe(write.durationMs / 1_000);
      this.#metrics.appendedEntries.add(write.entries);
    }
    for (const { snapshot, entries } of jobs) {
      if (snapshot !== undefined) {
        applier.installed(snapshot);
        this.#proposals.skippedTo(snapshot.index, snapshot.term);
      }
      cache.append(entries);
    }
    this.#deliver(jobs.length === 1 ? (jobs[0]?.responses ?? []) : jobs.flatMap(({ responses }) => responses));
  }

  #onApplied(batch: AppliedBatch<Result>, message: Message): void {
    this.#deliver(message.responses ?? []);
    // The status is published first, so that a caller who sees an outcome also sees an applied index that covers it.
    this.#publish();
    this.#proposals.applied(batch);
    if (batch.changes.size === 0) return;
    this.#engine.pipeline.keepCommit(this.#hardState);
    this.#campaignWhenAlone(this.#engine.applier.applied.confState);
  }

  /** A node that is the only voter campaigns at once: no other node could lead. */
  #campaignWhenAlone({ voters, votersOutgoing }: ConfState): void {
    const alone = voters.length === 1 && voters[0] === this.#options.id && votersOutgoing.length === 0;
    if (alone && this.#softState.role === "StateFollower") this.#engine.core.campaign();
  }

  #startTicks(): LoopTicks {
    const leads = () => this.#softState.role === "StateLeader";
    const intervals = { intervalMs: this.#options.tickIntervalMs, stretchMax: stretchMaxOf(ticksOf(this.#options)) };
    return new LoopTicks(this.#deps.clock, intervals, { leads, tick: () => this.#post(() => this.#tick()) });
  }

  #tick(): void {
    const { core, exchange, reads, sender, receiver, router, activity, applier } = this.#engine;
    for (const part of [core, exchange, reads, sender, receiver, router, activity, applier]) part.tick();
    this.#checkDisk();
  }

  #checkDisk(): void {
    const { pipeline, applier, reads } = this.#engine;
    const oldestMs = Math.max(pipeline.oldestMs(), applier.writes.oldestMs());
    setTickMetrics(this.#metrics, { proposals: this.#proposals.count, reads: reads.count, oldestMs });
    this.#disk.check("write", oldestMs);
    this.#disk.check("snapshot", applier.snapshotWork.oldestMs());
  }

  #successor(): NodeId | undefined {
    if (this.#softState.role !== "StateLeader") return undefined;
    const { core, activity } = this.#engine;
    return bestSuccessor(core.status(), (id) => activity.isActive(id));
  }

  #giveUpLeadership(): void {
    if (this.#softState.role !== "StateLeader") return;
    const { core, activity, pipeline } = this.#engine;
    const logHangs = pipeline.oldestMs() >= this.#options.diskStepDownMs;
    const best = healthierSuccessor(core.status(), (id) => activity.isActive(id), logHangs);
    if (best !== undefined) this.#engine.core.transferLeader(best);
  }

  #fail(error: unknown): void {
    if (this.#phase === "failed" || this.#phase === "closed") return;
    this.#phase = "failed";
    const code = errorCodeOf(error) ?? "STORAGE_FAILED";
    this.#failure = new BlixardError(code, messageOf(error), { cause: error, outcome: "unknown" });
    this.#deps.logger.log("error", "the node stops", { code, reason: messageOf(error) });
    this.#stopWaiting(this.#failure);
    this.#events.emit({ type: "failed", code, message: messageOf(error) });
    this.#deps.onFatal(error);
  }

  #stopWaiting(error: BlixardError): void {
    this.#ticks.cancel();
    this.#stopping.abort(error);
    const { router, sender, reads } = this.#engine;
    router.clear(error);
    sender.cancelAll();
    reads.failAll(error);
    this.#proposals.failAll(error.code, error.message, error.cause);
  }

  get #statusSource(): StatusSource {
    const { cache, applier } = this.#engine;
    return { id: this.#options.id, softState: this.#softState, hardState: this.#hardState, cache, applier };
  }

  #publish(): void {
    const source = this.#statusSource;
    if (isCurrent(this.status.value, source)) return;
    const next = statusOf(source);
    this.status.set(next);
    setStatusMetrics(this.#metrics, next, this.#engine.cache);
  }
}
