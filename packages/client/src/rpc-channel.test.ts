import { BlixardError, toHex } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { decodeServiceCall, encodeServiceResponse, type ServiceCall } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { connectClient } from "./blixard-client.ts";
import { answeringFirst, type RpcCaller, redeemTicket } from "./rpc-channel.ts";

const node = (digit: string) => ({ endpointId: digit.repeat(64), addresses: ["127.0.0.1:1"] });

/** Nodes that answer as told, and what they were asked. */
function lane(answer: (endpointId: string, call: ServiceCall) => unknown) {
  const asked: { to: string; method: string; call: ServiceCall; timeoutMs: number }[] = [];
  const rpc: RpcCaller = async (to, method, payload, { timeoutMs }) => {
    const call = decodeServiceCall(payload);
    asked.push({ to: to.endpointId.slice(0, 1), method, call, timeoutMs });
    return encodeServiceResponse(answer(to.endpointId.slice(0, 1), call));
  };
  return { asked, rpc };
}

const identity = { clusterId: "c", nodeId: 1, endpointId: "b".repeat(64), addresses: [], version: "0" };
const unreachable = () => {
  throw new BlixardError("UNREACHABLE", "no answer", { outcome: "unknown" });
};

describe("BlixardClient over the RPC lane", () => {
  it("sends a write again to another node under the same request id, with what goes with it", async () => {
    const put = (to: string) => (to === "a" ? unreachable() : { index: 7, term: 1 });
    const { asked, rpc } = lane((to, { name }) => (name === "kv.put" ? put(to) : { ...identity, index: 4 }));
    const client = connectClient({ addresses: ["a", "b"].map((digit) => ({ ...node(digit), rpc })) });
    expect(await client.kv.put("k", "v", { ifMatchIndex: 3 })).toEqual({ index: 7, term: 1 });
    expect(asked.map(({ to, method }) => `${to} ${method}`)).toEqual(["a identity.get", "a kv.put", "b kv.put"]);
    const [first, second] = asked.slice(1).map(({ call }) => call.meta);
    expect(first).toMatchObject({ ifMatchIndex: 3, sinceIndex: 4, stale: false, access: "anyone" });
    expect(first?.requestId).toMatch(/^[0-9a-f]{32}$/);
    expect(second).toMatchObject({ requestId: first?.requestId, sinceIndex: 4 });
  });

  it("knows that a write was not sent when nobody told what is logged before it", async () => {
    const { asked, rpc } = lane(unreachable);
    const client = connectClient({ addresses: [{ ...node("a"), rpc }], timeoutMs: 500 });
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "UNREACHABLE", outcome: "not_applied" });
    expect(new Set(asked.map(({ method }) => method))).toEqual(new Set(["identity.get"]));
  });

  it("lets a call that waits on purpose wait, though there are other nodes", async () => {
    const { asked, rpc } = lane(() => ({ offset: 0, data: new Uint8Array(0), endOffset: 0 }));
    const client = connectClient({ addresses: ["a", "b"].map((digit) => ({ ...node(digit), rpc })) });
    await client.vms.readConsole({ name: "web", offset: 0, waitMs: 10_000 }, { timeoutMs: 40_000 });
    expect(asked[0]?.timeoutMs).toBeGreaterThan(10_000);
    expect(asked[0]?.timeoutMs).toBeLessThan(40_000);
  });

  it("names the request in an error, as the logs of the nodes do, and leaves the node less time than it has", async () => {
    const requests: ServiceCall["meta"][] = [];
    const { rpc } = lane((_, { meta }) => {
      requests.push(meta);
      throw new BlixardError("VM_NOT_FOUND", "no such VM", { hint: "look again" });
    });
    const client = connectClient({ addresses: [{ ...node("a"), rpc }] });
    const failed = client.vms.get("web", { timeoutMs: 1_000 });
    await expect(failed).rejects.toMatchObject({ code: "VM_NOT_FOUND", hint: "look again" });
    await expect(failed).rejects.toMatchObject({ details: { requestId: requests[0]?.requestId } });
    expect(requests[0]?.timeoutMs).toBeLessThanOrEqual(900);
  });

  it("says so when the answer is of another shape", async () => {
    const { rpc } = lane((_, { name }) => (name === "kv.put" ? { index: "seven" } : identity));
    const client = connectClient({ addresses: [{ ...node("a"), rpc }] });
    await expect(client.kv.put("k", "v")).rejects.toMatchObject({ code: "ANSWER_UNREADABLE" });
  });
});

