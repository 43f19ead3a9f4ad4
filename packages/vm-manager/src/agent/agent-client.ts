/**
 * Talks with the qemu-guest-agent in a guest (docs/interop/qemu-ga-ref of QEMU): JSON lines on a channel that the guest may
 * fill with anything. Nothing that comes is trusted, and nothing is kept but one line of a bounded length:
 *
 *     idle (nothing is read) -- a command --> sync: skips all up to the answer with a number that only this command knows
 *                                               |
 *                                               v
 *                                             answer: one line, bounded in bytes and time --> idle
 *
 * Whatever breaks the rules closes the connection, and the next command begins with a new one.
 */
import { randomInt } from "node:crypto";
import { connect, type Socket } from "node:net";
import {
  abortReason,
  BlixardError,
  type Clock,
  concatBytes,
  errorCodeOf,
  fromUtf8,
  messageOf,
  offAbort,
  onAbort,
  SerialQueue,
  toUtf8,
  withDeadline,
} from "@blixard/common";

export interface AgentClientOptions {
  readonly clock: Clock;
  /** The socket of the channel. */
  readonly path: string;
}

export interface AgentCall {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What a guest may have said to others before it is found again in its words. */
const skippedBytesMax = 8 * 1024 * 1024;
/** An answer holds the output of a program, or a piece of a file. */
export const agentAnswerBytesMax = 4 * 1024 * 1024;
/** Before it stands the answer to a command with a number of its own. */
const sentinel = 0xff;
const newline = 0x0a;

export class AgentClient {
  readonly #options: AgentClientOptions;
  /** The agent does one thing at a time. */
  readonly #turns = new SerialQueue();
  #lent = 0;
  #socket: Socket | undefined;

  constructor(options: AgentClientOptions) {
    this.#options = options;
  }

  /**
   * What the agent answers to a command. @throws UNAVAILABLE without a channel, DEADLINE_EXCEEDED when the guest does not
   * answer, CONFLICT when it refuses, VALUE_TOO_LARGE and ANSWER_UNREADABLE for what no agent should answer
   */
  async call(command: string, given: Readonly<Record<string, unknown>>, options: AgentCall): Promise<unknown> {
    return await this.#inTurn(command, options, async (reader, signal) => {
      reader.send({ execute: command, arguments: given });
      return resultOf(command, await reader.line(signal));
    });
  }

  /** Sends a command that is not answered when it succeeds; waits so long for a refusal. */
  async tell(
    command: string,
    given: Readonly<Record<string, unknown>>,
    options: AgentCall & { readonly refusalMs: number },
  ) {
    await this.#inTurn(command, options, async (reader, signal) => {
      reader.send({ execute: command, arguments: given });
      const { clock } = this.#options;
      const line = await withDeadline({ clock, timeoutMs: options.refusalMs, what: command, signal }, (limited) =>
        reader.line(limited),
      ).catch(() => undefined);
      if (line !== undefined) resultOf(command, line);
      // What comes later belongs to nobody.
      this.close();
    });
  }

  /** Somebody else has the channel, or is about to get it: the agent answers nobody here for a while. */
  get isLent(): boolean {
    return this.#lent > 0;
  }

  /** Gives the channel to somebody else for as long as that takes. */
  async lend<T>(work: (path: string) => Promise<T>): Promise<T> {
    this.#lent++;
    try {
      return await this.#turns.run(async () => {
        this.close();
        return await work(this.#options.path);
      });
    } finally {
      this.#lent--;
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #inTurn<T>(
    command: string,
    { timeoutMs, signal }: AgentCall,
    work: (reader: AgentReader, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock } = this.#options;
    const limit = { clock, timeoutMs, what: `the agent in the guest (${command})` };
    return this.#turns.run(async () => {
      signal?.throwIfAborted();
      try {
        return await withDeadline({ ...limit, ...(signal === undefined ? {} : { signal }) }, async (limited) => {
          if (this.#socket?.destroyed !== false) this.#socket = await openChannel(this.#options.path, limited);
          const reader = new AgentReader(this.#socket);
          try {
            await this.#sync(reader, limited);
            return await work(reader, limited);
          } finally {
            reader.release();
          }
        });
      } catch (error) {
        // What it answers after all is not taken for an answer to the next command.
        if (errorCodeOf(error) !== "CONFLICT") this.close();
        throw error;
      }
    });
  }

  async #sync(reader: AgentReader, signal: AbortSignal): Promise<void> {
    const id = randomInt(2 ** 32);
    // The byte ends whatever half a command the agent may have been left with.
    reader.send({ execute: "guest-sync-delimited", arguments: { id } }, Uint8Array.of(sentinel));
    for (;;) {
      await reader.skipPast(sentinel, skippedBytesMax, signal);
      const answer = objectOf(await reader.line(signal));
      if (answer?.["return"] === id) return;
    }
  }
}

