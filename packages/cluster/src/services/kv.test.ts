import { Watch } from "@blixard/common";
import { type CommandBody, encodeServiceResponse, serviceCallBytesMax } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import type { CallScope } from "../calls/call-types.ts";
import type { StateVersion } from "../cluster-state-machine.ts";
import type { Proposals, Proposed } from "../node-parts.ts";
import { applyChange, emptyState } from "../state-machine/state.ts";
import { kvHandlers } from "./kv.ts";

const call: CallScope = {
  meta: {
    requestId: "r",
    actor: { kind: "token", id: "admin" },
    access: "admin",
    timeoutMs: 1_000,
    stale: false,
    hops: 0,
  },
  signal: new AbortController().signal,
};

/** The handlers over a state with `keys`; what they propose is kept. */
function handlersOver(keys: Readonly<Record<string, string>>) {
  const state = emptyState();
  for (const [key, value] of Object.entries(keys)) {
    applyChange(state, { table: "kv", key, value: { key, value, index: 1 } });
  }
  const version = new Watch({ appliedIndex: 9, changed: {} as StateVersion["changed"] });
  const proposed: CommandBody[] = [];
  const proposals: Proposals = {
    propose: async <Value>(body: CommandBody): Promise<Proposed<Value>> => {
      proposed.push(body);
      return { index: 7, term: 2, value: { swapped: true } as Value };
    },
  };
  return { handlers: kvHandlers({ stateMachine: { state, version }, proposals }), proposed };
}

describe("kvHandlers", () => {
  it("turns a write into one command, and answers where it stands in the log", async () => {
    const { handlers, proposed } = handlersOver({});
    expect(await handlers["kv.put"]({ key: "k", value: "v" }, call)).toEqual({ index: 7, term: 2 });
    expect(await handlers["kv.cas"]({ key: "k", from: "v", to: null }, call)).toMatchObject({ swapped: true });
    expect(proposed).toEqual([
      { type: "kv.put", key: "k", value: "v" },
      { type: "kv.cas", key: "k", from: "v", to: null },
    ]);
  });

  it("proposes nothing for a value that is too large in UTF-8", async () => {
    const { handlers, proposed } = handlersOver({});
    const put = handlers["kv.put"]({ key: "k", value: "å".repeat(33_000) }, call);
    await expect(put).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
    expect(proposed).toEqual([]);
  });

  it("lists the keys under a prefix in order, up to the limit", async () => {
    const { handlers } = handlersOver({ "a/2": "y", "a/1": "x", b: "z", "a/3": "w" });
    const { items, ...page } = await handlers["kv.list"]({ prefix: "a/", limit: 2 }, call);
    expect(items.map(({ key }) => key)).toEqual(["a/1", "a/2"]);
    expect(page).toEqual({ index: 9, next: "a/2", truncated: true });
    const last = await handlers["kv.list"]({ prefix: "a/", limit: 2, after: "a/2" }, call);
    expect(last).toMatchObject({ items: [{ key: "a/3" }], index: 9, truncated: false });
  });

  it("ends a page by bytes, whatever the characters, so that it fits on the wire", async () => {
    const value = "\u6f22".repeat(21_845);
    const { handlers } = handlersOver(
      Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`c${100 + at}`, value])),
    );
    let after: string | undefined;
    let count = 0;
    do {
      const asked = { prefix: "", limit: 10_000, ...(after === undefined ? {} : { after }) };
      const { items, next } = await handlers["kv.list"](asked, call);
      expect(encodeServiceResponse({ items }).length).toBeLessThan(serviceCallBytesMax);
      count += items.length;
      after = next;
    } while (after !== undefined);
    expect(count).toBe(100);
  });
});
