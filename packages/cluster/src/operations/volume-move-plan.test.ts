import type { DiskCopyObservation, OperationRecord } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { keptCopies, readableVolume, wantedCopies } from "../duties/disk-copy-plan.ts";
import { desiredVolumes } from "../duties/volume-duty.ts";
import { usageByNode } from "../scheduler/usage.ts";
import { nodeKey } from "../state-machine/state.ts";
import { sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";
import { Replica } from "../testing/replica.ts";
import type { PlanView } from "./plan-types.ts";
import { planVolumeMove } from "./volume-move-plan.ts";

const id = "00000000000a";
const volumeId = sampleVmId(7);
const key = { vmId: volumeId, epoch: 1 };
let replica: Replica;
let silent: ReadonlySet<number>;

beforeEach(() => {
  replica = Replica.initialised();
  silent = new Set();
  for (const node of [2, 3]) {
    replica.apply({ type: "node.admit", node: sampleNode(node, { featureLevel: 3 }), ticketId: null });
  }
  replica.apply({ type: "volume.create", name: "db", volumeId, sizeGiB: 8, kind: "local", node: 2 });
  observe("ready");
});

const db = () => replica.state.volumes.get("db");
const operation = (of = id): OperationRecord => replica.state.operations.get(of) as OperationRecord;
const start = (to = 3, of = id, from = 2) =>
  replica.apply({
    type: "operation.start",
    operation: {
      ...{ id: of, kind: "volume-move", nodeId: from, vms: [], to },
      ...{ volume: { name: "db", volumeId }, deadlineUnixMs: 1_000 },
    },
  });

function observe(state: "ready" | "deleted" | "missing", nodeId = 2): void {
  const sizeGiB = state === "ready" ? 8 : 0;
  const observations = [{ volumeId, epoch: db()?.epoch ?? 0, state, sizeGiB }];
  replica.apply({ type: "volume.observe", nodeId, observations });
}

function copied(fields: Partial<DiskCopyObservation> = {}, nodeId = 3): unknown {
  const told = { doneBytes: 5, wholeBytes: 10, bytesPerSecond: 1, message: "", names: [] };
  const copies = [{ ...key, epoch: db()?.moving?.epoch ?? 0, state: "copied" as const, ...told, ...fields }];
  const result = replica.apply({ type: "vm.observeCopy", nodeId, copies });
  return result.ok ? (result.value as { readonly accepted: number }).accepted : result.code;
}

function plan(nowUnixMs = 0) {
  const view: PlanView = {
    state: replica.state,
    nowUnixMs,
    isReachable: (node) => !silent.has(node),
    isLeaseOver: () => false,
    hasLog: () => true,
    place: () => ({ ok: false }) as never,
  };
  return planVolumeMove(view, { ...operation(), nodeId: 2 });
}

const readable = (reader: number, nodeId = 2) =>
  readableVolume(replica.state, nodeId, { ...key, reader: endpointIdOf(reader) });

describe("a volume that goes to another node", () => {
  it("is copied there, and is that node's when all of it has come; the older copy goes after that", () => {
    expect(wantedCopies(replica.state, 3)).toEqual([]);
    expect(start()).toMatchObject({ ok: true, value: { operation: { subject: "volume db" } } });
    expect(db()).toMatchObject({ node: 2, state: "ready", epoch: 1, moving: { operation: id, to: 3, epoch: 1 } });
    expect(wantedCopies(replica.state, 3)).toEqual([{ ...key, source: 2, names: [], volumeFiles: [volumeId] }]);
    expect(plan()).toMatchObject({ steps: [], percent: 0, message: "it goes to node 3" });
    expect(copied({ state: "copying" })).toBe(1);
    expect(plan()).toMatchObject({
      steps: [],
      percent: 47,
      message: expect.stringContaining("it goes to node 3: 0 MiB"),
    });
    expect(copied()).toBe(1);
    expect(wantedCopies(replica.state, 3)).toEqual([]);
    // Its node may take it no more, for example because it leaves.
    expect(plan(1_000)).toMatchObject({ end: { state: "failed", error: { code: "DEADLINE_EXCEEDED" } } });
    for (const body of plan().steps) expect(replica.apply(body)).toMatchObject({ ok: true });
    expect(db()).toMatchObject({ node: 3, epoch: 2, state: "pending", came: key, leftOn: [2] });
    expect(db()).not.toHaveProperty("moving");
    expect(keptCopies(replica.state, 3)).toEqual([key]);
    expect(plan()).toMatchObject({ percent: 95, message: "it is put in its place on node 3" });
    expect(desiredVolumes(replica.state, 2)).toEqual([]);
    observe("ready", 3);
    expect(plan()).toMatchObject({ end: { state: "done" }, message: "it is on node 3" });
    expect(desiredVolumes(replica.state, 2)).toMatchObject([{ volumeId, isDeleted: true }]);
    observe("deleted", 2);
    expect(db()).toMatchObject({ node: 3, state: "ready" });
    expect(db()).not.toHaveProperty("leftOn");
  });

  it("takes its snapshots along", () => {
    const snapshotId = sampleVmId(8);
    replica.apply({ type: "volume.snapshot", name: "db", snapshot: "a", verb: "create", snapshotId });
    expect(start()).toMatchObject({ ok: false, code: "CONFLICT" });
    observe("ready");
    expect(start()).toMatchObject({ ok: true });
    expect(wantedCopies(replica.state, 3)).toMatchObject([{ volumeFiles: [volumeId, `${volumeId}.${snapshotId}`] }]);
  });

  it("is changed by nobody meanwhile, and given to no VM, and takes room on both nodes", () => {
    start();
    const web = { type: "vm.create", name: "web", vmId: sampleVmId(1), placement: "", desired: "running" } as const;
    const spec = sampleSpec({ disks: [{ name: "data", volume: "db" }] });
    const refused = { ok: false, code: "CONFLICT", message: "the volume db goes to node 3" };
    const copy = { name: "copy", volumeId: sampleVmId(9), sizeGiB: 8, kind: "local", node: 2, source: "db" } as const;
    expect(replica.apply({ ...web, spec, node: 2 })).toMatchObject(refused);
    expect(replica.apply({ type: "volume.resize", name: "db", sizeGiB: 9 })).toMatchObject(refused);
    expect(replica.apply({ type: "volume.delete", name: "db" })).toMatchObject(refused);
    expect(replica.apply({ type: "volume.create", ...copy })).toMatchObject(refused);
    const snapshot = { name: "db", snapshot: "a", verb: "create", snapshotId: sampleVmId(8) } as const;
    expect(replica.apply({ type: "volume.snapshot", ...snapshot })).toMatchObject(refused);
    expect(start(1, "00000000000b")).toMatchObject(refused);
    const usage = usageByNode(replica.state, [], { overheadMemoryMiB: 0 });
    expect([1, 2, 3].map((node) => usage.get(node)?.diskMiB ?? 0)).toEqual([0, 8 * 1024, 8 * 1024]);
  });

  it("is given to no node that has not all of it, and read by nobody else, whatever others say", () => {
    start();
    const carry = { type: "volume.carry", name: "db", volumeId, epoch: 1 } as const;
    expect(replica.apply(carry)).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(copied({}, 1)).toBe(0);
    expect(copied({ epoch: 0 })).toBe(0);
    expect(copied({ state: "dropped" })).toBe(0);
    expect(copied({ state: "copying" })).toBe(1);
    expect(replica.apply(carry)).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect([1, 2, 3].map((node) => readable(node))).toEqual([undefined, undefined, [volumeId]]);
    expect(readable(3, 1)).toBeUndefined();
    expect(copied()).toBe(1);
    expect(replica.apply({ ...carry, epoch: 0 })).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    replica.apply({ type: "operation.end", id, state: "cancelled", message: "" });
    expect(replica.apply(carry)).toMatchObject({ ok: false, code: "STALE_EPOCH" });
    expect(readable(3)).toBeUndefined();
  });

  it("stays where it was when that is cancelled, and goes another time", () => {
    start();
    copied({ state: "copying" });
    replica.apply({ type: "operation.end", id, state: "cancelled", message: "" });
    expect(db()).toMatchObject({ node: 2, state: "ready" });
    expect(db()).not.toHaveProperty("moving");
    expect(keptCopies(replica.state, 3)).toEqual([]);
    expect(start(3, "00000000000b")).toMatchObject({ ok: true });
    // What was said of the first attempt.
    expect(copied({ epoch: 1 })).toBe(0);
    expect(db()?.moving).toMatchObject({ epoch: 2 });
  });

  it("stays where it was when it cannot be taken, and says why it waits", () => {
    start();
    silent = new Set([2]);
    expect(plan()).toMatchObject({ steps: [], message: "node 2 does not answer" });
    expect(plan(1_000)).toMatchObject({ end: { state: "failed", error: { code: "DEADLINE_EXCEEDED" } } });
    copied({ state: "failed", code: "NO_CAPACITY", message: "no room" });
    expect(plan()).toMatchObject({ end: { state: "failed", error: { code: "NO_CAPACITY", message: "no room" } } });
    replica.state.nodes.delete(nodeKey(3));
    expect(plan()).toMatchObject({ end: { state: "failed", error: { code: "NODE_NOT_FOUND" } } });
  });

  it("goes with its VM while one has it, and nowhere from where it is not, or to where it is", () => {
    expect(start(9)).toMatchObject({ ok: false, code: "NODE_NOT_FOUND" });
    expect(start(2)).toMatchObject({ ok: false, code: "CONFLICT" });
    expect(start(3, id, 1)).toMatchObject({ ok: false, code: "CONFLICT" });
    const spec = sampleSpec({ disks: [{ name: "data", volume: "db" }] });
    const web = { name: "web", vmId: sampleVmId(1), placement: "", desired: "stopped", spec, node: 2 } as const;
    expect(replica.apply({ type: "vm.create", ...web })).toMatchObject({ ok: true });
    expect(start()).toMatchObject({ ok: false, hint: expect.stringContaining("blixard vm move web") });
    replica.apply({ type: "vm.purge", name: "web" });
    observe("missing");
    expect(start()).toMatchObject({ ok: false, message: "the volume db is missing" });
  });
});
