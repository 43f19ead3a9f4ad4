/** The parts of a running node, wired to each other and to the ports. */
import { type AppendJob, AppendPipeline } from "./append-pipeline.ts";
import { type AppliedEntry, Applier } from "./applier.ts";
import type { RaftEvent } from "./core/events.ts";
import { createRaftCore } from "./core/raw-node.ts";
import { asLogIndex, type LogIndex, type Message, type NodeId, type RaftCore, type Snapshot } from "./core/types.ts";
import type { LogCache } from "./log-cache.ts";
import type { RaftMetrics } from "./metrics.ts";
import { type ResolvedOptions, ticksOf } from "./options.ts";
import type { AppliedState } from "./ports.ts";
import type { RaftNodeDeps } from "./raft-node-types.ts";
import { ReadIndexer } from "./read-index.ts";
import { SnapshotReceiver } from "./snapshot-receiver.ts";
import { SnapshotSender } from "./snapshot-sender.ts";

export interface Engine<Result> {
  readonly core: RaftCore;
  readonly cache: LogCache;
  readonly pipeline: AppendPipeline;
  readonly applier: Applier<Result>;
  readonly sender: SnapshotSender;
  readonly receiver: SnapshotReceiver;
  readonly reads: ReadIndexer;
}

/** What the parts ask of the loop that owns them. All but `post` and `onError` run on the loop. */
export interface EngineHooks<Result> {
  readonly post: (task: () => void) => void;
  readonly onError: (error: unknown) => void;
  readonly onCoreEvent: (event: RaftEvent) => void;
  readonly onApplied: (entries: readonly AppliedEntry<Result>[], message: Message) => void;
  readonly onAppended: (job: AppendJob, durationMs: number) => void;
  readonly onSnapshotSent: (to: NodeId, ok: boolean) => void;
  readonly onSnapshotReceived: (message: Message) => void;
  readonly needsSnapshot: (snapshot: Snapshot) => "yes" | "no" | "has_it" | "later";
}

export interface EngineState {
  readonly cache: LogCache;
  readonly applied: AppliedState;
  readonly metrics: RaftMetrics;
}

export function createEngine<Result>(
  deps: RaftNodeDeps<Result>,
  options: ResolvedOptions,
  state: EngineState,
  hooks: EngineHooks<Result>,
): Engine<Result> {
  const { cache, applied } = state;
  const { clock, random, log } = deps;
  const { post, onError } = hooks;
  const nowMs = () => clock.monotonicMs();
  const core = createCore(options, cache, applied.index, () => random.next(), hooks.onCoreEvent);
  const applier = new Applier<Result>(
    {
      ...deps,
      ...{ cache, post, onError, metrics: state.metrics, onApplied: hooks.onApplied },
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
      onDone: (job, durationMs) => post(() => hooks.onAppended(job, durationMs)),
    },
    cache.initialState().hardState,
  );
  const { snapshotChunkBytes: chunkBytes, snapshotRetryMs: retryMs, snapshotRetriesMax: retriesMax } = options;
  const sender = new SnapshotSender(
    { ...deps, nowMs, post, onEnd: hooks.onSnapshotSent },
    { chunkBytes, retryMs, retriesMax },
  );
  const receiver = new SnapshotReceiver(
    {
      ...deps,
      ...{ nowMs, post, onError, needs: hooks.needsSnapshot, onReceived: hooks.onSnapshotReceived },
      onStored: (meta) => cache.setSnapshot(meta),
    },
    { bytesMax: options.snapshotBytesMax, silenceMs: retryMs * retriesMax },
  );
  const reads = new ReadIndexer(
    {
      ...{ random, nowMs, request: (context) => core.readIndex(context) },
      canRequest: () => {
        const { role, term } = core.status();
        return role !== "StateLeader" || applier.applied.term === term;
      },
    },
    { retryMs: options.readRetryMs, timeoutMs: options.readTimeoutMs, waitersMax: options.readsInFlightMax },
  );
  return { core, cache, pipeline, applier, sender, receiver, reads };
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
    electionTick: electionTicks,
    heartbeatTick: heartbeatTicks,
    asyncStorageWrites: true,
    maxSizePerMsg: options.appendMessageBytesMax,
    maxCommittedSizePerReady: options.applyBytesMax,
    maxUncommittedEntriesSize: options.proposalBytesInFlightMax,
    maxInflightMsgs: options.appendMessagesInFlightMax,
    checkQuorum: options.checkQuorum,
    preVote: options.preVote,
    disableProposalForwarding: true,
    stepDownOnRemoval: true,
  });
}
