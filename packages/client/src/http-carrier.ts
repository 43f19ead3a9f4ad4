/** Calls over the HTTP API of a node. */
import type { RequestOf, ResponseOf, StreamName, StreamOutputOf, StreamRequestOf } from "@blixard/protocol";
import {
  type Carrier,
  type CarrierCall,
  type CarrierStream,
  type Health,
  nodeTimeoutMs,
  type UploadedBlob,
} from "./carrier.ts";
import { streamOverHttp } from "./http-streams.ts";
import { NodeEndpoint, type NodeEndpointOptions } from "./node-endpoint.ts";
import { type HttpMethodName, headers } from "./routes.ts";
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
    const request = { verb: "GET", path: "/healthz", headers: timing(call), ...limitsOf(call) };
    const answer = await this.#endpoint.exchange(request);
    if (answer.status !== 200) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as Health;
  }

  async uploadBlob(chunks: AsyncIterable<Uint8Array>, call: CarrierCall): Promise<UploadedBlob> {
    const answer = await this.#endpoint.exchange({
      verb: "POST",
      path: "/v1/blobs",
      headers: { "content-type": "application/octet-stream" },
      body: chunks,
      ...limitsOf(call),
    });
    if (answer.status >= 400) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as UploadedBlob;
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
