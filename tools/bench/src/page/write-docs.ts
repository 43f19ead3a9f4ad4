/** `npm run bench -- write-docs`: makes the regions and plots of `docs/performance.md` anew from the records beside it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mergeRecord, type PageRecord, recordForPage, writePage } from "./performance-page.ts";

const docs = fileURLToPath(new URL("../../../../docs/", import.meta.url));
const pageFile = join(docs, "performance.md");
const folder = join(docs, "performance");
/** One record a line. */
const recordsFile = join(folder, "records.jsonl");

export async function runWriteDocs(): Promise<void> {
  writeAll(readRecords());
}

/** Keeps a record beside the page and writes the page. */
export function addToDocs(record: PageRecord): void {
  const kept = record.kind === "failover" ? record : recordForPage(record);
  const records = mergeRecord(readRecords(), kept);
  mkdirSync(folder, { recursive: true });
  writeFileSync(recordsFile, records.map((one) => `${JSON.stringify(one)}\n`).join(""));
  writeAll(records);
}

function readRecords(): PageRecord[] {
  if (!existsSync(recordsFile)) return [];
  return readFileSync(recordsFile, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as PageRecord);
}

function writeAll(records: readonly PageRecord[]): void {
  const { page, plots } = writePage(readFileSync(pageFile, "utf8"), records);
  if (existsSync(folder)) for (const name of readdirSync(folder)) if (name.endsWith(".svg")) rmSync(join(folder, name));
  for (const { file, svg } of plots) writeFileSync(join(folder, file), svg);
  writeFileSync(pageFile, page);
  process.stderr.write(`bench: wrote docs/performance.md and ${plots.length} plots\n`);
}
