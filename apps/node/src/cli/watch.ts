/** `-w`: shows a thing again whenever it changed, until Ctrl-C. */
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { Command } from "commander";
import type { ClientOptions, ClientSession } from "./client-command.ts";
import { printItem, printList, type View } from "./output.ts";

export type WatchOptions = ClientOptions & { readonly watch?: boolean };

const watchIntervalMs = 1_000;

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
): Promise<void> {
  const print = (item: T) => printItem(session.context, session.format, view, item);
  return show(session, options, read, print, (item) => view.steady?.(item) ?? item);
}

/** Shows what `read` gives; with `--watch` again whenever what is `steady` in it has changed. */
export async function show<T>(
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
