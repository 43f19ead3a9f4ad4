/** The parts of a running node, wired to each other and to the ports. */

import { CommitNews } from "./commit-news.ts";
import type { RaftEvent } from "./core/events.ts";
import type { RaftCore } from "./core/raft-core.ts";
import { createRaftCore } from "./core/raw-node.ts";
import { asLogIndex, type HardState, type LogIndex, type Message } from "./core/types.ts";
import { type AppendedJobs, AppendPipeline } from "./disk/append-pipeline.ts";
import { Applier } from "./disk/applier.ts";
import type { LogCache } from "./disk/log-cache.ts";
import { PeerActivity } from "./membership/peer-activity.ts";
import type { RaftMetrics } from "./metrics.ts";
import type { RaftNodeEvent } from "./node-events.ts";
import { type ResolvedOptions, ticksOf } from "./options.ts";
import type { AppliedState } from "./ports.ts";
import { ProposalRouter } from "./proposals/proposal-router.ts";
import type { AppliedBatch, ProposalTable } from "./proposals/proposal-table.ts";
import type { RaftNodeDeps } from "./raft-node-types.ts";
import { ReadCoordinator } from "./reads/read-coordinator.ts";
import { SnapshotExchange } from "./snapshots/snapshot-exchange.ts";
import { SnapshotReceiver } from "./snapshots/snapshot-receiver.ts";
import { SnapshotSender } from "./snapshots/snapshot-sender.ts";

export interface Engine<Result> {
  readonly core: RaftCore;
  readonly cache: LogCache;
  readonly pipeline: AppendPipeline;
  readonly applier: Applier<Result>;
  readonly sender: SnapshotSender;
  readonly receiver: SnapshotReceiver;
  readonly exchange: SnapshotExchange;
  readonly reads: ReadCoordinator;
  readonly router: ProposalRouter<Result>;
  readonly activity: PeerActivity;
  readonly commitNews: CommitNews;
}

/** What the parts call on the loop that owns them. They call all but `post` and `onError` on the loop itself. */
export interface EngineHooks<Result> {
  readonly post: (task: () => void) => void;
  readonly onError: (error: unknown) => void;
  readonly onEvent: (event: RaftNodeEvent) => void;
  readonly onCoreEvent: (event: RaftEvent) => void;
  readonly onApplied: (batch: AppliedBatch<Result>, message: Message) => void;
  readonly onAppended: (done: AppendedJobs) => void;
  readonly onSnapshotReceived: (message: Message) => void;
  readonly hardState: () => HardState;
}

export interface EngineState<Result> {
  readonly cache: LogCache;
  readonly applied: AppliedState;
  readonly metrics: RaftMetrics;
  readonly proposals: ProposalTable<Result>;
}

export function createEngine<Result>(
  deps: RaftNodeDeps<Result>,
  options: ResolvedOptions,
  state: EngineState<Result>,
  hooks: EngineHooks<Result>,
): Engine<Result> {
  const { cache, applied, metrics } = state;
  const { clock, random } = deps;
  /** Silence of others is counted in the time in which this node could have heard them. */
  const runnableMs = () => clock.runnableMs();
  // The parts made below join later: they need none of the events that the core emits while it is constructed.
  const listeners = [hooks.onCoreEvent];
  const core = createCore(
    options,
    cache,
    applied.index,
    () => random.next(),
    (event) => {
      for (const listen of listeners) listen(event);
    },
  );
  const snapshots = createSnapshotParts(deps, options, state, hooks, core);
  const { applier, pipeline } = snapshots;
  const activity = new PeerActivity(options.id, options.electionTimeoutMs, runnableMs);
  const reads = new ReadCoordinator(
    {
      ...{ core, random, hardState: hooks.hardState, applied: () => applier.applied },
      nowMs: () => clock.monotonicMs(),
      elapsedMs: () => clock.elapsedMs(),
      onRead: (by) => metrics.reads.add(1, { by }),
    },
    options,
  );
  const router = new ProposalRouter<Result>(
    {
      ...{ id: options.id, core, proposals: state.proposals, transport: deps.transport, random, nowMs: runnableMs },
      confState: () => applier.applied.confState,
      isActive: (id) => activity.isActive(id),
      logIsFull: () => applier.logIsFull,
      logIsBusy: () => pipeline.isBusy,
      onForwarded: (direction) => metrics.forwardedProposals.add(1, { direction }),
    },
    { ...options, forward: options.forwardProposals, startTerm: cache.initialState().hardState.term },
  );
  listeners.push(
    (event) => reads.noteEvent(event),
    (event) => router.noteEvent(event),
  );
  // A leader appends again as soon as the write of its log has ended, when proposals wait for it.
  const commitNews = new CommitNews(
    () => state.proposals.hasWaiting && pipeline.isBusy && core.basicStatus().role === "StateLeader",
  );
  return { core, cache, ...snapshots, reads, router, activity, commitNews };
}

