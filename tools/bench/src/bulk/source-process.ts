/**
 * The other process of the bulk benchmark: gives one object over the bulk lane, and the same bytes over a bare Iroh stream.
 * It prints how it is reached as one line, and ends when its input does.
 */
import { createHash } from "node:crypto";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { type BulkObject, bulkAlpn, createBulkLane } from "@blixard/transport/bulk";
import { createNodeCertificate, createTlsListener } from "@blixard/transport/identity";
import { createIrohAdapter } from "@blixard/transport/iroh";

export interface SourceAddress {
  readonly endpointId: string;
  readonly tcp: string;
  readonly udp: readonly string[];
}

const mebibyte = 1024 * 1024;

/** The key of a benchmark's node; nobody else trusts it. */
export function benchKey(name: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`bench ${name}`).digest());
}

/** One random MiB again and again: what is hashed and sent is the same as for any other content. */
function repeated(sizeBytes: number): BulkObject {
  const block = Buffer.alloc(mebibyte);
  for (let at = 0; at < mebibyte; at += 32) createHash("sha256").update(String(at)).digest().copy(block, at);
  return { sizeBytes, read: async (_, length) => block.subarray(0, length) };
}

export async function serveSource(args: readonly string[]): Promise<void> {
  const sizeBytes = Number(args[0]) * mebibyte;
  const secretKey = benchKey("source");
  const reader = createNodeCertificate(benchKey("reader"), { clock: systemClock }).endpointId;
  const { key, cert, endpointId } = createNodeCertificate(secretKey, { clock: systemClock });
  const object = repeated(sizeBytes);
  const lane = createBulkLane({
    ...{ clock: systemClock, logger: silentLogger, metrics: discardMetrics, secretKey },
    peers: { peer: (id) => (id === reader ? { nodeId: 1, endpointId: reader, addresses: [] } : undefined) },
    providers: { image: async () => object, snapshot: async () => undefined },
    call: () => Promise.reject(new Error("there is no RPC lane here")),
  });
  const tls = { host: "127.0.0.1", port: 0, key, cert, alpnProtocols: [bulkAlpn], requestCert: true };
  const listener = await createTlsListener(tls, (socket) => lane.accept(socket));
  const iroh = createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false });
  await iroh.listen(async (connection) => {
    const stream = await connection.acceptStream();
    const wanted = await stream?.read(64);
    const piece = await object.read(0, mebibyte);
    for (let sent = 0; sent < Number(Buffer.from(wanted ?? []).toString()); sent += piece.length) {
      await stream?.write(piece);
    }
    await stream?.finish();
  });
  const address: SourceAddress = { endpointId, tcp: `127.0.0.1:${listener.port}`, udp: iroh.addresses() };
  process.stdout.write(`${JSON.stringify(address)}\n`);
  process.stdin.resume();
  process.stdin.once("end", async () => {
    await Promise.all([iroh.close(), listener.close(), lane.close()]);
  });
}
