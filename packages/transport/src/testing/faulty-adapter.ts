/**
 * An adapter around another one that cuts the traffic with chosen endpoints, in both directions, as a broken network
 * does: nothing arrives and nothing is refused. What is closed meanwhile is closed for the other side only when the cut
 * heals. Works over real transports, so that a test can partition a cluster that it did not build for partitions.
 */
import { BlixardError, offAbort, onAbort, Watch } from "@blixard/common";
import type { ByteStream, Connection, EndpointAddress, Lane, TransportAdapter } from "../transport-types.ts";

export interface FaultyAdapter extends TransportAdapter {
  /** Cuts the traffic with exactly these endpoints, and heals it with all others. */
  setBlocked(endpointIds: Iterable<string>): void;
}

export function createFaultyAdapter(inner: TransportAdapter): FaultyAdapter {
  const blocked = new Watch<ReadonlySet<string>>(new Set());
  const cut = new Cut(blocked);
  return {
    kind: inner.kind,
    endpointId: inner.endpointId,
    ...(inner.choices === undefined ? {} : { choices: inner.choices }),
    addresses: () => inner.addresses(),
    setBlocked: (endpointIds) => blocked.set(new Set(endpointIds)),
    listen: (onConnection, doorkeeper) =>
      inner.listen((connection) => {
        // The dialler of a cut network hears nothing; here that means it waits for a greeting that never comes.
        if (cut.holds(connection.remoteEndpointId))
          void cut.healed(connection.remoteEndpointId).then(() => connection.close("cut"));
        else onConnection(new FaultyConnection(connection, cut));
      }, doorkeeper),
    async connect(to: EndpointAddress, lane: Lane, options: { readonly signal: AbortSignal }) {
      await cut.healed(to.endpointId, options.signal);
      return new FaultyConnection(await inner.connect(to, lane, options), cut);
    },
    close: () => inner.close(),
  };
}

/** Which endpoints are cut off now. */
class Cut {
  readonly #blocked: Watch<ReadonlySet<string>>;

  constructor(blocked: Watch<ReadonlySet<string>>) {
    this.#blocked = blocked;
  }

  holds(endpointId: string): boolean {
    return this.#blocked.value.has(endpointId);
  }

  async healed(endpointId: string, signal?: AbortSignal): Promise<void> {
    await this.#blocked.until((blocked) => !blocked.has(endpointId), signal === undefined ? {} : { signal });
  }
}

class FaultyConnection implements Connection {
  readonly lane: Lane;
  readonly remoteEndpointId: string;
  readonly transport?: string;
  readonly closed: Promise<string>;
  readonly #inner: Connection;
  readonly #cut: Cut;
  readonly #closing = new AbortController();
  #resolveClosed: (reason: string) => void = () => {};

  constructor(inner: Connection, cut: Cut) {
    this.#inner = inner;
    this.#cut = cut;
    this.lane = inner.lane;
    this.remoteEndpointId = inner.remoteEndpointId;
    if (inner.transport !== undefined) this.transport = inner.transport;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    void inner.closed.then(async (reason) => {
      await this.#passed().catch(() => {});
      this.#resolveClosed(reason);
    });
  }

  async openStream(options?: { readonly priority?: number }): Promise<ByteStream> {
    this.#closing.signal.throwIfAborted();
    return this.#wrapped(await this.#inner.openStream(options));
  }

  async acceptStream(): Promise<ByteStream | undefined> {
    try {
      const stream = await this.#ended(this.#inner.acceptStream());
      await this.#passed();
      return stream === undefined ? undefined : this.#wrapped(stream);
    } catch {
      return undefined;
    }
  }

  close(reason: string): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new BlixardError("UNREACHABLE", `the connection is closed: ${reason}`));
    this.#resolveClosed(reason);
    if (!this.#cut.holds(this.remoteEndpointId)) this.#inner.close(reason);
    else void this.#cut.healed(this.remoteEndpointId).then(() => this.#inner.close(reason));
  }

  path() {
    return this.#closing.signal.aborted ? { kind: "none" as const, rttMs: null } : this.#inner.path();
  }

  #wrapped(stream: ByteStream): ByteStream {
    return {
      write: async (bytes) => {
        await this.#passed();
        await this.#ended(stream.write(bytes));
      },
      read: async (bytesMax) => {
        const bytes = await this.#ended(stream.read(bytesMax));
        await this.#passed();
        return bytes;
      },
      finish: async () => {
        await this.#passed();
        await this.#ended(stream.finish());
      },
    };
  }

  /** Waits while the traffic is cut; rejects when this half was closed. */
  async #passed(): Promise<void> {
    this.#closing.signal.throwIfAborted();
    await this.#cut.healed(this.remoteEndpointId, this.#closing.signal);
  }

  /** The result of `work`, or a rejection as soon as this half is closed. */
  #ended<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#closing;
    // When this half is closed first, nobody is left to hear how the work ended.
    work.catch(() => {});
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal.reason);
      if (signal.aborted) return abort();
      onAbort(signal, abort);
      work.then(resolve, reject).finally(() => offAbort(signal, abort));
    });
  }
}
