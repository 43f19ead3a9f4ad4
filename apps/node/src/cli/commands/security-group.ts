/** `blixard security-group create|set|list|get|delete` */
import type { Command } from "commander";
import type { CliContext } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { confirm } from "../confirm.ts";
import { print, printItem } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { showItem, showList, type WatchOptions, withWatchOption } from "../watch.ts";
import { repeatedOption } from "./list-option.ts";
import { parseRules } from "./security-rule-options.ts";
import { securityGroupView } from "./views.ts";

type WriteOptions = ClientOptions & { readonly ifMatch?: string };
type RuleOptions = WriteOptions & { readonly in?: readonly string[]; readonly out?: readonly string[] };

export function registerSecurityGroup(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  const write = (usage: string, summary: string) =>
    add(usage, summary).option("--if-match <index>", "only if the group was last changed at this index");
  const withRules = (made: Command) =>
    made
      .addOption(
        repeatedOption(
          { flag: "--in <rule>", hint: "PROTOCOL[:PORT+PORT][,from=RANGE|group:NAME|label:KEY=VALUE]; `none` alone" },
          "what others may begin with the VMs",
        ),
      )
      .addOption(
        repeatedOption(
          { flag: "--out <rule>", hint: "PROTOCOL[:PORT+PORT][,to=RANGE|group:NAME|label:KEY=VALUE]; `none` alone" },
          "what the VMs may begin",
        ),
      );
  withRules(write("create <name>", "make a security group, which network cards of VMs can name")).action(
    (name: string, options: RuleOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { group } = await client.securityGroups.create({ name, ...rulesOf(options) }, ifMatch(options));
        await printItem(context, format, securityGroupView, group);
      }),
  );
  withRules(write("set <name>", "replace the rules of a security group, of one direction or both")).action(
    (name: string, options: RuleOptions) =>
      withClient(context, options, async ({ client, format }) => {
        const { group } = await client.securityGroups.set({ name, ...rulesOf(options) }, ifMatch(options));
        await printItem(context, format, securityGroupView, group);
      }),
  );
  withWatchOption(add("list", "list security groups"))
    .alias("ls")
    .action((options: WatchOptions) =>
      withClient(context, options, (session) =>
        showList(session, options, securityGroupView, () => session.client.securityGroups.list()),
      ),
    );
  withWatchOption(add("get <name>", "show one security group")).action((name: string, options: WatchOptions) =>
    withClient(context, options, (session) =>
      showItem(session, options, securityGroupView, () => session.client.securityGroups.get(name)),
    ),
  );
  write("delete <name>", "delete a security group that nothing names")
    .alias("rm")
    .option("--yes", "do not ask")
    .action((name: string, options: WriteOptions & { readonly yes?: boolean }) =>
      withClient(context, options, async ({ client, format }) => {
        await confirm(context, `Delete the security group ${name}?`, options.yes);
        await client.securityGroups.delete(name, ifMatch(options));
        await print(context, format, { name, deleted: true }, () => `${name} deleted\n`, [name]);
      }),
    );
}

function rulesOf(options: RuleOptions) {
  return {
    ...(options.in === undefined ? {} : { in: parseRules(options.in, "in") }),
    ...(options.out === undefined ? {} : { out: parseRules(options.out, "out") }),
  };
}

function ifMatch({ ifMatch: index }: WriteOptions): { readonly ifMatchIndex?: number } {
  return index === undefined ? {} : { ifMatchIndex: parseInteger(index, "--if-match") };
}
