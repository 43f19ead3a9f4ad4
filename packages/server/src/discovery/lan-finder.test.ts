import { createSocket } from "node:dgram";
import { silentLogger } from "@blixard/common";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createLanFinder, type LanFinder } from "./lan-finder.ts";

const keyA = "a".repeat(64);
const keyB = "b".repeat(64);
const finders: LanFinder[] = [];
afterEach(async () => {
  await Promise.all(finders.splice(0).map((finder) => finder.close()));
});

let runs = 0;
const clusterOfThisRun = `lan-test-${process.pid}`;

function open(clusterId: string, endpointId: string, address: string): LanFinder {
  const finder = createLanFinder({
    clusterId: () => clusterId,
    endpointId,
    addresses: [address],
    bind: "127.0.0.1:7001",
    logger: silentLogger,
  });
  finders.push(finder);
  return finder;
}

/** Asks until somebody was found: a single datagram may be lost. */
async function findSome(finder: LanFinder, wanted: string) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const found = await finder.find(new Set([wanted]), { signal: AbortSignal.timeout(5_000) });
    if (found.length > 0) return found;
  }
  return [];
}

describe("createLanFinder", () => {
  it("finds a member of the same cluster", async () => {
    const clusterId = `${clusterOfThisRun}-${++runs}`;
    const asking = open(clusterId, keyA, "127.0.0.1:1");
    open(clusterId, keyB, "127.0.0.1:4242");
    expect(await findSome(asking, keyB)).toContainEqual({ endpointId: keyB, addresses: ["127.0.0.1:4242"] });
  });

  it("hears nothing of other clusters, and answers nothing before it is in one", async () => {
    const clusterId = `${clusterOfThisRun}-${++runs}`;
    const asking = open(clusterId, keyA, "127.0.0.1:1");
    open(`${clusterId}-other`, keyB, "127.0.0.1:2");
    open("", keyB, "127.0.0.1:3");
    const found = await asking.find(new Set([keyB]), { signal: AbortSignal.timeout(5_000) });
    expect(found.filter(({ endpointId }) => endpointId === keyB)).toEqual([]);
    expect(await finders[2]?.find(new Set([keyA]), { signal: AbortSignal.timeout(5_000) })).toEqual([]);
  });

  it("lives on when it gets what is no DNS", async () => {
    const clusterId = `${clusterOfThisRun}-${++runs}`;
    const asking = open(clusterId, keyA, "127.0.0.1:1");
    open(clusterId, keyB, "127.0.0.1:4343");
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
    socket.setMulticastInterface("127.0.0.1");
    for (const junk of [Buffer.alloc(0), Buffer.from("junk"), Buffer.alloc(1_400, 0xff)]) {
      await new Promise((resolve) => socket.send(junk, 5353, "224.0.0.251", resolve));
    }
    socket.close();
    expect(await findSome(asking, keyB)).toContainEqual({ endpointId: keyB, addresses: ["127.0.0.1:4343"] });
  });
});
