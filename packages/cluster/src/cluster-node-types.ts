/** What the owner of a cluster node gives and gets. */
import type { BlixardError, Clock, Logger, Metrics, Random, Watch } from "@blixard/common";
import type {
  CallMeta,
  MethodName,
  NodeStatus,
  RequestOf,
  ResponseOf,
  StreamName,
  StreamOutputOf,
  StreamRequestOf,
  TicketCrypto,
} from "@blixard/protocol";
import type { LogStore, SnapshotCarrier, SnapshotStore } from "@blixard/raft";
import type { OpenBlob, VmManager } from "@blixard/vm-manager";
import type { AuthenticatedCaller, StreamScope } from "./calls/call-types.ts";
import type { BulkRouteView, ClusterTransport } from "./ports/cluster-transport.ts";
import type { KeyRotation } from "./ports/key-rotation.ts";
import type { LocalJoins } from "./ports/local-joins.ts";
import type { NodeCertificates } from "./ports/node-certificates.ts";
import type { NodeSignatures } from "./ports/node-signatures.ts";
import type { OwnTokenStore } from "./ports/own-token.ts";
import type { PeerFinder } from "./ports/peer-finder.ts";
import type { SecretSealing } from "./ports/secret-sealing.ts";
import type { StateStore } from "./ports/state-store.ts";
import type { JoinAttempt, JoinSeed, JoinTarget } from "./start/join-flow.ts";
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
  /** The key of this node, which the transport proves as well. */
  readonly signatures: NodeSignatures;
  /** Opens what was sealed to the key of this node. */
  readonly sealing: SecretSealing;
  readonly ticketCrypto: TicketCrypto;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly stateStore: StateStore;
  /** Default: snapshots travel in messages of `transport`. */
  readonly snapshotCarrier?: SnapshotCarrier;
  /** What the status says about the ways of bulk data. */
  readonly bulkRoutes?: () => readonly BulkRouteView[];
  /** Open before the node starts, which registers itself with `serve`. */
  readonly transport: ClusterTransport;
  /** Called once, when it is sure that this node may act on its store: what runs on this host is looked for then. */
  readonly startVmManager: () => Promise<VmManager>;
  /** What this node shows on the TLS side of its bind port. Default: none. */
  readonly certificates?: NodeCertificates;
  /** Where this node keeps its own administrator's token while it is a voter. Default: it has none. */
  readonly ownToken?: OwnTokenStore;
  /** Gives this node another key. Default: it keeps the one that it has. */
  readonly keyRotation?: KeyRotation;
  /** Tells a machine of this host and user from others that join without a ticket. Default: none is told apart. */
  readonly localJoins?: LocalJoins;
  /** What the status says about the disk. Default: healthy. */
  readonly storageHealth?: () => NodeStatus["storage"];
  /**
   * The store behind the ports: its random id, and how often it was opened, this time included. With it the node asks
   * the others before it takes part, and does not start on a store that is older than its promises.
   */
  readonly store?: { readonly storeId: string; readonly starts: number };
  /** Asked where members are that do not answer at the addresses known of them. Default: none. */
  readonly finders?: readonly PeerFinder[];
  /**
   * Told, before the start is over, that this node takes no part for now, and whenever the reason changes: a voter says
   * that its store forgot something, and no majority of the others has said that it fits.
   */
  readonly onHeldBack?: (node: HeldBackNode) => void;
  /** Told of the members whenever they change; keep it as the `seed` of the next start. Must not throw. */
  readonly onMembers?: (seed: JoinSeed) => void;
  /** Called once when the node must stop: a write failed or an invariant broke. The owner ends the process. */
  readonly onFatal: (error: unknown) => void;
}

/** A node that is held back at its start. It serves nothing but its status. */
export interface HeldBackNode {
  /** `held back by voter 2: ...; asking voter 3`. */
  readonly reason: string;
  /** @throws UNAVAILABLE for all but `status.get`, and what the steps of a call throw */
  call<Name extends MethodName>(name: Name, request: RequestOf<Name>, meta: CallMeta): Promise<ResponseOf<Name>>;
  /** The holder of a token, as far as the state here knows. */
  authenticate(token: string): AuthenticatedCaller | undefined;
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
      /** Called when a node is asked for the first time, and when the reason changes why it did not let this one in. */
      readonly onAttempt?: (attempt: JoinAttempt) => void;
      /** Stores what the cluster said, before this node takes part. Give it back as `seed` when it starts again. */
      readonly onAdmitted: (seed: JoinSeed) => Promise<void>;
    }
  /** `seed` serves a node that was admitted but stopped before it got the state. */
  | { readonly mode: "resume"; readonly seed?: JoinSeed };

/** `removed` and `failed` are final: close the node, and end with the exit code of `error`. `closed` begins with `close`. */
export interface Lifecycle {
  readonly phase: "serving" | "removed" | "failed" | "closed";
  readonly error?: BlixardError;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not; empty when ready. */
  readonly reason: string;
}

export interface CloseOptions {
  /** VMs keep running otherwise. */
  readonly stopVms?: boolean;
}

/** One node of a cluster, which has started. */
export interface ClusterNode extends AsyncDisposable {
  /**
   * A part of the disks of a VM of this node, by its name on the bulk lane, for the holder of the key that may read it; undefined
   * for anybody else.
   */
  openDiskPart(id: string, reader: string | undefined): Promise<OpenBlob | undefined>;
  /** Serves a call of a person, a program or another node. @throws BlixardError */
  call<Name extends MethodName>(
    name: Name,
    request: RequestOf<Name>,
    meta: CallMeta,
    options?: { readonly signal?: AbortSignal },
  ): Promise<ResponseOf<Name>>;
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
  /** The holder of a token; undefined when nobody holds it. @throws MISDIRECTED on a node that is no voter, UNAVAILABLE */
  authenticate(token: string): AuthenticatedCaller | undefined;
  /** At once, with or without a quorum. */
  status(): NodeStatus;
  /** Serving, with a known leader, and caught up with it once since the start. */
  ready(): Readiness;
  /** Resolves when `ready`, rejects when the node is removed, fails or closes, or when `signal` aborts. */
  untilReady(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Resolves when the administrator's token of this node is what the state says, for a voter: it has one. */
  untilOwnToken(options?: { readonly signal?: AbortSignal }): Promise<void>;
  isLeader(): boolean;
  /** How often the cluster has admitted this node, as far as it knows. */
  readonly incarnation: number;
  readonly lifecycle: Pick<Watch<Lifecycle>, "value" | "until" | "values">;
  /** The replicated state as applied here, for diagnostics and pages. Not a linearizable read. */
  readonly state: ClusterState;
  /**
   * Hands over leadership if it leads and somebody can take it, then closes. `restartGraceMs`: before that, the VMs get a lease
   * that lasts so long, so that they run on while the node is started again. Default 0: they have the usual one.
   */
  shutdown(options?: CloseOptions & { readonly handOverMs?: number; readonly restartGraceMs?: number }): Promise<void>;
  /** Stops at once and closes the VM manager and the stores. */
  close(options?: CloseOptions): Promise<void>;
}