describe("answeringFirst", () => {
  const nodes = [node("a"), node("b"), node("c")];
  const order = async (rpc: RpcCaller, signal?: AbortSignal) =>
    (await answeringFirst({ rpc, random: systemRandom, clock: systemClock }, nodes, signal))
      .map(({ endpointId }) => endpointId[0])
      .join("");

  it("puts the node that answers first before those that are gone, and waits for none of them", async () => {
    const { rpc } = lane((to) => (to === "b" ? identity : unreachable()));
    const abandoned: string[] = [];
    const hangs: RpcCaller = (to, method, payload, limits) => {
      if (!to.endpointId.startsWith("a")) return rpc(to, method, payload, limits);
      return new Promise((_, reject) => {
        limits.signal?.addEventListener("abort", () => {
          abandoned.push("a");
          reject(limits.signal?.reason);
        });
      });
    };
    expect(await order(hangs)).toBe("bac");
    expect(abandoned).toEqual(["a"]);
  });

  it("says why when nobody answers", async () => {
    await expect(order(lane(unreachable).rpc)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("redeemTicket", () => {
  const endpointId = "e".repeat(64);
  const secret = new Uint8Array(32);
  const fields = { clusterId: "c", ticketId: "t", secret, role: "viewer", expiresUnixMs: 1 } as const;
  const ticket = { ...fields, shownBy: "signature" } as const;
  const answer = { clusterId: "c", id: "1", role: "viewer", nodes: [] };
  const redeem = (rpc: RpcCaller) =>
    redeemTicket(
      { rpc, random: systemRandom, endpointId },
      { ...ticket, endpoints: [node("a"), node("b")] },
      { timeoutMs: 9 },
    );

  /** Nodes that are there, whatever they say about tickets. */
  const present = (redeems: (to: string) => unknown) =>
    lane((to, { name }) => (name === "identity.get" ? identity : redeems(to)));
  const redeemed = (asked: ReturnType<typeof lane>["asked"]) =>
    asked.filter(({ method }) => method === "token.redeem").map(({ to }) => to);

  it("asks the nodes in turn while they cannot be reached", async () => {
    const { asked, rpc } = present((to) => (to === "a" ? unreachable() : answer));
    expect(await redeem(rpc)).toEqual(answer);
    expect(redeemed(asked)).toEqual(["a", "b"]);
    await expect(redeem(lane(unreachable).rpc)).rejects.toMatchObject({ code: "UNREACHABLE" });
  });

  it("shows each node a signature of its own, and none of them the secret", async () => {
    const shown: { to: string; request: unknown }[] = [];
    const { rpc } = present(() => answer);
    const listening: RpcCaller = (to, method, payload, limits) => {
      const { name, request } = decodeServiceCall(payload);
      if (name === "token.redeem") shown.push({ to: to.endpointId, request });
      return name === "token.redeem" && shown.length === 1
        ? Promise.reject(new BlixardError("UNREACHABLE", "gone"))
        : rpc(to, method, payload, limits);
    };
    await redeem(listening);
    const signatures = shown.map(({ to, request }) => {
      expect(request).toMatchObject({ ticket: { id: "t", asked: to }, endpointId });
      expect(JSON.stringify(request)).not.toContain(toHex(secret));
      return (request as { ticket: { signature: string } }).ticket.signature;
    });
    expect(new Set(signatures).size).toBe(2);
  });

  it("stops at a refusal, and takes no answer of another cluster", async () => {
    const refusing = present(() => {
      throw new BlixardError("TICKET_USED", "used");
    });
    await expect(redeem(refusing.rpc)).rejects.toMatchObject({ code: "TICKET_USED" });
    expect(redeemed(refusing.asked)).toEqual(["a"]);
    await expect(redeem(present(() => ({ ...answer, clusterId: "d" })).rpc)).rejects.toMatchObject({
      code: "WRONG_CLUSTER",
    });
  });
});
