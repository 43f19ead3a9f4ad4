/**
 * What an object of the binding weighs. V8 sees a wrapper of some bytes where the binding keeps the whole state of a QUIC
 * connection, and only a full collection frees them; so it lets thousands of closed connections pile up before it collects
 * (of 400 it had freed none; 2,000 of a stranger left 60 to 170 MiB behind, measured).
 */
import type { Connection as NativeConnection } from "@number0/iroh";

/**
 * More than a closed connection keeps (some 40 KiB). V8 starts to collect, by increments, once 64 MiB were added: after 128
 * connections.
 */
const connectionBytes = 512 * 1024;

const weights = new WeakMap<NativeConnection, ArrayBuffer>();

/**
 * From now on V8 counts `connection` as so much memory, and none is taken: pages that nobody writes to are address space.
 * Only a resizable buffer reserves its pages so; a plain one comes from an allocator that may clear them.
 */
export function weigh(connection: NativeConnection): void {
  weights.set(connection, Reflect.construct(ArrayBuffer, [connectionBytes, { maxByteLength: connectionBytes }]));
}
