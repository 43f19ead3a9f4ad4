/** Calls over the HTTP API of a node. */
import {
  type Health,
  type HttpMethodName,
  headers,
  nodeRoutes,
  type RequestOf,
  type ResponseOf,
  type StoredBlob,
  type StreamName,
  type StreamOutputOf,
  type StreamRequestOf,
} from "@blixard/protocol";
import { type Carrier, type CarrierCall, type CarrierStream, nodeTimeoutMs } from "./carrier.ts";
import { streamOverHttp } from "./http-streams.ts";
import { NodeEndpoint, type NodeEndpointOptions } from "./node-endpoint.ts";
import { decodeAnswer, decodeError, encodeCall } from "./wire.ts";

export class HttpCarrier implements Carrier {
  readonly #endpoint: NodeEndpoint;

  constructor(options: NodeEndpointOptions) {
    this.#endpoint = new NodeEndpoint(options);
  }

  get address(): string {
    return this.#endpoint.address.text;
  }

  async call<Name extends HttpMethodName>(
    name: Name,
    request: RequestOf<Name>,
    call: CarrierCall,
  ): Promise<ResponseOf<Name>> {
    const encoded = encodeCall(name, request, call.stale ?? false);
    const callHeaders: Record<string, string> = { ...timing(call), ...encoded.headers };
    if (call.idempotencyKey !== undefined) callHeaders[headers.idempotencyKey] = call.idempotencyKey;
    if (call.ifMatchIndex !== undefined) callHeaders[headers.ifMatch] = String(call.ifMatchIndex);
    return decodeAnswer(name, await this.#endpoint.exchange({ ...encoded, ...limitsOf(call), headers: callHeaders }));
  }

  stream<Name extends StreamName>(
    name: Name,
    request: StreamRequestOf<Name>,
    call: CarrierStream<Name>,
  ): Promise<AsyncIterable<StreamOutputOf<Name>>> {
    return streamOverHttp((...given) => this.call(...given), name, request, call);
  }

  async health(call: CarrierCall): Promise<Health> {
    const { verb, path } = nodeRoutes.health;
    const request = { verb, path, headers: timing(call), ...limitsOf(call) };
    const answer = await this.#endpoint.exchange(request);
    if (answer.status !== 200) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as Health;
  }

  async uploadBlob(chunks: AsyncIterable<Uint8Array>, call: CarrierCall): Promise<StoredBlob> {
    const { verb, path, takes } = nodeRoutes.uploadBlob;
    const answer = await this.#endpoint.exchange({
      verb,
      path,
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

function timing(call: CarrierCall): Record<string, string> {
  return { [headers.timeoutMs]: String(nodeTimeoutMs(call)) };
}

function limitsOf({ timeoutMs, signal }: CarrierCall) {
  return { timeoutMs, ...(signal === undefined ? {} : { signal }) };
}
