/** The key-value methods. */
import { BlixardError, fromUtf8, notApplied } from "@blixard/common";
import { limits } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { pageOf } from "./page.ts";

/** What these methods use of the node. */
interface KvParts extends Pick<NodeParts, "proposals"> {
  readonly stateMachine: Pick<NodeParts["stateMachine"], "state" | "version">;
}

type KvMethods = "kv.get" | "kv.list" | "kv.put" | "kv.delete" | "kv.cas";

export function kvHandlers(parts: KvParts): Pick<Handlers, KvMethods> {
  return {
    "kv.get": async ({ key }) => {
      const entry = parts.stateMachine.state.kv.get(key);
      if (entry === undefined)
        throw new BlixardError("KEY_NOT_FOUND", `there is no key ${key}`, { hint: "See: blixard kv list" });
      return entry;
    },
    "kv.list": async ({ prefix, ...asked }) => {
      const { state, version } = parts.stateMachine;
      const entries = [...state.kv.values()].filter(({ key }) => key.startsWith(prefix));
      const page = pageOf(entries, asked, { keyOf: ({ key }) => key, index: version.value.appliedIndex });
      return { ...page, truncated: page.next !== undefined };
    },
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

function assertValueFits(value: string): void {
  // A text never has fewer bytes than characters, so most need no encoding to be judged.
  const tooLarge = value.length > limits.valueBytesMax || fromUtf8(value).length > limits.valueBytesMax;
  if (!tooLarge) return;
  throw notApplied("VALUE_TOO_LARGE", `the value is larger than ${limits.valueBytesMax} bytes`, {
    hint: "Keep large data outside of the store, and a reference to it inside.",
  });
}