/** What touches the disk: the log, the state machine and the snapshots. */
function createSnapshotParts<Result>(
  deps: RaftNodeDeps<Result>,
  options: ResolvedOptions,
  { cache, applied, metrics }: EngineState<Result>,
  hooks: EngineHooks<Result>,
  core: RaftCore,
) {
  const { clock, log } = deps;
  const { post, onError, onEvent } = hooks;
  const nowMs = () => clock.runnableMs();
  const { snapshotChunkBytes: chunkBytes, snapshotRetryMs: retryMs, snapshotRetriesMax: retriesMax } = options;
  const sender = new SnapshotSender(
    {
      ...{ ...deps, nowMs, post, onEvent },
      onBytes: (bytes) => metrics.snapshotBytes.add(bytes, { direction: "sent" }),
      onDamaged: () => applier.replaceSnapshot(),
      onEnd: (to, ok) => {
        metrics.snapshots.add(1, { kind: ok ? "sent" : "send_failed" });
        exchange.sent(to, ok);
      },
    },
    { chunkBytes, retryMs, retriesMax },
  );
  const applier = new Applier<Result>(
    {
      ...deps,
      ...{ cache, post, onError, onEvent, metrics, onApplied: hooks.onApplied },
      isSending: () => sender.count > 0,
      applyConfChange: (change) => core.applyConfChange(change),
    },
    options,
    applied,
    asLogIndex(0),
  );
  const pipeline = new AppendPipeline(
    {
      ...{ clock, log, onError },
      install: (snapshot, hardState) => applier.install(snapshot, hardState),
      onDone: (done) => post(() => hooks.onAppended(done)),
    },
    cache.initialState().hardState,
  );
  const exchange = new SnapshotExchange({
    ...{ id: options.id, core, cache, applier, sender, post },
    hardState: hooks.hardState,
  });
  const receiver = new SnapshotReceiver(
    {
      ...{ ...deps, nowMs, post, onError, onEvent, onReceived: hooks.onSnapshotReceived },
      onBytes: (bytes) => metrics.snapshotBytes.add(bytes, { direction: "received" }),
      needs: (snapshot) => exchange.needs(snapshot),
      newest: () => cache.newestSnapshot,
      onStored: (meta) => cache.setSnapshot(meta),
    },
    { bytesMax: options.snapshotBytesMax, silenceMs: options.snapshotKeepMs },
  );
  return { sender, applier, pipeline, exchange, receiver };
}

function createCore(
  options: ResolvedOptions,
  storage: LogCache,
  applied: LogIndex,
  random: () => number,
  onEvent: (event: RaftEvent) => void,
): RaftCore {
  const { electionTicks, heartbeatTicks } = ticksOf(options);
  return createRaftCore({
    ...{ id: options.id, storage, applied, random, onEvent },
    ...(options.admission === undefined ? {} : { admission: options.admission }),
    electionTick: electionTicks,
    heartbeatTick: heartbeatTicks,
    asyncStorageWrites: true,
    maxSizePerMsg: options.appendMessageBytesMax,
    maxCommittedSizePerReady: options.applyBytesMax,
    maxUncommittedEntriesSize: options.proposalBytesInFlightMax,
    maxInflightMsgs: options.appendMessagesInFlightMax,
    maxInflightBytes: options.appendBytesInFlightMax,
    checkQuorum: options.checkQuorum,
    preVote: options.preVote,
    disableProposalForwarding: true,
    stepDownOnRemoval: true,
  });
}
