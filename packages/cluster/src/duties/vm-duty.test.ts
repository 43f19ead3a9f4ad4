import { WatchedMap } from "@blixard/common";
import { featureLevels, type VmObservation } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { applyChange } from "../state-machine/state.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { sampleEnd, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { desiredOf } from "../testing/desired-of.ts";
import { Replica } from "../testing/replica.ts";
import { newsOf, UnreportedVms } from "./unreported-vms.ts";

function replicaWithVm(): Replica {
  const replica = Replica.initialised();
  replica.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
  const spec = sampleSpec();
  const vm = { type: "vm.create", name: "web", vmId: sampleVmId(1), spec, desired: "running", placement: "" } as const;
  replica.apply({ ...vm, node: 1 });
  return replica;
}

const seenAs = (fields: Partial<VmObservation> = {}) =>
  new Map([[sampleVmId(1), sampleObservation(sampleVmId(1), fields)]]);

const unreported = (state: ClusterState, seen: ReadonlyMap<string, VmObservation>, nodeId: number) =>
  [...seen.values()].flatMap((observation) => newsOf(state, observation, nodeId) ?? []);

describe("DesiredVms", () => {
  it("gives each node its own VMs with their images, deleted ones included", () => {
    const replica = replicaWithVm();
    const { state } = replica;
    expect(desiredOf(state, 2)).toEqual([]);
    expect(desiredOf(state, 1)).toMatchObject([{ name: "web", desired: "running", image: { name: "demo" } }]);
    replica.apply({ type: "vm.desire", name: "web", desired: "deleted", newEpoch: false });
    expect(desiredOf(state, 1)).toMatchObject([{ name: "web", desired: "deleted" }]);
  });
});

describe("the disks of a VM", () => {
  it("are told to the node that made them, once it has said so, and to no other", () => {
    const replica = replicaWithVm();
    replica.state.level.set("level", { level: featureLevels.own, index: 1 });
    const made = (nodeId: number) => desiredOf(replica.state, nodeId).map(({ madeDisks }) => madeDisks);
    expect(made(1)).toEqual([[]]);
    const seen = seenAs({ disks: ["root", "data"] });
    const news = unreported(replica.state, seen, 1);
    expect(news).toHaveLength(1);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: news });
    expect(unreported(replica.state, seen, 1)).toEqual([]);
    expect(made(1)).toEqual([["root", "data"]]);
    // A node whose directory is empty knows of none: that changes nothing.
    const emptied = unreported(replica.state, seenAs({ phase: "Failed", reason: "disk-missing" }), 1);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: emptied });
    expect(made(1)).toEqual([["root", "data"]]);
    const web = replica.state.vms.get("web");
    if (web === undefined) throw new Error("there is a VM");
    applyChange(replica.state, { table: "vms", key: "web", value: { ...web, node: 2 } });
    expect(made(2)).toEqual([[]]);
  });
});

