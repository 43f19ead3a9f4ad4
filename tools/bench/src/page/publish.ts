/** Where a record goes: to standard output for people or programs, into a file, and into the page about performance. */
import { writeFileSync } from "node:fs";
import type { PageRecord } from "./performance-page.ts";
import { addToDocs } from "./write-docs.ts";

/** Flags of `parseArgs` that say so. */
export const publishFlags = {
  json: { type: "boolean", default: false },
  out: { type: "string" },
  "write-docs": { type: "boolean", default: false },
} as const;

interface PublishOptions {
  readonly json: boolean;
  readonly out?: string | undefined;
  readonly "write-docs": boolean;
}

export function publish(record: PageRecord, text: string, options: PublishOptions): void {
  const line = `${JSON.stringify(record)}\n`;
  if (options.out !== undefined) writeFileSync(options.out, line);
  process.stdout.write(options.json ? line : text);
  if (options["write-docs"]) addToDocs(record);
}
