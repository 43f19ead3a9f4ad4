/**
 * The command tree. Only the group that was asked for is loaded, so that `blixard version` does not pay for the
 * daemon; the others are known by name and purpose, for the help and for suggestions.
 */

import { blixardVersion } from "@blixard/server/version";
import { Command } from "commander";
import type { CliContext } from "./cli-context.ts";
import { reportError } from "./cli-errors.ts";
import { addAllNow, addNow } from "./later-options.ts";
import { warnOfVariables } from "./variables.ts";

/** Adds the options, arguments and subcommands of a group to its command. */
export type Register = (command: Command, context: CliContext) => void;

interface Group {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Register>;
}

const groups: readonly Group[] = [
  { name: "node", summary: "run a node", load: async () => (await import("./commands/node.ts")).registerNode },
  {
    name: "join",
    summary: "run a node that joins a cluster with a ticket",
    load: async () => (await import("./commands/node.ts")).registerJoin,
  },
  {
    name: "dev",
    summary: "run a cluster of several nodes on this machine, in a temporary directory",
    load: async () => (await import("./commands/dev.ts")).registerDev,
  },
  {
    name: "status",
    summary: "the cluster at a glance",
    load: async () => (await import("./commands/status.ts")).registerStatus,
  },
  {
    name: "page",
    summary: "the address that opens the page of a node of this machine, once",
    load: async () => (await import("./commands/page.ts")).registerPage,
  },
  {
    name: "cluster",
    summary: "members, leader and snapshots",
    load: async () => (await import("./commands/cluster.ts")).registerCluster,
  },
  {
    name: "cert",
    summary: "list, rotate and revoke certificates",
    load: async () => (await import("./commands/cert.ts")).registerCert,
  },
  {
    name: "ticket",
    summary: "invitations for nodes and people",
    load: async () => (await import("./commands/ticket.ts")).registerTicket,
  },
  {
    name: "token",
    summary: "who may call: bearer tokens and the keys of people",
    load: async () => (await import("./commands/token.ts")).registerToken,
  },
  {
    name: "context",
    summary: "clusters to call from this machine",
    load: async () => (await import("./commands/context.ts")).registerContext,
  },
  { name: "nodes", summary: "machines", load: async () => (await import("./commands/nodes.ts")).registerNodes },
  {
    name: "capacity",
    summary: "what the nodes can take, and what is taken",
    load: async () => (await import("./commands/capacity.ts")).registerCapacity,
  },
  {
    name: "quota",
    summary: "what the VMs of projects may take",
    load: async () => (await import("./commands/capacity.ts")).registerQuota,
  },
  {
    name: "operations",
    summary: "what takes long and goes on by itself",
    load: async () => (await import("./commands/operations.ts")).registerOperations,
  },
  { name: "vm", summary: "virtual machines", load: async () => (await import("./commands/vm.ts")).registerVm },
  { name: "image", summary: "what VMs boot", load: async () => (await import("./commands/image.ts")).registerImage },
  {
    name: "volume",
    summary: "disks that live on their own",
    load: async () => (await import("./commands/volume.ts")).registerVolume,
  },
  {
    name: "network",
    summary: "private networks of VMs",
    load: async () => (await import("./commands/network.ts")).registerNetwork,
  },
  {
    name: "security-group",
    summary: "what may pass to and from VMs in private networks",
    load: async () => (await import("./commands/security-group.ts")).registerSecurityGroup,
  },
  {
    name: "kv",
    summary: "replicated key-value store",
    load: async () => (await import("./commands/kv.ts")).registerKv,
  },
  {
    name: "doctor",
    summary: "what keeps this machine or a running node from working well",
    load: async () => (await import("./commands/doctor.ts")).registerDoctor,
  },
  {
    name: "check",
    summary: "verify the data directory of a node that does not run",
    load: async () => (await import("./commands/offline.ts")).registerCheck,
  },
  {
    name: "recover",
    summary: "let a node whose store is damaged or lost come back as a learner",
    load: async () => (await import("./commands/offline.ts")).registerRecover,
  },
  {
    name: "config",
    summary: "the configuration of a node",
    load: async () => (await import("./commands/config.ts")).registerConfig,
  },
  {
    name: "version",
    summary: "the release of this program",
    load: async () => (await import("./commands/version.ts")).registerVersion,
  },
  {
    name: "completion",
    summary: "completion script for a shell",
    load: async () => (await import("./commands/completion.ts")).registerCompletion,
  },
];

