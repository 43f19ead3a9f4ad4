/** `blixard node` and `blixard join <ticket>`: the daemon. */
import type { Command } from "commander";
import { loadNodeConfig } from "../../config/load-config.ts";
import { type CliContext, say } from "../cli-context.ts";
import { addNodeOptions, nodeFlags } from "./node-options.ts";

type Options = Readonly<Record<string, unknown>> & { readonly config?: string };

export function registerNode(command: Command, context: CliContext): void {
  addNodeOptions(command).action((options: Options) => runNode(context, nodeFlags(options), options.config));
}

export function registerJoin(command: Command, context: CliContext): void {
  addNodeOptions(command)
    .argument("<ticket>", "from `blixard ticket create`; - reads it from standard input")
    .action((ticket: string, options: Options) => {
      const join = ticket === "-" ? { joinFile: "-" } : { join: ticket };
      return runNode(context, { ...nodeFlags(options), ...join }, options.config);
    });
}

async function runNode(context: CliContext, flags: ReturnType<typeof nodeFlags>, file: string | undefined) {
  const { config, origins } = await loadNodeConfig(flags, file, context.env);
  if (config.join?.startsWith("blx1-") && origins.join.kind === "flag") {
    say(context, "warning: the ticket can be seen in the process list; --join-file FILE (or -) keeps it out");
  }
  const { runDaemon } = await import("../../daemon/run-daemon.ts");
  context.exitCode = await runDaemon(config, context);
}
