import { seededRandom, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createMemoryNetwork } from "../memory/index.ts";
import { type FixtureNode, introduce, startNode, stateOf, until } from "../testing/transport-fixture.ts";
import { transportLimits } from "../transport-limits.ts";

const idOf = (number: number) => number.toString(16).padStart(64, "0");

describe("calls beyond those that are served at once", () => {
  const nodes: FixtureNode[] = [];
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(({ transport }) => transport.close()));
  });

  async function fixture({ asStranger = false } = {}) {
    const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(1) });
    const gate = new Watch(false);
    const served = new Watch<readonly number[]>([]);
    const handler = async ({ payload }: { readonly payload: Uint8Array }, signal: AbortSignal) => {
      served.update((before) => [...before, payload[0] ?? 0]);
      await gate.until((open) => open, { signal });
      return payload;
    };
    const [caller, callee] = [
      await startNode(1, { adapter: network.createAdapter({ endpointId: idOf(1) }) }),
      await startNode(2, { adapter: network.createAdapter({ endpointId: idOf(2) }), handler }),
    ];
    nodes.push(caller, callee);
    if (!asStranger) {
      introduce([caller, callee]);
      await until(() => stateOf(caller, 2) === "ready");
    }
    const call = (number: number, options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {}) =>
      caller.transport.call(callee.peer(), "some", new Uint8Array([number]), { timeoutMs: 60_000, ...options });
    return { gate, served, call };
  }

  const atOnce = transportLimits.rpcServedPerConnectionMax;
  const numbers = Array.from({ length: atOnce + 10 }, (_, number) => number);

  it("wait for their turn, in the order in which they came", async () => {
    const { gate, served, call } = await fixture();
    const answers = Promise.all(numbers.map((number) => call(number)));
    await served.until(({ length }) => length === atOnce);
    gate.set(true);
    expect((await answers).map(([number]) => number)).toEqual(numbers);
    expect(served.value).toEqual(numbers);
  });

  it("are not served when their caller has gone meanwhile", async () => {
    const { gate, served, call } = await fixture();
    const busy = numbers.slice(0, atOnce).map((number) => call(number));
    await served.until(({ length }) => length === atOnce);
    const caller = new AbortController();
    const gone = call(200, { signal: caller.signal });
    const late = call(201, { timeoutMs: 50 });
    const last = call(202);
    caller.abort();
    await expect(gone).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", outcome: "unknown" });
    gate.set(true);
    await Promise.all([...busy, last]);
    expect(served.value.slice(atOnce)).toEqual([202]);
  });

  it("are refused to a stranger, and to whoever has too many of them", async () => {
    const stranger = await fixture({ asStranger: true });
    await Promise.all([
      stranger.call(0).catch(() => {}),
      (async () => {
        await stranger.served.until(({ length }) => length === 1);
        const others = numbers.slice(1, atOnce).map((number) => stranger.call(number));
        await stranger.served.until(({ length }) => length === atOnce);
        await expect(stranger.call(200)).rejects.toMatchObject({ code: "OVERLOADED", outcome: "not_applied" });
        stranger.gate.set(true);
        await Promise.all(others);
      })(),
    ]);
    const member = await fixture();
    const { rpcWaitingPerConnectionMax } = transportLimits;
    const all = Array.from({ length: atOnce + rpcWaitingPerConnectionMax + 5 }, () => member.call(1));
    const ends = Promise.allSettled(all);
    await member.served.until(({ length }) => length === atOnce);
    member.gate.set(true);
    const refused = (await ends).filter(({ status }) => status === "rejected");
    expect(refused.length).toBe(5);
  });
});
