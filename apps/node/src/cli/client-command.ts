/** Commands that talk to a cluster: their common options, and the way from those to a client. */
import {
  answeringFirst,
  type BlixardClient,
  type ClientTarget,
  findLocalNode,
  findOwnNodes,
  type LocalNode,
  listOwnNodes,
  localTarget,
  ownStatusTarget,
  parseNodeAddress,
  readLocalNode,
} from "@blixard/client";
import { BlixardError, errorCodes, isBlixardError, isLoopbackHost, reasonOf } from "@blixard/common";
import { readNamedFile, systemClock, systemRandom } from "@blixard/common/system";
import type { MemberStatus } from "@blixard/protocol";
import { type Command, Option } from "commander";
import { type CliContext, say } from "./cli-context.ts";
import { CommandClient } from "./command-client.ts";
import { contextNamed, readContexts, type SavedContext, writeContexts } from "./contexts.ts";
import { filePins } from "./file-pins.ts";
import { OpenRequests } from "./open-requests.ts";
import { detachedFrom, interrupted, withOutcome } from "./outcome.ts";
import { type OutputFormat, parseOutputFormat } from "./output.ts";
import { parseDurationMs } from "./quantities.ts";

export interface ClientOptions {
  readonly address?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly dataDir?: string;
  readonly context?: string;
  readonly output?: string;
  readonly timeout?: string;
}

/** What the action of such a command gets. */
export interface ClientSession {
  readonly context: CliContext;
  readonly client: BlixardClient;
  readonly format: OutputFormat;
  /** From `--timeout`; undefined leaves the choice to the command. */
  readonly timeoutMs: number | undefined;
  /** A command of before saw no end of what it had asked for, which may have been the same. */
  readonly mayRepeat: boolean;
  /** From now on the command only waits for an operation, which goes on without it: Ctrl-C ends no more than the waiting. */
  readonly follow: (operationId: string) => void;
}

/** Adds the options that every command with a client has. */
export function withClientOptions(command: Command): Command {
  return command
    .option(
      "--address <addresses>",
      "nodes to talk to, HOST:PORT,... (BLIXARD_ADDRESS; default: those on this machine)",
    )
    .option("--token <token>", "bearer token (BLIXARD_TOKEN)")
    .option("--token-file <file>", "read the token from a file")
    .option(
      "--data-dir <dir>",
      "data directory of a node on this machine, for its address and token (BLIXARD_DATA_DIR)",
    )
    .option("--context <name>", "the cluster of a context (BLIXARD_CONTEXT; default: the current one)")
    .option("--timeout <time>", "give up after this time, for example 30s or 2m")
    .addOption(new Option("-o, --output <format>", "table, wide, json, yaml or name").default("table"));
}

export interface ClientNeeds {
  /** What a node says of itself is enough, where nobody here has a right in its cluster. */
  readonly onlyStatus?: boolean;
  /** It goes on until Ctrl-C, which is its end and no failure. */
  readonly untilInterrupted?: boolean;
}

/** Runs `work` with a client, and closes it. */
export async function withClient(
  context: CliContext,
  options: ClientOptions,
  work: (session: ClientSession) => Promise<void>,
  needs: ClientNeeds = {},
): Promise<void> {
  const format = parseOutputFormat(options.output ?? "table");
  const timeoutMs = options.timeout === undefined ? undefined : parseDurationMs(options.timeout);
  const contextName = await chosenContext(context, options);
  const opened = contextName === undefined ? undefined : await openContext(context, contextName);
  const requests = new OpenRequests(context.env, () => systemClock.unixMs());
  const { isEmpty } = requests;
  const client = new CommandClient(
    {
      addresses: opened?.targets ?? (await resolveTargets(context, options, needs)),
      pins: filePins(context.env),
      random: systemRandom,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    },
    requests,
  );
  let followed: string | undefined;
  const follow = (operationId: string) => {
    followed = operationId;
  };
  try {
    await Promise.race([
      work({ context, client, format, timeoutMs, mayRepeat: !isEmpty, follow }),
      interruption(context),
    ]);
    client.settle(true);
    await opened?.remember(client);
  } catch (error) {
    const aborted = context.signal.aborted;
    if (aborted && needs.untilInterrupted === true) {
      context.exitCode = errorCodes.CANCELLED.exitCode;
      return;
    }
    if (aborted && followed !== undefined) throw detachedFrom(followed);
    const failure = withOutcome(aborted ? interrupted() : error, client.lastChange);
    client.settle(!isBlixardError(failure) || failure.outcome !== "unknown");
    if (!aborted || !client.hasOnlyRead) throw failure;
    // A reader who leaves a list that is only shown needs no message.
    context.exitCode = errorCodes[interrupted().code].exitCode;
  } finally {
    client.close();
    await opened?.close();
  }
}

