/** The items of a stream as the body of an answer. One item at a time is read, when the caller has taken those before it. */
import { type Clock, Watch } from "@blixard/common";
import { encodeStreamItem, streamHeartbeatMs } from "@blixard/protocol";

/** How one piece of JSON is framed, and what says that this side lives. */
const forms = {
  lines: { frame: (json: string) => `${json}\n`, heartbeat: "\n" },
  events: { frame: (json: string) => `data: ${json}\n\n`, heartbeat: ":\n\n" },
} as const;

export interface StreamBodyDeps {
  readonly clock: Clock;
  /** What is told of the error with which the items end. */
  readonly lastItem: (error: unknown) => object;
}

export async function* streamBody(
  items: AsyncIterable<object>,
  form: keyof typeof forms,
  { clock, lastItem }: StreamBodyDeps,
): AsyncGenerator<string> {
  const { frame, heartbeat } = forms[form];
  const reader = items[Symbol.asyncIterator]();
  try {
    // The headers go out with it: the caller learns at once that it was accepted.
    yield heartbeat;
    for (;;) {
      const arrival = arrivalOf(reader.next());
      while (arrival.value === undefined) {
        const limit = { clock, delayMs: streamHeartbeatMs };
        const arrived = await arrival.until((now) => now !== undefined, { limit });
        if (arrived === undefined) yield heartbeat;
      }
      const { result, error } = arrival.value;
      if (result === undefined) {
        yield frame(encodeStreamItem(lastItem(error)));
        return;
      }
      if (result.done === true) return;
      yield frame(encodeStreamItem(result.value));
    }
  } finally {
    // Not awaited: an item that is on its way keeps the reader until the signal of the stream aborts.
    reader.return?.().catch(() => {});
  }
}

interface Arrival<T> {
  readonly result?: IteratorResult<T>;
  readonly error?: unknown;
}

/** Waiting for it again and again leaves nothing behind, unlike a race against one promise. */
function arrivalOf<T>(next: Promise<IteratorResult<T>>): Watch<Arrival<T> | undefined> {
  const arrival = new Watch<Arrival<T> | undefined>(undefined);
  next.then(
    (result) => arrival.set({ result }),
    (error: unknown) => arrival.set({ error }),
  );
  return arrival;
}
