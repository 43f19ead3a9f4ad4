/**
 * What is asked of the agent in a guest. Each answer is looked at as if an enemy had written it: what has another form than it
 * must have is an error, and what is too much is cut.
 */
import { isIP } from "node:net";
import { BlixardError, type Clock, changedError, isBlixardError, sleep, withDeadline } from "@blixard/common";
import { type GuestAddress, limits } from "@blixard/protocol";
import { type AgentCall, AgentClient, type AgentClientOptions, printable } from "./agent-client.ts";

export interface GuestExec {
  /** The program, and what it is given. */
  readonly argv: readonly string[];
  readonly input: Uint8Array;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface GuestExecResult {
  /** Null for a program that a signal ended. */
  readonly exitCode: number | null;
  /** Null for one that ended by itself. */
  readonly signal: number | null;
  readonly output: Uint8Array;
  readonly errors: Uint8Array;
  /** There was more of one of both than is shown. */
  readonly truncated: boolean;
}

/** What an agent says of the size of its guest. */
export interface GuestUse {
  /** The processors that it sees. */
  readonly vcpus: number;
  /** Some were not in use before. */
  readonly changed: boolean;
}

const answerMs = 5_000;
const refusalMs = 500;
const execPollMsMin = 50;
const execPollMsMax = 1_000;
const execPollGrowth = 1.5;

type Answer = Readonly<Record<string, unknown>>;

export class GuestAgent {
  readonly #client: AgentClient;
  readonly #clock: Clock;

  constructor(options: AgentClientOptions) {
    this.#client = new AgentClient(options);
    this.#clock = options.clock;
  }

  close(): void {
    this.#client.close();
  }

  /** The addresses of the guest, without those of itself. */
  async addresses(): Promise<GuestAddress[]> {
    const answer = await this.#client.call("guest-network-get-interfaces", {}, { timeoutMs: answerMs });
    const found: GuestAddress[] = [];
    for (const each of listOf(answer)) {
      const { name, "ip-addresses": addresses } = objectOf(each);
      if (typeof name !== "string" || name === "lo" || addresses === undefined) continue;
      for (const one of listOf(addresses)) {
        const address = objectOf(one)["ip-address"];
        if (typeof address !== "string" || !isPlainAddress(address)) continue;
        found.push({ interface: printable(name).slice(0, limits.guestInterfaceLengthMax), address });
      }
    }
    return found.slice(0, limits.guestAddressesMax);
  }

  /** Asks the guest to power off. Resolves when the agent has not refused. */
  async shutdown(): Promise<void> {
    await this.#client.tell("guest-shutdown", { mode: "powerdown" }, { timeoutMs: answerMs, refusalMs });
  }

  /** Somebody else has the channel: what is asked now waits for it. */
  get isLent(): boolean {
    return this.#client.isLent;
  }

  /** Gives the channel to somebody else for as long as that takes. */
  async lend<T>(work: (path: string) => Promise<T>): Promise<T> {
    return await this.#client.lend(work);
  }

  /** Lets the file systems of the guest go on. */
  async thaw(): Promise<void> {
    await this.#client.call("guest-fsfreeze-thaw", {}, { timeoutMs: answerMs });
  }

  /** Resolves when the agent answers. */
  async ping(options: AgentCall): Promise<void> {
    await this.#client.call("guest-ping", {}, options);
  }

  /** Has the guest use the processors and the memory that it sees and does not use. */
  async useAll(): Promise<GuestUse> {
    const answerOf = async (command: string, given: Answer = {}) =>
      await this.#client.call(command, given, { timeoutMs: answerMs });
    const idle = (answer: unknown, key: string) =>
      listOf(answer, memoryBlocksMax).flatMap((each) => {
        const { [key]: id, online } = objectOf(each);
        return online === false && Number.isSafeInteger(id) ? [{ [key]: id, online: true }] : [];
      });
    const processors = listOf(await answerOf("guest-get-vcpus"));
    const [vcpus, blocks] = [
      idle(processors, "logical-id"),
      // An agent that knows of no blocks has a guest that takes no memory either.
      idle(await answerOf("guest-get-memory-blocks").catch(() => []), "phys-index"),
    ];
    if (vcpus.length > 0) await answerOf("guest-set-vcpus", { vcpus });
    if (blocks.length > 0) await answerOf("guest-set-memory-blocks", { "mem-blks": blocks });
    return { vcpus: processors.length, changed: vcpus.length + blocks.length > 0 };
  }

