/** What a session uses of its transport. */
import type { Clock, Logger, Random } from "@blixard/common";
import type { PeerTransportHandlers } from "@blixard/raft";
import type { FrameOptions } from "../frames/frame.ts";
import type { ReadPace } from "../frames/read-pace.ts";
import type { TransportMetrics } from "../metrics.ts";
import type { TransportAdapter } from "../transport-types.ts";
import type { NodeStart } from "./node-start.ts";

export interface PeerSessionDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: TransportMetrics;
  readonly adapter: TransportAdapter;
  /** How fast the member is read. */
  readonly pace: ReadPace;
  /** The receiver of messages; its methods only enqueue. */
  readonly handlers: PeerTransportHandlers;
  /** Called when the session lost its connection. Other connections with the endpoint are then of no use either. */
  readonly onBroken: (endpointId: string) => void;
  /** Called when the peer knows of a newer start of this node. */
  readonly onNewerStartClaimed: () => void;
}

export interface PeerSessionOptions extends FrameOptions {
  readonly nodeId: number;
  readonly instance: number;
  readonly start: () => NodeStart | undefined;
  readonly heartbeatMs: number;
}
