import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { BlixardError, type Clock, Watch, withDeadline, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { ReadyLine } from "@blixard/server";
import { collectGarbage } from "./collect-garbage.ts";
import { programFlags } from "./program-flags.ts";

export interface ProcessNodeOptions {
  /** Path of the built binary, `apps/node/dist/bundle/main.js`. */
  readonly binary: string;
  readonly id: number;
  readonly dataDir: string;
  /** Default: a free port on loopback. */
  readonly bind?: string;
  /** A ticket or an address; absent for the first node, and for a restart. */
  readonly join?: string;
  /** Further flags of `blixard node`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Linux: the network namespace that the process runs in, as `ip netns` names it. Needs root. */
  readonly networkNamespace?: string;
  /** Time to the ready line in milliseconds. Default: 60,000. */
  readonly readyTimeoutMs?: number;
  readonly clock?: Clock;
}

export interface RestartOptions {
  /** How the process is stopped if it runs. Default: SIGKILL. */
  readonly signal?: NodeJS.Signals;
  /** Takes the place of the further flags. Default: those of before. */
  readonly flags?: readonly string[];
  /** `host:port` to bind instead, with a free HTTP port. Default: the ports of before. */
  readonly bind?: string;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const stderrLinesMax = 400;
const inspectorWaitMs = 30_000;

/** One `blixard node` process, started from the built binary. Its last log lines are kept for diagnostics. */
export class ProcessNode {
  readonly #options: ProcessNodeOptions;
  readonly #child: ChildProcess;
  readonly #stderr: string[] = [];
  readonly #inspectorUrl = new Watch<string | undefined>(undefined);
  readonly exited: Promise<ProcessExit>;
  #ready: ReadyLine | undefined;

  private constructor(options: ProcessNodeOptions, child: ChildProcess) {
    this.#options = options;
    this.#child = child;
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => resolve({ code, signal }));
      child.once("error", () => resolve({ code: null, signal: null }));
    });
  }

  /**
   * Starts the process and waits for its ready line.
   * @throws UNAVAILABLE with the last log lines when the process ends first or is not ready in time
   */
  static async start(options: ProcessNodeOptions): Promise<ProcessNode> {
    const args = ["node", "--id", String(options.id), "--data-dir", options.dataDir];
    args.push("--bind", options.bind ?? "127.0.0.1:0");
    if (!options.flags?.includes("--http")) args.push("--http", "127.0.0.1:0");
    if (options.join !== undefined) args.push("--join", options.join);
    args.push(...(options.flags ?? []));
    const { networkNamespace: space } = options;
    const [command = "", ...before] = [
      ...(space === undefined ? [] : ["ip", "netns", "exec", space]),
      ...[process.execPath, ...programFlags(options.binary)],
    ];
    const child = spawn(command, [...before, options.binary, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_OPTIONS: "--inspect-port=0", ...options.env },
    });
    const node = new ProcessNode(options, child);
    try {
      await node.#untilReady(child);
      return node;
    } catch (error) {
      child.kill("SIGKILL");
      await node.exited;
      throw new BlixardError("UNAVAILABLE", `node ${options.id} did not become ready`, {
        cause: error,
        hint: node.stderrTail(),
      });
    }
  }

  get id(): number {
    return this.#options.id;
  }

  get ready(): ReadyLine {
    if (this.#ready === undefined) throw new BlixardError("UNAVAILABLE", `node ${this.id} is not ready yet`);
    return this.#ready;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get dataDir(): string {
    return this.#options.dataDir;
  }

  /** The administrator's token of this node's data directory. */
  async token(): Promise<string> {
    return (await readFile(join(this.dataDir, "admin.token"), "utf8")).trim();
  }

  /** The last lines of the log. */
  stderrTail(lines = 40): string {
    return this.#stderr.slice(-lines).join("\n");
  }

  /** Sends a signal and waits until the process is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<ProcessExit> {
    if (this.isRunning) this.#child.kill(signal);
    return await this.exited;
  }

  /** Sends a signal without waiting, for example SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Lets V8 collect all that nobody refers to; what is in memory afterwards is in use. The node stands still meanwhile. */
  async collectGarbage(): Promise<void> {
    if (this.#inspectorUrl.value === undefined) this.signal("SIGUSR1");
    const url = await withTimeLimit(systemClock, inspectorWaitMs, undefined, (signal) =>
      this.#inspectorUrl.until((known) => known !== undefined, { signal }),
    );
    if (url !== undefined) await collectGarbage(url);
  }

  /** Starts the same node again on its data directory and ports, without joining anew. */
  async restart(options: RestartOptions = {}): Promise<ProcessNode> {
    await this.stop(options.signal ?? "SIGKILL");
    const { join: _join, ...before } = this.#options;
    const kept = { ...before, flags: options.flags ?? before.flags ?? [] };
    if (options.bind !== undefined) return await ProcessNode.start({ ...kept, bind: options.bind });
    const { bind, http } = this.ready;
    const plain = http === "off" ? http : new URL(http).host;
    const flags = kept.flags.includes("--http") ? kept.flags : [...kept.flags, "--http", plain];
    return await ProcessNode.start({ ...kept, bind, flags });
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    if (child.stdout === null || child.stderr === null) throw new BlixardError("INTERNAL", "the process has no pipes");
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.#stderr.push(line);
      if (this.#stderr.length > stderrLinesMax) this.#stderr.shift();
      const [, inspectorUrl] = /^Debugger listening on (ws:\S+)/.exec(line) ?? [];
      if (inspectorUrl !== undefined) this.#inspectorUrl.set(inspectorUrl);
    });
    const lines = createInterface({ input: child.stdout });
    const first = new Promise<ReadyLine>((resolve, reject) => {
      lines.once("line", (line) => {
        try {
          resolve(JSON.parse(line) as ReadyLine);
        } catch (error) {
          reject(error);
        }
      });
      child.once("close", (code, signal) => reject(new Error(`the process ended with ${signal ?? code}`)));
      child.once("error", reject);
    });
    this.#ready = await withDeadline(
      {
        clock: this.#options.clock ?? systemClock,
        timeoutMs: this.#options.readyTimeoutMs ?? 120_000,
        what: "the start of the node",
      },
      () => first,
    );
  }
}
