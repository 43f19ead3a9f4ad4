/** The direct route, at the receiver: one HTTP/2 session over mutual TLS with the bind port of a peer. */
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  abortReason,
  BlixardError,
  type Clock,
  directAddresses,
  linkSignal,
  messageOf,
  offAbort,
  onAbort,
  requireHostPort,
  type Timer,
} from "@blixard/common";
import { endpointIdOf, type NodeTls, refusalOf as refusalOfCertificate } from "@blixard/identity";
import { nodeKeyTls } from "@blixard/protocol";
import type { EndpointAddress } from "@blixard/transport";
import { bulkLimits } from "./bulk-limits.ts";
import { lost, refusalOf } from "./bulk-status.ts";
import type { BulkChannel, BulkRequestOptions } from "./bulk-types.ts";
import { proveAtSource } from "./direct-proof.ts";

/** What the TLS handshake on the bind port agrees on for this lane; inside it HTTP/2 is spoken. */
export const bulkAlpn = "blixard/bulk/1";

export interface DirectDial {
  readonly clock: Clock;
  readonly to: EndpointAddress;
  readonly tls: NodeTls;
  readonly signal: AbortSignal;
}

/**
 * Dials all addresses at once; the first that proves the right key is taken.
 * @throws UNREACHABLE, UNKNOWN_PEER, UNSUPPORTED_VERSION
 */
export async function dialDirect({ clock, to, tls, signal }: DirectDial): Promise<BulkChannel> {
  const dialing = linkSignal(signal);
  const timer = clock.setTimer(bulkLimits.dialTimeoutMs, () =>
    dialing.abort(new BlixardError("UNREACHABLE", `no answer within ${bulkLimits.dialTimeoutMs} ms`)),
  );
  try {
    const dials = directAddresses(to.addresses)
      .slice(0, bulkLimits.addressesMax)
      .map(async (address) => {
        const channel = await openChannel({ clock, address, tls, endpointId: to.endpointId }, dialing.signal);
        if (dialing.signal.aborted) channel.close();
        dialing.signal.throwIfAborted();
        dialing.abort(new BlixardError("CANCELLED", "another dial was faster"));
        return channel;
      });
    return await Promise.any(dials);
  } catch (error) {
    signal.throwIfAborted();
    const errors = (error as AggregateError).errors as unknown[];
    throw errors[0] ?? new BlixardError("UNREACHABLE", "no address of the node is known");
  } finally {
    timer.cancel();
    dialing.release();
  }
}

interface AddressDial {
  readonly clock: Clock;
  readonly address: string;
  readonly tls: NodeTls;
  readonly endpointId: string;
}

async function openChannel(dial: AddressDial, signal: AbortSignal): Promise<BulkChannel> {
  const { clock, tls, endpointId } = dial;
  const socket = await handshake(dial, signal);
  const channel = new DirectChannel(clock, socket);
  if (!tls.demandsCa) return channel;
  try {
    await proveAtSource(channel, { tls, socket, endpointId }, signal);
    return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
}

function handshake({ address, endpointId, tls }: AddressDial, signal: AbortSignal): Promise<TLSSocket> {
  const { host, port } = requireHostPort(address, "the address");
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host,
      port,
      // Without a CA the certificate of the node's own key is asked for by name.
      ...(tls.demandsCa ? {} : nodeKeyTls),
      secureContext: tls.dialContext(),
      minVersion: "TLSv1.3",
      ALPNProtocols: [bulkAlpn],
      // It may be self-signed by design; what it proves is checked below. Names in certificates of a CA do not matter.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const fail = (error: Error) => {
      offAbort(signal, abort);
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(abortReason(signal));
    if (signal.aborted) return abort();
    onAbort(signal, abort);
    socket.on("error", (error) => fail(toDialError(error, address)));
    socket.once("close", () => fail(new BlixardError("UNREACHABLE", `${address}: the connection was closed`)));
    socket.once("secureConnect", () => {
      if (tls.demandsCa && !socket.authorized) {
        fail(refusalOfCertificate(tls, socket));
        return;
      }
      if (!tls.demandsCa && endpointIdOf(socket) !== endpointId) {
        fail(new BlixardError("UNKNOWN_PEER", `another node than ${endpointId.slice(0, 10)} answers at ${address}`));
        return;
      }
      if (socket.alpnProtocol !== bulkAlpn) {
        fail(new BlixardError("UNSUPPORTED_VERSION", `${address} does not speak the bulk lane`));
        return;
      }
      offAbort(signal, abort);
      resolve(socket);
    });
  });
}

