/** Connections and streams of a memory network. What one half sends reaches the other through its direction. */
import { BlixardError, type Timer } from "@blixard/common";
import type { ByteStream, Connection, Lane } from "../transport-types.ts";
import type { Direction, MemoryNetworkDeps } from "./direction.ts";

/** Bytes that a stream holds before its writer waits. */
const windowBytes = 1024 * 1024;
const resendMs = 200;
const resendsMax = 10;

/** One end of a connection: who it is, and the direction in which it sends. */
interface ConnectionEnd {
  readonly endpointId: string;
  readonly direction: Direction;
}

/** Two halves of one connection: of the dialler and of the one dialled. */
export function createConnectionPair(
  deps: MemoryNetworkDeps,
  lane: Lane,
  dialler: ConnectionEnd,
  dialled: ConnectionEnd,
): [MemoryConnection, MemoryConnection] {
  const here = new MemoryConnection(deps, lane, dialled.endpointId, dialler.direction);
  const there = new MemoryConnection(deps, lane, dialler.endpointId, dialled.direction);
  here.join(there);
  there.join(here);
  return [here, there];
}

export class MemoryConnection implements Connection {
  readonly lane: Lane;
  readonly remoteEndpointId: string;
  readonly closed: Promise<string>;
  readonly #deps: MemoryNetworkDeps;
  readonly #direction: Direction;
  readonly #lines = new Set<Line>();
  readonly #streams: MemoryStream[] = [];
  readonly #accepting: ((stream: ByteStream | undefined) => void)[] = [];
  #other: MemoryConnection | undefined;
  #reason: string | undefined;
  #resolveClosed: (reason: string) => void = () => {};

  constructor(deps: MemoryNetworkDeps, lane: Lane, remoteEndpointId: string, direction: Direction) {
    this.#deps = deps;
    this.lane = lane;
    this.remoteEndpointId = remoteEndpointId;
    this.#direction = direction;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  join(other: MemoryConnection): void {
    this.#other = other;
  }

