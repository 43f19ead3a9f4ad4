/** Holds the tables in memory and stores changes in them. Only `apply` of the state machine decides the changes. */
import type { TokenRecord, VmRecord } from "@blixard/protocol";
import { noteImageChange, noteVmChange, placeIn, vmIndexOf } from "../scheduler/vm-index.ts";
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
    securityGroups: new Map(),
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
  if (change.table === "vms") noteVmChange(state, change.key);
  else if (change.table === "images") noteImageChange(state);
}

function store<T>(table: Map<string, T>, key: string, value: T | undefined): void {
  const keys = orders.get(table);
  if (keys !== undefined && table.has(key) !== (value !== undefined)) {
    const at = placeIn(keys, key);
    // Somebody else has written to the map: what is no order of distinct keys any more is made anew.
    if ((keys[at] === key) === (value !== undefined)) orders.delete(table);
    else if (value === undefined) keys.splice(at, 1);
    else keys.splice(at, 0, key);
  }
  if (value === undefined) table.delete(key);
  else table.set(key, value);
}

/** Keys of tables in their order, for those that were asked for it: duties look at all records after each change of one. */
const orders = new WeakMap<ReadonlyMap<string, unknown>, string[]>();
/** More than the tables with a limit hold; the others are not read as a whole. */
const orderLengthMax = 20_000;

/** The records of a table in order of their keys, whatever order they were stored in. */
export function sortedRecords<Table extends TableName>(state: ClusterState, table: Table): Tables[Table][] {
  const rows = state[table] as ReadonlyMap<string, Tables[Table]>;
  const kept = recordsOf(rows, orders.get(rows));
  if (kept !== undefined) return kept;
  const keys = [...rows.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  if (keys.length <= orderLengthMax) orders.set(rows, keys);
  return recordsOf(rows, keys) ?? [];
}

/** Undefined when these are not its keys: somebody else has written to the map. */
function recordsOf<T>(rows: ReadonlyMap<string, T>, keys: readonly string[] | undefined): T[] | undefined {
  if (keys?.length !== rows.size) return undefined;
  const records: T[] = [];
  for (const key of keys) {
    const record = rows.get(key);
    if (record === undefined) return undefined;
    records.push(record);
  }
  return records;
}

/** The VMs whose disks move to a node or from it, or have done so, by name. */
export function vmsCopiedAt(state: ClusterState, nodeId: number): VmRecord[] {
  return vmIndexOf(state)
    .copiesAt(nodeId)
    .flatMap((name) => state.vms.get(name) ?? []);
}

/** What the key of a person was given. Tokens are few and each key stands once: the order of the map does not matter. */
export function tokenOfKey({ tokens }: Pick<ClusterState, "tokens">, endpointId: string): TokenRecord | undefined {
  for (const token of tokens.values()) if (token.endpointId === endpointId) return token;
  return undefined;
}

export function isTableName(name: string): name is TableName {
  return (tableNames as readonly string[]).includes(name);
}