function toDialError(error: unknown, address: string): BlixardError {
  const text = messageOf(error);
  if (/no application protocol/i.test(text)) {
    return new BlixardError("UNSUPPORTED_VERSION", `${address} does not speak the bulk lane`, { cause: error });
  }
  return new BlixardError("UNREACHABLE", `${address}: ${text}`, { cause: error });
}

class DirectChannel implements BulkChannel {
  readonly route = "direct";
  readonly #clock: Clock;
  readonly #session: ClientHttp2Session;
  #ping: Timer | undefined;
  #open = 0;
  #unanswered = 0;

  constructor(clock: Clock, socket: TLSSocket) {
    this.#clock = clock;
    this.#session = connectHttp2("https://blixard", {
      createConnection: () => socket,
      maxSessionMemory: 64,
      settings: { enablePush: false, initialWindowSize: bulkLimits.chunkBytesMax },
    });
    const window = bulkLimits.chunksReceivedMax * bulkLimits.chunkBytesMax;
    this.#session.once("connect", () => this.#session.setLocalWindowSize(window));
    this.#session.on("error", () => {});
    this.#session.setTimeout(bulkLimits.idleCloseMs, () => this.#session.close());
  }

  get closed(): boolean {
    return this.#session.closed || this.#session.destroyed;
  }

  async request(path: string, options: BulkRequestOptions): Promise<Uint8Array> {
    this.#open++;
    this.#ping ??= this.#armPing();
    try {
      return await this.#get(path, options);
    } finally {
      this.#open--;
      if (this.#open === 0) {
        this.#ping?.cancel();
        this.#ping = undefined;
      }
    }
  }

  close(): void {
    this.#ping?.cancel();
    this.#session.destroy();
  }

  /** A stopped process keeps its connections; what does not answer pings is as good as gone. */
  #armPing(): Timer {
    return this.#clock.setTimer(bulkLimits.pingIntervalMs, () => {
      if (this.closed) return;
      if (this.#unanswered >= bulkLimits.pingsMissedMax) return this.close();
      this.#unanswered++;
      this.#session.ping(() => {
        this.#unanswered = 0;
      });
      this.#ping = this.#armPing();
    });
  }

  #get(path: string, { bytesMax, into, stallMs, signal }: BulkRequestOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(abortReason(signal));
      if (this.closed) return reject(lost());
      const stream = this.#session.request({ ":path": path }, { endStream: true });
      let body: Uint8Array | undefined;
      let received = 0;
      let failure: Error | undefined;
      const fail = (error: Error) => {
        failure ??= error;
        stream.close();
      };
      const abort = () => fail(abortReason(signal));
      onAbort(signal, abort);
      stream.setTimeout(stallMs, () => fail(new BlixardError("DEADLINE_EXCEEDED", `no byte within ${stallMs} ms`)));
      stream.once("response", (headers) => {
        const length = Number(headers["content-length"]);
        if (headers[":status"] !== 200) fail(refusalOf(headers[":status"]));
        else if (!(length >= 0 && length <= bytesMax)) fail(new BlixardError("FRAME_TOO_LARGE", "too long an answer"));
        else body = into?.subarray(0, length) ?? Buffer.allocUnsafeSlow(length);
      });
      stream.on("data", (piece: Buffer) => {
        if (body === undefined || failure !== undefined) return;
        if (received + piece.length > body.length) return fail(new BlixardError("FRAME_CORRUPT", "too many bytes"));
        body.set(piece, received);
        received += piece.length;
      });
      stream.on("error", (error) => {
        failure ??= new BlixardError("UNREACHABLE", `the source was lost: ${messageOf(error)}`, { cause: error });
      });
      stream.once("close", () => {
        offAbort(signal, abort);
        if (failure !== undefined) reject(failure);
        else if (body === undefined || received !== body.length) reject(lost());
        else resolve(body);
      });
    });
  }
}
