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
import { type Channel, type ChannelCall, type ChannelStream, nodeTimeoutMs } from "./channel.ts";
import { type ConsoleDeps, openHttpConsole, openHttpStream } from "./http-streams.ts";
import { NodeEndpoint, type NodeEndpointOptions } from "./node-endpoint.ts";
import { decodeAnswer, decodeError, encodeCall } from "./wire.ts";

export class HttpChannel implements Channel {
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
    call: ChannelCall,
  ): Promise<ResponseOf<Name>> {
    const encoded = encodeCall(name, request, call.stale ?? false);
    const callHeaders: Record<string, string> = { ...timing(call), ...encoded.headers };
    if (call.idempotencyKey !== undefined) callHeaders[headers.idempotencyKey] = call.idempotencyKey;
    if (call.ifMatchIndex !== undefined) callHeaders[headers.ifMatch] = String(call.ifMatchIndex);
    return decodeAnswer(name, await this.#endpoint.exchange({ ...encoded, ...limitsOf(call), headers: callHeaders }));
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
    const request = { verb, path, headers: timing(call), ...limitsOf(call) };
    const answer = await this.#endpoint.exchange(request);
    if (answer.status !== 200) throw decodeError(answer);
    return JSON.parse(answer.body.toString("utf8")) as Health;
  }

  async uploadBlob(chunks: AsyncIterable<Uint8Array>, call: ChannelCall): Promise<StoredBlob> {
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

function timing(call: ChannelCall): Record<string, string> {
  return { [headers.timeoutMs]: String(nodeTimeoutMs(call)) };
}

function limitsOf({ timeoutMs, signal }: ChannelCall) {
  return { timeoutMs, ...(signal === undefined ? {} : { signal }) };
}