export async function buildProgram(args: readonly string[], context: CliContext): Promise<Command> {
  const program = new Command("blixard").description(
    "Turns machines that you own into one cluster that runs virtual machines.",
  );
  // Set before the subcommands are made, because they inherit it.
  program
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      // Errors are written once, by the caller of `run`.
      outputError: () => {},
    })
    // Else `--token -Vx` of a command, whose value it is, would ask for the version: one of 4,096 tokens begins so.
    .enablePositionalOptions()
    .version(`blixard ${blixardVersion}`, "-V, --version", "the release of this program")
    .showSuggestionAfterError();
  const wanted = args.find((arg) => !arg.startsWith("-"));
  const loadAll = wanted === "completion";
  for (const { name, summary, load } of groups) {
    const command = program.command(name).description(summary);
    if (name === wanted || loadAll) (await load())(command, context);
  }
  if (loadAll) addAllNow(program);
  // Also for `vm help create`, which shows them.
  else
    addNow(
      pathOf(
        program,
        args.filter((arg) => arg !== "help"),
      ).at(-1) ?? program,
    );
  return program;
}

/** Runs one command line, without the name of the program. Resolves with the exit code; never rejects. */
export async function run(given: readonly string[], context: CliContext): Promise<number> {
  let program: Command | undefined;
  // `help vm create` and `vm help create` are `vm create --help`.
  const args = given[0] === "help" ? [...given.slice(1), "--help"] : given;
  if (!wantsJson(args)) await warnOfVariables(context);
  try {
    program = await buildProgram(args, context);
    await program.parseAsync(namesUnknown(program, args) ? args.filter((arg) => !isHelp(arg)) : args, { from: "user" });
    return context.exitCode;
  } catch (error) {
    return reportError(error, wantsJson(args), context, program === undefined ? "blixard" : commandIn(program, args));
  }
}

const isHelp = (arg: string) => arg === "--help" || arg === "-h";

/** Whether a word stands where a command should, and is none: then there is no help to show for it. */
function namesUnknown(program: Command, args: readonly string[]): boolean {
  let command = program;
  for (const arg of args) {
    if (command.commands.length === 0) return false;
    if (arg.startsWith("-")) continue;
    const named = command.commands.find((sub) => sub.name() === arg || sub.aliases().includes(arg));
    if (named === undefined) return arg !== "help";
    command = named;
  }
  return false;
}

/** The command that the arguments name, as far as there is one: `blixard vm create`. */
function commandIn(program: Command, args: readonly string[]): string {
  return pathOf(program, args)
    .map((command) => command.name())
    .join(" ");
}

/** The program, and the commands below it that the arguments name. */
function pathOf(program: Command, args: readonly string[]): Command[] {
  const path = [program];
  for (const arg of args) {
    const command = path.at(-1)?.commands.find((sub) => sub.name() === arg || sub.aliases().includes(arg));
    if (command === undefined) break;
    path.push(command);
  }
  return path;
}

/** Read from the raw arguments, because a usage error leaves nothing parsed. */
function wantsJson(args: readonly string[]): boolean {
  const at = args.findIndex((arg) => arg === "-o" || arg === "--output");
  return (at >= 0 && args[at + 1] === "json") || args.some((arg) => arg === "-ojson" || arg === "--output=json");
}
