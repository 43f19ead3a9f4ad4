/**
 * The other process of the bulk benchmark: gives objects over the bulk lane, and the same bytes over a bare Iroh stream.
 * It prints how it is reached as one line, and ends when its input does.
 */
import { createHash } from "node:crypto";
import { type BulkObject, bulkAlpn, createBulkLane } from "@blixard/bulk";
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createNodeCertificate, createTlsListener } from "@blixard/identity";
import { createTransport } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";

export interface SourceAddress {
  readonly endpointId: string;
  readonly tcp: string;
  /** Where calls of the RPC lane are taken. */
  readonly rpc: readonly string[];
  /** Where the bare stream is. */
  readonly bare: { readonly endpointId: string; readonly addresses: readonly string[] };
}

const mebibyte = 1024 * 1024;

/** The key of a benchmark's node; nobody else trusts it. */
export function benchKey(name: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(`bench ${name}`).digest());
}

function randomBlock(): Buffer {
  const block = Buffer.alloc(mebibyte);
  for (let at = 0; at < mebibyte; at += 32) createHash("sha256").update(String(at)).digest().copy(block, at);
  return block;
}

/** The block again and again: what is hashed and sent is the same as for any other content. */
function repeated(block: Buffer, sizeBytes: number): BulkObject {
  return {
    sizeBytes,
    // Nobody asks for bytes of two blocks at once.
    read: async (offset, length) => block.subarray(offset % mebibyte, (offset % mebibyte) + length),
  };
}

/** How the endpoints of the benchmark are bound. */
export const onLoopback = { bind: "127.0.0.1:0", relay: false, discovery: false } as const;

export async function serveSource(): Promise<void> {
  const secretKey = benchKey("source");
  const block = randomBlock();
  const reader = createNodeCertificate(benchKey("reader"), { clock: systemClock }).endpointId;
  const { key, cert, endpointId } = createNodeCertificate(secretKey, { clock: systemClock });
  const lane = createBulkLane({
    ...{ clock: systemClock, logger: silentLogger, metrics: discardMetrics, secretKey },
    peers: {
      peer: (id) => (id === reader ? { nodeId: 1, endpointId: reader, addresses: [] } : undefined),
      onBroken: () => {},
    },
    // The name of an object is its size in MiB.
    providers: { image: async (id) => repeated(block, Number(id) * mebibyte), snapshot: async () => undefined },
    call: () => Promise.reject(new Error("it calls nobody")),
    iroh: onLoopback,
  });
  const adapter = createIrohAdapter({ secretKey, ...onLoopback });
  const shared = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
  const transport = createTransport({ ...shared, adapter }, { nodeId: 2 });
  transport.addMethods(lane.rpcMethods);
  await transport.start();
  const tls = { host: "127.0.0.1", port: 0, key, cert, alpnProtocols: [bulkAlpn], requestCert: true };
  const listener = await createTlsListener(tls, (socket) => lane.accept(socket));
  const bare = createIrohAdapter({ secretKey: benchKey("bare"), ...onLoopback });
  await bare.listen(async (connection) => {
    const stream = await connection.acceptStream();
    const wanted = await stream?.read(64);
    for (let sent = 0; sent < Number(Buffer.from(wanted ?? []).toString()); sent += block.length) {
      await stream?.write(block);
    }
    await stream?.finish();
  });
  const address: SourceAddress = {
    endpointId,
    tcp: `127.0.0.1:${listener.port}`,
    rpc: transport.addresses(),
    bare: { endpointId: bare.endpointId, addresses: bare.addresses() },
  };
  process.stdout.write(`${JSON.stringify(address)}\n`);
  process.stdin.resume();
  process.stdin.once("end", async () => {
    await Promise.all([bare.close(), listener.close(), lane.close().then(() => transport.close())]);
  });
}
