/** `blixard network create|list|get|delete` */
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print, printItem } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { networkView } from "./views.ts";

type WriteOptions = ClientOptions & { readonly ifMatch?: string };
type CreateOptions = WriteOptions & {
  readonly range?: string;
  readonly bridge?: string;
  readonly range6?: string;
  readonly exclude: readonly string[];
};

export function registerNetwork(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  const write = (usage: string, summary: string) =>
    add(usage, summary).option("--if-match <index>", "only if the network was last changed at this index");
  write(
    "create <name>",
    "make a private network, which VMs on all nodes can be in, or name one behind bridges of nodes",
  )
    .option("--range <range>", "private: its addresses, for example 10.1.0.0/24; the first is that of its switch")
    .option("--range6 <range>", "beside it: its addresses of IPv6, of 64 bits, for example fd00:1::/64 (default: none)")
    .option("--bridge <name>", "a Linux bridge of nodes that were started with --allow-bridge, instead of a range")
    .option(
      "--exclude <range>",
      "addresses that a VM gets only when it names them; may be given several times",
      (value: string, before: readonly string[]) => [...before, value],
      [],
    )
    .action((name: string, options: CreateOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { range, bridge, range6, exclude } = options;
        const place = {
          ...(range === undefined ? {} : { range }),
          ...(bridge === undefined ? {} : { bridge }),
          ...(range6 === undefined ? {} : { range6 }),
        };
        const wish = { name, ...place, exclude: [...exclude] };
        const { network } = await client.networks.create(wish, ifMatch(options));
        await printItem(context, format, networkView, network);
      }),
    );
  withWatchOption(add("list", "list networks"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, networkView, () => session.client.networks.list()),
      ),
    );
  withWatchOption(add("get <name>", "show one network")).action((name: string, options: WatchOptions) =>
    withClient(context, options, (session) =>
      showItem(session, options, networkView, () => session.client.networks.get(name)),
    ),
  );
  write("delete <name>", "delete a network that no VM is in")
    .alias("rm")
    .option("--yes", "do not ask")
    .action((name: string, options: WriteOptions & { readonly yes?: boolean }) =>
      withClient(context, options, async ({ client, format }) => {
        await confirm(context, `Delete the network ${name}?`, options.yes);
        const { network } = await client.networks.delete(name, ifMatch(options));
        const gone = { name, networkId: network.networkId, deleted: true };
        await print(context, format, gone, () => `${name} deleted\n`, [name]);
      }),
    );
}

function ifMatch({ ifMatch: index }: WriteOptions): { readonly ifMatchIndex?: number } {
  return index === undefined ? {} : { ifMatchIndex: parseInteger(index, "--if-match") };
}
