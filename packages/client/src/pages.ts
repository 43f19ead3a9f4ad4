/** Lists that are longer than one answer, read to their end. */
import { BlixardError, errorCodeOf } from "@blixard/common";
import { limits, type Methods, type RequestOf, type ResponseOf } from "@blixard/protocol";
import type { CallFunction, CallOptions } from "./call-types.ts";

/** The methods whose answer is a page of a list. */
export type PagedMethodName = {
  [Name in keyof Methods]: ResponseOf<Name> extends { readonly items: readonly unknown[]; readonly next?: string }
    ? Methods[Name] extends { readonly http: unknown; readonly client?: unknown; readonly writes: false }
      ? "after" extends keyof RequestOf<Name>
        ? Name
        : never
      : never
    : never;
}[keyof Methods];

/**
 * The pages of a list, to its end. Each was read at an index of its own; together they are no snapshot. `limit` of the
 * request is that of a page.
 * @throws UNSUPPORTED where a node of an older release cut the list and cannot read on
 */
export async function* pagesOf<Name extends PagedMethodName>(
  call: CallFunction,
  name: Name,
  request: RequestOf<Name>,
  options?: CallOptions,
): AsyncGenerator<ResponseOf<Name>> {
  // The whole is asked for first: nodes of an older release know nothing else.
  let page = await call(name, request, options).catch((error: unknown) => {
    if (errorCodeOf(error) !== "VALUE_TOO_LARGE" || "limit" in request) throw error;
    return call(name, { ...request, limit: limits.listMax }, options);
  });
  for (;;) {
    yield page;
    const { next } = page as { readonly next?: string };
    if (next === undefined) break;
    page = await call(name, { limit: limits.listMax, ...request, after: next }, options);
  }
  if ("truncated" in page && page.truncated) {
    throw new BlixardError("UNSUPPORTED", "there is more than this node can list: its release cannot read on", {
      hint: "Ask a node of the release of this program, or for fewer: --limit N.",
    });
  }
}

/** What all the pages hold. */
export async function allItems(pages: AsyncIterable<{ readonly items: readonly unknown[] }>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const { items } of pages) for (const item of items) all.push(item);
  return all;
}
