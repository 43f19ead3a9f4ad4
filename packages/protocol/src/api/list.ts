/**
 * Lists, which are read page by page. Each page is a read of its own, linearizable like any other, and says the index at
 * which it was read; together they are no snapshot. What has to stand at one index is read from a stream.
 */
import { z } from "zod";
import { limits } from "../limits.ts";

/** Fields of a request for a list. One without them asks for the whole, and fails when that is too large for an answer. */
export const pageRequest = {
  /** Only what follows this key in the order of the list: `next` of the page before, or any other key. */
  after: z.string().max(limits.keyBytesMax).exactOptional(),
  /** At most so many items; a page has fewer when these are large. */
  limit: z.int().min(1).max(limits.listMax).exactOptional(),
};

/** Fields of a page beside its items. Older releases answer without them, and then the whole list. */
export const pageResponse = {
  /** Index of the log up to which the page shows everything. Absent for what is not replicated. */
  index: z.int().min(0).exactOptional(),
  /** What `after` takes to read on. Absent: nothing follows. */
  next: z.string().exactOptional(),
};

/** Ask for all of a list, or for a page of it. */
export const listSchema = z.object(pageRequest).strict();

/** A page of a list of such items. */
export function pageSchema<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), ...pageResponse });
}
