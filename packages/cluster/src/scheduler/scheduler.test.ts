import type { NodeRecord, VmRecord, VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleSpec } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { type Reservation, schedule, usageByNode } from "./scheduler.ts";

const node = (id: number, fields: Partial<NodeRecord> = {}, reachable = true) => ({
  record: sampleNode(id, fields),
  reachable,
});
const request = (nodes: readonly ReturnType<typeof node>[], spec: Partial<VmSpec> = {}, taken: Reservation[] = []) => ({
  spec: sampleSpec(spec),
  image: demoImage,
  nodes,
  usage: usageByNode([], taken),
});
const on = (nodeId: number, spec: Partial<VmSpec> = {}): Reservation => ({ nodeId, spec: sampleSpec(spec) });
type Driver = NonNullable<NodeRecord["capacity"]["capabilities"]>[number];
const room = { memoryMiB: 10_000, vcpus: 8 };
const withCapacity = (memoryMiB: number, vcpus = 4) => ({ capacity: { memoryMiB, vcpus, drivers: ["fake" as const] } });

describe("schedule", () => {
  it("takes the node with the fewest VMs, then the most free memory, then the lowest id", () => {
    const nodes = [node(3), node(2), node(1)];
    expect(schedule(request(nodes))).toMatchObject({ ok: true, nodeId: 1 });
    expect(schedule(request(nodes, {}, [on(1)]))).toMatchObject({ nodeId: 2 });
    expect(schedule(request(nodes, {}, [on(1), on(2), on(3)]))).toMatchObject({ nodeId: 1 });
    expect(schedule(request([node(1), node(2, withCapacity(4_096))]))).toMatchObject({ nodeId: 2 });
  });

  it.each([
    ["a learner", node(1, { role: "learner" }), "a learner runs no VMs"],
    ["a witness", node(1, { role: "witness" }), "a witness runs no VMs"],
    ["a cordoned node", node(1, { cordoned: true }), "it is cordoned"],
    ["a leaving node", node(1, { leaving: true }), "it is leaving the cluster"],
    ["a silent node", node(1, {}, false), "it does not answer"],
    ["no driver", node(1, { capacity: { memoryMiB: 1, vcpus: 1, drivers: [] } }), "it has no VM driver"],
  ])("passes over %s and says so", (_, excluded, reason) => {
    expect(schedule(request([excluded, node(2)]))).toMatchObject({
      ok: true,
      nodeId: 2,
      reasons: expect.stringContaining(`node 1: ${reason}`),
    });
  });

  it("places VMs on voters and workers", () => {
    expect(schedule(request([node(1, { role: "witness" }), node(2, { role: "worker" })]))).toMatchObject({ nodeId: 2 });
    expect(schedule(request([node(1, { role: "witness" }), node(2, { role: "learner" })]))).toMatchObject({
      ok: false,
      message: "0 of 2 nodes fit: node 1: a witness runs no VMs; node 2: a learner runs no VMs",
    });
  });

  it("counts the overhead of each VM, and says for each node why it does not fit", () => {
    const nodes = [node(1, withCapacity(512)), node(2, withCapacity(300)), node(3, withCapacity(1_000, 0))];
    expect(schedule(request(nodes, { memoryMiB: 448 }, [on(3)]))).toMatchObject({ ok: true, nodeId: 1 });
    expect(schedule(request(nodes, { memoryMiB: 449 }))).toEqual({
      ok: false,
      code: "NO_CAPACITY",
      message:
        "0 of 3 nodes fit: node 1: memory needs 513 MiB (449 + 64 overhead), 512 free; " +
        "node 2: memory needs 513 MiB (449 + 64 overhead), 300 free; node 3: vcpus needs 1, 0 of 0 free",
      hint: "Ask for less, free some room, or add a node.",
    });
  });

  it("shares a processor between several virtual ones, up to the factor", () => {
    const taken = Array.from({ length: 7 }, () => on(1, { memoryMiB: 8 }));
    const nodes = [node(1, withCapacity(10_000, 1))];
    expect(schedule(request(nodes, {}, taken))).toMatchObject({ ok: true });
    expect(schedule(request(nodes, {}, [...taken, on(1, { memoryMiB: 8 })]))).toMatchObject({ ok: false });
  });

  it.each([
    ["vcpus", { vcpus: 3 }, demoImage, "driver embedded has 2 vcpus, 3 are needed"],
    ["memory", { memoryMiB: 301 }, demoImage, "driver embedded has 300 MiB at most"],
    ["image format", {}, { ...demoImage, format: "disk" as const }, "driver embedded cannot boot disk images"],
  ])("reads the limits that each driver of a node declares: %s", (_, spec, image, reason) => {
    const small: Driver = { kind: "embedded", imageFormats: ["multiboot"], vcpusMax: 2, memoryMiBMax: 300 };
    const large: Driver = { kind: "qemu-tcg", imageFormats: ["multiboot", "disk"], vcpusMax: 8, memoryMiBMax: 9_000 };
    const on = (...capabilities: Driver[]) => ({
      ...request(
        [node(1, { capacity: { ...room, drivers: capabilities.map(({ kind }) => kind), capabilities } })],
        spec,
      ),
      image,
    });
    expect(schedule(on(small))).toMatchObject({ ok: false, message: expect.stringContaining(`node 1: ${reason}`) });
    expect(schedule(on(large, small))).toMatchObject({ ok: true });
  });

  it("gives a VM a network that it asks for, by name or with its forwards, and places one that names none anywhere", () => {
    const driver: Driver = { kind: "qemu-tcg", imageFormats: ["multiboot"], vcpusMax: 8, memoryMiBMax: 9_000 };
    const place = (spec: Partial<VmSpec>, ...capabilities: Driver[]) =>
      schedule(request([node(1, { capacity: { ...room, drivers: ["qemu-tcg"], capabilities } })], spec));
    const refused = { ok: false, message: expect.stringContaining("driver qemu-tcg has no network user there") };
    expect(place({ networks: [{ network: "user" }] }, driver)).toMatchObject(refused);
    expect(place({ forwards: [{ port: 8080, to: 80 }] }, driver)).toMatchObject(refused);
    for (const spec of [{}, { networks: [] }]) expect(place(spec, driver)).toMatchObject({ ok: true });
    expect(place({ networks: [{ network: "user" }] }, { ...driver, networks: ["user"] })).toMatchObject({ ok: true });
  });

  it("takes a node of a release that publishes only the kinds of its drivers", () => {
    const capacity = { ...room, drivers: ["embedded" as const] };
    expect(schedule(request([node(1, { capacity })], { vcpus: 2 }))).toMatchObject({ ok: true });
  });
});

describe("usageByNode", () => {
  it("counts what runs or shall run, and not what is stopped", () => {
    const vm = (fields: Partial<VmRecord>) =>
      ({ node: 1, spec: sampleSpec(), desired: "running", ...fields }) as VmRecord;
    const usage = usageByNode([
      vm({ phase: "Running" }),
      vm({ phase: "Stopping", desired: "stopped" }),
      vm({ phase: "Stopped", desired: "stopped" }),
      vm({ phase: "Unknown", node: null }),
    ]);
    expect([...usage]).toEqual([[1, { vms: 2, vcpus: 2, memoryMiB: 256 }]]);
  });
});
