/** `blixard operations list|get|cancel|wait` */
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { printItem } from "../output.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { finishOperation, operationView, waitingTable } from "./operation-views.ts";

export function registerOperations(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  withWatchOption(add("list", "list the operations that run, and those that ended last"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, operationView, async () =>
          [...(await session.client.operations.list())].sort((a, b) => a.startedIndex - b.startedIndex),
        ),
      ),
    );
  withWatchOption(add("get <id>", "show one operation, with the VMs that wait and why")).action(
    (id: string, options: WatchOptions) =>
      withClient(context, options, (session) =>
        showItem(session, options, operationView, () => session.client.operations.get(id), waitingTable),
      ),
  );
  add("cancel <id>", "let an operation go no further; what it has done stays done").action(
    (id: string, options: ClientOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { operation } = await client.operations.cancel(id);
        await printItem(context, format, operationView, operation, waitingTable);
      }),
  );
  add("wait <id>", "wait until an operation has ended; Ctrl-C only ends the waiting").action(
    (id: string, options: ClientOptions) =>
      withClient(context, options, async (session) => {
        await finishOperation(session, await session.client.operations.get(id), options);
      }),
  );
}
