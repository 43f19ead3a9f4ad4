/** `blixard vm logs|console`: serial output once or followed, and the interactive console. */
import { SerialQueue } from "@blixard/common";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { parseInteger } from "../quantities.ts";

type LogOptions = ClientOptions & { readonly follow?: boolean; readonly tailBytes?: string };

const followWaitMs = 10_000;
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
  while (!context.signal.aborted) {
    const waitMs = options.follow === true ? followWaitMs : 0;
    const piece = await client.vms.readConsole({ name, offset, waitMs }, { timeoutMs: waitMs + callTimeoutMs });
    if (offset >= 0 && piece.offset > offset) say(context, `${piece.offset - offset} older bytes are gone`);
    context.stdout.write(piece.data);
    offset = piece.offset + piece.data.length;
    if (options.follow !== true && (piece.data.length === 0 || offset >= piece.endOffset)) return;
  }
}

/** Output and input go their own ways, each in order, by calls that every way to a node carries. */
async function openConsole(session: ClientSession, name: string): Promise<void> {
  const { client, context } = session;
  // Finds a node that serves, and says plainly that there is no such VM.
  await client.vms.get(name);
  const left = new AbortController();
  const { stdin } = context;
  const input = new SerialQueue();
  let failed: unknown;
  const onInput = (data: Buffer) => {
    const at = stdin.isTTY === true ? data.indexOf(escapeByte) : -1;
    const sent = at < 0 ? data : data.subarray(0, at);
    const write = async () => {
      for (let from = 0; from < sent.length; from += inputPieceBytesMax) {
        await client.vms.writeConsole(name, sent.subarray(from, from + inputPieceBytesMax));
      }
      if (input.pending <= 1 && stdin.isTTY !== true) stdin.resume();
    };
    if (stdin.isTTY !== true) stdin.pause();
    input.run(write).catch((error: unknown) => {
      failed ??= error;
      left.abort();
    });
    if (at >= 0) left.abort();
  };
  if (stdin.isTTY === true) {
    stdin.setRawMode?.(true);
    say(context, `connected to ${name}; Ctrl-] leaves\r`);
  }
  stdin.on("data", onInput);
  // What was piped in is sent; the output is read for a moment more.
  stdin.once("end", () => void input.idle().then(() => setTimeout(() => left.abort(), pipedLingerMs)));
  stdin.resume();
  try {
    await copyOutput(session, name, left.signal);
  } finally {
    stdin.off("data", onInput);
    if (stdin.isTTY === true) stdin.setRawMode?.(false);
    stdin.pause();
    await input.idle();
  }
  if (failed !== undefined) throw failed;
}

/** Until `signal` aborts. */
async function copyOutput({ client, context }: ClientSession, name: string, signal: AbortSignal): Promise<void> {
  for (let offset = -backlogBytes; !signal.aborted; ) {
    const request = { name, offset, waitMs: followWaitMs };
    const limits = { timeoutMs: followWaitMs + callTimeoutMs, signal };
    const piece = await client.vms.readConsole(request, limits).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
    if (piece === undefined) return;
    context.stdout.write(piece.data);
    offset = piece.offset + piece.data.length;
  }
}

const pipedLingerMs = 1_000;
const backlogBytes = 4 * 1024;
const inputPieceBytesMax = 16 * 1024;
const callTimeoutMs = 30_000;
