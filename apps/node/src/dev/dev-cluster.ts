/** Starts node processes of this same program and joins them to one cluster. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type BlixardClient, connectClient } from "@blixard/client";
import { BlixardError, sleep } from "@blixard/common";
import { readOwnFile, systemClock } from "@blixard/common/system";
import type { ReadyLine } from "@blixard/server";

export interface DevNode {
  readonly ready: ReadyLine;
  readonly dataDir: string;
}

export interface DevClusterOptions {
  /** Holds one data directory per node. */
  readonly dataRoot: string;
  readonly nodes: number;
  /** Further flags of `blixard node`. */
  readonly flags: readonly string[];
  readonly onProgress: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface DevCluster {
  readonly nodes: readonly DevNode[];
  /** Rejects when a node ends by itself. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

const stderrLinesMax = 30;
const votersTimeoutMs = 60_000;
const pollIntervalMs = 100;

export async function startDevCluster(options: DevClusterOptions): Promise<DevCluster> {
  const children: ChildProcess[] = [];
  const stop = async () => {
    await Promise.all(children.map(stopChild));
  };
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  try {
    const nodes: DevNode[] = [];
    for (let id = 1; id <= options.nodes; id++) {
      const first = nodes[0];
      const ticket = first === undefined ? undefined : await createTicket(first);
      const node = await startNode(options, id, ticket, children, fail);
      nodes.push(node);
      options.onProgress(`node ${id} serves at ${node.ready.bind} (process ${node.ready.pid})`);
    }
    if (nodes[0] !== undefined) await untilAllVote(nodes[0], options.nodes, options.signal);
    options.onProgress(`all ${options.nodes} nodes vote`);
    return { nodes, failed, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startNode(
  options: DevClusterOptions,
  id: number,
  ticket: string | undefined,
  children: ChildProcess[],
  fail: (error: Error) => void,
): Promise<DevNode> {
  const dataDir = join(options.dataRoot, `node-${id}`);
  const main = fileURLToPath(new URL("../bundle/main.js", import.meta.url));
  const address = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", dataDir, "--log-format", "json"];
  const joining = ticket === undefined ? ["--bootstrap"] : ["--join-file", "-"];
  // What the first line of the program asks of Node.js.
  const heap = process.execArgv.filter((flag) => /^--(max-semi-space-size=|no-parallel-scavenge$)/.test(flag));
  const args = [...heap, main, "node", "--id", `${id}`, ...address, ...joining, ...options.flags];
  // Its own process group: Ctrl-C reaches this process first, which then stops the nodes in order.
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
  children.push(child);
  child.stdin?.end(ticket ?? "");
  const tail: string[] = [];
  if (child.stderr) {
    createInterface({ input: child.stderr }).on("line", (line) => {
      tail.push(line);
      if (tail.length > stderrLinesMax) tail.shift();
    });
  }
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      const what = `node ${id} ended with ${signal ?? `exit code ${code}`}`;
      const error = new BlixardError("UNAVAILABLE", what, { hint: tail.join("\n") });
      reject(error);
      fail(error);
    });
    if (child.stdout) {
      createInterface({ input: child.stdout }).once("line", (line) =>
        resolve({ ready: JSON.parse(line) as ReadyLine, dataDir }),
      );
    }
  });
}

/** A client of one node with its administrator's token. Yours to close. */
export async function devClient(node: DevNode): Promise<BlixardClient> {
  const token = devToken(node);
  return connectClient({ addresses: [{ address: node.ready.bind, pin: node.ready.endpointId, token }] });
}

/** The administrator's token of one node. */
export function devToken({ dataDir }: DevNode): string {
  return readOwnFile(join(dataDir, "admin.token")).trim();
}

async function createTicket(node: DevNode): Promise<string> {
  await using client = await devClient(node);
  return (await client.tickets.create({ role: "voter" })).ticket;
}

async function untilAllVote(node: DevNode, count: number, signal: AbortSignal): Promise<void> {
  await using client = await devClient(node);
  const endMs = systemClock.monotonicMs() + votersTimeoutMs;
  for (;;) {
    const { members, leaderId } = await client.status();
    if (leaderId !== null && members.filter((member) => member.role === "voter").length >= count) return;
    if (systemClock.monotonicMs() > endMs) {
      throw new BlixardError("DEADLINE_EXCEEDED", `not all of ${count} nodes vote after ${votersTimeoutMs} ms`);
    }
    await sleep(systemClock, pollIntervalMs, signal);
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.kill("SIGTERM");
  });
}
