import type { CommandBody, CommandBodyOf, VmForward, VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import {
  commandOf,
  initBody,
  sampleNode,
  sampleObservation,
  sampleSpec,
  sampleTicket,
  sampleVmId,
} from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { Replica } from "../testing/replica.ts";
import { nodeKey } from "./state.ts";

const put = (key: string, value: string): CommandBody => ({ type: "kv.put", key, value });
const createVm = (name: string, number = 1, node = 1): CommandBody => ({
  type: "vm.create",
  name,
  vmId: sampleVmId(number),
  spec: sampleSpec(),
  desired: "running",
  node,
  placement: "because",
});
const desire = (name: string, desired: "running" | "stopped" | "deleted", newEpoch = false): CommandBody => ({
  type: "vm.desire",
  name,
  desired,
  newEpoch,
});

describe("applyCommand: a node that is to leave", () => {
  it("stays while a VM is placed on it, also when that came after the leader had looked, unless each is named", () => {
    const replica = Replica.initialised();
    replica.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
    replica.apply({ type: "image.put", image: demoImage });
    expect(replica.apply(createVm("web", 1, 2))).toMatchObject({ ok: true });
    const leave = { type: "node.update", nodeId: 2, leaving: true } as const;
    expect(replica.apply(createVm("db", 2, 2))).toMatchObject({ ok: true });
    for (const acceptTwoCopies of [[], ["web"], ["web", "other"]]) {
      expect(replica.apply({ ...leave, acceptTwoCopies })).toMatchObject({
        ok: false,
        code: "CONFLICT",
        message: expect.stringContaining("db"),
        hint: expect.stringMatching(/--accept-two-copies .*db/),
      });
    }
    expect(replica.state.nodes.get(nodeKey(2))?.leaving).toBeUndefined();
    expect(replica.apply({ ...leave, acceptTwoCopies: ["db", "gone", "web"] })).toMatchObject({ ok: true });
    expect(replica.state.nodes.get(nodeKey(2))).toMatchObject({ leaving: true });
    expect(replica.state.nodes.get(nodeKey(2))).not.toHaveProperty("acceptTwoCopies");
  });
});

describe("applyCommand: forwarded ports", () => {
  it("refuses a VM whose port leads to another VM of its node by now", () => {
    const replica = Replica.initialised();
    replica.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
    replica.apply({ type: "image.put", image: demoImage });
    const create = (name: string, number: number, node: number, listen: string, more: Partial<VmForward> = {}) =>
      replica.apply({
        ...(createVm(name, number, node) as CommandBodyOf<"vm.create">),
        spec: { ...sampleSpec(), forwards: [{ port: 8080, to: 80, listen, ...more }] },
      });
    expect(create("web", 1, 1, "192.0.2.1")).toMatchObject({ ok: true });
    for (const listen of ["192.0.2.1", "all"]) {
      expect(create("db", 2, 1, listen)).toMatchObject({
        ok: false,
        code: "CONFLICT",
        message: expect.stringContaining("leads to the VM web"),
      });
    }
    expect(create("db", 2, 1, "192.0.2.2")).toMatchObject({ ok: true });
    // A port of UDP is another one.
    expect(create("names", 6, 1, "all", { protocol: "udp" })).toMatchObject({ ok: true });
    expect(create("time", 7, 1, "192.0.2.1", { protocol: "udp" })).toMatchObject({
      message: expect.stringContaining("its UDP port 192.0.2.1:8080 leads to the VM names"),
    });
    expect(create("cache", 3, 2, "all")).toMatchObject({ ok: true });
    replica.apply({ type: "vm.purge", name: "web" });
    expect(create("again", 4, 1, "loopback")).toMatchObject({ ok: true });
    // One that was placed nowhere is placed by the same rule when somebody starts it.
    const away = { ...(createVm("away", 5, 1) as CommandBodyOf<"vm.create">), desired: "stopped" } as const;
    const { node: _, ...queued } = { ...away, spec: { ...sampleSpec(), forwards: [{ port: 8080, to: 80 }] } };
    replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
    replica.apply({ type: "node.update", nodeId: 2, featureLevel: 3 });
    replica.apply({ type: "cluster.setLevel", level: 3 });
    expect(replica.apply({ ...queued, desired: "running", pending: "no room" })).toMatchObject({ ok: true });
    const start = { type: "vm.desire", name: "away", desired: "running", newEpoch: true, placement: "" } as const;
    expect(replica.apply({ ...start, node: 1 })).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(replica.state.vms.get("away")?.node).toBeNull();
    replica.apply({ type: "vm.purge", name: "again" });
    expect(replica.apply({ ...start, node: 1 })).toMatchObject({ ok: true });
  });
});

describe("applyCommand: request ids", () => {
  it("applies a repeated request once and gives the first answer, with its position", () => {
    const replica = Replica.initialised();
    const first = replica.applyFully(commandOf(put("k", "1"), { requestId: "r" }));
    replica.apply(put("k", "2"));
    const again = replica.applyFully(commandOf(put("k", "1"), { requestId: "r" }));
    expect(again.applied).toEqual({ ...first.applied, repeated: true });
    expect(again.changes).toEqual([]);
    expect(replica.state.kv.get("k")?.value).toBe("2");
  });

  it("remembers a refusal as well", () => {
    const replica = Replica.initialised();
    const command = commandOf({ type: "kv.delete", key: "k" }, { requestId: "r" });
    expect(replica.applyFully(command).applied.result).toMatchObject({ ok: false, code: "KEY_NOT_FOUND" });
    replica.apply(put("k", "1"));
    expect(replica.applyFully(command).applied.result).toMatchObject({ ok: false, code: "KEY_NOT_FOUND" });
    expect(replica.state.kv.has("k")).toBe(true);
  });

  it("refuses another command under a used id, and keeps callers apart", () => {
    const replica = Replica.initialised();
    replica.apply(put("k", "1"), { requestId: "r" });
    expect(replica.apply(put("other", "1"), { requestId: "r" })).toMatchObject({ ok: false, code: "CONFLICT" });
    const actor = { kind: "token", id: "somebody" } as const;
    expect(replica.apply(put("other", "1"), { requestId: "r", actor })).toMatchObject({ ok: true });
  });

  it("forgets an id after the window, and never holds more rows than it", () => {
    const replica = Replica.initialised({ requestWindow: 3 });
    replica.apply(put("k", "1"), { requestId: "r0" });
    for (let count = 1; count <= 10; count++) {
      replica.apply(put("x", String(count)), { requestId: `r${count}` });
      expect(replica.state.requests.size).toBeLessThanOrEqual(3);
      expect(replica.state.requestRows.size).toBe(replica.state.requests.size);
    }
    replica.apply(put("k", "2"), { requestId: "r0" });
    expect(replica.state.kv.get("k")?.value).toBe("2");
  });

  it("does nothing for an id of which an earlier use may be forgotten", () => {
    const requestWindow = 3;
    const repeatAfter = (entries: number, sinceIndex: number | undefined) => {
      const replica = Replica.initialised({ requestWindow });
      const first = replica.applyFully(commandOf(put("k", "1"), { requestId: "r" })).applied;
      for (let count = 1; count < entries; count++) replica.apply(put("x", String(count)));
      const since = sinceIndex === undefined ? {} : { sinceIndex };
      const again = replica.applyFully(commandOf(put("k", "2"), { requestId: "r", ...since }));
      return {
        first,
        again: again.applied,
        size: replica.state.requests.size,
        value: replica.state.kv.get("k")?.value,
      };
    };
    // The first use stands at index 2, so that its caller knew index 1 at most.
    expect(repeatAfter(requestWindow - 1, 1)).toMatchObject({ again: { repeated: true }, value: "1" });
    for (const sinceIndex of [0, 1]) {
      const late = repeatAfter(requestWindow, sinceIndex);
      expect(late).toMatchObject({ again: { result: { ok: false, code: "REQUEST_FORGOTTEN" } }, value: "1" });
      // Nor is the refusal remembered, which would be the answer to a request that was applied.
      expect(late.size).toBe(0);
    }
    expect(repeatAfter(requestWindow, 2)).toMatchObject({ again: { result: { ok: true } }, value: "2" });
    expect(repeatAfter(requestWindow, undefined)).toMatchObject({ again: { result: { ok: true } }, value: "2" });
  });

  it("remembers an id to the last entry of the window, and takes it for a new one in the next", () => {
    const requestWindow = 3;
    const repeatAfter = (entries: number) => {
      const replica = Replica.initialised({ requestWindow });
      const first = replica.applyFully(commandOf(put("k", "1"), { requestId: "r" }));
      for (let count = 1; count < entries; count++) replica.apply(put("x", String(count)));
      const again = replica.applyFully(commandOf(put("k", "2"), { requestId: "r" }));
      return { replica, first: first.applied, again: again.applied };
    };
    const inside = repeatAfter(requestWindow - 1);
    expect(inside.again).toEqual({ ...inside.first, repeated: true });
    expect(inside.replica.state.kv.get("k")?.value).toBe("1");

    const outside = repeatAfter(requestWindow);
    expect(outside.again).toMatchObject({ index: outside.first.index + requestWindow, repeated: false });
    expect(outside.replica.state.kv.get("k")?.value).toBe("2");
    // The id is remembered anew, at its second place.
    const third = outside.replica.applyFully(commandOf(put("k", "3"), { requestId: "r" }));
    expect(third.applied).toEqual({ ...outside.again, repeated: true });
  });
});

describe("applyCommand: keys", () => {
  it("swaps only the expected value, where null stands for absent", () => {
    const replica = Replica.initialised();
    const cas = (from: string | null, to: string | null) => replica.apply({ type: "kv.cas", key: "k", from, to });
    expect(cas("x", "y")).toEqual({ ok: true, value: { swapped: false } });
    expect(cas(null, "a")).toEqual({ ok: true, value: { swapped: true } });
    expect(cas(null, "b")).toEqual({ ok: true, value: { swapped: false } });
    expect(cas("a", null)).toEqual({ ok: true, value: { swapped: true } });
    expect(replica.state.kv.size).toBe(0);
  });

  it("respects the expected index", () => {
    const replica = Replica.initialised();
    replica.apply(put("k", "1"));
    const { index } = replica;
    expect(replica.apply(put("k", "2"), { ifMatchIndex: index + 1 })).toMatchObject({ code: "PRECONDITION_FAILED" });
    expect(replica.apply(put("k", "2"), { ifMatchIndex: index })).toMatchObject({ ok: true });
    expect(replica.apply(put("new", "1"), { ifMatchIndex: 0 })).toMatchObject({ ok: true });
  });
});

describe("applyCommand: nodes and tickets", () => {
  const admit = (id: number, ticketId: string | null = null, fields = {}): CommandBody => ({
    type: "node.admit",
    node: sampleNode(id, fields),
    ticketId,
  });

  it("uses a ticket up when it admits, and tells the same machine again", () => {
    const replica = Replica.initialised();
    replica.apply({ type: "ticket.create", ticket: sampleTicket("t") });
    expect(replica.apply(admit(2, "t"))).toMatchObject({ ok: true, value: { incarnation: 1, role: "voter" } });
    expect(replica.state.tickets.get("t")?.usedBy).toBe(sampleNode(2).endpointId);
    expect(replica.apply(admit(2, "t"))).toMatchObject({ ok: true, value: { incarnation: 1 } });
    expect(replica.apply(admit(3, "t"))).toMatchObject({ ok: false, code: "TICKET_USED" });
    expect(replica.state.nodes.size).toBe(2);
  });

  it("gives a machine with another store the next incarnation, which waits until the leader lets it in", () => {
    const replica = Replica.initialised();
    const [first, second] = ["a".repeat(32), "b".repeat(32)];
    replica.apply(admit(2, null, { storeId: first, starts: 5 }));
    expect(replica.apply(admit(2, null, { storeId: first, starts: 6 }))).toMatchObject({ value: { incarnation: 1 } });
    const node = () => replica.state.nodes.get("00002");
    expect(replica.apply(admit(2, null, { storeId: second, starts: 1, role: "learner", name: "other" }))).toMatchObject(
      {
        value: { incarnation: 2, role: "voter" },
      },
    );
    expect(node()).toMatchObject({ incarnation: 2, storeId: second, starts: 1, rejoining: true, name: "n2" });
    expect(replica.apply({ type: "node.update", nodeId: 2, storeId: first, starts: 7 })).toMatchObject({
      ok: false,
      code: "STALE_EPOCH",
    });
    replica.apply({ type: "node.update", nodeId: 2, starts: 3 });
    replica.apply({ type: "node.update", nodeId: 2, starts: 2 });
    expect(node()).toMatchObject({ starts: 3, rejoining: true });
    replica.apply({ type: "node.update", nodeId: 2, rejoined: true });
    expect(node()).not.toHaveProperty("rejoining");
    expect(node()).not.toHaveProperty("rejoined");
  });

  it.each([
    ["an unknown ticket", "no", {}, 100, "TICKET_INVALID"],
    ["an expired ticket", "t", {}, 1_000, "TICKET_EXPIRED"],
    ["a ticket for another role", "t", { role: "worker" }, 100, "TICKET_INVALID"],
    ["a revoked ticket", "revoked", {}, 100, "TICKET_INVALID"],
    ["a ticket for another name", "named", {}, 100, "TICKET_INVALID"],
  ])("refuses %s", (_, ticketId, fields, atUnixMs, code) => {
    const replica = Replica.initialised();
    replica.apply({ type: "ticket.create", ticket: sampleTicket("t") });
    replica.apply({ type: "ticket.create", ticket: sampleTicket("revoked") });
    replica.apply({ type: "ticket.create", ticket: sampleTicket("named", { nodeName: "other" }) });
    replica.apply({ type: "ticket.revoke", ticketId: "revoked" });
    expect(replica.apply(admit(2, ticketId, fields), { atUnixMs })).toMatchObject({ ok: false, code });
    expect(replica.state.nodes.size).toBe(1);
  });

  it("never binds an id, a name or a key twice", () => {
    const replica = Replica.initialised();
    replica.apply(admit(2));
    expect(replica.apply(admit(2, null, { endpointId: "f".repeat(64) }))).toMatchObject({ code: "DUPLICATE_NODE" });
    expect(replica.apply(admit(3, null, { name: "n2" }))).toMatchObject({ code: "DUPLICATE_NODE" });
    expect(replica.apply(admit(3, null, { endpointId: sampleNode(2).endpointId }))).toMatchObject({
      code: "DUPLICATE_NODE",
    });
  });

  it("gives an id that was removed a higher incarnation", () => {
    const replica = Replica.initialised();
    replica.apply(admit(2));
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.state.removed.get(nodeKey(2))).toMatchObject({ nodeId: 2, incarnation: 1 });
    expect(replica.apply(admit(2))).toMatchObject({ ok: true, value: { incarnation: 2 } });
    expect(replica.state.removed.size).toBe(0);
  });
});