  async openStream(): Promise<ByteStream> {
    const other = this.#other;
    if (this.#reason !== undefined || other === undefined) throw closedError(this.#reason);
    const outbound = this.newLine();
    const inbound = other.newLine();
    const far = new MemoryStream(inbound, outbound);
    outbound.onFirst = () => other.#announce(far);
    return new MemoryStream(outbound, inbound);
  }

  async acceptStream(): Promise<ByteStream | undefined> {
    const stream = this.#streams.shift();
    if (stream !== undefined || this.#reason !== undefined) return stream;
    return new Promise((resolve) => this.#accepting.push(resolve));
  }

  close(reason: string): void {
    const other = this.#other;
    if (this.#reason !== undefined) return;
    const goodbye = new Line(this.#deps, this.#direction, () => other?.vanish(`closed by peer: ${reason}`));
    this.vanish(reason);
    goodbye.send(undefined);
  }

  /** Ends this half only. */
  vanish(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const line of this.#lines) line.end(reason);
    this.#lines.clear();
    for (const accept of this.#accepting.splice(0)) accept(undefined);
    // What the other half sends from now on reaches nobody, and its writes hang as they do on a dead network.
    this.#resolveClosed(reason);
  }

  path() {
    return this.#reason === undefined
      ? { kind: "direct" as const, rttMs: 2 * this.#direction.latencyMs }
      : { kind: "none" as const, rttMs: null };
  }

  /** A line on which this half sends. */
  newLine(): Line {
    const line = new Line(this.#deps, this.#direction);
    this.#lines.add(line);
    this.#other?.receive(line);
    return line;
  }

  /** Ends the line's reading side when this half ends. */
  receive(line: Line): void {
    void this.closed.then((reason) => line.endReading(reason));
  }

  #announce(stream: MemoryStream): void {
    if (this.#reason !== undefined) return;
    const accept = this.#accepting.shift();
    if (accept === undefined) this.#streams.push(stream);
    else accept(stream);
  }
}

/** One way of one stream: what was written, on its way, and arrived. `undefined` is the end of the stream. */
class Line {
  onFirst: () => void;
  readonly #deps: MemoryNetworkDeps;
  readonly #direction: Direction;
  readonly #underway: { readonly bytes: Uint8Array | undefined; readonly dueMs: number }[] = [];
  readonly #arrived: Uint8Array[] = [];
  #heldBytes = 0;
  #finished = false;
  #writingEnd: string | undefined;
  #readingEnd: string | undefined;
  #timer: Timer | undefined;
  #started = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(deps: MemoryNetworkDeps, direction: Direction, onFirst: () => void = () => {}) {
    this.#deps = deps;
    this.#direction = direction;
    this.onFirst = onFirst;
  }

  send(bytes: Uint8Array | undefined): void {
    const { clock } = this.#deps;
    const before = this.#underway.at(-1)?.dueMs ?? 0;
    const dueMs = Math.max(before, clock.monotonicMs() + this.#direction.latencyMs + this.#resendsMs());
    this.#underway.push({ bytes, dueMs });
    this.#heldBytes += bytes?.length ?? 0;
    this.#deliver();
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#writingEnd !== undefined) throw closedError(this.#writingEnd);
    this.send(bytes.slice());
    while (this.#heldBytes > windowBytes) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
      if (this.#writingEnd !== undefined) throw closedError(this.#writingEnd);
    }
  }

  async read(bytesMax: number): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#readingEnd !== undefined) throw closedError(this.#readingEnd);
      const first = this.#arrived.shift();
      if (first !== undefined) {
        if (first.length > bytesMax) this.#arrived.unshift(first.subarray(bytesMax));
        const bytes = first.subarray(0, bytesMax);
        this.#heldBytes -= bytes.length;
        this.#wakeWriter?.();
        return bytes;
      }
      if (this.#finished) return undefined;
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** The writing half of the connection ended. */
  end(reason: string): void {
    this.#writingEnd = reason;
    this.#underway.length = 0;
    this.#timer?.cancel();
    this.#direction.waiting.delete(this.#onUnblocked);
    this.#wakeWriter?.();
  }

  /** The reading half of the connection ended. */
  endReading(reason: string): void {
    this.#readingEnd = reason;
    this.#wakeReader?.();
  }

  readonly #onUnblocked = () => {
    this.#direction.waiting.delete(this.#onUnblocked);
    this.#deliver();
  };

  #deliver(): void {
    const { clock } = this.#deps;
    for (let next = this.#underway[0]; next !== undefined; next = this.#underway[0]) {
      if (this.#direction.blocked) {
        this.#direction.waiting.add(this.#onUnblocked);
        return;
      }
      const waitMs = next.dueMs - clock.monotonicMs();
      if (waitMs > 0) {
        this.#timer?.cancel();
        this.#timer = clock.setTimer(waitMs, () => this.#deliver());
        return;
      }
      this.#underway.shift();
      this.#arrive(next.bytes);
    }
  }

  #arrive(bytes: Uint8Array | undefined): void {
    if (bytes === undefined) this.#finished = true;
    else if (bytes.length > 0) this.#arrived.push(bytes);
    if (!this.#started) this.onFirst();
    this.#started = true;
    this.#wakeReader?.();
  }

  #resendsMs(): number {
    const { random } = this.#deps;
    let resends = 0;
    while (this.#direction.lossRate > 0 && resends < resendsMax && random.next() < this.#direction.lossRate) resends++;
    return resends * resendMs;
  }
}

class MemoryStream implements ByteStream {
  readonly #out: Line;
  readonly #in: Line;

  constructor(out: Line, into: Line) {
    this.#out = out;
    this.#in = into;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#out.write(bytes);
  }

  read(bytesMax: number): Promise<Uint8Array | undefined> {
    return this.#in.read(bytesMax);
  }

  async finish(): Promise<void> {
    this.#out.send(undefined);
  }
}

function closedError(reason: string | undefined): BlixardError {
  return new BlixardError("UNREACHABLE", `the connection is closed: ${reason ?? "not connected"}`);
}
