import { BlixardError, errorCodeOf, notApplied } from "@blixard/common";
import { decodeServiceResponse, encodeServiceCall, type MethodName, methods } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { ClusterGroup, localProof, type Machine } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  group.network.beforeCall = () => {};
  await group.close();
});

const storeId = "a".repeat(32);
const nodeOne = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };
const verify = { nodeId: 2, incarnation: 1, storeId, starts: 9, term: 9, lastIndex: 9 };

async function ask(transport: ClusterTransport, name: MethodName, request: unknown): Promise<unknown> {
  const payload = encodeServiceCall({ name, request, meta: group.meta({ access: "node" }) });
  return decodeServiceResponse(await transport.call(nodeOne, name, payload, { timeoutMs: 5_000 }));
}

/** Notes what of the machine is closed, in order. */
function closesOf({ log, stateStore, vmManager }: Machine): string[] {
  const closes: string[] = [];
  const note = (part: { close(): Promise<void> }, name: string) => {
    const close = part.close.bind(part);
    part.close = async () => {
      closes.push(name);
      await close();
    };
  };
  note(log, "log");
  note(stateStore, "state");
  note(vmManager, "VMs");
  return closes;
}

/** Node 1 of two, which starts again and waits for an answer about its store until the test is over. */
async function startSlowly(): Promise<{ readonly started: Promise<unknown>; readonly asked: Promise<void> }> {
  group.machine(1).store = { storeId, starts: 1 };
  await group.form(2);
  await group.machine(1).stop();
  group.machine(1).store = { storeId, starts: 2 };
  let onAsked = () => {};
  const asked = new Promise<void>((resolve) => {
    onAsked = resolve;
  });
  group.network.beforeCall = (from, _, method) => {
    if (from !== 1 || method !== "node.verify") return;
    onAsked();
    throw new BlixardError("UNREACHABLE", "the test holds the answer back");
  };
  const started = group.start(1, { mode: "resume" });
  started.catch(() => {});
  return { started, asked };
}

describe("startClusterNode", () => {
  it("answers members while it starts what the contract marks, from its disk, and nothing else", async () => {
    const { started, asked } = await startSlowly();
    await asked;
    const two = group.network.join(2, endpointIdOf(2)).transport;
    const answers: Record<string, unknown> = {};
    for (const name of Object.keys(methods) as MethodName[]) {
      answers[name] = await ask(two, name, verify).then(() => "OK", errorCodeOf);
    }
    const expected = Object.entries(methods).map(([name, method]) => [
      name,
      "whileStarting" in method ? "OK" : "UNAVAILABLE",
    ]);
    expect(answers).toEqual(Object.fromEntries(expected));
    const stranger = group.network.join(9, endpointIdOf(9)).transport;
    await expect(ask(stranger, "node.verify", verify)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    await expect(ask(two, "node.verify", { ...verify, nodeId: 1 })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await started;
  });

  it("closes what it has opened when it is aborted, and answers nobody any more", async () => {
    const { started, asked } = await startSlowly();
    await asked;
    const closes = closesOf(group.machine(1));
    await group.machine(1).abort(notApplied("CANCELLED", "the test gives up"));
    await expect(started).rejects.toMatchObject({ code: "CANCELLED", message: "the test gives up" });
    expect(closes.sort()).toEqual(["log", "state"]);
    const two = group.network.join(2, endpointIdOf(2)).transport;
    await expect(ask(two, "node.verify", verify)).rejects.toMatchObject({ code: "STOPPED" });
  });

  it("closes the last that it has opened first", async () => {
    const machine = group.machine(1);
    const closes = closesOf(machine);
    const target = { endpoints: [nodeOne], ticket: null, localProof: async () => localProof };
    const onAdmitted = () => Promise.reject(new BlixardError("STORAGE_FAILED", "the power went"));
    await group.bootstrap(2);
    const [asked] = group.node(2).state.nodes.values();
    const endpoints = asked === undefined ? [] : [asked];
    const started = group.start(1, { mode: "join", target: { ...target, endpoints }, timeoutMs: 3_000, onAdmitted });
    await expect(started).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(closes[0]).toBe("VMs");
    expect(closes.slice(1).sort()).toEqual(["log", "state"]);
  });

  it("closes a node once, with Raft and its stores before the VM manager", async () => {
    await group.bootstrap();
    const closes = closesOf(group.machine(1));
    await Promise.all([group.node(1).close(), group.node(1).shutdown()]);
    expect(closes.at(-1)).toBe("VMs");
    expect(closes).toHaveLength(3);
    await expect(group.call(1, "status.get", {})).rejects.toMatchObject({ code: "STOPPED" });
  });
});