describe("unreported", () => {
  it("reports what the state does not show yet, once", () => {
    const replica = replicaWithVm();
    const news = unreported(replica.state, seenAs(), 1);
    expect(news).toHaveLength(1);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: news });
    expect(unreported(replica.state, seenAs(), 1)).toEqual([]);
  });

  it("reports again what the leader has marked as Unknown", () => {
    const replica = replicaWithVm();
    replica.apply({ type: "vm.observe", nodeId: 1, observations: [...seenAs().values()] });
    replica.apply({ type: "node.liveness", nodeId: 1, reachable: false });
    expect(unreported(replica.state, seenAs(), 1)).toHaveLength(1);
  });

  const silent = { type: "ConsoleOutput", status: false, reason: "ConsoleSilent", message: "" } as const;

  it("reports conditions, and their end, beside those that the leader knows of", () => {
    const replica = replicaWithVm();
    replica.state.level.set("level", { level: featureLevels.own, index: 1 });
    replica.apply({ type: "node.liveness", nodeId: 1, reachable: false });
    const report = (fields: Partial<VmObservation>) => {
      const news = unreported(replica.state, seenAs(fields), 1);
      if (news.length > 0) replica.apply({ type: "vm.observe", nodeId: 1, observations: news });
      return news.length;
    };
    expect(report({ conditions: [silent] })).toBe(1);
    const unreachable = expect.objectContaining({ type: "NodeReachable" });
    expect(replica.state.vms.get("web")?.conditions).toEqual([unreachable, silent]);
    expect(report({ conditions: [silent] })).toBe(0);
    expect(report({})).toBe(1);
    expect(replica.state.vms.get("web")?.conditions).toEqual([unreachable]);
    expect(report({})).toBe(0);
  });

  it("reports ends once, keeps those of other nodes, and the last five of all", () => {
    const replica = replicaWithVm();
    replica.state.level.set("level", { level: featureLevels.own, index: 1 });
    const ends = [1, 2, 4, 5, 6].map((unixMs) => sampleEnd({ unixMs }));
    const web = replica.state.vms.get("web");
    if (web === undefined) throw new Error("there is a VM");
    const value = { ...web, ends: [{ ...sampleEnd({ unixMs: 3 }), node: 2 }] };
    applyChange(replica.state, { table: "vms", key: "web", value });
    const news = unreported(replica.state, seenAs({ ends }), 1);
    expect(news).toHaveLength(1);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: news });
    const kept = replica.state.vms.get("web")?.ends?.map(({ unixMs, node }) => [unixMs, node]);
    expect(kept).toEqual([2, 3, 4, 5, 6].map((unixMs) => [unixMs, unixMs === 3 ? 2 : 1]));
    expect(unreported(replica.state, seenAs({ ends }), 1)).toEqual([]);
    expect(unreported(replica.state, seenAs({ ends: [...ends.slice(1), sampleEnd({ unixMs: 7 })] }), 1)).toHaveLength(
      1,
    );
  });

  it("tells nothing that a member of an earlier release does not know", () => {
    const replica = replicaWithVm();
    const seen = seenAs({ conditions: [silent], ends: [sampleEnd()] });
    expect(unreported(replica.state, seen, 1)).toEqual([sampleObservation(sampleVmId(1))]);
    const mute = unreported(replica.state, seenAs({ guest: "not-responding" }), 1);
    expect(mute).toEqual([sampleObservation(sampleVmId(1), { guest: "none" })]);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: unreported(replica.state, seen, 1) });
    expect(unreported(replica.state, seen, 1)).toEqual([]);
    replica.state.level.set("level", { level: featureLevels.own, index: 1 });
    expect(unreported(replica.state, seen, 1)).toHaveLength(1);
  });

  it("keeps to itself what it may not speak for", () => {
    const { state } = replicaWithVm();
    expect(unreported(state, seenAs({ fencingEpoch: 2 }), 1)).toEqual([]);
    expect(unreported(state, seenAs(), 2)).toEqual([]);
    const unknown = sampleVmId(9);
    expect(unreported(state, new Map([[unknown, sampleObservation(unknown)]]), 1)).toEqual([]);
  });

  it("cuts a long message instead of never reporting", () => {
    const replica = replicaWithVm();
    const long = seenAs({ message: "x".repeat(5_000) });
    const news = unreported(replica.state, long, 1);
    expect(news[0]?.message).toHaveLength(1_024);
    replica.apply({ type: "vm.observe", nodeId: 1, observations: news });
    expect(unreported(replica.state, long, 1)).toEqual([]);
  });
});

describe("UnreportedVms", () => {
  const phases = ["Running", "Stopped", "Failed"] as const;
  const step = fc.oneof(
    fc.record({ type: fc.constant("observe" as const), vm: fc.nat(2), phase: fc.constantFrom(...phases) }),
    fc.record({ type: fc.constant("forget" as const), vm: fc.nat(2) }),
    fc.record({ type: fc.constant("silence" as const), reachable: fc.boolean() }),
    fc.record({ type: fc.constant("report" as const), most: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ type: fc.constant("late" as const) }),
  );

  it("finds whatever a comparison of everything finds, after any changes of both sides", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const replica = Replica.initialised();
        const spec = sampleSpec();
        for (const vm of [0, 1, 2]) {
          const body = { type: "vm.create", name: `vm-${vm}`, vmId: sampleVmId(vm), spec, desired: "running" } as const;
          replica.apply({ ...body, placement: "", node: 1 });
        }
        const observations = new WatchedMap<VmObservation>();
        // Followed by its own records: which of them are not the ones of before.
        let known = new Map<string, unknown>();
        let since: ReadonlySet<string> | undefined;
        const version = { value: { appliedIndex: 0 } };
        const stateMachine = { state: replica.state, version, keysSince: () => since };
        const parts = { stateMachine, vmManager: { observations }, options: { nodeId: 1 } };
        const follower = new UnreportedVms(parts as unknown as ConstructorParameters<typeof UnreportedVms>[0]);
        for (const each of steps) {
          if (each.type === "observe") {
            const vmId = sampleVmId(each.vm);
            observations.set(vmId, sampleObservation(vmId, { phase: each.phase }));
          } else if (each.type === "forget") observations.delete(sampleVmId(each.vm));
          else if (each.type === "silence") {
            replica.apply({ type: "node.liveness", nodeId: 1, reachable: each.reachable });
          } else {
            const { state } = replica;
            const isNew = ([name, vm]: readonly [string, unknown]) => known.get(name) !== vm;
            since = each.type === "late" ? undefined : new Set([...state.vms].filter(isNew).map(([name]) => name));
            known = new Map(state.vms);
            const found = follower.find();
            const byId = (a: VmObservation, b: VmObservation) => (a.vmId < b.vmId ? -1 : 1);
            expect([...found].sort(byId)).toEqual(unreported(state, observations.value, 1).sort(byId));
            if (each.type === "report" && found.length > 0) {
              replica.apply({ type: "vm.observe", nodeId: 1, observations: found.slice(0, each.most) });
            }
          }
        }
      }),
    );
  });
});
