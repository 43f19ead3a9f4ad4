/** `blixard kv get|put|delete|list|watch|cas` */
import type { Readable } from "node:stream";
import { BlixardError, errorCodeOf } from "@blixard/common";
import { type KvChange, type KvEntry, limits } from "@blixard/protocol";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { print, printList, write } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { type ChangedItem, showFollowed, showFollowedItem, type WatchOptions, withWatchOption } from "../watch.ts";
import { kvView } from "./views.ts";

type Options = WatchOptions & {
  readonly stale?: boolean;
  readonly ifMatch?: string;
  readonly limit?: string;
  readonly after?: string;
  readonly from?: string;
  readonly absent?: boolean;
  readonly to?: string;
  readonly delete?: boolean;
};

export function registerKv(command: Command, context: CliContext): void {
  const add = (usage: string, summary: string) => withClientOptions(command.command(usage).description(summary));
  withWatchOption(add("get <key>", "print the value of a key"))
    .option("--stale", "from the local state of the node that answers")
    .action((key: string, options: Options) =>
      withClient(context, options, (session) => {
        const { client, format } = session;
        const stale = options.stale ?? false;
        return showFollowedItem(session, options, {
          read: () => client.call("kv.get", { key }, { stale }),
          changes: () => ofKey(key, client.kv.watch(key, { signal: context.signal, stale })),
          itemOf: changedKey,
          print: (entry) => print(context, format, entry, () => `${entry.value}\n`, [entry.key]),
        });
      }),
    );
  add("put <key> <value>", "write a value; - reads it from standard input")
    .option("--if-match <index>", "only if the key was last changed at this index")
    .action((key: string, value: string, options: Options) =>
      withClient(context, options, async ({ client, format }) => {
        const content = value === "-" ? await readAll(context.stdin) : value;
        const written = await client.kv.put(key, content, ifMatch(options));
        await print(context, format, written, () => `${key} written at index ${written.index}\n`, [key]);
      }),
    );
  add("delete <key>", "remove a key")
    .alias("rm")
    .option("--if-match <index>", "only if the key was last changed at this index")
    .action((key: string, options: Options) =>
      withClient(context, options, async ({ client, format }) => {
        const written = await client.kv.delete(key, ifMatch(options));
        await print(context, format, written, () => `${key} deleted at index ${written.index}\n`, [key]);
      }),
    );
  withWatchOption(add("list [prefix]", "list keys and values"))
    .alias("ls")
    .option("--limit <n>", "at most so many keys; without it all")
    .option("--after <key>", "only those that follow this key")
    .option("--stale", "from the local state of the node that answers")
    .action((prefix: string | undefined, options: Options) =>
      withClient(context, options, (session) => listKeys(session, options, prefix ?? "")),
    );
  add("watch [prefix]", "print the keys that are there, and each change as it comes, until Ctrl-C").action(
    (prefix: string | undefined, options: Options) =>
      withClient(context, options, (session) => watchKeys(session, prefix ?? "")),
  );
  add("cas <key>", "swap a value if it is what is expected")
    .option("--from <value>", "the value that is expected")
    .option("--absent", "no value is expected")
    .option("--to <value>", "the new value")
    .option("--delete", "remove the key instead")
    .action((key: string, options: Options) =>
      withClient(context, options, async ({ client, format }) => {
        const from = eitherOf(options.from, options.absent, "--from VALUE", "--absent");
        const to = eitherOf(options.to, options.delete, "--to VALUE", "--delete");
        const result = await client.kv.cas(key, from, to);
        const text = () =>
          result.swapped ? `${key} swapped at index ${result.index}\n` : `${key} was not as expected\n`;
        await print(context, format, result, text, [key]);
        if (!result.swapped) context.exitCode = conflictExitCode;
      }),
    );
}

/** To the end of the list, or to the limit. Of a list that cannot be read on, what there was is shown, and it is an error. */
async function listKeys(session: ClientSession, options: Options, prefix: string): Promise<void> {
  const { client, context, format } = session;
  const stale = options.stale ?? false;
  const limit = options.limit === undefined ? undefined : parseInteger(options.limit, "--limit", 1);
  let more = false;
  let cut: unknown;
  await showFollowed(session, options, {
    read: async () => {
      const entries: KvEntry[] = [];
      try {
        for await (const { items, next } of client.kv.pages(prefix, { ...pageOf(options, limit), stale })) {
          entries.push(...items);
          more = next !== undefined;
          if (entries.length >= (limit ?? Number.POSITIVE_INFINITY)) break;
        }
      } catch (error) {
        if (errorCodeOf(error) !== "UNSUPPORTED") throw error;
        cut = error;
      }
      return entries;
    },
    changes: () => client.kv.watch(prefix, { signal: context.signal, stale }),
    itemOf: changedKey,
    print: async (listed) => {
      const { after } = options;
      const entries = after === undefined ? listed : listed.filter(({ key }) => key > after);
      await printList(context, format, kvView, entries.slice(0, limit));
      if (cut !== undefined) throw cut;
      const rest = entries.length > (limit ?? entries.length) || more;
      if (rest) say(context, `there are more keys than the --limit of ${limit}`);
    },
  });
}

function pageOf({ after }: Options, limit: number | undefined) {
  return {
    ...(limit === undefined ? {} : { limit: Math.min(limit, limits.listMax) }),
    ...(after === undefined ? {} : { after }),
  };
}

function changedKey(change: KvChange): ChangedItem<KvEntry> | undefined {
  if (change.type === "put") return { key: change.entry.key, item: change.entry };
  return change.type === "delete" ? { key: change.key } : undefined;
}

/** Of the keys under a prefix the one that is the prefix. */
async function* ofKey(key: string, changes: AsyncIterable<KvChange>): AsyncGenerator<KvChange> {
  for await (const change of changes) {
    const changed = changedKey(change);
    if (changed === undefined || changed.key === key) yield change;
  }
}

/** A line for each change; JSON and YAML one document for each. */
async function watchKeys({ client, context, format }: ClientSession, prefix: string): Promise<void> {
  for await (const change of client.kv.watch(prefix, { signal: context.signal })) {
    if (change.type === "current") continue;
    const key = change.type === "put" ? change.entry.key : change.key;
    if (format === "json") write(context, `${JSON.stringify(change)}\n`);
    else {
      if (format === "yaml") write(context, "---\n");
      const text = () => (change.type === "put" ? `put ${key} ${change.entry.value}\n` : `delete ${key}\n`);
      await print(context, format, change, text, [key]);
    }
  }
}

const conflictExitCode = 5;

function ifMatch(options: Options): { readonly ifMatchIndex?: number } {
  return options.ifMatch === undefined ? {} : { ifMatchIndex: parseInteger(options.ifMatch, "--if-match") };
}

function eitherOf(value: string | undefined, none: boolean | undefined, first: string, second: string): string | null {
  if ((value === undefined) === (none !== true)) {
    throw new BlixardError("INVALID_ARGUMENT", `give one of ${first} and ${second}`);
  }
  return value ?? null;
}

async function readAll(stdin: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of stdin) {
    pieces.push(Buffer.from(piece as Buffer));
    length += (piece as Buffer).length;
    if (length > limits.valueBytesMax) {
      throw new BlixardError("VALUE_TOO_LARGE", `a value has at most ${limits.valueBytesMax} bytes`);
    }
  }
  return Buffer.concat(pieces).toString("utf8");
}