  /** Starts a program, and gives its process id in the guest. */
  async begin(argv: readonly string[], options: AgentCall, data: Answer = {}): Promise<number> {
    const [path = "", ...arg] = argv;
    const { pid } = objectOf(await this.#begin({ path, arg, ...data, "capture-output": true }, options));
    if (typeof pid !== "number") throw unreadable("no process");
    return pid;
  }

  /** How a program ended; undefined while it runs. */
  async ended(pid: number, options: AgentCall): Promise<GuestExecResult | undefined> {
    const status = objectOf(await this.#client.call("guest-exec-status", { pid }, options));
    return status["exited"] === true ? resultOf(status) : undefined;
  }

  /** Runs a program to its end. When the time is over the program goes on in the guest. @throws DEADLINE_EXCEEDED */
  async exec({ argv, input, timeoutMs, signal }: GuestExec): Promise<GuestExecResult> {
    const [path = ""] = argv;
    const work = async (limited: AbortSignal) => {
      const options = { timeoutMs, signal: limited };
      const data = input.length === 0 ? {} : { "input-data": base64(input) };
      const pid = await this.begin(argv, options, data);
      for (let pollMs = execPollMsMin; ; pollMs = Math.min(pollMs * execPollGrowth, execPollMsMax)) {
        const ended = await this.ended(pid, options);
        if (ended !== undefined) return ended;
        await sleep(this.#clock, pollMs, limited);
      }
    };
    const limit = { clock: this.#clock, timeoutMs, what: `${path} in the guest` };
    return await withDeadline({ ...limit, ...(signal === undefined ? {} : { signal }) }, work);
  }

  /** Nobody runs it twice because the first answer was lost. */
  async #begin(given: Answer, options: AgentCall): Promise<unknown> {
    try {
      return await this.#client.call("guest-exec", given, options);
    } catch (error) {
      const refused = isBlixardError(error) && (error.code === "CONFLICT" || error.outcome === "not_applied");
      throw refused || !isBlixardError(error) ? error : changedError(error, { outcome: "unknown" });
    }
  }

  /** A piece of a file; `end` says that nothing follows. */
  async readFile(
    path: string,
    { offset, bytesMax }: { readonly offset: number; readonly bytesMax: number },
  ): Promise<{ readonly data: Uint8Array; readonly end: boolean }> {
    return await this.#withFile(path, "r", offset, async (handle) => {
      const answer = objectOf(await this.#file("guest-file-read", { handle, count: bytesMax }));
      const data = bytesOf(answer["buf-b64"]);
      if (data.length > bytesMax) throw unreadable("more of a file than was asked for");
      return { data, end: answer["eof"] === true || data.length === 0 };
    });
  }

  /** Writes a piece of a file, which the first one begins anew. */
  async writeFile(
    path: string,
    { offset, data }: { readonly offset: number; readonly data: Uint8Array },
  ): Promise<void> {
    await this.#withFile(path, offset === 0 ? "w" : "r+", offset, async (handle) => {
      let at = 0;
      while (at < data.length) {
        const answer = objectOf(await this.#file("guest-file-write", { handle, "buf-b64": base64(data.subarray(at)) }));
        const { count } = answer;
        if (typeof count !== "number" || count <= 0 || count > data.length - at) throw unreadable("a wrong count");
        at += count;
      }
      await this.#file("guest-file-flush", { handle });
    });
  }

  async #withFile<T>(path: string, mode: string, offset: number, work: (handle: number) => Promise<T>): Promise<T> {
    const handle = await this.#file("guest-file-open", { path, mode });
    if (typeof handle !== "number") throw unreadable("no open file");
    try {
      if (offset > 0) await this.#file("guest-file-seek", { handle, offset, whence: "set" });
      return await work(handle);
    } finally {
      await this.#file("guest-file-close", { handle }).catch(() => {});
    }
  }

  #file(command: string, given: Readonly<Record<string, unknown>>): Promise<unknown> {
    return this.#client.call(command, given, { timeoutMs: answerMs });
  }
}

function resultOf(status: Answer): GuestExecResult {
  const output = bytesOf(status["out-data"] ?? "");
  const errors = bytesOf(status["err-data"] ?? "");
  const { guestExecOutputBytesMax: bytesMax } = limits;
  return {
    exitCode: numberOf(status["exitcode"]),
    signal: numberOf(status["signal"]),
    output: output.subarray(0, bytesMax),
    errors: errors.subarray(0, bytesMax),
    truncated:
      output.length > bytesMax ||
      errors.length > bytesMax ||
      status["out-truncated"] === true ||
      status["err-truncated"] === true,
  };
}

/** Without the zone that may stand behind an IPv6 address, and may be of any length. */
function isPlainAddress(text: string): boolean {
  return text.length <= limits.guestAddressLengthMax && isIP(text) !== 0 && !text.includes("%");
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255 ? value : null;
}

/** @throws ANSWER_UNREADABLE */
function objectOf(value: unknown): Answer {
  if (typeof value === "object" && value !== null) return value as Answer;
  throw unreadable("an answer of another form");
}

/** @throws ANSWER_UNREADABLE */
function listOf(value: unknown, countMax = listMax): readonly unknown[] {
  if (Array.isArray(value)) return value.slice(0, countMax);
  throw unreadable("no list");
}

const listMax = 256;
/** Of 128 MiB each. */
const memoryBlocksMax = Math.ceil(limits.vmMemoryMiBMax / 128);

/** @throws ANSWER_UNREADABLE */
function bytesOf(value: unknown): Uint8Array {
  if (typeof value === "string") return new Uint8Array(Buffer.from(value, "base64"));
  throw unreadable("no bytes");
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function unreadable(what: string): BlixardError {
  return new BlixardError("ANSWER_UNREADABLE", `the agent in the guest answers with ${what}`);
}
