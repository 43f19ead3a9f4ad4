/** Named limits of the transport. The unit stands last in each name. */
import { assertAtMost, assertBelow } from "@blixard/common";
import {
  frameBytesMin,
  limits,
  rpcFrameOverheadBytes,
  rpcStreamCreditBytesMax,
  rpcStreamItemOverheadBytes,
} from "@blixard/protocol";

export const transportLimits = {
  /** Default of the option `frameBytesMax`, which is at least `frameBytesMin` of the protocol. */
  frameBytesMax: 4 * 1024 * 1024,
  /** Largest frame of votes, heartbeats and small calls, which must not wait behind anything large. */
  urgentFrameBytesMax: 64 * 1024,
  /** How much one frame gathers from a queue. A single message that is larger is sent alone. */
  gatherBytesMax: 256 * 1024,
  gatherMessagesMax: 1_024,
  /** A write takes frames that wait until it has so many bytes: a larger frame goes alone. */
  gatherWriteBytesMax: 32 * 1024,
  queueMessagesMax: 4_096,
  queueBytesMax: 16 * 1024 * 1024,
  /** Default of the option `heartbeatMs`. */
  heartbeatMs: 300,
  /** Heartbeats missed before a session counts as suspect, and as dead. */
  suspectAfterMissed: 2,
  deadAfterMissed: 3,
  /** Streams that the other side may have open on one connection: one for each class, and room for a next release. */
  incomingStreamsMax: 8,
  dialIntervalMsMin: 250,
  dialIntervalMsMax: 500,
  /** The interval between dials doubles after this many failed ones, up to the factor. */
  dialsBeforeSlower: 40,
  dialSlowerFactorMax: 4,
  dialWaitMs: 1_000,
  /** Each failed dial makes the next one wait longer for its answer, because relayed paths need more round trips. */
  dialWaitStepMs: 250,
  dialWaitMsMax: 5_000,
  dialsInFlightMax: 16,
  /** Dials that an adapter could not cancel and that may still connect late, for each peer. */
  pendingDialsMax: 64,
  /** Handshakes of incoming Iroh connections: at most in a burst, and each second after that; of all, and of one address. */
  handshakesBurstMax: 1_000,
  handshakesPerSecondMax: 500,
  handshakesPerShareBurstMax: 500,
  handshakesPerSharePerSecondMax: 250,
  /** Handshakes that have not ended; one that the other side gives up ends after half a minute (measured). */
  handshakesUnfinishedMax: 4_096,
  /** Addresses of which the gate knows how many handshakes they made. */
  handshakeSharesMax: 4_096,
  helloWaitMs: 2_000,
  /** How long a read waits for each refusal of a member that asks for too much, at most; how small it is, and for how long. */
  slowReadStepMs: 10,
  slowReadMsMax: 250,
  slowReadBytesMax: 1_024,
  slowReadLastsMs: 1_000,
  /** Connections of one peer that have not said hello. */
  handshakesPerPeerMax: 8,
  rpcPayloadUrgentBytesMax: 16 * 1024,
  rpcCallsPerConnectionMax: 1_024,
  /** Calls that are served at once for the other side of a connection; those that wait behind them, and bytes of both. */
  rpcServedPerConnectionMax: 64,
  rpcWaitingPerConnectionMax: 960,
  rpcServedBytesMax: 16 * 1024 * 1024,
  rpcServedMax: 512,
  /** Stream calls that are open to a node over one connection, and served for it; those served in all. */
  rpcStreamsPerConnectionMax: 64,
  rpcStreamsServedPerConnectionMax: 32,
  rpcStreamsServedMax: 256,
  /** Credit that one side of a stream call gives: what may wait in memory for its reader, item overheads included. */
  rpcStreamWindowBytes: 256 * 1024,
  /** Credit is given again in steps of at least so much. */
  rpcStreamCreditStepBytes: 64 * 1024,
  rpcStreamItemBytesMax: 128 * 1024,
  rpcConnectionsPerEndpointMax: 4,
  /** Default of the option `strangersMax`. */
  rpcStrangersMax: 64,
  /** What a key without rights may send: a request to join has a few kilobytes. */
  rpcStrangerFrameBytesMax: 64 * 1024,
  rpcStrangerStreamsMax: 4,
  rpcQueueFramesMax: 2_048,
  rpcQueueBytesMax: 32 * 1024 * 1024,
  rpcTimeoutMsMax: 10 * 60 * 1_000,
  /** Heartbeats without any frame before a connection with open calls is dead. */
  rpcDeadAfterMissed: 10,
  rpcDialGiveUpMs: 3_000,
  rpcIdleCloseMs: 60_000,
  rpcStrangerIdleCloseMs: 10_000,
  /** gRPC connections that named no lane, of strangers (health checks and reflection too) and of members; how long each lives. */
  grpcStrangersMax: 128,
  grpcMembersMax: 256,
  grpcWithoutLaneMs: 60_000,
  grpcPendingDialsMax: 256,
  /** Addresses of one endpoint that are dialled at once. */
  grpcAddressesMax: 8,
} as const;

