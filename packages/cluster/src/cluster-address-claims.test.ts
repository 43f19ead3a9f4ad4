/** Addresses that members claim for themselves and for others, in a cluster over a network in memory. */
import { discardMetrics, type Labels, type Metrics, toHex } from "@blixard/common";
import { addressClaimBytes, callPeer, featureLevels, type ResponseOf } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { nodeMeta } from "./calls/peer-calls.ts";
import { ClusterGroup, clusterId, until } from "./testing/cluster-group.ts";
import { madeUpSignatures } from "./testing/made-up-signatures.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

type Claims = ResponseOf<"node.addresses">["claims"];

const worker = 3;

let group: ClusterGroup;
let refusals: (Labels | undefined)[];
beforeEach(async () => {
  group = new ClusterGroup({ discoveryMs: 20 });
  refusals = [];
  const metrics: Metrics = {
    ...discardMetrics,
    counter: ({ name }) => ({
      // A counter begins with zero for each of its labels.
      add: (value, labels) => {
        if (value !== 0 && name === "blixard_address_claims_refused_total") refusals.push(labels);
      },
    }),
  };
  group.machine(1).metrics = metrics;
  await group.form(2);
  await group.join(worker, await group.ticket({ role: "worker" }));
  await until(() => group.nodes().every(({ state }) => state.level.get("level")?.level === featureLevels.own));
  await group.machine(worker).stop();
});
afterEach(() => group.close());

/** What node 1 answers to the key of the worker. */
async function tell(claims: Claims): Promise<Claims> {
  const { transport } = group.network.join(worker, endpointIdOf(worker));
  const port = { clock: group.clock, call: transport.call.bind(transport) };
  const to = { endpointId: endpointIdOf(1), addresses: [] };
  const meta = nodeMeta(worker, "", 5_000);
  return (await callPeer(port, to, "node.addresses", { claims }, { meta })).claims;
}

const aboutNode2 = {
  nodeId: 2,
  endpointId: endpointIdOf(2),
  addresses: ["6.6.6.6:1", "6.6.6.6:2"],
  starts: Number.MAX_SAFE_INTEGER,
};

/** The claim with the signature of a key. */
function signed(claim: Claims[number], by: number): Claims[number] {
  const counted = { incarnation: 1, sequence: 9 };
  const statement = addressClaimBytes({ ...claim, ...counted, clusterId });
  const signature = toHex(madeUpSignatures(endpointIdOf(by)).sign(statement));
  return { ...claim, proof: { ...counted, signature } };
}

describe("the key of a worker", () => {
  it("claims nothing for another member, with and without a signature", async () => {
    await tell([aboutNode2]);
    await tell([signed(aboutNode2, worker)]);
    const known = await tell([]);
    expect(JSON.stringify(known)).not.toContain("6.6.6.6");
    expect(refusals).toEqual([
      { reason: "unsigned", by: "worker" },
      { reason: "forged", by: "worker" },
    ]);
  });

  it("passes on what another member has signed", async () => {
    const moved = signed({ ...aboutNode2, starts: 7, addresses: ["10.0.0.2:1"] }, 2);
    expect(await tell([moved])).toContainEqual(moved);
    expect(refusals).toEqual([]);
  });
});
