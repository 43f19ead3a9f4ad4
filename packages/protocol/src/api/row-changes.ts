/** The step from what a reader of a table has seen to what is there now: what the streams that watch a table tell. */

export interface RowChanges<Row> {
  /** Keys that are gone; they come before what is written. */
  readonly deleted: readonly string[];
  /** Rows that are new or changed, in the order in which they were written. */
  readonly written: readonly Row[];
}

/**
 * `seen` has the index of each row at which its reader saw it, and becomes what is there now. `touched` are the keys that
 * may differ, by default all.
 */
export function rowChanges<Row>(
  seen: Map<string, number>,
  present: ReadonlyMap<string, Row>,
  indexOf: (row: Row) => number,
  touched: Iterable<string> = new Set([...seen.keys(), ...present.keys()]),
): RowChanges<Row> {
  const deleted: string[] = [];
  const written: { readonly key: string; readonly index: number; readonly row: Row }[] = [];
  for (const key of touched) {
    const row = present.get(key);
    if (row === undefined) {
      if (seen.delete(key)) deleted.push(key);
    } else if (seen.get(key) !== indexOf(row)) written.push({ key, index: indexOf(row), row });
  }
  written.sort((a, b) => a.index - b.index);
  for (const { key, index } of written) seen.set(key, index);
  return { deleted, written: written.map(({ row }) => row) };
}
