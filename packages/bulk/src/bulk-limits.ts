/** Named limits of the bulk lane. The unit stands last in each name. */
import { assertAtMost, assertBelow } from "@blixard/common";
import { frameBytesMin, limits } from "@blixard/protocol";

export const bulkLimits = {
  /** Bytes of one chunk: what is hashed, asked for, resumed and held in memory as one piece. */
  chunkBytes: 1024 * 1024,
  /** The largest chunk that is taken or given: other releases may choose another size. */
  chunkBytesMax: 4 * 1024 * 1024,
  /** What one call of the RPC lane brings of a chunk: with more, heartbeats over Iroh would wait. */
  pieceBytes: 16 * 1024,
  /** 64 GiB in chunks of 1 MiB. */
  chunksMax: 65_536,
  manifestBytesMax: 17 + 32 * 65_536,
  manifestsCachedMax: 16,
  /** Manifests that are made at the same time: each reads a whole object. */
  manifestsMadeMax: 2,
  /** Sources of one transfer that are used; further ones are not asked. */
  sourcesMax: 8,
  transfersMax: 4,
  /** Chunks that one transfer asks one source for at the same time. */
  chunksPerSourceMax: 4,
  /** Chunks in the memory of a receiver, over all transfers. */
  chunksReceivedMax: 8,
  /** Chunks in the memory of a source, over all its readers; further requests are refused with OVERLOADED, and tried again later. */
  chunksServedMax: 16,
  /** What one peer may read of snapshots in an hour: so many bytes, or so many times the whole where that is more. */
  snapshotBytesPerHour: 1024 ** 3,
  snapshotsPerHour: 4,
  /** Peers whose reading is remembered. */
  budgetsMax: 1_024,
  sessionsMax: 64,
  sessionsPerPeerMax: 4,
  streamsPerSessionMax: 8,
  headerBytesMax: 4_096,
  /** The proof of a node's key. */
  keyProofBytesMax: 64,
  dialTimeoutMs: 3_000,
  addressesMax: 8,
  /** How long another route is used before the direct one is dialled again. */
  directRetryMs: 15_000,
  idleCloseMs: 60_000,
  /** How long a worker that was announced over the RPC lane may connect. */
  announcedMs: 30_000,
  /** What one read or write of the worker moves over the border of the Iroh binding. */
  workerPieceBytes: 64 * 1024,
  /**
   * How long the worker waits for a home relay before it says where it is. Where UDP to the relay does not pass, which is
   * where a relay is needed, Iroh takes 3 s to find that out (measured).
   */
  relayWaitMs: 5_000,
  /** How long a peer gets to start its worker and to say where it is. */
  workerStartMs: 10_000,
  /** How long the end of the worker is waited for. */
  workerEndMs: 10_000,
  /** The same when the process ends at once, after a second signal for example. */
  workerEndOnExitMs: 2_000,
  /** Milliseconds without a byte of an answer after which a source counts as dead. */
  stallMs: 10_000,
  /** Making the manifest of a large object takes its reading. */
  manifestTimeoutMs: 120_000,
  pingIntervalMs: 2_000,
  pingsMissedMax: 3,
  /** Rounds over all sources without a new chunk before a transfer is given up, and the pause before each. */
  roundsMax: 5,
  roundPauseMs: 500,
  /** Times that one source may ask to come again later, and the pause each time. */
  busyRepliesMax: 40,
  busyPauseMs: 50,
  /** After the first answer the other sources get this long to say what they hold. */
  agreementMs: 2_000,
} as const;

type BulkLimits = Readonly<Record<keyof typeof bulkLimits, number>>;

/** Fails where limits that depend on each other contradict each other. */
export function assertBulkLimits(of: BulkLimits): void {
  const { chunkBytes, chunkBytesMax, pieceBytes, headerBytesMax, workerPieceBytes } = of;
  assertAtMost({ chunkBytes }, { chunkBytesMax }, "a chunk of this release is one that is taken");
  assertAtMost({ pieceBytes, workerPieceBytes }, { chunkBytes }, "a chunk is made of pieces");
  assertAtMost(
    { "pieceBytes + headerBytesMax": pieceBytes + headerBytesMax },
    { frameBytesMin },
    "a piece of a chunk fits into the smallest frame",
  );
  assertAtMost(
    { "imageBlobBytesMax / chunkBytes * 32": Math.ceil(limits.imageBlobBytesMax / chunkBytes) * 32 },
    { manifestBytesMax: of.manifestBytesMax },
    "a manifest has the hash of each chunk of the largest image",
  );
  assertAtMost(
    { "diskCopyGiBMax in bytes": limits.diskCopyGiBMax * 1024 ** 3 },
    { "chunksMax * chunkBytesMax": of.chunksMax * chunkBytesMax },
    "a manifest has the hash of each chunk of the largest disk",
  );
  const { chunksPerSourceMax, streamsPerSessionMax, chunksServedMax, chunksReceivedMax } = of;
  assertAtMost({ chunksPerSourceMax }, { streamsPerSessionMax }, "one session carries the chunks asked for at once");
  assertAtMost({ chunksPerSourceMax }, { chunksServedMax }, "a source serves what one transfer asks it for at once");
  assertAtMost({ chunksPerSourceMax }, { chunksReceivedMax }, "a receiver has memory for what it asks one source for");
  assertAtMost({ nodesMax: limits.nodesMax }, { budgetsMax: of.budgetsMax }, "no member's reading is forgotten");
  const { sessionsPerPeerMax, sessionsMax, dialTimeoutMs, announcedMs, relayWaitMs, workerStartMs } = of;
  assertAtMost({ sessionsPerPeerMax }, { sessionsMax }, "one peer has no more sessions than all");
  assertBelow({ dialTimeoutMs }, { announcedMs }, "a worker may connect for as long as a dial takes");
  assertBelow({ relayWaitMs }, { workerStartMs }, "a worker has looked for its relay before it counts as not started");
  assertBelow(
    { "pingIntervalMs * pingsMissedMax": of.pingIntervalMs * of.pingsMissedMax },
    { stallMs: of.stallMs },
    "a dead connection is noticed before its bytes stall",
  );
  assertAtMost({ workerEndOnExitMs: of.workerEndOnExitMs }, { workerEndMs: of.workerEndMs }, "an exit is in a hurry");
}

assertBulkLimits(bulkLimits);
