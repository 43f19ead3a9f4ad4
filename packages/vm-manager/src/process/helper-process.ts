/**
 * A process of its own beside a node, which outlives it: found again after the node was started anew, or started. It is named by
 * the path of its socket, which stands among its arguments, and not by anything on the disk. Node and helper say one JSON object
 * a line, each question with a number that its answer bears.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Clock, messageOf, sleep, withDeadline } from "@blixard/common";
import { launchCommand } from "../confinement/launcher.ts";
import {
  identifyProcess,
  mapProcesses,
  type ProcessIdentity,
  readProcessFile,
  signalProcess,
  uidOfProcess,
} from "./process-identity.ts";
import { takeLines } from "./socket-lines.ts";

/** What all helpers of one kind have in common. */
export interface HelperKind {
  /** For people: `the watchdog`. */
  readonly name: string;
  /** The argument by which it is found among all processes: the path of its socket follows. */
  readonly argument: string;
  /** Its program, as it is when the module that names it runs from the build. */
  readonly program: URL;
}

export interface HelperPlace {
  readonly clock: Clock;
  readonly socketPath: string;
}

interface HelperQuestion {
  readonly type: string;
}

type HelperReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly message: string };

/** From the start of the program to its first answer. */
const startTimeoutMs = 10_000;
const connectRetryMs = 20;
const memoryMiB = 48;

/** A connection with a helper. It is over when a question found no answer in time, or the other side has gone. */
export class HelperConnection<Question extends HelperQuestion, Answers extends Record<Question["type"], unknown>> {
  readonly #clock: Clock;
  readonly #kind: HelperKind;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (reply: HelperReply) => void>();
  #questions = 0;
  #open = true;

  private constructor(clock: Clock, kind: HelperKind, socket: Socket) {
    this.#clock = clock;
    this.#kind = kind;
    this.#socket = socket;
    socket.on("close", () => this.#end());
    takeLines(socket, (line) => this.#answered(line));
  }

  /** @throws VM_DRIVER_FAILED when nobody listens there */
  static async open<Question extends HelperQuestion, Answers extends Record<Question["type"], unknown>>(
    kind: HelperKind,
    { clock, socketPath }: HelperPlace,
  ): Promise<HelperConnection<Question, Answers>> {
    const socket = await new Promise<Socket>((resolve, reject) => {
      const trying = connect(socketPath);
      trying.once("error", (error) => reject(failed(kind, `it cannot be reached: ${messageOf(error)}`)));
      trying.once("connect", () => resolve(trying));
    });
    return new HelperConnection(clock, kind, socket);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws VM_DRIVER_FAILED with what it refused with, DEADLINE_EXCEEDED */
  async ask<Asked extends Question>(question: Asked, timeoutMs: number): Promise<Answers[Asked["type"]]> {
    const id = ++this.#questions;
    const deadline = { clock: this.#clock, timeoutMs, what: `an answer of ${this.#kind.name}` };
    try {
      const reply = await withDeadline(deadline, () => {
        const answer = new Promise<HelperReply>((resolve) => this.#waiting.set(id, resolve));
        if (this.#open) this.#socket.write(`${JSON.stringify({ id, ...question })}\n`);
        else this.#end();
        return answer;
      });
      if (!reply.ok) throw failed(this.#kind, reply.message);
      return reply.value as Answers[Asked["type"]];
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
      const reply = JSON.parse(line) as HelperReply;
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

/** On the side of the helper: answers the questions that come in over `socket`. */
export function answerQuestions<Question extends HelperQuestion>(
  socket: Socket,
  answer: (question: Question) => unknown,
): void {
  takeLines(socket, (line) => void replyTo(socket, line, answer));
}

async function replyTo<Question>(socket: Socket, line: string, answer: (question: Question) => unknown): Promise<void> {
  let id = 0;
  let reply: HelperReply;
  try {
    const question = JSON.parse(line) as Question & { readonly id: number };
    id = question.id;
    reply = { id, ok: true, value: await answer(question) };
  } catch (error) {
    reply = { id, ok: false, message: messageOf(error) };
  }
  socket.write(`${JSON.stringify(reply)}\n`);
}

/** Starts a helper that works in `directory`, and connects with it. @throws VM_DRIVER_FAILED, DEADLINE_EXCEEDED */
export async function startHelper<Question extends HelperQuestion, Answers extends Record<Question["type"], unknown>>(
  kind: HelperKind,
  place: HelperPlace,
  { directory, more = [] }: { readonly directory: string; readonly more?: readonly string[] },
): Promise<HelperConnection<Question, Answers>> {
  const { clock, socketPath } = place;
  const launch = launchCommand({
    program: process.execPath,
    arguments: [`--max-old-space-size=${memoryMiB}`, programPath(kind), kind.argument, socketPath, ...more],
  });
  const child = spawn(launch.program, [...launch.arguments], {
    cwd: directory,
    detached: true,
    stdio: "ignore",
    env: { PATH: process.env["PATH"] },
  });
  child.on("error", () => {});
  child.unref();
  const deadline = { clock, timeoutMs: startTimeoutMs, what: `the start of ${kind.name}` };
  return await withDeadline(deadline, async (signal) => {
    for (;;) {
      const connection = await HelperConnection.open<Question, Answers>(kind, place).catch(() => undefined);
      if (connection !== undefined) return connection;
      if (child.exitCode !== null || child.signalCode !== null) throw failed(kind, "it ended at once");
      await sleep(clock, connectRetryMs, signal);
    }
  });
}

/** Kills whatever helper of this kind serves the socket. */
export async function endHelpers(
  { argument }: HelperKind,
  { socketPath }: Pick<HelperPlace, "socketPath">,
): Promise<number> {
  const found = await mapProcesses((pid) => readHelper(pid, argument, socketPath));
  for (const identity of found) signalProcess(identity, "SIGKILL");
  return found.length;
}

function readHelper(pid: number, argument: string, socketPath: string): ProcessIdentity | undefined {
  if (pid === process.pid) return undefined;
  const given = readProcessFile(pid, "cmdline").split("\0");
  const at = given.indexOf(argument);
  if (at < 0 || given[at + 1] !== socketPath) return undefined;
  return uidOfProcess(pid) === process.getuid?.() ? identifyProcess(pid) : undefined;
}

/** It runs as plain JavaScript: when this module runs from its source, the build stands beside it. */
function programPath(kind: HelperKind): string {
  const program = fileURLToPath(kind.program);
  const parts = join(dirname(fileURLToPath(import.meta.url)), "..");
  for (const path of [program, join(parts, "../dist", relative(parts, program))]) if (existsSync(path)) return path;
  throw failed(kind, "its program is not built: run `npx tsc -b packages/vm-manager`");
}

function failed({ name }: HelperKind, message: string): BlixardError {
  return new BlixardError("VM_DRIVER_FAILED", `${name}: ${message}`);
}
