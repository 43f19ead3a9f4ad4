/**
 * One address of a node and the pooled connections to it. An exchange is one HTTP request and its whole response, or one
 * whose response is read while it comes; retries stand above.
 */
import { Agent, type ClientRequestArgs, request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  BlixardError,
  type ErrorOutcome,
  errorCodeOf,
  formatHostPort,
  isBlixardError,
  isLoopbackHost,
  notApplied,
  offAbort,
  onAbort,
  reasonOf,
} from "@blixard/common";
import type { PinStore } from "@blixard/identity";
import { connectPinned } from "@blixard/identity";
import type { WebSocket } from "ws";
import type { NodeAddress } from "./address.ts";

export interface HttpExchange {
  readonly verb: string;
  /** Path and query, percent-encoded. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** The node answers this to anyone: no token goes with it. */
  readonly anonymous?: boolean;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** A response whose body is read while it comes, and may not end. */
export interface HttpStreamAnswer {
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** Throws UNREACHABLE where the connection breaks. A reader that stops closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Closes the connection, also when nobody has begun to read. Who reads later gets `error`. */
  close(error: BlixardError): void;
}

export interface SocketOpening {
  /** Percent-encoded. */
  readonly path: string;
  readonly subprotocol: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Either of them. */
export interface OpenedSocket {
  readonly webSocket?: WebSocket;
  readonly refusal?: HttpAnswer;
}

export interface NodeEndpointOptions {
  readonly address: NodeAddress;
  readonly token: string | undefined;
  /** The token is good at this node alone, whatever it is in its cluster. */
  readonly isOwnToken?: boolean;
  readonly pins: PinStore;
  /** Asked before the token is shown: throws where the node is none that may see it. Default: every node may. */
  readonly assertServes?: (exchange: (request: HttpExchange) => Promise<HttpAnswer>) => Promise<void>;
}

const connectTimeoutMs = 3_000;
const idleSocketsMax = 64;
const answerBytesMax = 64 * 1024 * 1024;

export class NodeEndpoint {
  readonly address: NodeAddress;
  readonly #token: string | undefined;
  readonly #pins: PinStore;
  readonly #agent: Agent;
  #scheme: NodeAddress["scheme"];
  #endpointId: string | undefined;
  /** The connection that taught the identity, for the request that waits for it. */
  #spare: Duplex | undefined;
  #learning: Promise<void> | undefined;
  readonly #assertServes: () => Promise<void>;
  #serves: Promise<void> | undefined;

  constructor(options: NodeEndpointOptions) {
    this.address = options.address;
    this.#token = options.token;
    this.#pins = options.pins;
    this.#scheme = options.address.scheme;
    const { assertServes } = options;
    const isShown = options.token !== undefined && options.isOwnToken !== true;
    this.#assertServes = async () => {
      if (isShown) await assertServes?.((request) => this.exchange(request));
    };
    this.#agent = new DialingAgent(() => this.#spareOrDial());
  }

  /** A fresh connection to the node: over TLS with the verified key, or plain where the address says so. */
  async #dial(): Promise<Duplex> {
    const { host, port } = this.address;
    if (this.#scheme === "http") return connectPlain(host, port);
    const pinKey = formatHostPort(host, port);
    const pin = this.#pins.get(pinKey);
    try {
      const { socket, endpointId } = await connectPinned(host, port, { pin, timeoutMs: connectTimeoutMs });
      if (pin === undefined) this.#pins.set(pinKey, endpointId);
      this.#endpointId = endpointId;
      this.#scheme = "tls";
      return socket;
    } catch (error) {
      // A token goes over plain HTTP only where nobody is between, and never to an address that once proved a key.
      const mayBePlain = this.#scheme === "auto" && pin === undefined && isLoopbackHost(host);
      if (!mayBePlain || errorCodeOf(error) !== "UNSUPPORTED_VERSION") throw error;
      const socket = await connectPlain(host, port);
      this.#scheme = "http";
      return socket;
    }
  }

  /** Value of the Host header: the verified identity where there is one, so that any DNS name can lead to a node. */
  #host(): string {
    return this.#endpointId ?? formatHostPort(this.address.host, this.address.port);
  }

