/** `blixard context add|use|list|remove`: clusters that are called with a key of this user, from any machine. */
import { redeemTicket } from "@blixard/client";
import { BlixardError, isBlixardError, reasonOf } from "@blixard/common";
import { readNamedFile, systemRandom } from "@blixard/common/system";
import { decodeTicket, type JoinTicket, nameSchema, ticketPrefix } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { contextNamed, readContexts, removeContext, type SavedContext, writeContexts } from "../contexts.ts";
import { parseOutputFormat, print, printList, type View } from "../output.ts";
import { parseDurationMs } from "../quantities.ts";

interface AddOptions {
  readonly ticketFile?: string;
  readonly transport: string;
  readonly relay: boolean;
  readonly discovery: boolean;
  readonly timeout: string;
}

type NamedContext = SavedContext & { readonly name: string; readonly current: boolean };

const ticketBytesMax = 64 * 1024;

const contextView: View<NamedContext> = {
  name: ({ name }) => name,
  columns: [
    { title: "CURRENT", value: ({ current }) => (current ? "*" : "") },
    { title: "NAME", value: ({ name }) => name },
    { title: "ROLE", value: ({ role }) => role },
    { title: "CLUSTER", value: ({ clusterId }) => clusterId },
    { title: "NODES", value: ({ nodes }) => nodes.length },
    { title: "TOKEN", value: ({ tokenId }) => tokenId },
    { title: "TRANSPORT", value: ({ transport }) => transport, wide: true },
    { title: "ADDRESSES", value: ({ nodes }) => nodes.flatMap(({ addresses }) => addresses).join(","), wide: true },
  ],
};

export function registerContext(command: Command, context: CliContext): void {
  command
    .command("add <name> [ticket]")
    .description("make a key and let the cluster of a ticket for an operator or a viewer know it; - reads the ticket")
    .option("--ticket-file <file>", "read the ticket from a file")
    .option("--transport <kind>", "what the nodes talk: iroh or grpc", "iroh")
    .option("--no-relay", "use no relay servers")
    .option("--no-discovery", "look up no addresses on the network")
    .option("--timeout <time>", "give up after this time", "30s")
    .action((name: string, ticket: string | undefined, options: AddOptions) => add(context, name, ticket, options));
  command
    .command("use <name>")
    .description("let commands without --context and --address call this cluster")
    .action(async (name: string) => {
      const file = await readContexts(context.env);
      contextNamed(file, name);
      await writeContexts(context.env, { ...file, current: name });
      say(context, `${name} is the current context`);
    });
  command
    .command("list")
    .alias("ls")
    .description("list contexts")
    .option("-o, --output <format>", "table, wide, json, yaml or name", "table")
    .action(async (options: { readonly output: string }) => {
      const { current, contexts } = await readContexts(context.env);
      const items = Object.entries(contexts).map(([name, saved]) => ({ name, current: name === current, ...saved }));
      await printList(context, parseOutputFormat(options.output), contextView, items);
    });
  command
    .command("remove <name>")
    .alias("rm")
    .description("forget a context and its key")
    .action(async (name: string) => {
      const file = await readContexts(context.env);
      const { tokenId } = contextNamed(file, name);
      await removeContext(context.env, file, name);
      say(context, `removed; the cluster forgets the key with: blixard token revoke ${tokenId}`);
    });
}

async function add(context: CliContext, name: string, given: string | undefined, options: AddOptions): Promise<void> {
  if (!nameSchema.safeParse(name).success) {
    throw new BlixardError("INVALID_ARGUMENT", `"${name}" is no name: use lower-case letters, digits and dashes`);
  }
  const { relay, discovery } = options;
  const transport = options.transport === "iroh" || options.transport === "grpc" ? options.transport : undefined;
  if (transport === undefined) {
    throw new BlixardError("INVALID_ARGUMENT", `"${options.transport}" is no transport`, { hint: "Use iroh or grpc." });
  }
  const before = await readContexts(context.env);
  if (Object.hasOwn(before.contexts, name)) {
    throw new BlixardError("ALREADY_EXISTS", `there is a context ${name} already`, {
      hint: `Choose another name, or forget it: blixard context remove ${name}`,
    });
  }
  const ticket = await readTicket(context, given, options.ticketFile);
  const timeoutMs = parseDurationMs(options.timeout);
  const { openRpcLane } = await import("../rpc-lane.ts");
  const lane = await openRpcLane(context.env, name, { transport, relay, discovery, nodes: ticket.endpoints });
  try {
    const { signal } = context;
    const deps = { rpc: lane.rpc, random: systemRandom, endpointId: lane.endpointId };
    const redeemed = redeemTicket(deps, ticket, { name, timeoutMs, signal });
    const { clusterId, id, role, nodes } = await redeemed.catch((error: unknown) => {
      throw transport === "iroh" ? withTransportHint(error) : error;
    });
    const saved: SavedContext = { clusterId, tokenId: id, role, transport, relay, discovery, nodes };
    const file = await readContexts(context.env);
    await writeContexts(context.env, { ...file, current: name, contexts: { ...file.contexts, [name]: saved } });
    await print(context, "table", saved, () => `${name}\n`, [name]);
    say(
      context,
      `${name} is the current context: commands call cluster ${clusterId} as ${role}, with a key of their own`,
    );
  } finally {
    await lane.close();
  }
}

/** A ticket does not say what its nodes speak. */
function withTransportHint(error: unknown): unknown {
  if (!isBlixardError(error) || error.code !== "UNREACHABLE") return error;
  const { code, message, cause, details = {} } = error;
  const hint = "Is UDP let through, and do the nodes speak Iroh? For nodes with --transport grpc give the same here.";
  return new BlixardError(code, message, { cause, details, hint });
}

async function readTicket(
  context: CliContext,
  given: string | undefined,
  file: string | undefined,
): Promise<JoinTicket> {
  if ((given === undefined) === (file === undefined)) {
    throw new BlixardError("INVALID_ARGUMENT", "give the ticket as an argument, as - for standard input, or as a file");
  }
  const path = file ?? given;
  if (path === "-") return decodeTicket(await readAll(context));
  if (file === undefined) {
    if (given?.startsWith(ticketPrefix)) {
      say(context, "warning: the ticket can be seen in the process list; - or --ticket-file FILE keeps it out");
    }
    return decodeTicket(given ?? "");
  }
  try {
    return decodeTicket(await readNamedFile(file, ticketBytesMax));
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `--ticket-file ${file}: ${reasonOf(error)}`, {
      cause: error,
      hint: "Give the path of a file with the ticket, or - for standard input.",
    });
  }
}

async function readAll({ stdin }: CliContext): Promise<string> {
  let text = "";
  for await (const piece of stdin) {
    text += String(piece);
    if (text.length > ticketBytesMax) throw new BlixardError("TICKET_INVALID", "standard input holds no ticket");
  }
  return text;
}