/** An address or a data directory says more than the context that happens to be current. */
async function chosenContext(context: CliContext, options: ClientOptions): Promise<string | undefined> {
  if (options.context !== undefined) {
    if (options.address === undefined && options.dataDir === undefined) return options.context;
    throw new BlixardError("INVALID_ARGUMENT", "--context excludes --address and --data-dir");
  }
  const { address, dataDir, token, tokenFile } = options;
  if ([address, dataDir, token, tokenFile].some((given) => given)) return;
  const { current } = await readContexts(context.env);
  const variable = ["BLIXARD_ADDRESS", "BLIXARD_CONTEXT", "BLIXARD_DATA_DIR"].find((name) =>
    nonEmpty(context.env[name]),
  );
  const used = variable === "BLIXARD_CONTEXT" ? context.env[variable] : undefined;
  if (variable !== undefined && current !== null && current !== used && options.output !== "json") {
    say(context, `note: ${variable} is set, so that the current context ${current} is not used`);
  }
  return variable === undefined ? (current ?? undefined) : used;
}

/** The nodes of a context, by the key of this user. */
async function openContext({ env, signal }: CliContext, name: string) {
  const saved = contextNamed(await readContexts(env), name);
  const { openRpcLane } = await import("./rpc-lane.ts");
  const { rpc, stream, close } = await openRpcLane(env, name, saved);
  const nodes = await answeringFirst({ rpc, random: systemRandom, clock: systemClock }, saved.nodes, signal);
  return {
    targets: nodes.map((node) => ({ ...node, rpc, stream })),
    close,
    /**
     * Nodes come, go and move; a command that worked can ask where they are now. Next time the one that answers is asked
     * first, and those that it misses last.
     */
    remember: async (client: BlixardClient): Promise<void> => {
      const members = await client.members.list({ timeoutMs: rememberTimeoutMs }).catch(() => []);
      const [answering] = nodes;
      const rank = ({ endpointId, path }: MemberStatus) =>
        endpointId === answering?.endpointId ? 0 : path === "none" ? 2 : 1;
      const current = members
        .filter(({ addresses, role }) => addresses.length > 0 && role === "voter")
        .sort((a, b) => rank(a) - rank(b))
        .map(({ endpointId, addresses }) => ({ endpointId, addresses }));
      const same = current[0]?.endpointId === saved.nodes[0]?.endpointId && isSameSet(current, saved.nodes);
      if (current.length === 0 || same) return;
      const file = await readContexts(env);
      if (!Object.hasOwn(file.contexts, name)) return;
      await writeContexts(env, { ...file, contexts: { ...file.contexts, [name]: { ...saved, nodes: current } } });
    },
  };
}

const rememberTimeoutMs = 1_000;
const tokenFileBytesMax = 64 * 1024;

function isSameSet(some: SavedContext["nodes"], others: SavedContext["nodes"]): boolean {
  const sorted = (nodes: SavedContext["nodes"]) => [...nodes].sort((a, b) => (a.endpointId < b.endpointId ? -1 : 1));
  return JSON.stringify(sorted(some)) === JSON.stringify(sorted(others));
}

/** Rejects at Ctrl-C. */
function interruption(context: CliContext): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(interrupted());
    if (context.signal.aborted) stop();
    context.signal.addEventListener("abort", stop, { once: true });
  });
}