  /** @throws UNREACHABLE (outcome tells whether the request may have arrived), UNKNOWN_PEER, DEADLINE_EXCEEDED */
  exchange(exchange: HttpExchange): Promise<HttpAnswer> {
    return this.#request(exchange, readAnswer);
  }

  /**
   * Resolves with the head of the response; `timeoutMs` is the time for that. The body may come for as long as it likes,
   * but not be silent for `silenceMsMax`. @throws as `exchange`
   */
  open(exchange: HttpExchange, silenceMsMax: number): Promise<HttpStreamAnswer> {
    return this.#request(exchange, async (response, answered) => {
      answered();
      const { statusCode: status = 0, headers } = response;
      const body = this.#body(response, exchange.signal, silenceMsMax);
      // Without a reader, nobody else would listen to what happens to the response.
      response.on("error", () => {});
      return { status, headers, body, close: (error) => void response.destroy(error) };
    });
  }

  /** Opens a websocket; a node that refuses says so in its answer. @throws as `exchange` */
  async openSocket({ path, subprotocol, timeoutMs, signal }: SocketOpening): Promise<OpenedSocket> {
    try {
      await this.#learnIdentity();
      await this.#untilItServes();
      const [{ WebSocket }, socket] = await Promise.all([import("ws"), this.#spareOrDial()]);
      const webSocket = new WebSocket(`ws://localhost${path}`, [subprotocol], {
        headers: { host: this.#host(), ...this.#authorization() },
        createConnection: () => socket as Socket,
        handshakeTimeout: timeoutMs,
        perMessageDeflate: false,
      });
      return await openedSocket(webSocket, signal);
    } catch (error) {
      throw this.#failure(error, signal, "not_applied");
    }
  }

  #authorization(): Record<string, string> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` };
  }

  async *#body(response: IncomingMessage, signal: AbortSignal | undefined, silenceMsMax: number) {
    response.setTimeout(silenceMsMax, () => response.destroy(new Error(`nothing came for ${silenceMsMax} ms`)));
    try {
      for await (const piece of response) yield piece as Uint8Array;
    } catch (error) {
      throw this.#failure(error, signal, "not_applied");
    } finally {
      response.destroy();
    }
  }

  async #request<T>(exchange: HttpExchange, read: ReadResponse<T>): Promise<T> {
    const sent = { whole: false };
    try {
      await this.#learnIdentity();
      if (exchange.anonymous !== true) await this.#untilItServes();
      return await this.#send(exchange, sent, read);
    } catch (error) {
      throw this.#failure(error, exchange.signal, sent.whole ? "unknown" : "not_applied");
    }
  }

  /** A token goes to nodes only that serve people. One that did is not asked again: it has seen the token. */
  async #untilItServes(): Promise<void> {
    this.#serves ??= this.#assertServes();
    const serves = this.#serves;
    try {
      await serves;
    } catch (error) {
      if (this.#serves === serves) this.#serves = undefined;
      throw error;
    }
  }

  #failure(error: unknown, signal: AbortSignal | undefined, outcome: ErrorOutcome): BlixardError {
    if (isBlixardError(error)) return error;
    if (signal?.aborted) {
      return new BlixardError("CANCELLED", "the request was cancelled", { outcome: "unknown", cause: error });
    }
    const message = `${this.address.text} did not answer: ${reasonOf(error)}`;
    return new BlixardError("UNREACHABLE", message, { cause: error, outcome });
  }

  close(): void {
    this.#agent.destroy();
    this.#spare?.destroy();
  }

  /** The Host header of the first request needs the identity, so the connection comes before the request. */
  async #learnIdentity(): Promise<void> {
    if (this.#scheme === "http" || this.#endpointId !== undefined) return;
    this.#learning ??= this.#dial()
      .then((socket) => {
        socket.on("error", () => {});
        this.#spare = socket;
      })
      .finally(() => {
        this.#learning = undefined;
      });
    await this.#learning;
  }

  async #spareOrDial(): Promise<Duplex> {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare === undefined || spare.destroyed ? await this.#dial() : spare;
  }

  #send<T>(exchange: HttpExchange, sent: { whole: boolean }, read: ReadResponse<T>): Promise<T> {
    const { verb, path, body } = exchange;
    return new Promise((resolve, reject) => {
      const authorization: Record<string, string> = exchange.anonymous === true ? {} : this.#authorization();
      const length: Record<string, string> =
        body instanceof Uint8Array ? { "content-length": String(body.length) } : {};
      const request = httpRequest({
        agent: this.#agent,
        method: verb,
        path,
        headers: { host: this.#host(), ...authorization, ...length, ...exchange.headers },
        ...(exchange.signal === undefined ? {} : { signal: exchange.signal }),
      });
      const timer = setTimeout(() => {
        const message = `${this.address.text} did not answer within ${exchange.timeoutMs} ms`;
        request.destroy(
          new BlixardError("DEADLINE_EXCEEDED", message, { outcome: sent.whole ? "unknown" : "not_applied" }),
        );
      }, exchange.timeoutMs);
      const answered = () => clearTimeout(timer);
      request.once("close", answered);
      // A response that is read later reports what happens to it then.
      request.on("error", reject);
      request.once("response", (response) => read(response, answered).then(resolve, reject));
      // From here on some of the request may have reached the node.
      request.once("socket", () => {
        sent.whole = true;
      });
      writeBody(request, body).catch((error: unknown) => {
        request.destroy();
        reject(error);
      });
    });
  }
}

