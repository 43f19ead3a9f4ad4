/**
 * The watchdog of a data directory as its node reaches it: found again after the node was started anew, or started. It is named
 * by the path of its socket, which stands among its arguments, and not by anything on the disk.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Clock, messageOf, sleep, withDeadline } from "@blixard/common";
import { launchCommand } from "../confinement/launcher.ts";
import { identifyProcess, mapProcesses, type ProcessIdentity, signalProcess } from "../process/process-identity.ts";
import { takeLines } from "./socket-lines.ts";
import {
  type WatchdogAnswers,
  type WatchdogQuestion,
  type WatchdogReply,
  watchdogArgument,
} from "./watchdog-messages.ts";

export interface WatchdogPlace {
  readonly clock: Clock;
  readonly socketPath: string;
  /** Where it writes down what it has killed. */
  readonly notesPath: string;
}

/** From the start of the program to its first answer. */
const startTimeoutMs = 10_000;
const connectRetryMs = 20;

/** A connection with a watchdog. It is over when a question found no answer in time, or the other side has gone. */
export class WatchdogConnection {
  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (reply: WatchdogReply) => void>();
  #questions = 0;
  #open = true;

  private constructor(clock: Clock, socket: Socket) {
    this.#clock = clock;
    this.#socket = socket;
    socket.on("close", () => this.#end());
    takeLines(socket, (line) => this.#answered(line));
  }

  /** @throws VM_DRIVER_FAILED when nobody listens there */
  static async open({ clock, socketPath }: WatchdogPlace): Promise<WatchdogConnection> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const trying = connect(socketPath);
      trying.once("error", (error) => reject(failed(`it cannot be reached: ${messageOf(error)}`)));
      trying.once("connect", () => resolve(trying));
    });
    return new WatchdogConnection(clock, socket);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws VM_DRIVER_FAILED with what it refused with, DEADLINE_EXCEEDED */
  async ask<Question extends WatchdogQuestion>(
    question: Question,
    timeoutMs: number,
  ): Promise<WatchdogAnswers[Question["type"]]> {
    const id = ++this.#questions;
    const deadline = { clock: this.#clock, timeoutMs, what: "an answer of the watchdog" };
    try {
      const reply = await withDeadline(deadline, () => {
        const answer = new Promise<WatchdogReply>((resolve) => this.#waiting.set(id, resolve));
        if (this.#open) this.#socket.write(`${JSON.stringify({ id, ...question })}\n`);
        else this.#end();
        return answer;
      });
      if (!reply.ok) throw failed(reply.message);
      return reply.value as WatchdogAnswers[Question["type"]];
    } finally {
      this.#waiting.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }

  #answered(line: string): void {
    try {
      const reply = JSON.parse(line) as WatchdogReply;
      this.#waiting.get(reply.id)?.(reply);
    } catch {
      this.#socket.destroy();
    }
  }

  #end(): void {
    this.#open = false;
    for (const [id, resolve] of this.#waiting) resolve({ id, ok: false, message: "it has gone" });
  }
}

/** Starts a watchdog with the lease that its node has. @throws VM_DRIVER_FAILED */
export async function startWatchdog(place: WatchdogPlace, untilMs: number): Promise<WatchdogConnection> {
  const { clock, socketPath, notesPath } = place;
  const launch = launchCommand({
    program: process.execPath,
    arguments: ["--max-old-space-size=48", programPath(), watchdogArgument, socketPath, notesPath, `${untilMs}`],
  });
  const child = spawn(launch.program, [...launch.arguments], {
    cwd: dirname(notesPath),
    detached: true,
    stdio: "ignore",
    env: { PATH: process.env["PATH"] },
  });
  child.on("error", () => {});
  child.unref();
  const deadline = { clock, timeoutMs: startTimeoutMs, what: "the start of the watchdog" };
  return await withDeadline(deadline, async (signal) => {
    for (;;) {
      const connection = await WatchdogConnection.open(place).catch(() => undefined);
      if (connection !== undefined) return connection;
      if (child.exitCode !== null || child.signalCode !== null) throw failed("it ended at once");
      await sleep(clock, connectRetryMs, signal);
    }
  });
}

/** Kills whatever watchdog serves this place: its VMs end with it. */
export async function endWatchdogs({ socketPath }: Pick<WatchdogPlace, "socketPath">): Promise<number> {
  const found = await mapProcesses((pid) => readWatchdog(pid, socketPath));
  for (const identity of found) signalProcess(identity, "SIGKILL");
  return found.length;
}

async function readWatchdog(pid: number, socketPath: string): Promise<ProcessIdentity | undefined> {
  if (pid === process.pid) return undefined;
  const given = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  const at = given.indexOf(watchdogArgument);
  if (at < 0 || given[at + 1] !== socketPath) return undefined;
  const facts = await stat(`/proc/${pid}`).catch(() => undefined);
  return facts?.uid === process.getuid?.() ? identifyProcess(pid) : undefined;
}

/** It runs as plain JavaScript: when this module runs from its source, the build stands beside it. */
function programPath(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (const path of [join(here, "watchdog-main.js"), join(here, "../../dist/watchdog/watchdog-main.js")]) {
    if (existsSync(path)) return path;
  }
  throw failed("its program is not built: run `npx tsc -b packages/vm-manager`");
}

function failed(message: string): BlixardError {
  return new BlixardError("VM_DRIVER_FAILED", `the watchdog: ${message}`);
}