describe("applyCommand: VMs", () => {
  it("takes a name and an id once, and only a known image and node", () => {
    const replica = Replica.initialised();
    expect(replica.apply(createVm("web"))).toMatchObject({ ok: true, value: { vm: { phase: "Pending", node: 1 } } });
    expect(replica.apply(createVm("web", 2))).toMatchObject({ code: "ALREADY_EXISTS" });
    expect(replica.apply(createVm("two", 1))).toMatchObject({ code: "CONFLICT" });
    expect(replica.apply(createVm("two", 2, 9))).toMatchObject({ code: "NODE_NOT_FOUND" });
    replica.apply({ type: "vm.purge", name: "web" });
    replica.apply({ type: "image.put", image: { ...demoImage, name: "mine", builtin: false } });
    replica.apply({ type: "image.remove", name: "mine" });
    const body = { ...createVm("two", 2), spec: sampleSpec({ image: "mine" }) } as CommandBody;
    expect(replica.apply(body)).toMatchObject({ code: "IMAGE_NOT_FOUND" });
  });

  it("believes the owner under the present epoch only", () => {
    const replica = Replica.initialised();
    replica.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
    replica.apply(createVm("web"));
    const observe = (nodeId: number, fencingEpoch: number) =>
      replica.apply({
        type: "vm.observe",
        nodeId,
        observations: [sampleObservation(sampleVmId(1), { fencingEpoch })],
      });
    expect(observe(2, 1)).toMatchObject({ value: { accepted: 0, stale: 1 } });
    expect(observe(1, 2)).toMatchObject({ value: { accepted: 0, stale: 1 } });
    expect(replica.state.vms.get("web")?.phase).toBe("Pending");
    expect(observe(1, 1)).toMatchObject({ value: { accepted: 1, stale: 0 } });
    expect(replica.state.vms.get("web")).toMatchObject({ phase: "Running", guest: "ready" });
    replica.apply(desire("web", "running", true));
    expect(replica.state.vms.get("web")).toMatchObject({ phase: "Pending", fencingEpoch: 2 });
    expect(observe(1, 1)).toMatchObject({ value: { accepted: 0, stale: 1 } });
  });

  it("forgets a VM when its owner has let go of it, and only if that was wanted", () => {
    const replica = Replica.initialised();
    replica.apply(createVm("web"));
    const gone = sampleObservation(sampleVmId(1), { phase: "Deleted" });
    replica.apply({ type: "vm.observe", nodeId: 1, observations: [gone] });
    expect(replica.state.vms.has("web")).toBe(true);
    replica.apply(desire("web", "deleted"));
    expect(replica.apply(desire("web", "running"))).toMatchObject({ code: "CONFLICT" });
    replica.apply({ type: "vm.observe", nodeId: 1, observations: [gone] });
    expect(replica.state.vms.has("web")).toBe(false);
    expect(replica.state.vmNames.size).toBe(0);
  });

  it("shows VMs of a silent node as Unknown, without moving them, until the node speaks again", () => {
    const replica = Replica.initialised();
    replica.apply(createVm("web"));
    replica.apply({ type: "vm.observe", nodeId: 1, observations: [sampleObservation(sampleVmId(1))] });
    replica.apply(createVm("pending", 2));
    replica.apply({ type: "node.liveness", nodeId: 1, reachable: false });
    expect(replica.state.vms.get("pending")?.phase).toBe("Unknown");
    expect(replica.state.vms.get("web")).toMatchObject({
      phase: "Unknown",
      node: 1,
      conditions: [{ type: "NodeReachable", status: false }],
    });
    replica.apply({ type: "node.liveness", nodeId: 1, reachable: true });
    expect(replica.state.vms.get("web")).toMatchObject({ phase: "Unknown", conditions: [] });
    replica.apply({ type: "vm.observe", nodeId: 1, observations: [sampleObservation(sampleVmId(1))] });
    expect(replica.state.vms.get("web")?.phase).toBe("Running");
  });

  it("places VMs of a removed node nowhere, under a new epoch, until a person starts them", () => {
    const replica = Replica.initialised();
    replica.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
    replica.apply(createVm("web", 1, 2));
    replica.apply({ type: "node.remove", nodeId: 2 });
    expect(replica.state.vms.get("web")).toMatchObject({ node: null, fencingEpoch: 2 });
    expect(replica.apply(desire("web", "running"))).toMatchObject({ code: "CONFLICT" });
    replica.apply({ type: "vm.desire", name: "web", desired: "running", newEpoch: true, node: 1, placement: "p" });
    expect(replica.state.vms.get("web")).toMatchObject({ node: 1, fencingEpoch: 3, phase: "Pending" });
    // A second decision in flight must not take it to another node.
    replica.apply({ type: "node.admit", node: sampleNode(3), ticketId: null });
    replica.apply({ type: "vm.desire", name: "web", desired: "running", newEpoch: true, node: 3, placement: "p" });
    expect(replica.state.vms.get("web")?.node).toBe(1);
  });
});

