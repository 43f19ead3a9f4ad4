import { BlixardError, Watch } from "@blixard/common";
import type { VmSpecInput } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { adminToken, ClusterGroup, clusterId, until } from "./testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup();
});
afterEach(async () => {
  await group.close();
});

const spec = { memoryMiB: 64, image: "demo" };
const lost = () => new BlixardError("UNREACHABLE", "the answer was lost");
const others = (id: number) => [1, 2, 3].filter((other) => other !== id);

describe("ClusterNode of one node", () => {
  it("bootstraps, stores and reads a key, and knows its administrator", async () => {
    const node = await group.bootstrap();
    const put = await group.call(1, "kv.put", { key: "k", value: "v" });
    expect(await group.call(1, "kv.get", { key: "k" })).toEqual({ key: "k", value: "v", index: put.index });
    expect(node.status()).toMatchObject({ clusterId, nodeId: 1, role: "leader", leaderId: 1 });
    expect(node.authenticate(adminToken)).toEqual({ actor: { kind: "token", id: "admin" }, access: "admin" });
    expect(node.authenticate("another")).toBeUndefined();
  });

  it("runs a VM and reports it as Running, then forgets it when it was deleted", async () => {
    await group.bootstrap();
    const { vm } = await group.call(1, "vm.create", { name: "web", spec });
    expect(vm).toMatchObject({ name: "web", phase: "Pending", node: 1, fencingEpoch: 1 });
    await until(() => group.node(1).state.vms.get("web")?.phase === "Running");
    await group.call(1, "vm.desire", { name: "web", desired: "deleted" });
    await until(() => !group.node(1).state.vms.has("web"));
  });

  it("goes on after a restart with the same state, hash and VMs", async () => {
    await group.bootstrap();
    await group.call(1, "kv.put", { key: "k", value: "v" });
    await group.call(1, "vm.create", { name: "web", spec });
    await until(() => group.node(1).state.vms.get("web")?.phase === "Running");
    const { appliedIndex } = group.node(1).status();
    const before = await group.call(1, "debug.stateHash", { index: appliedIndex });
    const node = await group.restart(1);
    await node.untilReady();
    expect(await group.call(1, "kv.get", { key: "k" })).toMatchObject({ value: "v" });
    expect(await group.call(1, "debug.stateHash", { index: appliedIndex })).toEqual(before);
    await until(() => group.machine(1).vmManager.desired?.[0]?.name === "web");
  });

  it("starts, stops and restarts a VM under the right epochs", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    const phaseIs = (phase: string) => until(() => group.node(1).state.vms.get("web")?.phase === phase);
    await phaseIs("Running");
    const running = await group.call(1, "vm.desire", { name: "web", desired: "running" });
    expect(running.vm.fencingEpoch).toBe(1);
    const restarted = await group.call(1, "vm.desire", { name: "web", desired: "running", restart: true });
    expect(restarted.vm).toMatchObject({ fencingEpoch: 2, phase: "Pending" });
    await phaseIs("Running");
    await group.call(1, "vm.desire", { name: "web", desired: "stopped" });
    await phaseIs("Stopped");
    const started = await group.call(1, "vm.desire", { name: "web", desired: "running" });
    expect(started.vm).toMatchObject({ fencingEpoch: 3, phase: "Pending" });
  });

  it("reads and writes a console", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    await group.call(1, "vm.consoleWrite", { name: "web", data: Uint8Array.of(104, 105) });
    expect(await group.call(1, "vm.consoleRead", { name: "web", offset: 0 })).toMatchObject({
      offset: 0,
      endOffset: 2,
    });
    await expect(group.call(1, "vm.consoleRead", { name: "no", offset: 0 })).rejects.toMatchObject({
      code: "VM_NOT_FOUND",
    });
  });

  it("forgets a VM by force, also when its node says nothing", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    await group.call(1, "vm.desire", { name: "web", desired: "deleted", force: true });
    await expect(group.call(1, "vm.get", { name: "web" })).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
  });

  it("refuses what can never fit, and creations at once that do not fit together", async () => {
    await group.bootstrap();
    const at = (name: string) => ({ name, failIfPending: true });
    const big = group.call(1, "vm.create", { ...at("big"), spec: { ...spec, memoryMiB: 100_000 } });
    await expect(big).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: expect.stringContaining("0 of 1 nodes fit: node 1: memory needs"),
      outcome: "not_applied",
    });
    const half = { ...spec, memoryMiB: 600 };
    const both = await Promise.allSettled([
      group.call(1, "vm.create", { ...at("one"), spec: half }),
      group.call(1, "vm.create", { ...at("two"), spec: half }),
    ]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  });

  it("refuses a port of a node that leads elsewhere, and a network that is nowhere", async () => {
    await group.bootstrap();
    const create = (name: string, more: Partial<VmSpecInput>) =>
      group.call(1, "vm.create", { name, failIfPending: true, spec: { ...spec, ...more } });
    const { vm } = await create("web", { forwards: [{ port: 8080, to: 80 }] });
    expect(vm.spec.forwards).toEqual([{ port: 8080, to: 80 }]);
    await expect(create("other", { forwards: [{ port: 8080, to: 81, listen: "all" }] })).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: "0 of 1 nodes fit: node 1: its port 0.0.0.0:8080 leads to the VM web",
    });
    const both = await Promise.allSettled(
      ["one", "two"].map((name) => create(name, { forwards: [{ port: 8081, to: 80 }] })),
    );
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await expect(create("lan", { networks: [{ network: "lan" }] })).rejects.toMatchObject({
      code: "NETWORK_NOT_FOUND",
      message: "there is no network lan",
    });
    const { items } = await group.call(1, "node.list", {});
    const port = Number(items[0]?.addresses[0]?.split(":").at(-1));
    await expect(create("own", { forwards: [{ port, to: 80 }] })).rejects.toMatchObject({
      code: "NO_CAPACITY",
      message: `0 of 1 nodes fit: node 1: its port ${port} is its own`,
    });
  });

  it("respects the expected index of a VM", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    const stale = group.call(1, "vm.desire", { name: "web", desired: "stopped" }, { ifMatchIndex: 1 });
    await expect(stale).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
    const cordon = group.call(1, "node.cordon", { id: 1, cordoned: true }, { ifMatchIndex: 1 });
    await expect(cordon).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  it("does not take out the last voter", async () => {
    await group.bootstrap();
    await expect(group.call(1, "member.remove", { id: 1 })).rejects.toMatchObject({ code: "QUORUM_AT_RISK" });
  });
});

