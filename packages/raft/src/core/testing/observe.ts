/** What tests look for in a group of cores: texts, messages, logs, and a cut in the network. */
import { fromUtf8 } from "@blixard/common";
import type { Entry, Message, MessageType } from "../types.ts";
import type { CoreGroup } from "./core-group.ts";

export const bytes = fromUtf8;
export const texts = (entries: readonly Entry[]) =>
  entries.flatMap((entry) =>
    entry.kind === "normal" && entry.data.length > 0 ? [String.fromCharCode(...entry.data)] : [],
  );
export const sent = (messages: readonly Message[], type: MessageType) =>
  messages.filter((message) => message.type === type);
export const from = (group: CoreGroup, id: number) => group.network.filter((message) => message.from === id);
export const isolate = (...ids: number[]) => {
  const cut = (end: unknown) => ids.some((id) => end === id);
  return (message: Message) => !cut(message.from) && !cut(message.to);
};
export const logOf = (group: CoreGroup, id: number) =>
  group
    .node(id)
    .storage.all()
    .map(({ term, index }) => `${term}/${index}`);
