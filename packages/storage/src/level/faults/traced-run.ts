/**
 * Runs the child under strace and reads its system calls back: what was written to which file, what was synced, and
 * between which of these calls the child acknowledged something.
 */
import { spawn, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** One system call that matters for what a crash leaves behind, in the order in which the calls took effect. */
export type DiskEvent =
  | { readonly type: "create"; readonly path: string; readonly truncate: boolean }
  | { readonly type: "write"; readonly path: string; readonly data: Buffer; readonly offset: number | undefined }
  | { readonly type: "truncate"; readonly path: string; readonly lengthBytes: number }
  /** Synced is what had been written when the call began. */
  | { readonly type: "syncBegins"; readonly path: string; readonly id: number }
  | { readonly type: "syncEnds"; readonly path: string; readonly id: number }
  | { readonly type: "rename"; readonly from: string; readonly to: string }
  | { readonly type: "remove"; readonly path: string }
  | { readonly type: "makeDirectory"; readonly path: string }
  /** A line on the child's standard output. */
  | { readonly type: "said"; readonly line: string };

const child = join(import.meta.dirname, "fault-child.mjs");
const traced = "openat,write,pwrite64,fdatasync,fsync,rename,unlink,rmdir,mkdir,ftruncate";

export interface ChildRun {
  readonly lines: readonly string[];
  readonly stderr: string;
}

/** Why the tests that need strace cannot run here; undefined when they can. */
export function straceIsMissing(): string | undefined {
  const probe = spawnSync("strace", ["-f", "-o", "/dev/null", "true"]);
  if (probe.status === 0) return undefined;
  return "strace cannot trace here; install it with: apt-get install strace";
}

/** Runs the child; `strace` holds the arguments of strace. */
export async function runChild(
  work: string,
  dataDir: string,
  count: number,
  strace: readonly string[],
): Promise<ChildRun> {
  const command = [process.execPath, "--conditions=@blixard/source", child, work, dataDir, String(count)];
  const running = spawn("strace", [...strace, ...command], {
    // One thread, so that "the third fdatasync" is always the same one.
    env: { ...process.env, UV_THREADPOOL_SIZE: "1", UV_USE_IO_URING: "0", NODE_OPTIONS: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  running.stdout.on("data", (text: Buffer) => {
    stdout += text.toString();
  });
  running.stderr.on("data", (text: Buffer) => {
    stderr += text.toString();
  });
  await new Promise((resolve) => running.once("close", resolve));
  return { lines: stdout.split("\n").filter((line) => line !== ""), stderr };
}

/** Runs the child and returns its disk events in `dataDir`. */
export async function traceChild(work: string, dataDir: string, count: number): Promise<DiskEvent[]> {
  const file = `${dataDir}.trace`;
  const stringBytesMax = 8 * 1024 * 1024;
  const options = ["-f", "-y", "-xx", "-s", String(stringBytesMax), "-o", file, "-e", `trace=${traced}`];
  const run = await runChild(work, dataDir, count, options);
  const events = parseTrace(await readFile(file, "latin1"), dataDir);
  if (!run.lines.includes("open")) throw new Error(`the child did not open its store: ${run.stderr}`);
  return events;
}

const callPattern = /^(\d+) +(\w+)\((.*)$/;
const resumedPattern = /^(\d+) +<\.\.\. (\w+) resumed>(.*)$/;
const unfinished = " <unfinished ...>";

/** Calls that were interrupted by another thread's line are put together again. */
function parseTrace(text: string, dataDir: string): DiskEvent[] {
  const events: DiskEvent[] = [];
  const pending = new Map<string, { readonly call: string; readonly args: string; readonly id: number }>();
  let id = 0;
  for (const line of text.split("\n")) {
    const begun = callPattern.exec(line);
    if (begun !== null) {
      const [, thread = "", call = "", rest = ""] = begun;
      const args = rest.endsWith(unfinished) ? rest.slice(0, -unfinished.length) : rest;
      id++;
      begin(call, args, id, dataDir, events);
      if (rest.endsWith(unfinished)) pending.set(thread, { call, args, id });
      else end(call, args, id, dataDir, events);
      continue;
    }
    const [, thread = "", , rest = ""] = resumedPattern.exec(line) ?? [];
    const open = pending.get(thread);
    if (open === undefined) continue;
    pending.delete(thread);
    end(open.call, open.args + rest, open.id, dataDir, events);
  }
  return events;
}

/** Writes count from their beginning: part of one may be on the disk before it returns. */
function begin(call: string, args: string, id: number, dataDir: string, events: DiskEvent[]): void {
  if (call === "write" || call === "pwrite64") {
    const path = pathOfHandle(args);
    const data = stringsIn(args)[0] ?? Buffer.alloc(0);
    if (args.startsWith("1<")) {
      for (const line of data.toString().trimEnd().split("\n")) events.push({ type: "said", line });
    } else if (path.startsWith(dataDir)) {
      const offset = call === "write" ? undefined : Number(/, (\d+)\)? *(=.*)?$/.exec(args)?.[1]);
      events.push({ type: "write", path, data, offset });
    }
  } else if (call === "fdatasync" || call === "fsync") {
    const path = pathOfHandle(args);
    if (path.startsWith(dataDir)) events.push({ type: "syncBegins", path, id });
  }
}

function end(call: string, args: string, id: number, dataDir: string, events: DiskEvent[]): void {
  if (/= -1 E\w+/.test(args)) return;
  const [first, second] = stringsIn(args).map((bytes) => bytes.toString());
  const path = first ?? "";
  if (call === "fdatasync" || call === "fsync") {
    const synced = pathOfHandle(args);
    if (synced.startsWith(dataDir)) events.push({ type: "syncEnds", path: synced, id });
  } else if (call === "ftruncate") {
    const cut = pathOfHandle(args);
    const lengthBytes = Number(/, (\d+)\)/.exec(args)?.[1]);
    if (cut.startsWith(dataDir)) events.push({ type: "truncate", path: cut, lengthBytes });
  } else if (!path.startsWith(dataDir)) return;
  else if (call === "openat") {
    if (/O_CREAT|O_TRUNC/.test(args)) events.push({ type: "create", path, truncate: args.includes("O_TRUNC") });
  } else if (call === "rename") events.push({ type: "rename", from: path, to: second ?? "" });
  else if (call === "unlink" || call === "rmdir") events.push({ type: "remove", path });
  else if (call === "mkdir") events.push({ type: "makeDirectory", path });
}

/** The path that strace prints behind the number of a handle. */
function pathOfHandle(args: string): string {
  return unescaped(/^\d+<([^>]*)>/.exec(args)?.[1] ?? "").toString();
}

function stringsIn(args: string): Buffer[] {
  return [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = ""]) => unescaped(hex));
}

function unescaped(text: string): Buffer {
  if (!text.includes("\\x")) return Buffer.from(text, "latin1");
  return Buffer.from(text.replaceAll("\\x", ""), "hex");
}
