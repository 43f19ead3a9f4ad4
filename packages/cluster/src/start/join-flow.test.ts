import { BlixardError, seededRandom } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { featureLevels } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { endpointIdOf, MemoryClusterNetwork } from "../testing/memory-cluster-network.ts";
import { type JoinAttempt, requestJoin } from "./join-flow.ts";

const joiner = {
  nodeId: 9,
  endpointId: endpointIdOf(9),
  addresses: [],
  capacity: { vcpus: 1, memoryMiB: 1, drivers: [] },
  version: "",
  featureLevel: featureLevels.own,
};
const endpoints = [
  { endpointId: endpointIdOf(1), addresses: ["192.0.2.1:7001", "[2001:db8::1]:7001"] },
  { endpointId: endpointIdOf(2), addresses: ["192.0.2.2:7001"] },
];

describe("requestJoin", () => {
  it("tells whom it asks and why each of them did not answer, once, and says all of it in the end", async () => {
    const { transport } = new MemoryClusterNetwork(seededRandom(1)).join(9, endpointIdOf(9));
    const call: typeof transport.call = async (to, ...rest) => {
      const { endpointId } = to as (typeof endpoints)[number];
      if (endpointId === endpointIdOf(1)) throw new BlixardError("UNREACHABLE", "nothing listens there");
      return await transport.call(to, ...rest);
    };
    const attempts: JoinAttempt[] = [];
    const deps = { transport: { ...transport, call }, clock: systemClock, random: seededRandom(1) };
    const onAttempt = (attempt: JoinAttempt) => void attempts.push(attempt);
    const joining = requestJoin(deps, { endpoints, ticket: null }, joiner, { timeoutMs: 700.5, onAttempt });
    const error = await joining.catch((thrown: unknown) => thrown as BlixardError);
    expect(error).toMatchObject({ code: "UNREACHABLE" });
    const { message } = error as BlixardError;
    const [first, second] = endpoints.map(({ endpointId }) => endpointId.slice(0, 10));
    expect(message).toContain(`${first} at 192.0.2.1:7001, [2001:db8::1]:7001: nothing listens there`);
    expect(message).toContain(`${second} at 192.0.2.2:7001: `);
    expect(attempts.map(({ endpoint, error: why }) => [endpoint, why?.code])).toEqual([
      [endpoints[0], undefined],
      [endpoints[0], "UNREACHABLE"],
      [endpoints[1], undefined],
      [endpoints[1], "UNREACHABLE"],
    ]);
  });

  it("gives an attempt whole milliseconds, and keeps the reason of one that had all its time", async () => {
    const { transport } = new MemoryClusterNetwork(seededRandom(1)).join(9, endpointIdOf(9));
    const times: number[] = [];
    const call: typeof transport.call = (_to, _method, _payload, { timeoutMs }) => {
      times.push(timeoutMs);
      if (times.length === 1) return Promise.reject(new BlixardError("UNREACHABLE", "no route"));
      return new Promise((_, reject) => {
        systemClock.setTimer(timeoutMs, () => reject(new BlixardError("DEADLINE_EXCEEDED", `${timeoutMs} ms`)));
      });
    };
    const deps = { transport: { ...transport, call }, clock: systemClock, random: seededRandom(1) };
    const joining = requestJoin(deps, { endpoints: endpoints.slice(1), ticket: null }, joiner, { timeoutMs: 300.75 });
    await expect(joining).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("no route") });
    expect(times.every(Number.isInteger)).toBe(true);
    expect(times.length).toBeGreaterThan(1);
  });
});
