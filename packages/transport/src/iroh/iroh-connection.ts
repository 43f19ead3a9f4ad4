/** Connections and streams of Iroh behind the transport's interfaces. */
import type { BiStream, Connection as NativeConnection } from "@number0/iroh";
import { transportLimits } from "../transport-limits.ts";
import type { ByteStream, Connection, Lane } from "../transport-types.ts";
import { toStreamError } from "./iroh-errors.ts";
import { firstLine, fromNative, toNative } from "./iroh-module.ts";
import { weigh } from "./native-weight.ts";
import { type PathKind, pathInUse, pathKind } from "./path-in-use.ts";

/** A write crosses the border in pieces, so that the conversion never blocks the event loop for long. */
const writePieceBytes = 32 * 1024;
const closeCode = 0n;

export interface IrohConnectionOptions {
  readonly lane: Lane;
  readonly remoteShare: string | undefined;
  /** Whether this endpoint has relays. */
  readonly mayBeRelayed: boolean;
}

export class IrohConnection implements Connection {
  readonly transport = "iroh";
  readonly lane: Lane;
  readonly remoteEndpointId: string;
  readonly remoteShare?: string;
  readonly closed: Promise<string>;
  readonly #native: NativeConnection;
  readonly #mayBeRelayed: boolean;
  #pathKind: PathKind;
  #open = true;

  constructor(native: NativeConnection, { lane, remoteShare, mayBeRelayed }: IrohConnectionOptions) {
    this.#native = native;
    if (remoteShare !== undefined) this.remoteShare = remoteShare;
    this.lane = lane;
    this.#mayBeRelayed = mayBeRelayed;
    this.#pathKind = pathKind(pathInUse(native.paths()), "none", mayBeRelayed);
    this.remoteEndpointId = native.remoteId().toString();
    weigh(native);
    // The handshake has granted 100 streams of each kind, with 1.25 MB each, and the binding sets nothing before it. These
    // limits only keep it from granting more (measured); so what counts is that too many streams end the connection: those
    // bidirectional ones in the link above, unidirectional ones here, because nothing would ever read them.
    native.setMaxConcurrentBiStreams(BigInt(transportLimits.incomingStreamsMax));
    native.setMaxConcurrentUniStreams(0n);
    void native.acceptUni().then(
      () => this.close("streams one way are not spoken here"),
      () => {},
    );
    this.closed = native
      .closed()
      .catch(firstLine)
      .then((reason) => {
        this.#open = false;
        return reason;
      });
  }

  async openStream(options: { readonly priority?: number } = {}): Promise<ByteStream> {
    try {
      const stream = await this.#native.openBi();
      if (options.priority !== undefined) await stream.send.setPriority(options.priority);
      return new IrohStream(stream);
    } catch (error) {
      throw toStreamError(error);
    }
  }

  /** A write crosses the border to native code, which costs what many frames do: requests of a turn go out together. */
  afterTurn(run: () => void): void {
    setImmediate(run);
  }

  async acceptStream(): Promise<ByteStream | undefined> {
    try {
      return new IrohStream(await this.#native.acceptBi());
    } catch {
      // The only error here is that the connection is closed; `closed` has the reason.
      return undefined;
    }
  }

  close(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#native.close(closeCode, toNative(new TextEncoder().encode(reason.slice(0, 200))));
  }

  path() {
    if (!this.#open) return { kind: "none" as const, rttMs: null };
    const used = pathInUse(this.#native.paths());
    this.#pathKind = pathKind(used, this.#pathKind, this.#mayBeRelayed);
    return { kind: this.#pathKind, rttMs: used === undefined ? this.#native.rtt() : used.rttMs };
  }
}

class IrohStream implements ByteStream {
  readonly #send: BiStream["send"];
  readonly #receive: BiStream["recv"];
  readonly #scratch: number[] = [];

  constructor(stream: BiStream) {
    this.#send = stream.send;
    this.#receive = stream.recv;
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; at += writePieceBytes) {
        await this.#send.writeAll(toNative(bytes.subarray(at, at + writePieceBytes), this.#scratch));
      }
    } catch (error) {
      throw toStreamError(error);
    }
  }

  async read(bytesMax: number): Promise<Uint8Array | undefined> {
    try {
      const values = await this.#receive.read(bytesMax);
      return values.length === 0 ? undefined : fromNative(values);
    } catch (error) {
      throw toStreamError(error);
    }
  }

  async finish(): Promise<void> {
    try {
      await this.#send.finish();
    } catch (error) {
      throw toStreamError(error);
    }
  }
}