describe("applyCommand: images and the cluster", () => {
  it("keeps built-in images and those in use as they are", () => {
    const replica = Replica.initialised();
    replica.apply(createVm("web"));
    expect(replica.apply({ type: "image.remove", name: "demo" })).toMatchObject({ code: "CONFLICT" });
    const mine = { ...demoImage, name: "mine", builtin: false };
    replica.apply({ type: "image.put", image: mine });
    replica.apply({ ...createVm("two", 2), spec: sampleSpec({ image: "mine" }) } as CommandBody);
    expect(replica.apply({ type: "image.put", image: { ...mine, commandLine: "x" } })).toMatchObject({
      code: "CONFLICT",
    });
    expect(replica.apply({ type: "image.put", image: { ...mine, sources: [1] } })).toMatchObject({ ok: true });
    expect(replica.apply({ type: "image.remove", name: "mine" })).toMatchObject({ code: "CONFLICT" });
  });

  it("keeps an image that lies in a drive of a VM, and puts none there that is no disc", () => {
    const replica = Replica.initialised();
    const disc = { ...demoImage, name: "disc", builtin: false, format: "iso" as const };
    replica.apply({ type: "image.put", image: disc });
    const withDrive = (image: string) =>
      ({ ...createVm("web"), spec: sampleSpec({ cdroms: [{ name: "cd", image }] }) }) as CommandBody;
    expect(replica.apply(withDrive("other"))).toMatchObject({ code: "IMAGE_NOT_FOUND" });
    expect(replica.apply(withDrive("demo"))).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(replica.apply(withDrive("disc"))).toMatchObject({ ok: true });
    expect(replica.apply({ type: "image.remove", name: "disc" })).toMatchObject({ code: "CONFLICT" });
    const set = (change: Partial<Pick<VmSpec, "cdroms" | "bootOrder">>) =>
      replica.apply({ type: "vm.set", name: "web", set: change, unset: [], labels: {}, unsetLabels: [] });
    expect(set({ cdroms: [{ name: "cd", image: "demo" }] })).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(set({ bootOrder: ["cd"] })).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(set({ cdroms: [{ name: "cd" }] })).toMatchObject({ ok: true });
    expect(replica.apply({ type: "image.remove", name: "disc" })).toMatchObject({ ok: true });
  });

  it("is initialised once", () => {
    const replica = Replica.initialised();
    expect(replica.apply(initBody)).toMatchObject({ ok: true });
    const other = { ...initBody, cluster: { clusterId: "d", createdUnixMs: 0, formatVersion: 1 } } as CommandBody;
    expect(replica.apply(other)).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
  });
});
