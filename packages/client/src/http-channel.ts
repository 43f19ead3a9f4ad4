/** Calls over the HTTP API of a node. */
import { BlixardError, directAddresses } from "@blixard/common";
import type { PinStore } from "@blixard/identity";
import {
  type Health,
  type HttpMethodName,
  headers,
  methods,
  nodeRoutes,
  type RequestOf,
  type ResponseOf,
  type StoredBlob,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
} from "@blixard/protocol";
import { parseNodeAddress } from "./address.ts";
import {
  type BlobPromise,
  type Channel,
  type ChannelCall,
  type ChannelStream,
  type NodePlace,
  nodeTimeoutMs,
} from "./channel.ts";
import { openForwardSocket } from "./forward-socket.ts";
import { type ConsoleDeps, openHttpConsole, openHttpStream } from "./http-streams.ts";
import { type HttpAnswer, type HttpExchange, NodeEndpoint, type NodeEndpointOptions } from "./node-endpoint.ts";
import { decodeAnswer, decodeError, encodeCall } from "./wire.ts";

export type HttpChannelOptions = Omit<NodeEndpointOptions, "assertServes">;

export class HttpChannel implements Channel {
  readonly #options: HttpChannelOptions;
  readonly #endpoint: NodeEndpoint;

  constructor(options: HttpChannelOptions) {
    this.#options = options;
    this.#endpoint = new NodeEndpoint({ ...options, assertServes });
  }

  /** Channels to other nodes with the same token, which go to nobody who does not prove the key. */
  toOthers(nodes: readonly NodePlace[]): Channel[] {
    const { token } = this.#options;
    return nodes.flatMap(({ endpointId, addresses }) =>
      directAddresses(addresses).map(
        (address) => new HttpChannel({ address: parseNodeAddress(address), token, pins: pinned(endpointId) }),
      ),
    );
  }

  get address(): string {
    return this.#endpoint.address.text;
  }

  async call<Name extends HttpMethodName>(
    name: Name,
    request: RequestOf<Name>,
    call: ChannelCall,
  ): Promise<ResponseOf<Name>> {
    const encoded = encodeCall(name, request, call.stale ?? false);
    const callHeaders: Record<string, string> = { ...timing(call), ...encoded.headers };
    if (call.idempotencyKey !== undefined) callHeaders[headers.idempotencyKey] = call.idempotencyKey;
    if (call.sinceIndex !== undefined) callHeaders[headers.idempotencySince] = String(call.sinceIndex);
    if (call.ifMatchIndex !== undefined) callHeaders[headers.ifMatch] = String(call.ifMatchIndex);
    const exchange = {
      ...encoded,
      ...limitsOf(call),
      headers: callHeaders,
      anonymous: methods[name].access === "anyone",
    };
    return decodeAnswer(name, await this.#endpoint.exchange(exchange));
  }

  async stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    call: ChannelStream<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    if (name === "vm.console") {
      const asked = request as StreamRequestOf<"vm.console">;
      const console = await openHttpConsole(
        this.#console(asked.name, call),
        asked,
        call as ChannelStream<"vm.console">,
      );
      return console as AsyncIterable<StreamOutputOf<Name>>;
    }
    if (name === "vm.forward") {
      const asked = request as StreamRequestOf<"vm.forward">;
      const pieces = await openForwardSocket(this.#endpoint, asked, call as ChannelStream<"vm.forward">);
      return pieces as AsyncIterable<StreamOutputOf<Name>>;
    }
    return await openHttpStream(this.#endpoint, name, request, call);
  }

  #console(name: string, { timeoutMs }: { readonly timeoutMs: number }): ConsoleDeps {
    return {
      open: (request, call) => openHttpStream(this.#endpoint, "vm.logs", request, call),
      write: (data, signal) =>
        this.call("vm.consoleWrite", { name, data: new Uint8Array(data) }, { timeoutMs, signal }),
    };
  }

  async health(call: ChannelCall): Promise<Health> {
    const { verb, path } = nodeRoutes.health;
    const request = { verb, path, headers: timing(call), anonymous: true, ...limitsOf(call) };
    const answer = await this.#endpoint.exchange(request);
    if (answer.status !== 200) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as Health;
  }

  async uploadBlob(chunks: AsyncIterable<Uint8Array>, promise: BlobPromise, call: ChannelCall): Promise<StoredBlob> {
    const { verb, path, takes } = nodeRoutes.uploadBlob;
    const query = new URLSearchParams(
      Object.entries(promise).map(([name, value]): [string, string] => [name, String(value)]),
    ).toString();
    const answer = await this.#endpoint.exchange({
      verb,
      path: query === "" ? path : `${path}?${query}`,
      headers: { "content-type": takes },
      body: chunks,
      ...limitsOf(call),
    });
    if (answer.status >= 400) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as StoredBlob;
  }

  close(): void {
    this.#endpoint.close();
  }
}

function timing(call: ChannelCall): Record<string, string> {
  return { [headers.timeoutMs]: String(nodeTimeoutMs(call)) };
}

function limitsOf({ timeoutMs, signal }: ChannelCall) {
  return { timeoutMs, ...(signal === undefined ? {} : { signal }) };
}

const placeTimeoutMs = 3_000;

/** Voters alone are shown a token. A node of an earlier release does not say what it is. @throws MISDIRECTED */
async function assertServes(exchange: (request: HttpExchange) => Promise<HttpAnswer>): Promise<void> {
  const encoded = encodeCall("identity.get", {}, false);
  const answer = await exchange({ ...encoded, anonymous: true, timeoutMs: placeTimeoutMs });
  const { nodeId, role = "voter", voters = [] } = decodeAnswer("identity.get", answer);
  if (role === "voter") return;
  throw new BlixardError("MISDIRECTED", `node ${nodeId} is a ${role}, and is shown no token`, {
    hint: "Give the address of a voter.",
    details: { voters },
    outcome: "not_applied",
  });
}

const pinned = (endpointId: string): PinStore => ({ get: () => endpointId, set: () => {} });