describe("ClusterNode: bad input", () => {
  const big = "x".repeat(64 * 1024 + 1);
  it.each([
    ["a value over the limit", "kv.put", { key: "k", value: big }, {}, "VALUE_TOO_LARGE", ""],
    [
      "a value that is too large in UTF-8",
      "kv.put",
      { key: "k", value: "å".repeat(33_000) },
      {},
      "VALUE_TOO_LARGE",
      "",
    ],
    ["an empty key", "kv.put", { key: "", value: "v" }, {}, "INVALID_ARGUMENT", "key: "],
    ["a name with a path", "vm.create", { name: "../x", spec }, {}, "INVALID_ARGUMENT", "name: "],
    [
      "no memory",
      "vm.create",
      { name: "a", spec: { ...spec, memoryMiB: 0 } },
      {},
      "INVALID_ARGUMENT",
      "spec.memoryMiB: ",
    ],
    ["an unknown field", "kv.get", { key: "k", no: 1 }, {}, "INVALID_ARGUMENT", "no"],
    ["an unknown image", "vm.create", { name: "a", spec: { ...spec, image: "no" } }, {}, "IMAGE_NOT_FOUND", "no"],
    ["an unknown key", "kv.get", { key: "no" }, {}, "KEY_NOT_FOUND", "no"],
    ["an unknown method", "kv.drop", {}, {}, "NEEDS_UPGRADE", "kv.drop"],
    ["a stranger", "kv.get", { key: "k" }, { access: "anyone" }, "UNAUTHENTICATED", ""],
    ["a viewer who writes", "kv.put", { key: "k", value: "v" }, { access: "viewer" }, "PERMISSION_DENIED", ""],
    ["an administrator as a node", "vm.observe", { nodeId: 1, observations: [] }, {}, "PERMISSION_DENIED", ""],
  ])("refuses %s and changes nothing", async (_, name, request, meta, code, text) => {
    const node = await group.bootstrap();
    await until(() => node.ready().ready);
    const { appliedIndex } = node.status();
    const refused = node.call(name as "kv.put", request as never, group.meta(meta as object));
    await expect(refused).rejects.toMatchObject({ name: "BlixardError", code, message: expect.stringContaining(text) });
    expect(node.state.kv.size + node.state.vms.size).toBe(0);
    expect(node.status().appliedIndex).toBe(appliedIndex);
  });
});

