/** The key-value methods. */
import { BlixardError, fromUtf8, notApplied } from "@blixard/common";
import { type KvEntry, limits, serviceCallBytesMax } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";

/** What these methods use of the node. */
type KvParts = Pick<NodeParts, "proposals"> & { readonly stateMachine: Pick<NodeParts["stateMachine"], "state"> };

type KvMethods = "kv.get" | "kv.list" | "kv.put" | "kv.delete" | "kv.cas";

/** A list must fit into one response, with room for keys and framing. */
const listBytesMax = serviceCallBytesMax / 2;

export function kvHandlers(parts: KvParts): Pick<Handlers, KvMethods> {
  return {
    "kv.get": async ({ key }) => {
      const entry = parts.stateMachine.state.kv.get(key);
      if (entry === undefined)
        throw new BlixardError("KEY_NOT_FOUND", `there is no key ${key}`, { hint: "See: blixard kv list" });
      return entry;
    },
    "kv.list": async ({ prefix, limit }) => list(parts.stateMachine.state.kv, prefix, limit),
    "kv.put": async ({ key, value }, call) => {
      assertValueFits(value);
      const { index, term } = await parts.proposals.propose({ type: "kv.put", key, value }, call);
      return { index, term };
    },
    "kv.delete": async ({ key }, call) => {
      const { index, term } = await parts.proposals.propose({ type: "kv.delete", key }, call);
      return { index, term };
    },
    "kv.cas": async ({ key, from, to }, call) => {
      if (from !== null) assertValueFits(from);
      if (to !== null) assertValueFits(to);
      const body = { type: "kv.cas", key, from, to } as const;
      const { index, term, value } = await parts.proposals.propose<{ swapped: boolean }>(body, call);
      return { index, term, swapped: value.swapped };
    },
  };
}

function list(kv: ReadonlyMap<string, KvEntry>, prefix: string, limit: number) {
  const keys: string[] = [];
  for (const key of kv.keys()) if (key.startsWith(prefix)) keys.push(key);
  keys.sort();
  const items: KvEntry[] = [];
  let bytes = 0;
  for (const key of keys) {
    const entry = kv.get(key);
    if (entry === undefined) continue;
    bytes += entry.key.length + entry.value.length;
    if (items.length >= limit || bytes > listBytesMax) break;
    items.push(entry);
  }
  return { items, truncated: items.length < keys.length };
}

function assertValueFits(value: string): void {
  // A text never has fewer bytes than characters, so most need no encoding to be judged.
  const tooLarge = value.length > limits.valueBytesMax || fromUtf8(value).length > limits.valueBytesMax;
  if (!tooLarge) return;
  throw notApplied("VALUE_TOO_LARGE", `the value is larger than ${limits.valueBytesMax} bytes`, {
    hint: "Keep large data outside of the store, and a reference to it inside.",
  });
}
