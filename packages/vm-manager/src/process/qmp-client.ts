/**
 * A client of the QEMU Machine Protocol (docs/interop/qmp-spec.txt): JSON lines on a unix socket. QEMU serves one
 * client at a time, and a second one gets no greeting, so the greeting has a deadline of its own.
 */
import { connect, type Socket } from "node:net";
import { BlixardError, type Clock, messageOf, Watch, withDeadline } from "@blixard/common";

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

interface PendingCommand {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

const greetingTimeoutMs = 3_000;
const commandTimeoutMs = 5_000;
const lineBytesMax = 1024 * 1024;
const pendingMax = 64;

export class QmpClient {
  readonly #clock: Clock;
  readonly #socket: Socket;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #onClose: () => void;
  readonly #pending = new Map<number, PendingCommand>();
  readonly #phase = new Watch<"connected" | "greeted" | "closed">("connected");
  #buffered = "";
  #nextId = 1;

  private constructor(clock: Clock, socket: Socket, onEvent: (event: QmpEvent) => void, onClose: () => void) {
    this.#clock = clock;
    this.#socket = socket;
    this.#onEvent = onEvent;
    this.#onClose = onClose;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#read(text));
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#close());
  }

  /**
   * Connects, waits for the greeting and leaves the negotiation mode.
   * @throws VM_DRIVER_FAILED, DEADLINE_EXCEEDED
   */
  static async connect(options: {
    readonly clock: Clock;
    readonly path: string;
    readonly onEvent: (event: QmpEvent) => void;
    readonly onClose: () => void;
  }): Promise<QmpClient> {
    const { clock, path, onEvent, onClose } = options;
    const socket = await openSocket(path);
    const client = new QmpClient(clock, socket, onEvent, onClose);
    try {
      await withDeadline(
        { clock, timeoutMs: greetingTimeoutMs, what: "the greeting of the control socket" },
        (signal) => client.#greeting(signal),
      );
      await client.execute("qmp_capabilities");
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /**
   * Runs one command. `timeoutMs` is how long it may take, by default 5 s.
   * @throws VM_DRIVER_FAILED when it is refused or the connection ends, DEADLINE_EXCEEDED
   */
  async execute(
    command: string,
    commandArguments?: Readonly<Record<string, unknown>>,
    { timeoutMs = commandTimeoutMs } = {},
  ): Promise<unknown> {
    if (this.#phase.value === "closed") throw connectionLost(command);
    if (this.#pending.size >= pendingMax) throw new BlixardError("OVERLOADED", "too many commands wait for an answer");
    const id = this.#nextId++;
    try {
      return await withDeadline({ clock: this.#clock, timeoutMs, what: `the command ${command}` }, () => {
        const answered = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
        const body = commandArguments === undefined ? {} : { arguments: commandArguments };
        this.#socket.write(`${JSON.stringify({ execute: command, ...body, id })}\n`);
        return answered;
      });
    } finally {
      this.#pending.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
    this.#close();
  }

  async #greeting(signal: AbortSignal): Promise<void> {
    const phase = await this.#phase.until((value) => value !== "connected", { signal });
    if (phase === "closed") throw connectionLost("greeting");
  }

  #read(text: string): void {
    this.#buffered += text;
    let end = this.#buffered.indexOf("\n");
    while (end >= 0) {
      const line = this.#buffered.slice(0, end);
      this.#buffered = this.#buffered.slice(end + 1);
      if (line.trim() !== "") this.#readLine(line);
      end = this.#buffered.indexOf("\n");
    }
    if (this.#buffered.length > lineBytesMax) this.close();
  }

  #readLine(line: string): void {
    const message = parseQmpLine(line);
    if (message === undefined) {
      this.close();
      return;
    }
    const event = qmpEventOf(message);
    const pending = this.#pending.get(Number(message["id"]));
    if ("QMP" in message) this.#phase.update((phase) => (phase === "closed" ? phase : "greeted"));
    else if (event !== undefined) this.#onEvent(event);
    else if ("return" in message) pending?.resolve(message["return"]);
    else pending?.reject(refused(message["error"]));
  }

  #close(): void {
    if (this.#phase.value === "closed") return;
    this.#phase.set("closed");
    for (const [, pending] of this.#pending) pending.reject(connectionLost("command"));
    this.#pending.clear();
    this.#onClose();
  }
}

/** One line of QMP as an object, or undefined when it is something else. */
export function parseQmpLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

export function qmpEventOf(message: Readonly<Record<string, unknown>>): QmpEvent | undefined {
  const { event, data } = message;
  if (typeof event !== "string") return undefined;
  return { event, data: typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {} };
}

function openSocket(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (error: Error) =>
      reject(
        new BlixardError("VM_DRIVER_FAILED", `cannot reach the control socket: ${messageOf(error)}`, { cause: error }),
      );
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.off("error", fail);
      resolve(socket);
    });
  });
}

function connectionLost(what: string): BlixardError {
  return new BlixardError("VM_DRIVER_FAILED", `the control socket closed before it answered (${what})`, {
    outcome: "unknown",
  });
}

function refused(error: unknown): BlixardError {
  const description =
    typeof error === "object" && error !== null && "desc" in error ? String(error.desc) : JSON.stringify(error);
  return new BlixardError("VM_DRIVER_FAILED", `the VM's process refused: ${description}`);
}
