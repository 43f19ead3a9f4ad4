/** What websockets into VMs say. */
import type { RawData, WebSocket } from "ws";

/** Resolves when it has gone. */
export function send(webSocket: WebSocket, data: Uint8Array | string): Promise<void> {
  return new Promise((resolve, reject) => {
    webSocket.send(data, { binary: typeof data !== "string" }, (error) => (error ? reject(error) : resolve()));
  });
}

export function bytesOf(data: RawData): Buffer {
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
}

/** Matches the paths of a route; its groups are the fields in braces, in order. */
export function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, "([^/]+)")}$`);
}
