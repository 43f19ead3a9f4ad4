import { featureLevels, type VmObservation } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleEnd, sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { desiredVms, unreported } from "./vm-duty.ts";

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

const opener = () => () => undefined;

describe("desiredVms", () => {
  it("gives each node its own VMs with their images, deleted ones included", () => {
    const replica = replicaWithVm();
    const { state } = replica;
    expect(desiredVms(state, 2, opener)).toEqual([]);
    expect(desiredVms(state, 1, opener)).toMatchObject([{ name: "web", desired: "running", image: { name: "demo" } }]);
    replica.apply({ type: "vm.desire", name: "web", desired: "deleted", newEpoch: false });
    expect(desiredVms(state, 1, opener)).toMatchObject([{ name: "web", desired: "deleted" }]);
  });
});

describe("the disks of a VM", () => {
  it("are told to the node that made them, once it has said so, and to no other", () => {
    const replica = replicaWithVm();
    replica.state.level.set("level", { level: featureLevels.own, index: 1 });
    const made = (nodeId: number) => desiredVms(replica.state, nodeId, opener).map(({ madeDisks }) => madeDisks);
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
    replica.state.vms.set("web", { ...web, node: 2 });
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
    replica.state.vms.set("web", { ...web, ends: [{ ...sampleEnd({ unixMs: 3 }), node: 2 }] });
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
