/** Named limits of the transport. The unit stands last in each name. */
export const transportLimits = {
  /** Default of the option `frameBytesMax`. */
  frameBytesMax: 4 * 1024 * 1024,
  /** Votes, heartbeats and small calls: nothing large may stand before them. */
  urgentFrameBytesMax: 64 * 1024,
  /** What one frame gathers from a queue; a single larger message still goes, alone. */
  gatherBytesMax: 256 * 1024,
  gatherMessagesMax: 1_024,
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
  /** Each failed dial lets the next wait longer: relayed paths need more round trips. */
  dialWaitStepMs: 250,
  dialWaitMsMax: 5_000,
  dialsInFlightMax: 16,
  /** Dials that an adapter could not cancel and that may still connect late, for each peer. */
  pendingDialsMax: 64,
  /** Handshakes of incoming Iroh connections: at once, at most in a burst, and each second after that. */
  handshakesMax: 128,
  handshakesBurstMax: 1_000,
  handshakesPerSecondMax: 500,
  helloWaitMs: 2_000,
  /** Connections of one peer that have not said hello. */
  handshakesPerPeerMax: 8,
  rpcPayloadUrgentBytesMax: 16 * 1024,
  rpcCallsPerConnectionMax: 256,
  rpcServedPerConnectionMax: 64,
  rpcServedMax: 512,
  /** Stream calls that are open to a node over one connection, and served for it; those served in all. */
  rpcStreamsPerConnectionMax: 64,
  rpcStreamsServedPerConnectionMax: 32,
  rpcStreamsServedMax: 256,
  /** Credit that one side of a stream call gives: what may wait in memory for its reader, item overheads included. */
  rpcStreamWindowBytes: 256 * 1024,
  /** Credit is given again in steps of at least so much. A window less one step always has room for an item. */
  rpcStreamCreditStepBytes: 64 * 1024,
  rpcStreamItemBytesMax: 128 * 1024,
  rpcConnectionsPerEndpointMax: 4,
  rpcStrangerConnectionsMax: 64,
  /** What a key without rights may send, all of it before it has any: a request to join has a few kilobytes. */
  rpcStrangerFrameBytesMax: 64 * 1024,
  rpcStrangerStreamsMax: 4,
  rpcQueueFramesMax: 1_024,
  rpcQueueBytesMax: 32 * 1024 * 1024,
  rpcTimeoutMsMax: 10 * 60 * 1_000,
  /** Heartbeats without any frame before a connection with open calls is dead. */
  rpcDeadAfterMissed: 10,
  rpcDialGiveUpMs: 3_000,
  rpcIdleCloseMs: 60_000,
  rpcStrangerIdleCloseMs: 10_000,
  /** gRPC connections that are of no node: health checks, reflection, and dials that have not said their lane. */
  grpcGuestsMax: 128,
  grpcGuestMs: 60_000,
  grpcPendingDialsMax: 256,
  /** Addresses of one endpoint that are dialled at once. */
  grpcAddressesMax: 8,
} as const;