type TransportLimits = Readonly<Record<keyof typeof transportLimits, number>>;

/** Fails where limits that depend on each other contradict each other. */
export function assertTransportLimits(of: TransportLimits): void {
  assertFrameLimits(of);
  assertStreamLimits(of);
  const { rpcStrangerFrameBytesMax, rpcStrangerStreamsMax, incomingStreamsMax } = of;
  assertAtMost({ rpcStrangerFrameBytesMax }, { frameBytesMin }, "strangers may send no more than others");
  assertAtMost({ rpcStrangerStreamsMax }, { incomingStreamsMax }, "strangers may open no more streams than others");
  const { rpcServedPerConnectionMax, rpcServedMax, rpcStreamsServedPerConnectionMax, rpcStreamsServedMax } = of;
  assertAtMost({ rpcServedPerConnectionMax }, { rpcServedMax }, "one connection is served no more calls than all");
  assertAtMost({ frameBytesMin }, { rpcServedBytesMax: of.rpcServedBytesMax }, "the largest call may wait");
  assertAtMost({ rpcStreamsServedPerConnectionMax }, { rpcStreamsServedMax }, "one connection has no more than all");

  const { slowReadStepMs, slowReadMsMax, heartbeatMs } = of;
  assertAtMost({ slowReadStepMs }, { slowReadMsMax }, "one refusal delays no more than many");
  assertBelow({ slowReadMsMax }, { heartbeatMs }, "a member that is read slowly is heard in each heartbeat");

  const { suspectAfterMissed, deadAfterMissed, dialIntervalMsMin, dialIntervalMsMax, dialWaitMs, dialWaitMsMax } = of;
  assertBelow({ suspectAfterMissed }, { deadAfterMissed }, "a session is suspect before it is dead");
  assertAtMost({ dialIntervalMsMin }, { dialIntervalMsMax }, "an interval lies between the two");
  assertAtMost({ dialWaitMs }, { dialWaitMsMax }, "the first dial waits no longer than a later one");
  const { handshakesPerShareBurstMax, handshakesBurstMax, handshakesPerSharePerSecondMax, handshakesPerSecondMax } = of;
  assertBelow({ handshakesPerShareBurstMax }, { handshakesBurstMax }, "one address leaves handshakes for others");
  assertBelow(
    { handshakesPerSharePerSecondMax },
    { handshakesPerSecondMax },
    "one address leaves handshakes for others",
  );
}

function assertFrameLimits(of: TransportLimits): void {
  const { frameBytesMax, gatherBytesMax, gatherWriteBytesMax, urgentFrameBytesMax, rpcPayloadUrgentBytesMax } = of;
  const { commandBytesMax } = limits;
  assertAtMost({ frameBytesMin }, { frameBytesMax }, "the default frame holds the largest call");
  assertBelow({ commandBytesMax }, { frameBytesMin }, "the smallest frame holds the largest command");
  assertAtMost({ gatherBytesMax }, { frameBytesMin }, "what is gathered fits into the smallest frame");
  assertAtMost({ gatherWriteBytesMax }, { gatherBytesMax }, "a large frame waits for no others");
  assertAtMost({ urgentFrameBytesMax }, { frameBytesMin }, "urgent frames are no larger than others");
  assertBelow({ rpcPayloadUrgentBytesMax }, { urgentFrameBytesMax }, "an urgent call fits into an urgent frame");
  const { rpcQueueBytesMax, queueBytesMax } = of;
  assertAtMost({ frameBytesMin }, { rpcQueueBytesMax, queueBytesMax }, "a queue holds the largest frame");
}

function assertStreamLimits(of: TransportLimits): void {
  const { rpcStreamItemBytesMax, rpcStreamWindowBytes, rpcStreamCreditStepBytes } = of;
  const { keyBytesMax, valueBytesMax, consoleReadBytesMax } = limits;
  assertBelow(
    { "keyBytesMax + valueBytesMax": keyBytesMax + valueBytesMax, consoleReadBytesMax },
    { rpcStreamItemBytesMax },
    "an item holds a key with its value, and a piece of a console",
  );
  assertAtMost(
    { "rpcStreamItemBytesMax + rpcFrameOverheadBytes": rpcStreamItemBytesMax + rpcFrameOverheadBytes },
    { frameBytesMin },
    "an item fits into the smallest frame",
  );
  assertAtMost(
    { "rpcStreamItemBytesMax + rpcStreamItemOverheadBytes": rpcStreamItemBytesMax + rpcStreamItemOverheadBytes },
    { "rpcStreamWindowBytes - rpcStreamCreditStepBytes": rpcStreamWindowBytes - rpcStreamCreditStepBytes },
    "a window less one step of credit has room for an item",
  );
  assertAtMost({ rpcStreamWindowBytes }, { rpcStreamCreditBytesMax }, "one side may hold a whole window of credit");
}

assertTransportLimits(transportLimits);
