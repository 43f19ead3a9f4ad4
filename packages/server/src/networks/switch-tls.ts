/** Connections between switches over TLS 1.3, in which both sides prove their keys by certificates that each makes of its own key. */
import { connect, type TLSSocket } from "node:tls";
import { BlixardError, linkSignal, offAbort, onAbort, requireHostPort } from "@blixard/common";
import { createTlsListener, type NodeTls, type TlsListener } from "@blixard/identity";
import type { CarrierEndpoint, FrameLink } from "@blixard/vm-manager";

const protocol = "blixard/frames/1";
/** An address that does not answer holds up the way over Iroh for so long. */
const dialMs = 1_500;
const handshakesMax = 64;

export interface LinkTaker {
  readonly admits: (endpointId: string) => boolean;
  readonly onLink: (link: FrameLink) => void;
}

/** @throws INVALID_ARGUMENT for an address that is not of this machine */
export function listenTls(tls: NodeTls, host: string, { admits, onLink }: LinkTaker): Promise<TlsListener> {
  const options = { host, port: 0, ...tls.shown(), alpnProtocols: [protocol], requestCert: true, handshakesMax };
  return createTlsListener(options, (socket) => {
    const endpointId = tls.identify(socket, "server", undefined);
    if (socket.alpnProtocol !== protocol || endpointId === undefined || !admits(endpointId)) socket.destroy();
    else onLink(linkOver(socket, endpointId));
  });
}

/** The first of its addresses that proves its key; undefined when none does in time. */
export async function connectTls(
  tls: NodeTls,
  { direct, endpointId }: CarrierEndpoint,
  signal: AbortSignal,
): Promise<FrameLink | undefined> {
  const trying = linkSignal(signal);
  const timer = setTimeout(() => trying.abort(new BlixardError("UNREACHABLE", "no answer")), dialMs);
  try {
    return await Promise.any(direct.map((address) => dial(tls, address, endpointId, trying.signal)));
  } catch {
    signal.throwIfAborted();
    return undefined;
  } finally {
    clearTimeout(timer);
    trying.abort(new BlixardError("CANCELLED", "another address was faster"));
    trying.release();
  }
}

function dial(tls: NodeTls, address: string, endpointId: string, signal: AbortSignal): Promise<FrameLink> {
  const { host, port } = requireHostPort(address, "the address");
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...{ host, port, secureContext: tls.dialContext(), minVersion: "TLSv1.3", ALPNProtocols: [protocol] },
      // It is self-signed; the key in it is compared below.
      ...{ rejectUnauthorized: false, checkServerIdentity: () => undefined },
    });
    const fail = (error: Error) => {
      offAbort(signal, abort);
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(new BlixardError("CANCELLED", "the dial was given up"));
    if (signal.aborted) return abort();
    onAbort(signal, abort);
    socket.on("error", fail);
    socket.once("secureConnect", () => {
      if (tls.identify(socket, "client", undefined) !== endpointId || socket.alpnProtocol !== protocol) {
        fail(new BlixardError("UNKNOWN_PEER", `another switch answers at ${address}`));
        return;
      }
      offAbort(signal, abort);
      resolve(linkOver(socket, endpointId));
    });
  });
}

function linkOver(socket: TLSSocket, remoteEndpointId: string): FrameLink {
  socket.setNoDelay(true);
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return {
    remoteEndpointId,
    write: (bytes) =>
      new Promise((resolve, reject) => socket.write(bytes, (error) => (error == null ? resolve() : reject(error)))),
    read: async () => {
      const { done, value } = await chunks.next();
      return done === true ? undefined : value;
    },
    close: () => socket.destroy(),
  };
}
