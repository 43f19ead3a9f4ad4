/**
 * One member of a Raft group: the loop that drives the core over its ports.
 *
 *     proposals, reads --+                             +-> AppendPipeline -> LogStore (fsync)
 *     peer messages -----+-> inbox -> core -> Ready ---+-> PeerTransport, at once
 *     ticks, completions +                             +-> Applier -> StateMachine
 *
 * The loop owns the core and everything here. What comes from outside only enqueues; a turn then takes the whole
 * inbox before it asks for a Ready, so that everything that waits shares one write (group commit).
 */
import {
  abortReason,
  BlixardError,
  BoundedQueue,
  errorCodeOf,
  messageOf,
  type Timer,
  Watch,
  withDeadline,
} from "@blixard/common";
import type { AppendJob } from "./append-pipeline.ts";
import type { AppliedEntry } from "./applier.ts";
import type { RaftEvent } from "./core/events.ts";
import {
  asLogIndex,
  asTerm,
  type ConfChange,
  type ConfState,
  type HardState,
  type LogIndex,
  type Message,
  type NodeId,
  noNode,
  type RaftCore,
  type Ready,
  type Snapshot,
  type SoftState,
  type Status,
} from "./core/types.ts";
import { bestSuccessor, DiskWatch } from "./disk-watch.ts";
import { createEngine, type Engine } from "./engine.ts";
import type { LogCache } from "./log-cache.ts";
import { declareRaftMetrics, type RaftMetrics } from "./metrics.ts";
import { emptyStatus, isSameStatus, statusOf } from "./node-status.ts";
import { type RaftNodeOptions, type ResolvedOptions, resolveOptions } from "./options.ts";
import type { AppliedState, PeerMessage } from "./ports.ts";
import {
  changeRefused,
  dropped,
  notLeader,
  outcomeUnknown,
  type Proposal,
  type ProposalPayload,
  Proposals,
} from "./proposals.ts";
import type { Applied, RaftNodeApi, RaftNodeDeps, RaftNodeStatus } from "./raft-node-types.ts";
import { recover } from "./recovery.ts";

/** Makes a node; `start` brings it to life. */
export function createRaftNode<Result>(deps: RaftNodeDeps<Result>, options: RaftNodeOptions): RaftNodeApi<Result> {
  return new RaftNode(deps, resolveOptions(options));
}

type Inbound = { readonly from: NodeId; readonly message: PeerMessage };
type Signal = { readonly signal?: AbortSignal };

/** Refusals of the core that say nothing about this node's health. */
const harmlessCodes: readonly unknown[] = ["PROPOSAL_DROPPED", "STEP_PEER_NOT_FOUND", "STEP_LOCAL_MSG"];
const noHardState: HardState = { term: asTerm(0), vote: noNode, commit: asLogIndex(0) };

class RaftNode<Result> implements RaftNodeApi<Result> {
  readonly status: Watch<RaftNodeStatus>;
  readonly #deps: RaftNodeDeps<Result>;
  readonly #options: ResolvedOptions;
  readonly #metrics: RaftMetrics;
  readonly #proposals: Proposals<Result>;
  readonly #disk: DiskWatch;
  readonly #inbox: BoundedQueue<Inbound>;
  #tasks: (() => void)[] = [];
  #turnScheduled = false;
  #phase: "new" | "running" | "closed" | "failed" = "new";
  #failure: BlixardError | undefined;
  #engine: Engine<Result> | undefined;
  #timer: Timer | undefined;
  #softState: SoftState = { lead: noNode, role: "StateFollower" };
  #hardState: HardState = noHardState;
  /** Why the core refused the proposal that is being handed to it; see {@link RaftNode.#onCoreEvent}. */
  #refusal: string | undefined;
  #leadershipLostAtMs = 0;
  /** Peers whose snapshot failed since the last tick; the core is told then, so that it never tries in a tight loop. */
  readonly #failedSnapshots = new Set<NodeId>();

