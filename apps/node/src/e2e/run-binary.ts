import { spawn } from "node:child_process";
import { builtBinary } from "./binary.ts";

export interface BinaryRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the built binary to its end; it is killed after `timeoutMs`, and when its standard error contains `until`, with
 * `untilSignal`.
 */
export function runBinary(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly timeoutMs?: number;
    readonly until?: string;
    /** Default: SIGKILL. */
    readonly untilSignal?: "SIGKILL" | "SIGINT";
    readonly input?: string;
    /** The network namespace that it runs in, as `ip netns` names it. */
    readonly networkNamespace?: string;
  } = {},
): Promise<BinaryRun> {
  return new Promise((resolve, reject) => {
    const { networkNamespace: space } = options;
    const [command = "", ...before] = [
      ...(space === undefined ? [] : ["ip", "netns", "exec", space]),
      process.execPath,
    ];
    const child = spawn(command, [...before, builtBinary(), ...args], {
      env: { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1", ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => stdout.push(data));
    let signalled = false;
    child.stderr.on("data", (data: Buffer) => {
      stderr.push(data);
      if (signalled || options.until === undefined || !Buffer.concat(stderr).includes(options.until)) return;
      signalled = true;
      child.kill(options.untilSignal ?? "SIGKILL");
    });
    child.stdin.end(options.input ?? "");
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 180_000);
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
}
