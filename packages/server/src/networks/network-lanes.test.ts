import { BlixardError, fromUtf8, silentLogger, toUtf8, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { LanePeer, NetworkLane } from "@blixard/vm-manager";
import { afterEach, describe, expect, it } from "@jest/globals";
import { NetworkLanes } from "./network-lanes.ts";

const keyOf = (text: string) => text.repeat(64);
const opened: NetworkLanes[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((lanes) => lanes.close()));
});

function open(answers: Readonly<Record<number, () => unknown>>) {
  const neighbours = new Watch<readonly number[]>([]);
  const peers = new Watch<readonly LanePeer[]>([]);
  const lane: NetworkLane = {
    neighbours,
    endpoint: async () => ({ endpointId: keyOf("a"), direct: ["127.0.0.1:2"], addresses: ["127.0.0.1:1"] }),
    setPeers: (next) => peers.set(next),
  };
  const transport = {
    peer: (key: number | string) => ({ nodeId: Number(key), endpointId: "", addresses: [] }),
    call: async (to: unknown) => {
      const answer = answers[Number(to)];
      if (answer === undefined) throw new BlixardError("UNREACHABLE", "it is gone");
      return fromUtf8(JSON.stringify(answer()));
    },
  };
  const lanes = new NetworkLanes({ clock: systemClock, logger: silentLogger, transport });
  opened.push(lanes);
  return { lanes, lane, neighbours, peers };
}

const ask = (lanes: NetworkLanes, nodeId: number | undefined) => {
  const handler = [...lanes.rpcMethods.values()][0];
  if (handler === undefined) throw new Error("it answers no method");
  const remote = { endpointId: keyOf("b"), nodeId };
  return handler({ method: "", payload: new Uint8Array(), remote }, new AbortController().signal);
};

describe("NetworkLanes", () => {
  it("tells members where its switch is, and no stranger", async () => {
    const { lanes, lane } = open({});
    await expect(ask(lanes, 2)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    lanes.serve(lane);
    await expect(ask(lanes, undefined)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(JSON.parse(toUtf8(await ask(lanes, 2)))).toEqual({
      endpointId: keyOf("a"),
      direct: ["127.0.0.1:2"],
      addresses: ["127.0.0.1:1"],
    });
  });

  it("tells the switch which keys its neighbours have, and follows them", async () => {
    let key = "c";
    const { lanes, lane, neighbours, peers } = open({
      2: () => ({ endpointId: keyOf(key), direct: [], addresses: [] }),
      3: () => ({ endpointId: "../etc", direct: [], addresses: [] }),
    });
    lanes.serve(lane);
    neighbours.set([2, 3, 4]);
    await peers.until((all) => all.length > 0);
    expect(peers.value).toEqual([{ nodeId: 2, endpointId: keyOf("c"), direct: [], addresses: [] }]);
    key = "d";
    await peers.until((all) => all[0]?.endpointId === keyOf("d"));
    neighbours.set([]);
    await peers.until((all) => all.length === 0);
  });
});
