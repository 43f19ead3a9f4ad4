/** What the cluster sees of the VM manager of one node. */
import type { Clock, Logger, Metrics, Random, Watch, WatchedMap } from "@blixard/common";
import type {
  CardState,
  ImageBlob,
  ImageRecord,
  NodeCapacity,
  VmCard,
  VmDesired,
  VmObservation,
  VmSpec,
  VolumeObservation,
} from "@blixard/protocol";
import type { GuestAgent } from "./agent/guest-agent.ts";
import type { ConfinementOptions } from "./confinement/confinement-options.ts";
import type { ConfinementReport } from "./confinement/host-confinement.ts";
import type { DiskCopies, DiskPart, FetchDiskPart } from "./disks/disk-copies.ts";
import type { VmDriver } from "./driver.ts";
import type { CarrierProgram } from "./network/private/frame-carrier.ts";
import type { NetworksOfNode } from "./network/private/network-table.ts";
import type { GuestStream } from "./network/tcp/guest-stream.ts";
import type { GuestPlace, NetworkLane } from "./network/vm-networks.ts";
import type { OpenBlob } from "./open-blob.ts";
import type { VmManagerTunables } from "./options.ts";
import type { SpaceReserve } from "./space/space-guard.ts";
import type { DesiredVolume, VolumeBytes } from "./volumes/volume-keeper.ts";

/** One VM that this node owns, as the replicated state wants it. */
export interface DesiredVm {
  readonly vmId: string;
  readonly name: string;
  readonly spec: VmSpec;
  readonly desired: VmDesired;
  /** An instance of an older epoch must be stopped before one of this epoch starts. */
  readonly fencingEpoch: number;
  readonly image: ImageRecord;
  /** It runs only while this node has a lease. Default: it runs on without one. */
  readonly needsLease?: boolean;
  /** Disks that this node has made before, as the state knows: they are missing when they are not here. Default: none. */
  readonly madeDisks?: readonly string[];
  /** Its disks have come from another node in this epoch, if it has not had them before. */
  readonly copyEpoch?: number;
  /** The ids of the volumes that its specification names; undefined for one that there is not. */
  readonly volumeIds?: ReadonlyMap<string, string | undefined>;
  /** The images that lie in its CD-ROM drives, by their names. Default: none. */
  readonly cdromImages?: ReadonlyMap<string, ImageRecord>;
  /** Grows with each change of its disks. Default 0. */
  readonly disksIndex?: number;
  /** What it has in networks that have records. Default: nothing. */
  readonly cards?: readonly VmCard[];
  /** Its user data, opened; undefined while this node cannot. Absent: it has none. */
  readonly openUserData?: () => Uint8Array | undefined;
}

/** Fetches a whole blob from the nodes that hold it into the file at `path`, and goes on with what is there. */
export type FetchBlob = (
  blob: { readonly digest: string; readonly sizeBytes: number; readonly sources: readonly number[] },
  path: string,
  signal: AbortSignal,
) => Promise<BlobFetched>;

export interface BlobFetched {
  /** The sources that said that these are the bytes. */
  readonly sources: readonly number[];
  /** Reports these sources because the whole has another digest. */
  readonly reportBadSources: () => void;
}

/** What the sender of a blob says of it beforehand. */
export interface BlobPromise {
  /** Its digest: what came of it is kept when it breaks off. */
  readonly digest?: string;
  /** Where what comes begins: at most as far as what was kept. Default 0. */
  readonly offset?: number;
  /** The length of the whole. */
  readonly wholeBytes?: number;
  /** A raw disk, although nothing in it shows that it is one. */
  readonly raw?: boolean;
}

