/** `blixard vm move`: a VM goes to another node, with its disks. */
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { withClient, withClientOptions } from "../client-command.ts";
import { nodeIdOf } from "../node-name.ts";
import { parseDurationMs } from "../quantities.ts";
import { finishOperation, type WaitingOptions } from "./operation-views.ts";

type MoveOptions = WaitingOptions & { readonly to?: string; readonly deadline?: string };

export function registerMove(command: Command, context: CliContext): void {
  withClientOptions(
    command.command("move <name>").description("stop a VM, take its disks to another node, and start it there"),
  )
    .option("--to <node>", "where it goes (default: where there is room)")
    .option("--deadline <time>", "give up when it is not done by then; the VM starts again where it was (default 24h)")
    .option("--detach", "do not wait; see blixard operations")
    .action((name: string, options: MoveOptions) =>
      withClient(context, options, async (session) => {
        const { client } = session;
        const { operation } = await client.vms.migrate({
          name,
          ...(options.to === undefined ? {} : { to: await nodeIdOf(client, options.to) }),
          ...(options.deadline === undefined ? {} : { deadlineMs: parseDurationMs(options.deadline) }),
        });
        await finishOperation(session, operation, options, ({ to }) => `${name} is on node ${to}\n`);
      }),
    );
}
