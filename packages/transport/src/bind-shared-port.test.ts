import { systemClock } from "@blixard/common/system";
import { createNodeCertificate, createTlsListener, fetchPeerIdentity } from "@blixard/identity";
import { describe, expect, it } from "@jest/globals";
import { bindSharedPort } from "./bind-shared-port.ts";
import { createIrohAdapter } from "./iroh/index.ts";

const seed = new Uint8Array(32).fill(42);
const certificate = createNodeCertificate(seed, { clock: systemClock });

describe("bindSharedPort", () => {
  const bindTcp = (port: number) => createTlsListener({ host: "127.0.0.1", port, ...certificate }, () => {});
  const bindUdp = async (port: number) => {
    const adapter = createIrohAdapter({ secretKey: seed, bind: `127.0.0.1:${port}`, relay: false, discovery: false });
    await adapter.bind();
    return adapter;
  };

  it("gives TLS and Iroh the same number", async () => {
    const { port, tcp, udp } = await bindSharedPort(0, bindTcp, bindUdp);
    expect(udp.addresses()).toEqual([`127.0.0.1:${port}`]);
    expect(await fetchPeerIdentity(`127.0.0.1:${port}`, { timeoutMs: 10_000 })).toBe(udp.endpointId);
    await Promise.all([tcp.close(), udp.close()]);
  });

  it("tries another number when UDP does not have the first, and frees what it took", async () => {
    let refused = 0;
    const { port, tcp, udp } = await bindSharedPort(0, bindTcp, async (tried) => {
      if (refused > 0) return bindUdp(tried);
      refused = tried;
      const taken = await bindUdp(tried);
      return bindUdp(tried).finally(() => taken.close());
    });
    expect(port).not.toBe(refused);
    await Promise.all([tcp.close(), udp.close()]);
    const again = await bindSharedPort(refused, bindTcp, bindUdp);
    const occupied = bindSharedPort(refused, bindTcp, bindUdp);
    await expect(occupied).rejects.toMatchObject({ code: "PORT_IN_USE" });
    await Promise.all([again.tcp.close(), again.udp.close()]);
  });
});