export interface BlobStore {
  /** The digests of the blobs that are here and whole; a new set whenever one came or went. */
  readonly held: {
    readonly value: ReadonlySet<string>;
    until(
      holds: (value: ReadonlySet<string>) => boolean,
      options?: { readonly signal?: AbortSignal },
    ): Promise<ReadonlySet<string>>;
  };
  /**
   * Stores a blob; resolves when it is durable. @throws INVALID_ARGUMENT for what is neither kernel, initial RAM disk nor
   * disk, CONFLICT for an offset behind what is here, NO_CAPACITY, OVERLOADED
   */
  put(
    chunks: AsyncIterable<Uint8Array>,
    promise?: BlobPromise,
  ): Promise<{ readonly digest: string; readonly sizeBytes: number }>;
  /**
   * Fetches a blob from a URL of the public Internet, and stores it as `put` does.
   * @throws PERMISSION_DENIED for any other address, and what `put` throws
   */
  fetchUrl(
    url: string,
    options: {
      readonly digest?: string;
      readonly raw?: boolean;
      readonly signal: AbortSignal;
      readonly onProgress: (receivedBytes: number, wholeBytes: number | undefined) => void;
    },
  ): Promise<{ readonly digest: string; readonly sizeBytes: number }>;
  has(digest: string): Promise<boolean>;
  /** Undefined when this node does not hold the blob. */
  find(digest: string): Promise<OpenBlob | undefined>;
  /** How much of a blob is here. */
  stat(digest: string): Promise<{ readonly isWhole: boolean; readonly storedBytes: number }>;
  /**
   * Looks into blobs that are here: whether they are what an image of this format needs. Gives them with the format of a
   * disk, and keeps them from being collected for a while. @throws NOT_FOUND, INVALID_ARGUMENT
   */
  inspect(format: ImageRecord["format"], blobs: readonly ImageBlob[]): Promise<ImageBlob[]>;
  /** Makes sure that a blob is here. @throws UNAVAILABLE, STORAGE_CORRUPT */
  ensure(blob: ImageBlob, sources: readonly number[], signal: AbortSignal): Promise<string>;
  /** Removes blobs that are older and not `named`, or only says which they are. */
  collect(
    named: () => ReadonlySet<string>,
    options: { readonly minAgeMs: number; readonly dryRun: boolean; readonly countMax: number },
  ): Promise<{ readonly digest: string; readonly sizeBytes: number }[]>;
}

export interface VmManagerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly fetchBlob: FetchBlob;
  /** Default: no disks come from other nodes. */
  readonly fetchDiskPart?: FetchDiskPart;
}

/** The disks of VMs that go from node to node. */
export interface VmDiskCopies extends Pick<DiskCopies, "receive" | "keepOnly"> {
  /**
   * A part of the disks of a VM that stands still here, without those that are ephemeral, or of its volumes; undefined while
   * it does not.
   */
  open(vmId: string, part: DiskPart, volumeFiles: readonly string[]): Promise<OpenBlob | undefined>;
  /** A part of a volume that no VM has, and its snapshots. */
  openVolume(part: DiskPart, volumeFiles: readonly string[]): Promise<OpenBlob | undefined>;
}

export interface VmManagerOptions {
  /**
   * Directory for instances, images and journals; made with mode 0700. A relative path is resolved once, against the
   * working directory of this process.
   */
  readonly dataDir: string;
  /** What VMs are started with, best first: a VM gets the first one that works here and can run it. */
  readonly drivers: readonly VmDriver[];
  /** Drivers that only find again what they started for an earlier manager of this directory. Default: none. */
  readonly adopters?: readonly VmDriver[];
  /**
   * A file that keeps room free for the node where VMs with disks write to the file system of it; made when the first of
   * them is wanted, and given up when others have taken all else. Default: none.
   */
  readonly reserve?: SpaceReserve;
  /** What carries frames to the switches of other nodes. Default: nothing, and private networks end at this node. */
  readonly carrier?: CarrierProgram;
  /** Linux bridges of this host in which VMs may have network cards. Default: none. */
  readonly bridges?: readonly string[];
  /** True: without a driver that works, the manager still starts, and runs no VM. Default: that is an error. */
  readonly allowNoDriver?: boolean;
  /** How VMs' processes are held apart, where it differs from `defaultConfinement`. */
  readonly confinement?: Partial<ConfinementOptions>;
  /** Deadlines and limits that differ from `defaultTunables`. */
  readonly tunables?: Partial<VmManagerTunables>;
}

/** A piece of the serial output of a VM. */
export interface ConsolePiece {
  /** Offset of the first byte in the whole output; later than asked for when older bytes were dropped. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** Offset after the last byte written so far. */
  readonly endOffset: number;
}

