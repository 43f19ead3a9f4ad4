/** `blixard vm forward|ssh`: connections to ports of a VM, from wherever the command runs. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { BlixardError, onAbort } from "@blixard/common";
import { forwardNetworkOf, type VmRecord } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { LocalForward } from "../local-forward.ts";
import { printList, type View } from "../output.ts";
import { parseInteger } from "../quantities.ts";

type ForwardOptions = ClientOptions & { readonly network?: string };
type SshOptions = ForwardOptions & { readonly user?: string; readonly port?: string };

const portMax = 65_535;
const networkHelp = "in which network of the VM (default user, or its first)";
const sshPort = 22;
/** As a shell says that a signal ended a program. */
const signalExitCode = 128;

export function registerForward(command: Command, context: CliContext): void {
  withClientOptions(
    command
      .command("forward <name> <ports...>")
      .description("carry connections to [LOCAL:]PORT of this machine to PORT of a VM, until Ctrl-C"),
  )
    .option("--network <network>", networkHelp)
    .action((name: string, ports: string[], options: ForwardOptions) =>
      withClient(context, options, (session) => forward(session, name, ports, options), { untilInterrupted: true }),
    );
  withClientOptions(
    command
      .command("ssh <name> [arguments...]")
      .description("run ssh to a VM, wherever it runs; what follows -- goes to ssh"),
  )
    .option("-l, --user <name>", "who to be in the VM")
    .option("--port <port>", "where the VM listens (default 22)")
    .option("--network <network>", networkHelp)
    .action((name: string, given: string[], options: SshOptions) =>
      withClient(context, options, (session) => ssh(session, name, given, options)),
    );
}

interface ShownForward {
  readonly local: string;
  readonly vm: string;
  readonly port: number;
}

const forwardView: View<ShownForward> = {
  columns: [
    { title: "LOCAL", value: ({ local }) => local },
    { title: "VM", value: ({ vm }) => vm },
    { title: "PORT", value: ({ port }) => port },
  ],
  name: ({ local }) => local,
};

async function forward(
  session: ClientSession,
  name: string,
  given: readonly string[],
  options: ForwardOptions,
): Promise<void> {
  const { client, context, format } = session;
  const ports = given.map(parsePorts);
  const wished = networkWish(await client.vms.get(name), options);
  const open: LocalForward[] = [];
  try {
    for (const { localPort, port } of ports) {
      const onProblem = (message: string) => say(context, `port ${port} of ${name}: ${message}`);
      open.push(await LocalForward.open(client, { name, port, localPort, ...wished }, onProblem));
    }
    const shown = open.map(({ localPort }, at) => ({
      ...{ local: `127.0.0.1:${localPort}`, vm: name, port: ports[at]?.port ?? 0 },
    }));
    await printList(context, format, forwardView, shown);
    say(context, "connections are carried until Ctrl-C");
    await new Promise<void>((resolve) => {
      onAbort(context.signal, resolve);
      if (context.signal.aborted) resolve();
    });
  } finally {
    for (const each of open) each.close();
  }
}

/** @throws INVALID_ARGUMENT */
function networkWish({ name, spec }: VmRecord, { network }: ForwardOptions): { readonly network?: string } {
  if (network === undefined) return {};
  if (forwardNetworkOf(spec, network) !== undefined) return { network };
  throw new BlixardError("INVALID_ARGUMENT", `the VM ${name} is not in the network ${network}`, {
    hint: `See its networks: blixard vm explain ${name}`,
  });
}

/** `80`, or `8080:80`. @throws INVALID_ARGUMENT */
function parsePorts(text: string): { readonly localPort: number; readonly port: number } {
  const [first = "", second, ...rest] = text.split(":");
  if (rest.length > 0) {
    throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no port to forward`, {
      hint: "Use [LOCAL:]PORT, such as 8080:80.",
    });
  }
  const port = parsePort(second ?? first, 1);
  return { port, localPort: second === undefined ? port : parsePort(first, 0) };
}

function parsePort(text: string, min: number): number {
  const port = parseInteger(text, "a port", min);
  if (port <= portMax) return port;
  throw new BlixardError("INVALID_ARGUMENT", `a port is at most ${portMax}, not ${text}`);
}

/** The key of the host is kept under the id of the VM, and not as that of this machine. */
async function ssh(session: ClientSession, name: string, given: readonly string[], options: SshOptions): Promise<void> {
  const { client, context } = session;
  const port = options.port === undefined ? sshPort : parsePort(options.port, 1);
  const vm = await client.vms.get(name);
  const { vmId } = vm;
  const onProblem = (message: string) => say(context, `port ${port} of ${name}: ${message}`);
  const through = await LocalForward.open(client, { name, port, localPort: 0, ...networkWish(vm, options) }, onProblem);
  try {
    const user = options.user === undefined ? [] : ["-l", options.user];
    const host = ["-o", `HostKeyAlias=${vmId}`, "-o", "CheckHostIP=no", "-p", String(through.localPort)];
    context.exitCode = await runSsh(context, [...host, ...user, "127.0.0.1", ...given]);
  } finally {
    through.close();
  }
}

function runSsh({ env, signal }: CliContext, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn("ssh", [...args], { stdio: "inherit", env });
    onAbort(signal, () => child.kill("SIGTERM"));
    child.once("error", (cause) => {
      reject(
        new BlixardError("UNSUPPORTED", "ssh cannot be run on this machine", {
          cause,
          hint: "Install it, for example: apt-get install -y openssh-client. Or: blixard vm forward NAME 2222:22.",
        }),
      );
    });
    child.once("close", (code, ended) =>
      resolve(code ?? signalExitCode + (ended === null ? 0 : constants.signals[ended])),
    );
  });
}
