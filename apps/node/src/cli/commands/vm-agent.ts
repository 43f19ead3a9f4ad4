/** `blixard vm exec|file push|file pull`: by the agent in the guest. */
import { open } from "node:fs/promises";
import { BlixardError, concatBytes, fileErrorOf, fromUtf8 } from "@blixard/common";
import { limits, type VmRecord } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { parseDurationMs } from "../quantities.ts";

type ExecOptions = ClientOptions & { readonly deadline?: string; readonly input?: boolean };

/** What the way to the node and back may take beside the program. */
const wayMs = 10_000;
/** As a shell says that a signal ended a program. */
const signalExitCode = 128;

export function registerAgent(command: Command, context: CliContext): void {
  withClientOptions(
    command.command("exec <name> <argv...>").description("run a program in a VM, and end with its exit code"),
  )
    .option("--deadline <time>", "how long it may run (default 30s); then it goes on in the guest, unwatched")
    .option("-i, --input", `give it what comes on standard input, ${limits.guestExecInputBytesMax} bytes at most`)
    .action((name: string, argv: string[], options: ExecOptions) =>
      withClient(context, options, (session) => exec(session, name, argv, options)),
    );
  const file = command.command("file").description("files in a VM");
  withClientOptions(file.command("push <name> <file> <path>").description("write a local file into a VM")).action(
    (name: string, from: string, path: string, options: ClientOptions) =>
      withClient(context, options, (session) => push(session, { name, path }, from)),
  );
  withClientOptions(
    file.command("pull <name> <path> [file]").description("read a file of a VM, by default to standard output"),
  ).action((name: string, path: string, to: string | undefined, options: ClientOptions) =>
    withClient(context, options, (session) => pull(session, { name, path }, to)),
  );
}

async function exec({ client, context }: ClientSession, name: string, argv: string[], options: ExecOptions) {
  const timeoutMs = options.deadline === undefined ? limits.guestExecMsDefault : parseDurationMs(options.deadline);
  const input = base64(options.input === true ? await readInput(context) : new Uint8Array());
  const request = { name, argv, input, timeoutMs };
  const result = await client.vms.exec(request, { timeoutMs: timeoutMs + wayMs, signal: context.signal });
  context.stdout.write(bytesOf(result.output));
  context.stderr.write(bytesOf(result.errors));
  if (result.truncated) say(context, `only the first ${limits.guestExecOutputBytesMax} bytes of each are shown`);
  if (result.signal !== null) say(context, `signal ${result.signal} ended it`);
  context.exitCode = result.exitCode ?? signalExitCode + (result.signal ?? 0);
}

async function readInput({ stdin }: CliContext): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stdin) {
    const bytes = typeof piece === "string" ? fromUtf8(piece) : (piece as Uint8Array);
    length += bytes.length;
    if (length > limits.guestExecInputBytesMax) {
      throw new BlixardError("VALUE_TOO_LARGE", `there are more than ${limits.guestExecInputBytesMax} bytes of input`, {
        hint: "Write them into the VM first: blixard vm file push",
      });
    }
    pieces.push(bytes);
  }
  return concatBytes(pieces);
}

interface GuestFile {
  readonly name: string;
  readonly path: string;
}

async function push({ client, context }: ClientSession, to: GuestFile, from: string): Promise<void> {
  const file = await open(from, "r").catch((error: unknown) => {
    throw fileErrorOf(error, `the file ${from}`);
  });
  try {
    const buffer = new Uint8Array(limits.guestFilePieceBytesMax);
    let offset = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      // A file that is empty is made too.
      if (bytesRead === 0 && offset > 0) break;
      const data = base64(buffer.subarray(0, bytesRead));
      await client.vms.writeFile({ ...to, offset, data }, { signal: context.signal });
      offset += bytesRead;
      if (bytesRead === 0) break;
    }
    say(context, `${offset} bytes written to ${to.path} in ${to.name}`);
  } finally {
    await file.close();
  }
}

async function pull({ client, context }: ClientSession, from: GuestFile, to: string | undefined): Promise<void> {
  const file = to === undefined ? undefined : await open(to, "w");
  try {
    let offset = 0;
    for (;;) {
      const { data, end } = await client.vms.readFile({ ...from, offset }, { signal: context.signal });
      const bytes = bytesOf(data);
      if (file === undefined) context.stdout.write(bytes);
      else await file.writeFile(bytes);
      offset += bytes.length;
      if (end) break;
    }
    if (to !== undefined) say(context, `${offset} bytes written to ${to}`);
  } finally {
    await file?.close();
  }
}

/** Nothing vouches for what a guest says of itself. */
export function agentLine({ agent }: VmRecord): string {
  if (agent === undefined) return "";
  const said = agent.addresses.map(({ interface: card, address }) => `${address} (${card})`).join(", ");
  return `\nThe agent in the guest answers${said === "" ? "" : `, and says that it has ${said}`}.\n`;
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
