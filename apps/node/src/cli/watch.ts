/**
 * `-w`: shows a thing again whenever it changed, until Ctrl-C. Keys and VMs are told by streams; of nodes, members, images
 * and the rest there is no stream, so that they are asked for again and again.
 */
import { sleep, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { Command } from "commander";
import type { ClientOptions, ClientSession } from "./client-command.ts";
import { printItem, printList, type View } from "./output.ts";

export type WatchOptions = ClientOptions & { readonly watch?: boolean };

const watchIntervalMs = 1_000;
/** What changes faster is shown as it is then. */
const shownAtMostEveryMs = 100;

export function withWatchOption(command: Command): Command {
  return command.option("-w, --watch", "show it again whenever it changed");
}

export function showList<T>(
  session: ClientSession,
  options: WatchOptions,
  view: View<T>,
  read: () => Promise<readonly T[]>,
): Promise<void> {
  const print = (items: readonly T[]) => printList(session.context, session.format, view, items);
  return show(session, options, read, print, (items) => items.map((item) => view.steady?.(item) ?? item));
}

export function showItem<T>(
  session: ClientSession,
  options: WatchOptions,
  view: View<T>,
  read: () => Promise<T>,
  below?: (item: T) => string,
): Promise<void> {
  const print = (item: T) => printItem(session.context, session.format, view, item, below);
  return show(session, options, read, print, (item) => view.steady?.(item) ?? item);
}

/** Shows what `read` gives; with `--watch` again whenever what is `steady` in it has changed. */
async function show<T>(
  session: ClientSession,
  options: WatchOptions,
  read: () => Promise<T>,
  printOne: (data: T) => Promise<void>,
  steady: (data: T) => unknown = (data) => data,
): Promise<void> {
  const { signal } = session.context;
  let shown = "";
  while (!signal.aborted) {
    const data = await read();
    const text = JSON.stringify(steady(data));
    if (text !== shown) await printOne(data);
    shown = text;
    if (options.watch !== true) return;
    await sleep(systemClock, watchIntervalMs, signal);
  }
}

/** A thing that a stream says has changed. */
export interface ChangedItem<T> {
  readonly key: string;
  /** Absent: it is gone. */
  readonly item?: T;
}

export interface Follow<Change, T> {
  /** Reads once, without `--watch`. */
  readonly read: () => Promise<readonly T[]>;
  readonly changes: () => AsyncIterable<Change>;
  /** The thing that a change is about; undefined for the one that says that everything present has been listed. */
  readonly itemOf: (change: Change) => ChangedItem<T> | undefined;
  readonly print: (items: readonly T[]) => Promise<void>;
}

/** Shows a list; with `--watch` again whenever the stream brings a change. */
export async function showFollowed<Change, T>(
  { context }: Pick<ClientSession, "context">,
  options: WatchOptions,
  { read, changes, itemOf, print }: Follow<Change, T>,
): Promise<void> {
  if (options.watch !== true) return print(await read());
  const items = new Map<string, T>();
  const version = new Watch(0);
  let complete = false;
  const following = (async () => {
    for await (const change of changes()) {
      const changed = itemOf(change);
      if (changed === undefined) complete = true;
      else if (changed.item === undefined) items.delete(changed.key);
      else items.set(changed.key, changed.item);
      if (complete) version.update((count) => count + 1);
    }
  })();
  const showing = (async () => {
    for (let shown = 0; ; ) {
      shown = await version.until((count) => count !== shown, { signal: context.signal });
      await print([...items.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item));
      await sleep(systemClock, shownAtMostEveryMs, context.signal);
    }
  })();
  await Promise.race([following, showing]);
}

/** The same for one thing; `read` fails when there is none, also later. */
export async function showFollowedItem<Change, T>(
  session: Pick<ClientSession, "context">,
  options: WatchOptions,
  {
    read,
    print,
    ...follow
  }: Omit<Follow<Change, T>, "read" | "print"> & {
    readonly read: () => Promise<T>;
    readonly print: (item: T) => Promise<void>;
  },
): Promise<void> {
  await showFollowed(session, options, {
    ...follow,
    read: async () => [await read()],
    print: async ([item]) => {
      if (item !== undefined) return print(item);
      // There is one again when this does not fail, and then the stream brings it.
      await read();
    },
  });
}