async function resolveTargets(
  context: CliContext,
  options: ClientOptions,
  needs: ClientNeeds,
): Promise<ClientTarget[]> {
  const token = await givenToken(context, options);
  const withToken = (target: ClientTarget): ClientTarget => (token === undefined ? target : { ...target, token });
  const addresses = options.address ?? nonEmpty(context.env["BLIXARD_ADDRESS"]);
  const dataDir = options.dataDir ?? nonEmpty(context.env["BLIXARD_DATA_DIR"]);
  const fromDataDir = dataDir === undefined ? undefined : await readLocalNode(dataDir);
  if (addresses !== undefined) {
    const nodes = fromDataDir === undefined ? await listOwnNodes(context.env) : [fromDataDir];
    return addresses.split(",").map((address) => withToken(knownTarget(nodes, address.trim(), needs)));
  }
  if (dataDir !== undefined) {
    if (fromDataDir === undefined) throw notRunning(`no node runs on the data directory ${dataDir}`);
    return token === undefined ? withRights([fromDataDir], needs) : [withToken(localTarget(fromDataDir))];
  }
  const own = await findOwnNodes(context.env);
  if (own.nodes.length === 0 && own.refusal !== undefined) throw own.refusal;
  const nodes = oneCluster(own.nodes);
  return token === undefined ? withRights(nodes, needs) : nodes.map((node) => withToken(localTarget(node)));
}

/** Those of the nodes that hold an administrator's token, as voters do. @throws UNAUTHENTICATED */
function withRights(nodes: readonly LocalNode[], { onlyStatus }: ClientNeeds): ClientTarget[] {
  const voters = nodes.filter(({ token }) => token !== undefined);
  if (voters.length > 0) return voters.map((node) => localTarget(node));
  const own = onlyStatus ? nodes.flatMap((node) => ownStatusTarget(node) ?? []) : [];
  if (own.length > 0) return own;
  const ids = nodes.map(({ nodeId }) => nodeId).join(", ");
  throw new BlixardError(
    "UNAUTHENTICATED",
    `node ${ids} on this machine has no administrator's token: it is no voter, or the token was revoked`,
    {
      hint: "On a voter: blixard ticket create --role admin (or operator, or viewer). Then here: blixard context add NAME -",
    },
  );
}

function knownTarget(nodes: readonly LocalNode[], address: string, { onlyStatus }: ClientNeeds): ClientTarget {
  const isLoopback = isLoopbackHost(parseNodeAddress(address).host);
  const node = isLoopback ? findLocalNode(nodes, address) : undefined;
  if (node === undefined) return { address };
  const own = onlyStatus && node.token === undefined ? ownStatusTarget(node) : undefined;
  return own ?? localTarget(node, address);
}

function oneCluster(nodes: readonly LocalNode[]): readonly LocalNode[] {
  if (nodes.length === 0) throw notRunning("no node of this user runs on this machine");
  const clusters = new Set(nodes.map((node) => node.clusterId));
  if (clusters.size === 1) return nodes;
  throw new BlixardError("INVALID_ARGUMENT", `nodes of ${clusters.size} clusters run on this machine`, {
    hint: `Choose one with --address: ${nodes.map((node) => node.bind).join(", ")}.`,
  });
}

function notRunning(message: string): BlixardError {
  return new BlixardError("UNREACHABLE", message, {
    hint: "Start one with `blixard node --id 1`, name one with --data-dir DIR or with --address HOST:PORT and --token, or use a ticket: blixard context add NAME TICKET.",
  });
}

async function givenToken(context: CliContext, options: ClientOptions): Promise<string | undefined> {
  if (options.token !== undefined) {
    if (options.output !== "json") {
      say(
        context,
        "warning: the token can be seen in the process list; --token-file FILE or BLIXARD_TOKEN keeps it out",
      );
    }
    return options.token;
  }
  if (options.tokenFile !== undefined) {
    try {
      return (await readNamedFile(options.tokenFile, tokenFileBytesMax)).trim();
    } catch (error) {
      throw new BlixardError("INVALID_ARGUMENT", `--token-file ${options.tokenFile}: ${reasonOf(error)}`, {
        cause: error,
        hint: "Give the path of a file with the token, for example admin.token of a node's data directory.",
      });
    }
  }
  return nonEmpty(context.env["BLIXARD_TOKEN"]);
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
