/** Data on standard output, in the format that `-o` asks for. */
import { BlixardError } from "@blixard/common";
import { type CliContext, printable } from "./cli-context.ts";
import { formatTable } from "./table.ts";

export const outputFormats = ["table", "wide", "json", "yaml", "name"] as const;
export type OutputFormat = (typeof outputFormats)[number];

export interface Column<T> {
  readonly title: string;
  readonly value: (item: T) => string | number | null;
  /** Only in `-o wide`. */
  readonly wide?: true;
}

/** A kind of thing: how to tabulate it and what its name is. */
export interface View<T> {
  readonly columns: readonly Column<T>[];
  readonly name: (item: T) => string;
  /** The item without what is different at every look, so that `--watch` shows changes and not noise. */
  readonly steady?: (item: T) => unknown;
}

export async function printList<T>(
  context: CliContext,
  format: OutputFormat,
  view: View<T>,
  items: readonly T[],
): Promise<void> {
  await print(context, format, items, () => tableOf(view, items, format === "wide"), items.map(view.name));
}

/** `below` is what stands under the table. */
export async function printItem<T>(
  context: CliContext,
  format: OutputFormat,
  view: View<T>,
  item: T,
  below: (item: T) => string = () => "",
): Promise<void> {
  const text = () => `${tableOf(view, [item], format === "wide")}${below(item)}`;
  await print(context, format, item, text, [view.name(item)]);
}

/** Writes data; to a terminal without control characters. */
export function write({ stdout }: Pick<CliContext, "stdout">, text: string): void {
  stdout.write(stdout.isTTY === true ? printable(text) : text);
}

/** Prints `data` as JSON or YAML, `text` as the table, and `names` line by line. */
export async function print(
  context: CliContext,
  format: OutputFormat,
  data: unknown,
  text: () => string,
  names: readonly string[],
): Promise<void> {
  switch (format) {
    case "json":
      write(context, `${JSON.stringify(data, null, 2)}\n`);
      return;
    case "yaml": {
      const { stringify } = await import("yaml");
      write(context, stringify(data));
      return;
    }
    case "name":
      for (const name of names) write(context, `${name}\n`);
      return;
    case "table":
    case "wide":
      write(context, text());
      return;
    default:
      format satisfies never;
  }
}

export function parseOutputFormat(text: string): OutputFormat {
  const format = outputFormats.find((known) => known === text);
  if (format !== undefined) return format;
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no output format`, {
    hint: `Use one of: ${outputFormats.join(", ")}.`,
  });
}

function tableOf<T>(view: View<T>, items: readonly T[], wide: boolean): string {
  const columns = view.columns.filter((column) => wide || column.wide !== true);
  const cell = (column: Column<T>, item: T) => String(column.value(item) ?? "-");
  return formatTable(
    columns.map((column) => column.title),
    items.map((item) => columns.map((column) => cell(column, item) || "-")),
  );
}