/** Nothing is read of it until somebody resumes it. */
async function openedSocket(webSocket: WebSocket, signal: AbortSignal | undefined): Promise<OpenedSocket> {
  const leave = () => webSocket.terminate();
  onAbort(signal, leave);
  try {
    return await new Promise((resolve, reject) => {
      webSocket.once("open", () => {
        webSocket.pause();
        resolve({ webSocket });
      });
      webSocket.on("error", reject);
      webSocket.once("unexpected-response", (_, response) => {
        readAnswer(response).then((refusal) => resolve({ refusal }), reject);
      });
    });
  } finally {
    offAbort(signal, leave);
  }
}

/** Reads a response; calls `answered` when the time for the exchange no longer counts. */
type ReadResponse<T> = (response: IncomingMessage, answered: () => void) => Promise<T>;

/** An agent whose connections are made, and verified, by its owner. */
class DialingAgent extends Agent {
  readonly #dial: () => Promise<Duplex>;

  constructor(dial: () => Promise<Duplex>) {
    super({ keepAlive: true, maxFreeSockets: idleSocketsMax, scheduling: "lifo" });
    this.#dial = dial;
  }

  override createConnection(
    _options: ClientRequestArgs,
    callback: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    this.#dial().then(
      (socket) => callback(null, socket),
      (error: Error) => callback(error, undefined as unknown as Duplex),
    );
    return undefined;
  }
}

function connectPlain(host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error(`no answer within ${connectTimeoutMs} ms`)));
    socket.once("error", (error) => {
      const message = `cannot connect to ${formatHostPort(host, port)}: ${reasonOf(error)}`;
      reject(notApplied("UNREACHABLE", message, { cause: error }));
    });
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

async function readAnswer(response: IncomingMessage): Promise<HttpAnswer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of response) {
    const bytes = piece as Buffer;
    length += bytes.length;
    if (length > answerBytesMax) {
      response.destroy();
      throw new BlixardError("VALUE_TOO_LARGE", `the node answered with more than ${answerBytesMax} bytes`);
    }
    pieces.push(bytes);
  }
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces, length) };
}

async function writeBody(
  request: ReturnType<typeof httpRequest>,
  body: Uint8Array | AsyncIterable<Uint8Array> | undefined,
): Promise<void> {
  if (body === undefined || body instanceof Uint8Array) {
    request.end(body);
    return;
  }
  for await (const piece of body) {
    if (request.destroyed) return;
    if (!request.write(piece)) await drained(request);
  }
  request.end();
}

function drained(request: ReturnType<typeof httpRequest>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      request.off("drain", done);
      request.off("close", done);
      resolve();
    };
    request.once("drain", done);
    request.once("close", done);
  });
}
