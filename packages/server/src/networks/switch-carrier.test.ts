import type { CarrierEndpoint, FrameCarrier, FrameLink } from "@blixard/vm-manager";
import { afterEach, describe, expect, it } from "@jest/globals";
import { openCarrier } from "./switch-carrier.ts";

const opened: FrameCarrier[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((carrier) => carrier.close()));
});

const signal = AbortSignal.timeout(60_000);

/** Two switches, of which the second admits some keys and hands over the links that it takes. */
async function openPair(admits: (endpointId: string) => boolean) {
  const settings = { bind: "127.0.0.1:0", relay: false, discovery: false };
  const [one, two] = [await openCarrier(settings), await openCarrier(settings)];
  opened.push(one, two);
  let take = (_: FrameLink) => {};
  const taken = new Promise<FrameLink>((resolve) => {
    take = resolve;
  });
  await two.listen(admits, (link) => take(link));
  return { one, two, taken };
}

const ways: readonly (readonly [string, (endpoint: CarrierEndpoint) => CarrierEndpoint])[] = [
  ["TLS", (endpoint) => ({ ...endpoint, addresses: [] })],
  ["Iroh", (endpoint) => ({ ...endpoint, direct: [] })],
  ["Iroh, where nobody answers over TLS", (endpoint) => ({ ...endpoint, direct: ["127.0.0.1:1"] })],
];

describe("a carrier", () => {
  it.each(ways)("carries bytes over %s, and proves both keys", async (_, over) => {
    const { one, two, taken } = await openPair((endpointId) => endpointId === one.endpoint().endpointId);
    const link = await one.connect(over(two.endpoint()), signal);
    expect(link.remoteEndpointId).toBe(two.endpoint().endpointId);
    await link.write(Buffer.from("frames"));
    const incoming = await taken;
    expect(incoming.remoteEndpointId).toBe(one.endpoint().endpointId);
    expect(Buffer.from((await incoming.read(1_024)) ?? []).toString()).toBe("frames");
    link.close("over");
  });

  it.each(ways.slice(0, 2))("reads nothing over %s from a key that is not admitted", async (_, over) => {
    let isTaken = false;
    const asked: string[] = [];
    const { one, two, taken } = await openPair((endpointId) => asked.push(endpointId) < 0);
    void taken.then(() => {
      isTaken = true;
    });
    const lost = async () => {
      const link = await one.connect(over(two.endpoint()), signal);
      for (;;) await link.write(Buffer.alloc(64 * 1024));
    };
    await expect(lost()).rejects.toThrow();
    expect([asked, isTaken]).toEqual([[one.endpoint().endpointId], false]);
  });

  it("takes no other switch at the address for the one that it looks for", async () => {
    const { one, two } = await openPair(() => true);
    const { direct } = two.endpoint();
    const other = await openCarrier({ bind: "127.0.0.1:0", relay: false, discovery: false });
    opened.push(other);
    const { endpointId } = other.endpoint();
    await expect(one.connect({ endpointId, direct, addresses: [] }, signal)).rejects.toThrow();
  });
});
