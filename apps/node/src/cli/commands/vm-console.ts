/** `blixard vm logs|console`: serial output once or followed, and the interactive console. */
import { PieceQueue } from "@blixard/common";
import type { Command } from "commander";
import { type CliContext, printable, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { parseInteger } from "../quantities.ts";

type LogOptions = ClientOptions & { readonly follow?: boolean; readonly tailBytes?: string };

/** Ctrl-], as in telnet and virsh. */
const escapeByte = 0x1d;

export function registerConsole(command: Command, context: CliContext): void {
  withClientOptions(command.command("logs <name>").description("print the serial output of a VM"))
    .option("-f, --follow", "go on as more comes")
    .option("--tail-bytes <n>", "only the last bytes")
    .action((name: string, options: LogOptions) =>
      withClient(context, options, (session) => printLogs(session, name, options)),
    );
  withClientOptions(
    command.command("console <name>").description("talk to the serial console; Ctrl-] leaves it"),
  ).action((name: string, options: ClientOptions) =>
    withClient(context, options, (session) => openConsole(session, name)),
  );
}

async function printLogs({ client, context }: ClientSession, name: string, options: LogOptions): Promise<void> {
  let offset = options.tailBytes === undefined ? 0 : -parseInteger(options.tailBytes, "--tail-bytes", 1);
  const print = (piece: { readonly offset: number; readonly data: Uint8Array }) => {
    if (offset >= 0 && piece.offset > offset) say(context, `${piece.offset - offset} older bytes are gone`);
    context.stdout.write(piece.data);
    offset = piece.offset + piece.data.length;
  };
  if (options.follow === true) {
    for await (const piece of client.vms.followLogs({ name, offset }, { signal: context.signal })) print(piece);
    return;
  }
  while (!context.signal.aborted) {
    const piece = await client.vms.readConsole({ name, offset });
    print(piece);
    if (piece.data.length === 0 || offset >= piece.endOffset) return;
  }
}

/** One stream both ways. The end of the input is its half close: the node says when the VM has got all of it. */
async function openConsole({ client, context }: ClientSession, name: string): Promise<void> {
  const left = new AbortController();
  const leaveSoon = () => void setTimeout(() => left.abort(), lingerMs).unref();
  const terminal = context.stdin.isTTY === true;
  const typed = new TypedInput(context.stdin, leaveSoon);
  try {
    const scope = { input: typed.pieces(), signal: left.signal };
    const output = await client.vms.openConsole({ name, offset: -backlogBytes }, scope);
    // The terminal is raw: a line ends with both.
    if (terminal) context.stderr.write(`connected to ${printable(name)}; Ctrl-] leaves\r\n`);
    for await (const piece of output) {
      context.stdout.write(piece.data);
      if (!piece.inputEnded) continue;
      // Who left by the key is gone; to what was piped in, the VM gets a moment to answer.
      if (typed.escaped) return;
      leaveSoon();
    }
  } catch (error) {
    if (!left.signal.aborted) throw error;
  } finally {
    typed.close();
    left.abort();
  }
}

/** Standard input as pieces, until it ends or, on a terminal, the key is pressed that leaves. */
class TypedInput {
  escaped = false;
  readonly #stdin: CliContext["stdin"];
  readonly #onEscape: () => void;
  readonly #queue = new PieceQueue(inputPieceBytesMax);

  constructor(stdin: CliContext["stdin"], onEscape: () => void) {
    this.#stdin = stdin;
    this.#onEscape = onEscape;
  }

  /** Reads no further than what is asked for. */
  async *pieces(): AsyncIterable<Uint8Array> {
    const stdin = this.#stdin;
    if (stdin.isTTY === true) stdin.setRawMode?.(true);
    stdin.on("data", this.#onData);
    stdin.once("end", this.#onEnd);
    yield* this.#queue.pieces(() => stdin.resume());
  }

  close(): void {
    const stdin = this.#stdin;
    stdin.off("data", this.#onData);
    stdin.off("end", this.#onEnd);
    if (stdin.isTTY === true) stdin.setRawMode?.(false);
    stdin.pause();
    this.#onEnd();
  }

  readonly #onData = (data: Buffer): void => {
    this.#stdin.pause();
    const at = this.#stdin.isTTY === true ? data.indexOf(escapeByte) : -1;
    this.#queue.push(at < 0 ? data : data.subarray(0, at));
    if (at < 0) return;
    this.escaped = true;
    this.#onEscape();
    this.#queue.end();
  };

  readonly #onEnd = (): void => this.#queue.end();
}

const lingerMs = 1_000;
const backlogBytes = 4 * 1024;
const inputPieceBytesMax = 16 * 1024;
