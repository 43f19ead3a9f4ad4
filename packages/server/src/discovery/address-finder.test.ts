import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createNodeCertificate, endpointIdOfSeed } from "@blixard/identity";
import { afterEach, describe, expect, it } from "@jest/globals";
import { startDnsServer } from "../testing/dns-server.ts";
import { createAddressFinder } from "./address-finder.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** The TCP side of a node's bind port: TLS with the certificate of its key. */
async function bindPort(): Promise<{ readonly endpointId: string; readonly address: string; readonly port: number }> {
  const seed = systemRandom.bytes(32);
  const { cert, key } = createNodeCertificate(seed, { clock: systemClock });
  const server = createServer({ cert, key, ALPNProtocols: ["http/1.1"] }, (socket: TLSSocket) => {
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { endpointId: endpointIdOfSeed(seed), address: `127.0.0.1:${port}`, port };
}

const find = (entries: readonly string[], dnsServers: readonly string[] = []) =>
  createAddressFinder({ entries, dnsServers }).find(new Set(), { signal: AbortSignal.timeout(10_000) });

describe("createAddressFinder", () => {
  it("learns who answers at a listed address, and passes over what does not answer", async () => {
    const node = await bindPort();
    const silent = await bindPort();
    closers.pop()?.();
    expect(await find([silent.address, node.address])).toEqual([
      { endpointId: node.endpointId, addresses: [node.address] },
    ]);
  });

  it("follows the SRV records of a name", async () => {
    const node = await bindPort();
    const name = "_blixard._udp.cluster.test";
    await using dns = await startDnsServer([
      { type: "SRV", name, data: { target: "127.0.0.1", port: node.port, priority: 0, weight: 0 } },
    ]);
    expect(await find(["dns:cluster.test"], [dns.address])).toEqual([
      { endpointId: node.endpointId, addresses: [node.address] },
    ]);
  });

  it("takes endpoint and addresses from TXT records, and leaves out what is in no form", async () => {
    const name = "_blixard._udp.cluster.test";
    const endpointId = "c".repeat(64);
    await using dns = await startDnsServer([
      { type: "TXT", name, data: ["v=spf1 -all"] },
      { type: "TXT", name, data: ["id=short", "addr=10.0.0.1:7001"] },
      { type: "TXT", name, data: [`id=${endpointId}`, "addr=10.0.0.1:7001", "addr=nonsense"] },
    ]);
    expect(await find(["dns:cluster.test"], [dns.address])).toEqual([{ endpointId, addresses: ["10.0.0.1:7001"] }]);
  });

  it("finds nobody under a name without records, and says so when no server answers", async () => {
    const dns = await startDnsServer();
    expect(await find(["dns:cluster.test"], [dns.address])).toEqual([]);
    await dns[Symbol.asyncDispose]();
    await expect(find(["dns:cluster.test"], [dns.address])).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});
