/** The tables of the replicated state, the changes to them, and what one command leads to. */
import type {
  BanRecord,
  ClusterRecord,
  Command,
  CommandBodyOf,
  CommandResult,
  CommandType,
  ImageRecord,
  KvEntry,
  NetworkRecord,
  NodeRecord,
  OperationRecord,
  SealedSecret,
  SecurityGroupRecord,
  TicketRecord,
  TokenRecord,
  VmRecord,
  VolumeRecord,
} from "@blixard/protocol";

/** The answer that a request id got, for a caller who asks again. */
export interface RequestRecord {
  /** Actor and request id, see `requestKey`. */
  readonly requestKey: string;
  readonly index: number;
  readonly term: number;
  /** What was asked, so that another command under the same id is refused rather than answered wrongly. */
  readonly command: string;
  /** Of the whole request. Absent for those of before level 3, and where there was no request. */
  readonly requestHash?: string;
  readonly result: CommandResult;
}

/** What stays of a removed node: its key is told REMOVED, and its id comes back with a higher incarnation. */
export interface RemovedRecord {
  readonly nodeId: number;
  readonly endpointId: string;
  readonly incarnation: number;
  readonly index: number;
}

/** The feature level of the cluster. */
export interface LevelRecord {
  readonly level: number;
  /** Of the entry that raised it. */
  readonly index: number;
}

export interface Tables {
  /** By key. Empty below the level 3, as `level`. */
  readonly banned: BanRecord;
  readonly cluster: ClusterRecord;
  /** By name. Empty below the level 3, as `level`. */
  readonly networks: NetworkRecord;
  readonly nodes: NodeRecord;
  readonly vms: VmRecord;
  readonly images: ImageRecord;
  readonly kv: KvEntry;
  /** Empty below the level 3, whose releases know no such table. */
  readonly level: LevelRecord;
  /** By id. Empty below the level 3, as `level`. */
  readonly operations: OperationRecord;
  readonly tickets: TicketRecord;
  readonly tokens: TokenRecord;
  readonly requests: RequestRecord;
  readonly removed: RemovedRecord;
  /** The user data of VMs, by their ids. Empty below the level 3, as `level`. */
  readonly secrets: SealedSecret;
  /** By name. Empty below the level 3, as `level`. */
  readonly securityGroups: SecurityGroupRecord;
  /** By name. Empty below the level 3, as `level`. */
  readonly volumes: VolumeRecord;
}

export type TableName = keyof Tables;

/** In the order in which they are hashed, stored and sent. */
export const tableNames = [
  "banned",
  "cluster",
  "images",
  "kv",
  "level",
  "networks",
  "nodes",
  "operations",
  "removed",
  "requests",
  "secrets",
  "securityGroups",
  "tickets",
  "tokens",
  "vms",
  "volumes",
] as const satisfies readonly TableName[];

/** A record to store, or to delete where `value` is undefined. */
export type Change = {
  readonly [Table in TableName]: {
    readonly table: Table;
    readonly key: string;
    readonly value: Tables[Table] | undefined;
  };
}[TableName];

/** The state as readers see it. Keys are those of `keyOf`. */
export type ClusterState = { readonly [Table in TableName]: ReadonlyMap<string, Tables[Table]> } & {
  /** Derived: the row of `requests` that holds a request key. */
  readonly requestRows: ReadonlyMap<string, string>;
  /** Derived: the name of a VM by its id. */
  readonly vmNames: ReadonlyMap<string, string>;
};

/** Where in the log a command stands. */
export interface Position {
  readonly index: number;
  readonly term: number;
}

/** An entry of the log that is a command. */
export interface CommandEntry extends Position {
  readonly command: Command;
}

/** The outcome of one command before it is remembered under its request id. */
export interface Outcome {
  readonly result: CommandResult;
  readonly changes: readonly Change[];
}

/** What one type of command does: it decides the changes and changes nothing itself. */
export type Applier<Type extends CommandType> = (
  state: ClusterState,
  body: CommandBodyOf<Type>,
  entry: CommandEntry,
) => Outcome;

/** The appliers of a release, by type of command. */
export type ApplierTable = Readonly<Record<string, (state: ClusterState, body: never, entry: CommandEntry) => Outcome>>;

/** One applier for each command of a noun. A command without one does not compile. */
export type AppliersOf<Noun extends string> = {
  readonly [Type in Extract<CommandType, `${Noun}.${string}`>]: Applier<Type>;
};
