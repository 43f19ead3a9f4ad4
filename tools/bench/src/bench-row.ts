/** A measured value, mostly against a bar, and the table of them. */
export interface BenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: "entries/s" | "entries/CPU s" | "ms" | "s" | "MiB";
  readonly bar: string;
  /** To the peer or to the floor, whichever the bar names. */
  readonly ratio: number | undefined;
  /** Undefined where the row is for information. */
  readonly met: boolean | undefined;
  readonly note: string;
}

export function tableOfRows(rows: readonly BenchRow[]): string {
  const cells = rows.map(({ name, value, unit, bar, ratio, met, note }) => [
    name,
    `${value.toFixed(value < 1 ? 3 : value < 100 ? 1 : 0)} ${unit}`,
    ratio === undefined ? "-" : `${ratio.toFixed(2)}x`,
    bar,
    met === undefined ? "-" : met ? "yes" : "NO",
    note,
  ]);
  return tableOf(["WHAT", "VALUE", "RATIO", "BAR", "MET", "NOTE"], cells);
}

/** Columns as wide as their widest cell. */
export function tableOf(header: readonly string[], cells: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(...[title, ...cells.map((row) => row[column] ?? "")].map((text) => text.length)),
  );
  const lines = [header, ...cells].map((row) => row.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  "));
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}
