/** Ten thousand frames that no well-behaved peer sends, through real connections, against a cluster that is at work. */
import { join } from "node:path";
import { seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { endpointIdOfSeed, loadOrCreateNodeKey } from "@blixard/identity";
import type { TransportAdapter } from "@blixard/transport";
import { createGrpcAdapter } from "@blixard/transport/grpc";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { HostileFrames, type HostileReport, sendHostileFrames } from "@blixard/transport/testing";
import { afterEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import { TestNode, type TestTransport } from "./test-node.ts";

const seed = Number(process.env["BLIXARD_SEED"] ?? 20_261_125);
const framesPerTransport = 10_000;

describe.each<TestTransport>(["memory", "iroh", "grpc", "dual"])(
  `hostile frames over %s (seed ${seed})`,
  (transport) => {
    const adapters: TransportAdapter[] = [];
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    afterEach(async () => {
      process.off("unhandledRejection", note);
      await Promise.all(adapters.splice(0).map((adapter) => adapter.close()));
    });

    it("cost their senders the connection, are counted, and change nothing", async () => {
      process.on("unhandledRejection", note);
      await using cluster = await TestCluster.builder().withTransport(transport).build();
      const memberKey = await keyOfStoppedLearner(cluster, transport);
      const senders = (secretKey: Uint8Array) => {
        const made = adaptersOf(cluster, transport, secretKey);
        adapters.push(...made);
        return made;
      };
      const members = senders(memberKey);
      const strangers = senders(seededRandom(seed).bytes(32));
      await Promise.all(adapters.map((adapter) => adapter.listen((connection) => connection.close("not today"))));

      const leader = await cluster.waitForLeader();
      const { term } = await leader.status();
      const before = await refusalsOf(cluster);
      const writes = keepWriting(cluster);
      const targets = cluster.nodes.filter((node) => node.isRunning());
      const share = framesPerTransport / targets.length / members.length;
      const reports: HostileReport[] = [];
      await Promise.all(
        targets.map(async (node) => {
          // Each its own, so that what it sends does not depend on who came first.
          const random = seededRandom(seed + node.id);
          for (const [at, member] of members.entries()) {
            const run = {
              frames: new HostileFrames(random, { from: 4, to: node.id }),
              target: { endpointId: node.endpointId, addresses: transport === "memory" ? [] : [node.address] },
              adapters: { "blixard/raft/1": member, "blixard/rpc/1": strangers[at] ?? member },
              count: share,
              perConnection: 50,
            };
            reports.push(await sendHostileFrames(run));
          }
        }),
      );
      const written = await writes.stop();
      const expected = sum(reports.map(({ refusals }) => refusals));
      expect(sum([await refusalsOf(cluster)], before)).toMatchObject(expected);
      expect(sum(reports.map(({ sent }) => ({ sent })))["sent"]).toBeGreaterThanOrEqual(framesPerTransport);
      expect(written).toBeGreaterThan(10);
      expect((await cluster.waitForLeader()).id).toBe(leader.id);
      expect((await leader.status()).term).toBe(term);
      expect(unhandled).toEqual([]);
    });

    /** A member whose key the attacker has: without one no greeting is heard. */
    async function keyOfStoppedLearner(cluster: TestCluster, transport: TestTransport): Promise<Uint8Array> {
      await using client = await cluster.leaderClient();
      const { ticket } = await client.tickets.create({ role: "learner" });
      await using learner = await TestNode.start({ id: 4, transport, network: cluster.network, join: ticket });
      return (await loadOrCreateNodeKey(join(learner.dataDir, "node.key"))).seed;
    }
  },
);

function adaptersOf(cluster: TestCluster, transport: TestTransport, secretKey: Uint8Array): TransportAdapter[] {
  const bind = "127.0.0.1:0";
  const iroh = () => createIrohAdapter({ secretKey, bind, relay: false, discovery: false });
  const grpc = () => createGrpcAdapter({ clock: systemClock, secretKey, bind });
  switch (transport) {
    case "iroh":
      return [iroh()];
    case "grpc":
      return [grpc()];
    case "dual":
      return [iroh(), grpc()];
    case "memory":
      return [cluster.network.createAdapter({ endpointId: endpointIdOfSeed(secretKey) })];
    default:
      return transport satisfies never;
  }
}

/** What all nodes have refused since they started, by reason. */
async function refusalsOf(cluster: TestCluster): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const node of cluster.nodes) {
    const headers = { authorization: `Bearer ${await node.token()}` };
    const text = await (await fetch(`${node.http}/metrics`, { headers })).text();
    for (const [, reason = "", count] of text.matchAll(/^blixard_transport_refusals_total{reason="(\w+)"} (\d+)/gm)) {
      counts[reason] = (counts[reason] ?? 0) + Number(count);
    }
  }
  return counts;
}

/** Writes one key after the other; `stop` resolves with their number, and rejects when one of them failed. */
function keepWriting(cluster: TestCluster): { stop(): Promise<number> } {
  let stopped = false;
  const writing = (async () => {
    await using client = await cluster.client();
    let written = 0;
    for (; !stopped; written++) await client.kv.put(`alive/${written % 10}`, String(written));
    return written;
  })();
  writing.catch(() => {});
  return {
    stop() {
      stopped = true;
      return writing;
    },
  };
}

/** The counts of all, less those of `before`. */
function sum(all: readonly Readonly<Record<string, number>>[], before: Readonly<Record<string, number>> = {}) {
  const totals: Record<string, number> = {};
  for (const counts of all) {
    for (const [key, count] of Object.entries(counts)) totals[key] = (totals[key] ?? 0) + count;
  }
  for (const [key, count] of Object.entries(before)) totals[key] = (totals[key] ?? 0) - count;
  return totals;
}
