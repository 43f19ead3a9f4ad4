/** The node service of `proto/blixard/v1/node.proto`, loaded once, and its messages as types. */
import { fileURLToPath } from "node:url";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";

export interface Chunk {
  readonly data?: Uint8Array;
  readonly end?: boolean;
}

/** One of its members is set. */
export interface Control {
  readonly start?: { readonly endpointId?: string; readonly proof?: Uint8Array } | null;
  readonly openStream?: { readonly number: number } | null;
  readonly close?: { readonly reason: string } | null;
  readonly ping?: { readonly number: number } | null;
  readonly pong?: { readonly number: number } | null;
}

/** The part of a bidirectional call, of a client or of a server, that is used here: a stream of messages. */
export interface CallStream {
  on(event: string, listener: (...args: never[]) => void): unknown;
  once(event: string, listener: (...args: never[]) => void): unknown;
  read(): unknown;
  write(message: unknown, onWritten?: (error: Error | null | undefined) => void): boolean;
  end(): unknown;
  resume(): unknown;
  readonly writableNeedDrain: boolean;
}

/** Metadata of the calls. */
export const metadataKeys = {
  lane: "blixard-lane",
  stream: "blixard-stream",
  socket: "blixard-socket",
  endpoint: "blixard-endpoint",
  proof: "blixard-proof-bin",
} as const;

/** The path is the same from `src` and from `dist`. */
const protoRoot = fileURLToPath(new URL("../../proto", import.meta.url));

export const nodePackage: PackageDefinition = loadSync("blixard/v1/node.proto", {
  includeDirs: [protoRoot],
  longs: Number,
  defaults: false,
});

export const nodeServiceName = "blixard.v1.Node";
// The loader's own type knows only that it is a service or a message.
export const nodeService = nodePackage[nodeServiceName] as ServiceDefinition;

/** Path and codecs of one method, as calls and handlers need them. */
export function methodOf(name: "Connect" | "Stream") {
  const method = nodeService[name];
  if (method === undefined) throw new Error(`${nodeServiceName} has no method ${name}`);
  return method;
}