/** Until when this node may run VMs that are started elsewhere when it is lost. */
export interface VmLeases {
  /** Milliseconds since this machine was started, also those in which it slept. */
  nowMs(): number;
  /** Why nothing here would stop such VMs while this process stands still; undefined when its watchdog works. */
  unguarded(): Promise<string | undefined>;
  /** They may run until then, by `nowMs`. Resolves when the watchdog knows; an earlier time than before changes nothing. */
  extend(untilMs: number): Promise<void>;
  /** They may run until then at most: ends a lease earlier. Rejects where it is not sure that they do. */
  limit(untilMs: number): Promise<void>;
}

/** The agent in the guest of a VM, as people use it. */
export type VmAgent = Pick<GuestAgent, "exec" | "readFile" | "writeFile">;

export interface VmManager {
  /** What this node can do, with what `diskRoom` says now. */
  readonly capacity: NodeCapacity;
  /** The file system of the disks; a new value when it has changed so much that others have to know. */
  readonly diskRoom: Pick<Watch<NodeCapacity["disk"]>, "value" | "until">;
  readonly leases: VmLeases;
  /** Replaces the set of VMs that this node owns. A wish that is the object of before is taken as unchanged. */
  setDesired(vms: readonly DesiredVm[]): void;
  /** The latest observation of each VM, by vmId. Deleted VMs end as `Deleted`. */
  readonly observations: Pick<WatchedMap<VmObservation>, "get" | "value" | "changedSince" | "until"> & {
    /** Grows with each change. */
    readonly version: Pick<Watch<number>, "value" | "until">;
  };
  /** Replaces the set of volumes that are on this node; level-triggered. One that is not in it any more stays as it is. */
  setVolumes(volumes: readonly DesiredVolume[]): void;
  /** The latest observation of each volume, by its id. */
  readonly volumeObservations: {
    readonly value: ReadonlyMap<string, VolumeObservation>;
    until(
      holds: (value: ReadonlyMap<string, VolumeObservation>) => boolean,
      options?: { readonly signal?: AbortSignal },
    ): Promise<ReadonlyMap<string, VolumeObservation>>;
  };
  readonly diskCopies: VmDiskCopies;
  readonly volumeBytes: VolumeBytes;
  /** Replaces the private networks that VMs of this node are in, with all who are in them; level-triggered. */
  setNetworks(networks: NetworksOfNode): void;
  /** Reads serial output; waits up to `waitMs` for a first byte. Negative offsets count from the end. */
  readConsole(
    vmId: string,
    options: {
      readonly offset: number;
      readonly bytesMax: number;
      readonly waitMs: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<ConsolePiece>;
  /** @throws VM_NOT_FOUND, UNAVAILABLE when it does not run here, UNSUPPORTED without a channel for an agent */
  agentOf(vmId: string): VmAgent;
  writeConsole(vmId: string, data: Uint8Array): Promise<void>;
  /** A TCP connection to a port of a guest, in one of its networks. @throws VM_NOT_FOUND, GUEST_UNREACHABLE */
  connectGuest(vmId: string, place: GuestPlace, signal: AbortSignal): Promise<GuestStream>;
  /** The network cards of a VM that runs here; none of another. @throws VM_NOT_FOUND */
  networkStateOf(vmId: string): Promise<readonly CardState[]>;
  /** The image store: content-addressed, verified by digest when a blob is complete. */
  readonly images: BlobStore;
  /** Records of the images that every node makes itself: `builtin/nano`, and `demo`, which is the same guest. */
  readonly builtinImages: readonly ImageRecord[];
  /** Stops managing. VMs keep running and are adopted at the next start, unless `stopVms`. */
  close(options?: { readonly stopVms?: boolean }): Promise<void>;
}

/** A manager whose VMs are processes of this host. */
export interface HostVmManager extends VmManager {
  /** How the networks of its VMs reach other nodes. */
  readonly networkLane: NetworkLane;
  /** The walls between VMs and this node, and those that this host does not have. */
  readonly confinement: ConfinementReport;
}