/** Reads one conversation. While nobody waits nothing is read, and the guest has to wait too. */
class AgentReader {
  readonly #socket: Socket;
  #waiting: (() => void) | undefined;
  #chunk: Uint8Array = new Uint8Array(0);
  #skipped = 0;
  #ended = false;
  readonly #onData = (chunk: Uint8Array) => {
    this.#socket.pause();
    this.#chunk = chunk;
    this.#waiting?.();
  };
  readonly #onClose = () => {
    this.#ended = true;
    this.#waiting?.();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", this.#onData);
    socket.on("close", this.#onClose);
    socket.pause();
  }

  /** Closes the connection when something is left over that nobody asked for. */
  release(): void {
    this.#socket.off("data", this.#onData);
    this.#socket.off("close", this.#onClose);
    if (this.#chunk.length > 0) this.#socket.destroy();
  }

  send(command: object, before: Uint8Array = new Uint8Array(0)): void {
    this.#socket.write(concatBytes([before, fromUtf8(`${JSON.stringify(command)}\n`)]));
  }

  /** @throws ANSWER_UNREADABLE when `bytesMax` went by in all */
  async skipPast(byte: number, bytesMax: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const at = this.#chunk.indexOf(byte);
      this.#skipped += at < 0 ? this.#chunk.length : at + 1;
      if (this.#skipped > bytesMax) throw unreadable(`${bytesMax} bytes that answer nothing`);
      this.#chunk = at < 0 ? new Uint8Array(0) : this.#chunk.subarray(at + 1);
      if (at >= 0) return;
      await this.#more(signal);
    }
  }

  /** @throws VALUE_TOO_LARGE for a line that does not end */
  async line(signal: AbortSignal): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for (;;) {
      const at = this.#chunk.indexOf(newline);
      const part = at < 0 ? this.#chunk : this.#chunk.subarray(0, at);
      length += part.length;
      if (length > agentAnswerBytesMax) {
        throw new BlixardError(
          "VALUE_TOO_LARGE",
          `the agent in the guest answers with more than ${agentAnswerBytesMax} bytes`,
        );
      }
      parts.push(part);
      this.#chunk = at < 0 ? new Uint8Array(0) : this.#chunk.subarray(at + 1);
      if (at >= 0) return concatBytes(parts);
      await this.#more(signal);
    }
  }

  async #more(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const abort = () => reject(abortReason(signal));
      if (signal.aborted) return abort();
      onAbort(signal, abort);
      this.#waiting = () => {
        offAbort(signal, abort);
        this.#waiting = undefined;
        resolve();
      };
      if (this.#ended || this.#socket.destroyed) this.#waiting();
      else this.#socket.resume();
    });
    if (this.#chunk.length === 0) throw new BlixardError("UNAVAILABLE", "the channel of the agent closed");
  }
}

function openChannel(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (error: unknown) => {
      offAbort(signal, abort);
      socket.destroy();
      reject(new BlixardError("UNAVAILABLE", `the VM has no channel for an agent: ${messageOf(error)}`));
    };
    const abort = () => fail(abortReason(signal));
    onAbort(signal, abort);
    socket.once("error", fail);
    socket.once("connect", () => {
      offAbort(signal, abort);
      socket.off("error", fail);
      socket.on("error", () => socket.destroy());
      resolve(socket);
    });
  });
}

/** @throws CONFLICT for a refusal, ANSWER_UNREADABLE for anything else but a result */
function resultOf(command: string, line: Uint8Array): unknown {
  const answer = objectOf(line);
  if (answer !== undefined && "return" in answer) return answer["return"];
  const error = answer?.["error"];
  if (typeof error !== "object" || error === null || !("desc" in error)) throw unreadable(`no answer to ${command}`);
  const said = printable(String(error.desc)).slice(0, refusalLengthMax);
  throw new BlixardError("CONFLICT", `the agent in the guest refuses ${command}: ${said}`);
}

const refusalLengthMax = 200;

/** A guest draws nothing on the terminal of who reads it. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e\xa0-\uffff]/g, "?");
}

function unreadable(what: string): BlixardError {
  return new BlixardError("ANSWER_UNREADABLE", `the agent in the guest sends ${what}`);
}

function objectOf(line: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(toUtf8(line));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
