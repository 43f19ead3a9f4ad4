/** A page of a list. An answer holds a limited number of bytes, so that a long list is read in several. */
import { fromUtf8, notApplied } from "@blixard/common";
import { serviceCallBytesMax } from "@blixard/protocol";

export interface PageRequest {
  readonly after?: string;
  readonly limit?: number;
}

export interface PageOptions<Row> {
  /** The key of a row, which `after` and `next` name. */
  readonly keyOf: (row: Row) => string;
  /** Makes of a key what the list is ordered by. Default: the key itself. */
  readonly orderOf?: (key: string) => string;
  /** Index up to which the rows show everything, of a list that is replicated. */
  readonly index?: number;
}

export interface Page<Row> {
  readonly items: Row[];
  readonly index?: number;
  readonly next?: string;
}

/** A page must fit into one response, with room for framing. */
const pageBytesMax = serviceCallBytesMax / 2;

/**
 * The rows that follow `after`, at most `limit` and as many as an answer holds; one at least.
 * @throws VALUE_TOO_LARGE for a list that is too large for one answer, when neither `after` nor `limit` was given: who
 * asked for the whole would take a part for it
 */
export function pageOf<Row>(rows: Iterable<Row>, { after, limit }: PageRequest, options: PageOptions<Row>): Page<Row> {
  const { keyOf, orderOf = (key) => key, index } = options;
  const from = after === undefined ? undefined : orderOf(after);
  const keyed: { readonly key: string; readonly order: string; readonly row: Row }[] = [];
  for (const row of rows) {
    const key = keyOf(row);
    const order = orderOf(key);
    if (from === undefined || order > from) keyed.push({ key, order, row });
  }
  keyed.sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
  const items: Row[] = [];
  let last: string | undefined;
  let bytes = 0;
  for (const { key, row } of keyed) {
    // As JSON a row has at least about as many bytes as it has on the wire between nodes.
    bytes += fromUtf8(JSON.stringify(row)).length;
    if (items.length >= (limit ?? Number.POSITIVE_INFINITY) || (items.length > 0 && bytes > pageBytesMax)) break;
    items.push(row);
    last = key;
  }
  const whole = items.length === keyed.length;
  if (!whole && after === undefined && limit === undefined) {
    throw notApplied("VALUE_TOO_LARGE", `the list is larger than the ${pageBytesMax} bytes that one answer holds`, {
      hint: "Read it page by page: ?limit=N, and then ?after= what `next` of the page before says.",
    });
  }
  return {
    items,
    ...(index === undefined ? {} : { index }),
    ...(whole || last === undefined ? {} : { next: last }),
  };
}
