/** Holds the tables in memory and stores changes in them. Only `apply` of the state machine decides the changes. */
import type { TokenRecord } from "@blixard/protocol";
import { type Change, type ClusterState, type TableName, type Tables, tableNames } from "./types.ts";

type MutableTables = { readonly [Table in TableName]: Map<string, Tables[Table]> };

export type MutableState = MutableTables & {
  readonly requestRows: Map<string, string>;
  readonly vmNames: Map<string, string>;
};

export function emptyState(): MutableState {
  return {
    banned: new Map(),
    cluster: new Map(),
    networks: new Map(),
    nodes: new Map(),
    vms: new Map(),
    images: new Map(),
    kv: new Map(),
    level: new Map(),
    operations: new Map(),
    tickets: new Map(),
    tokens: new Map(),
    requests: new Map(),
    removed: new Map(),
    secrets: new Map(),
    volumes: new Map(),
    requestRows: new Map(),
    vmNames: new Map(),
  };
}

/** The one key of the table `cluster`. */
export const clusterKey = "cluster";

const nodeKeyDigits = 5;
const indexKeyDigits = 16;

/** Fixed width, so that the order of the keys is the order of the ids. */
export const nodeKey = (nodeId: number): string => String(nodeId).padStart(nodeKeyDigits, "0");
export const requestRowKey = (index: number): string => String(index).padStart(indexKeyDigits, "0");

export function applyChanges(state: MutableState, changes: readonly Change[]): void {
  for (const change of changes) applyChange(state, change);
}

export function applyChange(state: MutableState, change: Change): void {
  if (change.table === "requests") {
    const before = state.requests.get(change.key);
    if (before !== undefined) state.requestRows.delete(before.requestKey);
    if (change.value !== undefined) state.requestRows.set(change.value.requestKey, change.key);
  } else if (change.table === "vms") {
    const before = state.vms.get(change.key);
    if (before !== undefined) state.vmNames.delete(before.vmId);
    if (change.value !== undefined) state.vmNames.set(change.value.vmId, change.key);
  }
  // The table names its value type in `Change`, which the index alone no longer shows.
  store<Tables[TableName]>(state[change.table] as Map<string, Tables[TableName]>, change.key, change.value);
}

function store<T>(table: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) table.delete(key);
  else table.set(key, value);
}

/** The records of a table in order of their keys, whatever order they were stored in. */
export function sortedRecords<Table extends TableName>(state: ClusterState, table: Table): Tables[Table][] {
  const rows = [...(state[table] as ReadonlyMap<string, Tables[Table]>)];
  rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return rows.map(([, value]) => value);
}

/** What the key of a person was given. Tokens are few and each key stands once: the order of the map does not matter. */
export function tokenOfKey({ tokens }: Pick<ClusterState, "tokens">, endpointId: string): TokenRecord | undefined {
  for (const token of tokens.values()) if (token.endpointId === endpointId) return token;
  return undefined;
}

export function isTableName(name: string): name is TableName {
  return (tableNames as readonly string[]).includes(name);
}