describe("ClusterNode in a group of three", () => {
  it("serves keys through every node and reads its own writes everywhere", async () => {
    await group.form(3);
    for (const id of [1, 2, 3]) {
      const { index } = await group.call(id, "kv.put", { key: `k${id}`, value: `v${id}` });
      for (const reader of [1, 2, 3]) {
        expect(await group.call(reader, "kv.get", { key: `k${id}` })).toEqual({
          key: `k${id}`,
          value: `v${id}`,
          index,
        });
      }
    }
  });

  it("spreads VMs, runs each at one node, and brings console calls to the owner", async () => {
    await group.form(3);
    for (const name of ["a", "b", "c"]) await group.call(2, "vm.create", { name, spec });
    await until(() => [...group.node(3).state.vms.values()].filter((vm) => vm.phase === "Running").length === 3);
    expect([...group.node(1).state.vms.values()].map((vm) => vm.node).sort()).toEqual([1, 2, 3]);
    for (const id of [1, 2, 3]) await until(() => group.machine(id).vmManager.desired?.length === 1);
    for (const id of [1, 2, 3]) {
      await group.call(id, "vm.consoleWrite", { name: "a", data: Uint8Array.of(id) });
    }
    const read = await group.call(3, "vm.consoleRead", { name: "a", offset: 0 });
    expect([...read.data]).toEqual([1, 2, 3]);
  });

  it("has equal state hashes at an equal index", async () => {
    await group.form(3);
    for (let count = 0; count < 20; count++)
      await group.call(1 + (count % 3), "kv.put", { key: `k${count}`, value: "v" });
    const index = Math.max(...group.nodes().map((node) => node.status().commitIndex));
    await until(() => group.nodes().every((node) => node.status().appliedIndex >= index));
    const hashes = await Promise.all([1, 2, 3].map((id) => group.call(id, "debug.stateHash", { index })));
    expect(new Set(hashes.map(({ hash }) => hash)).size).toBe(1);
  });

  it("applies a write once whose answer was lost on the way", async () => {
    await group.form(3);
    const leader = group.leaderId();
    const follower = others(leader)[0] ?? 0;
    await group.call(follower, "kv.put", { key: "k", value: "0" });
    let losses = 0;
    group.network.beforeAnswer = (from, _, method) => {
      if (from !== follower || method !== "forward" || losses === 2) return;
      losses++;
      throw lost();
    };
    const swap = await group.call(follower, "kv.cas", { key: "k", from: "0", to: "1" });
    expect(losses).toBe(2);
    // Without its request id the second attempt would find "1" and not swap.
    expect(swap.swapped).toBe(true);
    expect(await group.call(leader, "kv.get", { key: "k" })).toMatchObject({ value: "1", index: swap.index });
  });

  it("says that the outcome is unknown when no answer ever comes back", async () => {
    await group.form(3);
    const follower = others(group.leaderId())[0] ?? 0;
    group.network.beforeAnswer = (from, _, method) => {
      if (from === follower && method === "forward") throw lost();
    };
    const put = group.call(follower, "kv.put", { key: "k", value: "v" }, { timeoutMs: 300 });
    await expect(put).rejects.toMatchObject({ outcome: "unknown" });
    const get = group.call(follower, "node.list", {}, { timeoutMs: 300 });
    await expect(get).rejects.toMatchObject({ name: "BlixardError" });
  });

  it("goes on under a new leader when the leader is gone, and takes it back with what it missed", async () => {
    await group.form(3);
    await group.call(1, "kv.put", { key: "before", value: "v" });
    const dead = group.leaderId();
    const [first = 0, second = 0] = others(dead);
    await group.machine(dead).stop();
    await group.call(first, "kv.put", { key: "after", value: "v" });
    expect(await group.call(second, "kv.get", { key: "after" })).toMatchObject({ value: "v" });
    await (await group.restart(dead)).untilReady();
    expect(await group.call(dead, "kv.get", { key: "after" })).toMatchObject({ value: "v" });
    expect(await group.call(dead, "kv.get", { key: "before" })).toMatchObject({ value: "v" });
  });

  it("does not wait for a leader that went silent once there is a new one", async () => {
    await group.close();
    group = new ClusterGroup({ forwardAttemptMs: 600_000 });
    await group.form(3);
    const silent = group.leaderId();
    const [follower = 0, next = 0] = others(silent);
    const silence = new Watch(true);
    group.network.beforeCall = async (_, to) => {
      if (to === silent) await silence.until((silent) => !silent);
    };
    const put = group.call(follower, "kv.put", { key: "k", value: "v" }, { timeoutMs: 600_000 });
    await group.call(silent, "leader.transfer", { to: next });
    await put;
    expect(await group.call(next, "kv.get", { key: "k" })).toMatchObject({ value: "v" });
    silence.set(false);
  });

  it("answers nothing but stale reads and its status without a quorum", async () => {
    await group.form(3);
    await group.call(3, "kv.put", { key: "k", value: "v" });
    await until(() => group.node(3).state.kv.has("k"));
    group.network.cut(3, true);
    await until(() => group.node(3).status().leaderId === null);
    const fresh = group.call(3, "kv.get", { key: "k" }, { timeoutMs: 200 });
    await expect(fresh).rejects.toMatchObject({ code: "NO_LEADER" });
    expect(await group.call(3, "kv.get", { key: "k" }, { stale: true })).toMatchObject({ value: "v" });
    const write = group.call(3, "kv.put", { key: "k", value: "w" }, { timeoutMs: 200 });
    await expect(write).rejects.toMatchObject({ code: "NO_LEADER", outcome: "not_applied" });
    expect(group.node(3).ready()).toMatchObject({ ready: false, reason: "no leader is known" });
    expect(group.node(3).status().members).toHaveLength(3);
  });

  it("shows VMs of a node that is cut off as Unknown, does not move them, and recovers", async () => {
    await group.form(3);
    for (const name of ["a", "b", "c"]) await group.call(1, "vm.create", { name, spec });
    await until(() => [...group.node(1).state.vms.values()].every((vm) => vm.phase === "Running"));
    const leader = group.leaderId();
    const cut = others(leader)[0] ?? 0;
    group.network.cut(cut, true);
    const ofCut = () => [...group.node(leader).state.vms.values()].find((vm) => vm.node === cut);
    await until(() => ofCut()?.phase === "Unknown");
    expect(ofCut()?.conditions).toMatchObject([{ type: "NodeReachable", status: false }]);
    const { items } = await group.call(leader, "node.list", {});
    expect(items.find((node) => node.id === cut)?.state).toBe("unreachable");
    expect(group.machine(cut).vmManager.desired).toHaveLength(1);
    group.network.cut(cut, false);
    await until(() => ofCut()?.phase === "Running" && ofCut()?.conditions.length === 0);
    expect(group.machine(cut).vmManager.desired).toHaveLength(1);
  });

  it("starts nothing on a restarted node before it has heard from a leader", async () => {
    await group.form(3);
    for (const name of ["a", "b", "c"]) await group.call(1, "vm.create", { name, spec });
    await until(() => [...group.node(1).state.vms.values()].every((vm) => vm.phase === "Running"));
    const cut = others(group.leaderId())[0] ?? 0;
    const { vmManager } = group.machine(cut);
    group.network.cut(cut, true);
    await group.machine(cut).stop();
    vmManager.desired = undefined;
    const node = await group.restart(cut);
    const name = [...node.state.vms.values()].find((vm) => vm.node === cut)?.name ?? "";
    // What this node's disk wants is old by now: the VM was stopped while it was away.
    const elsewhere = others(cut)[0] ?? 0;
    await group.call(elsewhere, "vm.desire", { name, desired: "stopped" });
    await until(() => node.status().role !== "follower");
    expect(vmManager.desired).toBeUndefined();
    group.network.cut(cut, false);
    await until(() => vmManager.desired !== undefined);
    expect(vmManager.desired).toMatchObject([{ name, desired: "stopped" }]);
  });

  it("hands leadership over when asked, and when it shuts down", async () => {
    await group.form(3);
    const first = group.leaderId();
    const target = others(first)[0] ?? 0;
    expect(await group.call(target, "leader.transfer", { to: target })).toMatchObject({ leaderId: target });
    await until(() => group.leaderId() === target);
    await group.node(target).shutdown();
    await until(() => group.leaderId() !== 0 && group.leaderId() !== target);
  });
});
