/** What the owner of a cluster node gives and gets. */
import type { BlixardError, Clock, Logger, Metrics, Random, Watch } from "@blixard/common";
import type {
  Actor,
  CallerAccess,
  CallMeta,
  MethodName,
  NodeStatus,
  RequestOf,
  ResponseOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
} from "@blixard/protocol";
import type { LogStore, SnapshotCarrier, SnapshotStore } from "@blixard/raft";
import type { VmManager } from "@blixard/vm-manager";
import type { StreamScope } from "./calls/call-types.ts";
import type { BulkRouteView, ClusterTransport, IncomingCall, IncomingStream } from "./ports/cluster-transport.ts";
import type { PeerFinder } from "./ports/peer-finder.ts";
import type { StateStore } from "./ports/state-store.ts";
import type { NodeCertificates } from "./services/cert.ts";
import type { JoinSeed, JoinTarget } from "./start/join-flow.ts";
import type { Sha256 } from "./state-machine/hash-chain.ts";
import type { ClusterState } from "./state-machine/types.ts";

/** The injected ports. The node closes the VM manager that it starts, and the stores; the transport stays yours. */
export interface ClusterNodeDeps {
  readonly clock: Clock;
  /** Must be fit for secrets: tickets are made of it. */
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly sha256: Sha256;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly stateStore: StateStore;
  /** Default: snapshots travel in messages of `transport`. */
  readonly snapshotCarrier?: SnapshotCarrier;
  /** What the status says about the ways of bulk data. */
  readonly bulkRoutes?: () => readonly BulkRouteView[];
  /** Started before the node, with handlers that call `handleRpc` and `handleRpcStream`. */
  readonly transport: ClusterTransport;
  /** Called once, when it is sure that this node may act on its store: what runs on this host is looked for then. */
  readonly startVmManager: () => Promise<VmManager>;
  /** What this node shows on the TLS side of its bind port. Default: none. */
  readonly certificates?: NodeCertificates;
  /** What the status says about the disk. Default: healthy. */
  readonly storageHealth?: () => NodeStatus["storage"];
  /**
   * The store behind the ports: its random id, and how often it was opened, this time included. With it the node asks
   * the others before it takes part, and does not start on a store that is older than its promises.
   */
  readonly store?: { readonly storeId: string; readonly starts: number };
  /** Asked where members are that do not answer at the addresses known of them. Default: none. */
  readonly finders?: readonly PeerFinder[];
  /** Told of the members whenever they change; keep it as the `seed` of the next start. Must not throw. */
  readonly onMembers?: (seed: JoinSeed) => void;
  /** Called once when the node must stop: a write failed or an invariant broke. The owner ends the process. */
  readonly onFatal: (error: unknown) => void;
}

/** How a node starts. With state on disk, `bootstrap` and `join` go on as `resume`. */
export type StartMode =
  | {
      readonly mode: "bootstrap";
      readonly clusterId: string;
      /** SHA-256 of the first administrator's token, 64 hexadecimal digits. */
      readonly tokenHash: string;
      /** Default `n<id>`. */
      readonly nodeName?: string;
    }
  | {
      readonly mode: "join";
      readonly target: JoinTarget;
      readonly nodeName?: string;
      /** Milliseconds to be admitted. Default 30,000. */
      readonly timeoutMs?: number;
      /** Called once when an operator of the cluster has to accept this machine. */
      readonly onPending?: () => void;
      /** Stores what the cluster said, before this node takes part. Give it back as `seed` when it starts again. */
      readonly onAdmitted: (seed: JoinSeed) => Promise<void>;
    }
  /** `seed` serves a node that was admitted but stopped before it got the state. */
  | { readonly mode: "resume"; readonly seed?: JoinSeed };

/** `removed` and `failed` are final: close the node, and end with the exit code of `error`. */
export interface Lifecycle {
  readonly phase: "new" | "starting" | "serving" | "removed" | "failed" | "closed";
  readonly error?: BlixardError;
}

/** The caller behind a token. */
export interface AuthenticatedCaller {
  readonly actor: Actor;
  readonly access: CallerAccess;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reason: string;
}

/** One node of a cluster. */
export interface ClusterNode extends AsyncDisposable {
  /**
   * Starts the VM manager, the state and Raft. A bootstrap resolves when the cluster exists, a join when the cluster
   * has admitted this node, a resume when the disk was read and those of the others that answer found nothing wrong;
   * wait for `ready` after that.
   * @throws STORAGE_CORRUPT when the store is older than what this node promised, DUPLICATE_NODE, REMOVED, the errors of `requestJoin`, of the stores and of the VM manager
   */
  start(how: StartMode, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Serves a call of a person, a program or another node. @throws BlixardError */
  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options?: { readonly signal?: AbortSignal },
  ): Promise<ResponseOf<Name>>;
  /** Answers the RPC lane of the transport; UNAVAILABLE before the node has started. */
  handleRpc(call: IncomingCall, signal: AbortSignal): Promise<Uint8Array>;
  /**
   * Opens a stream of a person, a program or another node: resolves when it is accepted. It ends with UNAUTHENTICATED
   * when the caller loses its rights. @throws BlixardError
   */
  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    meta: CallMeta,
    scope: StreamScope<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>>;
  /** Answers the stream calls of the RPC lane. */
  handleRpcStream(call: IncomingStream, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** The holder of a token; undefined when nobody holds it. */
  authenticate(token: string): Promise<AuthenticatedCaller | undefined>;
  /** Whether the key is a person's that a ticket has let in, as far as this node knows. */
  isGuest(endpointId: string): boolean;
  /** At once, with or without a quorum. @throws UNAVAILABLE before the node has started */
  status(): NodeStatus;
  /** Serving, with a known leader, and caught up with it once since the start. */
  ready(): Readiness;
  /** Resolves when `ready`, rejects when the node is removed, fails or closes, or when `signal` aborts. */
  untilReady(options?: { readonly signal?: AbortSignal }): Promise<void>;
  isLeader(): boolean;
  /** How often the cluster has admitted this node, as far as it knows. */
  readonly incarnation: number;
  readonly lifecycle: Pick<Watch<Lifecycle>, "value" | "until" | "values">;
  /** The replicated state as applied here, for diagnostics and pages. Not a linearizable read. */
  readonly state: ClusterState;
  /** Hands over leadership if it leads and somebody can take it, then closes. */
  shutdown(options?: { readonly handOverMs?: number; readonly stopVms?: boolean }): Promise<void>;
  /** Stops at once and closes the VM manager and the stores. VMs keep running, unless `stopVms`. */
  close(options?: { readonly stopVms?: boolean }): Promise<void>;
}
