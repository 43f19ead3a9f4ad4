/** `blixard vm logs|console`: serial output once or followed, and the interactive console. */
import { BlixardError } from "@blixard/common";
import type { Command } from "commander";
import { WebSocket } from "ws";
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
    const piece = await client.vms.readConsole({ name, offset, waitMs }, { timeoutMs: waitMs + 30_000 });
    if (offset >= 0 && piece.offset > offset) say(context, `${piece.offset - offset} older bytes are gone`);
    context.stdout.write(piece.data);
    offset = piece.offset + piece.data.length;
    if (options.follow !== true && (piece.data.length === 0 || offset >= piece.endOffset)) return;
  }
}

async function openConsole({ client, context }: ClientSession, name: string): Promise<void> {
  // Finds a node that serves, and says plainly that there is no such VM.
  await client.vms.get(name);
  const { socket, host, token } = await client.dial();
  const webSocket = new WebSocket(`ws://localhost/v1/vms/${encodeURIComponent(name)}/console`, ["blixard.console"], {
    headers: { host, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    createConnection: () => socket,
  });
  const ended = new Promise<void>((resolve, reject) => {
    webSocket.once("error", (error) =>
      reject(new BlixardError("UNAVAILABLE", `the console cannot be opened: ${error.message}`)),
    );
    webSocket.once("close", (code, reason) => {
      if (code === 1000 || code === 1001 || code === 1005) resolve();
      else reject(new BlixardError("UNAVAILABLE", `the console ended: ${reason.toString() || code}`));
    });
  });
  webSocket.on("message", (data) => context.stdout.write(data as Buffer));
  const { stdin } = context;
  const onInput = (data: Buffer) => {
    const at = stdin.isTTY === true ? data.indexOf(escapeByte) : -1;
    const sent = at < 0 ? data : data.subarray(0, at);
    if (sent.length > 0 && webSocket.readyState === WebSocket.OPEN) webSocket.send(sent);
    if (at >= 0) webSocket.close(1000);
  };
  webSocket.once("open", () => {
    if (stdin.isTTY === true) {
      stdin.setRawMode?.(true);
      say(context, `connected to ${name}; Ctrl-] leaves\r`);
    }
    stdin.on("data", onInput);
    // What was piped in is sent; the output is read for a moment more.
    stdin.once("end", () => setTimeout(() => webSocket.close(1000), pipedLingerMs));
    stdin.resume();
  });
  try {
    await ended;
  } finally {
    stdin.off("data", onInput);
    if (stdin.isTTY === true) stdin.setRawMode?.(false);
    stdin.pause();
    webSocket.terminate();
  }
}

const pipedLingerMs = 1_000;