  constructor(deps: RaftNodeDeps<Result>, options: ResolvedOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#metrics = declareRaftMetrics(deps.metrics);
    this.#proposals = new Proposals(
      { countMax: options.proposalsInFlightMax, bytesMax: options.proposalBytesInFlightMax },
      (outcome) => this.#metrics.proposals.add(1, { outcome }),
    );
    this.#disk = new DiskWatch(options);
    this.#inbox = new BoundedQueue(options.inboxMessagesMax);
    this.status = new Watch(emptyStatus(options.id));
  }

  async start(): Promise<void> {
    if (this.#phase !== "new" || this.#engine !== undefined) throw new BlixardError("CONFLICT", "the node was started");
    const { bootstrap, snapshotChunkBytes } = this.#options;
    const { cache, applied } = await recover(this.#deps, { bootstrapVoters: bootstrap?.voters, snapshotChunkBytes });
    if (this.#phase !== "new") throw this.#stoppedError();
    this.#hardState = cache.initialState().hardState;
    const { core } = this.#createEngine(cache, applied);
    this.#phase = "running";
    this.#deps.transport.bind({
      onMessage: (from, message) => this.#enqueue({ from, message }),
      onUnreachable: (id) => this.#post(() => core.reportUnreachable(id)),
    });
    this.#scheduleTick();
    this.#post(() => this.#campaignWhenAlone(applied.confState));
  }

  #createEngine(cache: LogCache, applied: AppliedState): Engine<Result> {
    this.#engine = createEngine<Result>(
      this.#deps,
      this.#options,
      { cache, applied, metrics: this.#metrics },
      {
        post: (task) => this.#post(task),
        onError: (error) => this.#fail(error),
        onCoreEvent: (event) => this.#onCoreEvent(event),
        onApplied: (entries, message) => this.#onApplied(entries, message),
        onAppended: (job, durationMs) => this.#onAppended(job, durationMs),
        onSnapshotSent: (to, ok) => this.#onSnapshotSent(to, ok),
        onSnapshotReceived: (message) => this.#step(message),
        needsSnapshot: (snapshot) => this.#needsSnapshot(snapshot),
      },
    );
    return this.#engine;
  }

  // What callers ask for. Each call only enqueues.

  propose(data: Uint8Array, options: Signal = {}): Promise<Applied<Result>> {
    if (data.length === 0) {
      return Promise.reject(new BlixardError("INVALID_ARGUMENT", "an empty entry means a new leader, not a proposal"));
    }
    return new Promise((resolve, reject) => this.#propose({ kind: "normal", data, resolve }, reject, options.signal));
  }

  proposeConfChange(change: ConfChange, options: Signal = {}): Promise<ConfState> {
    return new Promise((resolve, reject) =>
      this.#propose({ kind: "confChange", change, resolve }, reject, options.signal),
    );
  }

  #propose(payload: ProposalPayload<Result>, reject: (error: Error) => void, signal: AbortSignal | undefined): void {
    if (this.#phase !== "running") reject(this.#stoppedError());
    else if (this.#proposals.add(payload, reject, signal) !== undefined) this.#wake();
  }

  readIndex(options: Signal = {}): Promise<LogIndex> {
    const engine = this.#running;
    if (engine === undefined) return Promise.reject(this.#stoppedError());
    const read = engine.reads.add(options.signal);
    this.#wake();
    return read;
  }

  async transferLeader(to: NodeId, options: Signal = {}): Promise<void> {
    const engine = this.#running;
    if (engine === undefined) throw this.#stoppedError();
    if (options.signal?.aborted) throw abortReason(options.signal);
    if (this.#softState.role !== "StateLeader") throw notLeader(this.#softState.lead);
    if (!engine.applier.applied.confState.voters.includes(to)) {
      throw new BlixardError("INVALID_ARGUMENT", `node ${to} is not a voter`);
    }
    this.#post(() => engine.core.transferLeader(to));
    const timeoutMs = 2 * this.#options.electionTimeoutMs;
    await withDeadline(
      { clock: this.#deps.clock, timeoutMs, what: `handing leadership to ${to}`, ...options },
      (signal) => this.status.until(({ leaderId }) => leaderId === to, { signal }),
    );
  }

  async takeSnapshot(): Promise<LogIndex> {
    const engine = this.#running;
    if (engine === undefined) throw this.#stoppedError();
    return engine.applier.takeSnapshot();
  }

  coreStatus(): Status {
    if (this.#engine === undefined) throw this.#stoppedError();
    return this.#engine.core.status();
  }

  async close(): Promise<void> {
    if (this.#phase === "closed") return;
    const failed = this.#phase === "failed";
    this.#phase = "closed";
    this.#stopWaiting(failed ? this.#stoppedError() : new BlixardError("STOPPED", "the node was closed"));
    const engine = this.#engine;
    await engine?.receiver.close();
    await engine?.applier.close();
    await engine?.pipeline.idle();
    const { log, snapshots, stateMachine } = this.#deps;
    const results = await Promise.allSettled([stateMachine.close(), log.close(), snapshots.close()]);
    for (const result of results) if (result.status === "rejected" && !failed) throw result.reason;
  }

  get #running(): Engine<Result> | undefined {
    return this.#phase === "running" ? this.#engine : undefined;
  }

  #stoppedError(): BlixardError {
    if (this.#failure === undefined)
      return new BlixardError("STOPPED", "the node is not running", { outcome: "not_applied" });
    const { code, message, cause } = this.#failure;
    return new BlixardError(code, message, { cause, outcome: "not_applied" });
  }

  // The loop.

  #enqueue(inbound: Inbound): void {
    if (this.#phase !== "running") return;
    if (!this.#inbox.push(inbound)) this.#metrics.droppedMessages.add(1, { reason: "inbox_full" });
    this.#wake();
  }

  #post(task: () => void): void {
    this.#tasks.push(task);
    this.#wake();
  }

  #wake(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    queueMicrotask(() => {
      this.#turnScheduled = false;
      const engine = this.#running;
      if (engine === undefined) return;
      try {
        this.#turn(engine);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #turn(engine: Engine<Result>): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
    for (let inbound = this.#inbox.shift(); inbound !== undefined; inbound = this.#inbox.shift()) {
      this.#receive(engine, inbound);
    }
    for (const proposal of this.#proposals.takeWaiting()) this.#hand(engine.core, proposal);
    engine.reads.start();
    while (this.#phase === "running" && engine.core.hasReady()) this.#handle(engine, engine.core.ready());
    engine.reads.applied(engine.applier.applied.index);
    this.#publish(engine);
  }

  #receive({ sender, receiver }: Engine<Result>, { from, message }: Inbound): void {
    switch (message.type) {
      case "raft":
        // A MsgSnap comes with its state, and proposals are forwarded above this layer.
        if (message.message.type === "MsgSnap" || message.message.type === "MsgProp") {
          this.#metrics.droppedMessages.add(1, { reason: "refused" });
        } else if (message.message.from !== from) this.#metrics.droppedMessages.add(1, { reason: "wrong_sender" });
        else this.#step(message.message);
        break;
      case "snapshotChunk":
        receiver.receive(from, message);
        break;
      case "snapshotAck":
        sender.acknowledged(from, message);
        break;
      default:
        message satisfies never;
    }
  }

  #step(message: Message): void {
    try {
      this.#engine?.core.step(message);
    } catch (error) {
      if (!harmlessCodes.includes(errorCodeOf(error))) throw error;
      this.#metrics.droppedMessages.add(1, { reason: "refused" });
    }
  }

  #hand(core: RaftCore, proposal: Proposal<Result>): void {
    this.#takeRefusal();
    try {
      if (proposal.kind === "normal") core.propose(proposal.data);
      else core.proposeConfChange(proposal.change);
    } catch (error) {
      if (errorCodeOf(error) !== "PROPOSAL_DROPPED") throw error;
      this.#proposals.fail(proposal, dropped(this.#takeRefusal(), this.#softState));
      return;
    }
    const refusal = this.#takeRefusal();
    if (refusal === undefined) this.#proposals.accepted(proposal);
    else this.#proposals.fail(proposal, changeRefused(refusal));
  }

  #takeRefusal(): string | undefined {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    return refusal;
  }

  #onCoreEvent(event: RaftEvent): void {
    if (event.type === "proposalDropped" || event.type === "confChangeRefused") this.#refusal = event.reason;
    const { type, ...fields } = event;
    const level = type === "becameLeader" || type === "quorumLost" ? "info" : "debug";
    this.#deps.logger.log(level, `raft: ${type}`, fields);
  }

  #handle(engine: Engine<Result>, ready: Ready): void {
    if (ready.softState !== undefined) this.#onSoftState(engine, ready.softState);
    if (ready.hardState !== undefined) this.#hardState = ready.hardState;
    engine.reads.confirm(ready.readStates);
    // The disk first: the write runs while the messages go out.
    for (const message of ready.messages) {
      if (message.to !== "append") continue;
      this.#proposals.place(message.entries);
      const { hardState, snapshot, messages } = ready;
      // Others could elect a node that then forgets the term, and elect it again: two leaders, both of them this one.
      const responses = [...(message.responses ?? []), ...messages.filter(({ type }) => type === "MsgVote")];
      engine.pipeline.submit({ entries: message.entries, hardState, snapshot, responses });
    }
    for (const message of ready.messages) {
      if (message.to === "apply") engine.applier.apply(message);
      else if (message.to !== "append" && message.type !== "MsgVote") this.#send(engine, message.to, message);
    }
  }

  #send(engine: Engine<Result>, to: NodeId, message: Message): void {
    if (message.type === "MsgSnap") this.#sendSnapshot(engine, to, message);
    else if (!this.#deps.transport.send(to, { type: "raft", message }) && message.type === "MsgApp") {
      this.#post(() => engine.core.reportUnreachable(to));
    }
  }

  /** A new member needs a snapshot that knows it: one taken before it was added would be refused. */
  #sendSnapshot({ cache, sender, applier }: Engine<Result>, to: NodeId, message: Message): void {
    if (message.snapshot !== undefined && isMember(message.snapshot.confState, to)) {
      sender.start(to, message, cache.newestSnapshot);
      return;
    }
    const retry = () => this.#post(() => this.#failedSnapshots.add(to));
    applier.takeSnapshot().then(retry, retry);
  }

  #deliver(engine: Engine<Result>, responses: readonly Message[]): void {
    for (const response of responses) {
      if (response.to === this.#options.id) this.#step(response);
      else if (typeof response.to === "number") this.#send(engine, response.to, response);
    }
  }

  #onSoftState({ sender, reads }: Engine<Result>, softState: SoftState): void {
    const before = this.#softState;
    this.#softState = softState;
    if (before.role === "StateLeader" && softState.role !== "StateLeader") {
      sender.cancelAll();
      this.#leadershipLostAtMs = this.#deps.clock.monotonicMs();
    }
    if (softState.lead !== noNode && softState.lead !== before.lead) reads.leaderChanged();
  }

  #onAppended(job: AppendJob, durationMs: number): void {
    const engine = this.#engine;
    if (engine === undefined) return;
    this.#metrics.appendDuration.observe(durationMs / 1_000);
    if (job.snapshot !== undefined) {
      engine.applier.installed(job.snapshot);
      this.#proposals.skippedTo(job.snapshot.index);
    }
    engine.cache.append(job.entries);
    this.#deliver(engine, job.responses);
  }

  #onApplied(entries: readonly AppliedEntry<Result>[], message: Message): void {
    const engine = this.#engine;
    if (engine === undefined) return;
    this.#deliver(engine, message.responses ?? []);
    // The status first: whoever sees the outcome of a proposal finds the applied index at least there.
    this.#publish(engine);
    for (const { entry, result, confState, refusal } of entries) {
      this.#proposals.applied(entry, result, confState, refusal);
    }
    if (entries.some(({ entry }) => entry.kind === "confChange")) {
      this.#campaignWhenAlone(engine.applier.applied.confState);
    }
  }

  /** The only voter has nobody to wait for. */
  #campaignWhenAlone({ voters, votersOutgoing }: ConfState): void {
    const { id } = this.#options;
    const alone = voters.length === 1 && voters[0] === id && votersOutgoing.length === 0;
    if (alone && this.#softState.role === "StateFollower") this.#engine?.core.campaign();
  }

  #needsSnapshot(snapshot: Snapshot): "yes" | "no" | "has_it" | "later" {
    const engine = this.#engine;
    if (!isMember(snapshot.confState, this.#options.id)) return "no";
    if (engine === undefined || engine.applier.installing) return "later";
    if (snapshot.index <= this.#hardState.commit) return "has_it";
    const { cache } = engine;
    const isInLog = snapshot.index >= cache.base.index && snapshot.index <= cache.lastIndex();
    return isInLog && cache.term(snapshot.index) === snapshot.term ? "has_it" : "yes";
  }

  #onSnapshotSent(to: NodeId, ok: boolean): void {
    this.#metrics.snapshots.add(1, { kind: ok ? "sent" : "send_failed" });
    if (ok) this.#post(() => this.#engine?.core.reportSnapshot(to, true));
    else this.#failedSnapshots.add(to);
  }

  #scheduleTick(): void {
    this.#timer = this.#deps.clock.setTimer(this.#options.tickIntervalMs, () => {
      if (this.#phase !== "running") return;
      this.#scheduleTick();
      this.#post(() => this.#tick());
    });
  }

  #tick(): void {
    const engine = this.#engine;
    if (engine === undefined) return;
    engine.core.tick();
    for (const id of this.#failedSnapshots) engine.core.reportSnapshot(id, false);
    this.#failedSnapshots.clear();
    engine.reads.tick();
    engine.sender.tick();
    engine.receiver.tick();
    this.#checkDisk(engine);
    if (!this.#proposals.hasInFlight || this.#softState.role === "StateLeader") return;
    if (this.#deps.clock.monotonicMs() - this.#leadershipLostAtMs > 2 * this.#options.electionTimeoutMs) {
      this.#proposals.failInFlight(outcomeUnknown("leadership was lost", this.#softState.lead));
    }
  }

  #checkDisk({ core, pipeline }: Engine<Result>): void {
    const oldestMs = pipeline.oldestMs();
    const verdict = this.#disk.judge(oldestMs);
    if (verdict === "ok") return;
    if (verdict === "fatal") {
      throw new BlixardError("STORAGE_FAILED", `a disk write has not ended for ${Math.round(oldestMs)} ms`, {
        hint: "Check the disk; the node can be started again when it works.",
      });
    }
    this.#deps.logger.log("warn", "a disk write takes long", { oldestMs, verdict });
    if (verdict !== "step_down" || this.#softState.role !== "StateLeader") return;
    const best = bestSuccessor(core.status());
    if (best !== undefined) core.transferLeader(best);
  }

  #fail(error: unknown): void {
    if (this.#phase === "failed" || this.#phase === "closed") return;
    this.#phase = "failed";
    const code = errorCodeOf(error) ?? "STORAGE_FAILED";
    this.#failure = new BlixardError(code, messageOf(error), { cause: error, outcome: "unknown" });
    this.#deps.logger.log("error", "the node stops", { code, reason: messageOf(error) });
    this.#stopWaiting(this.#failure);
    this.#deps.onFatal(error);
  }

  #stopWaiting(error: BlixardError): void {
    this.#timer?.cancel();
    this.#engine?.sender.cancelAll();
    this.#engine?.reads.failAll(error);
    this.#proposals.failAll(error.code, error.message, error.cause);
  }

  #publish({ cache, applier }: Engine<Result>): void {
    const next = statusOf({
      id: this.#options.id,
      softState: this.#softState,
      hardState: this.#hardState,
      cache,
      applier,
    });
    if (isSameStatus(next, this.status.value)) return;
    this.status.set(next);
    this.#metrics.term.set(next.term);
    this.#metrics.leader.set(next.role === "StateLeader" ? 1 : 0);
    this.#metrics.commitIndex.set(next.commitIndex);
    this.#metrics.appliedIndex.set(next.appliedIndex);
    this.#metrics.logEntries.set(cache.length);
    this.#metrics.logBytes.set(cache.bytes);
  }
}

function isMember({ voters, votersOutgoing, learners }: ConfState, id: NodeId): boolean {
  return voters.includes(id) || votersOutgoing.includes(id) || learners.includes(id);
}
