import type { ImageRecord, NodeRecord, VmRecord, VmSpec, VolumeRecord } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleSpec } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { schedule as scheduleWith } from "./scheduler.ts";
import { type PlacementRequest, type SchedulerOptions, schedulerDefaults } from "./scheduler-types.ts";
import { type Reservation, usageByNode } from "./usage.ts";

const schedule = (request: PlacementRequest, options: Partial<SchedulerOptions> = {}) =>
  scheduleWith(request, { ...schedulerDefaults, ...options });
const nothing = { vms: new Map(), images: new Map([["demo", demoImage]]), volumes: new Map() };

const node = (id: number, fields: Partial<NodeRecord> = {}, reachable = true) => ({
  record: sampleNode(id, fields),
  reachable,
});
const request = (nodes: readonly ReturnType<typeof node>[], spec: Partial<VmSpec> = {}, taken: Reservation[] = []) => ({
  spec: sampleSpec(spec),
  image: demoImage,
  nodes,
  usage: usageByNode(nothing, taken, schedulerDefaults),
  vms: [],
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
    expect(schedule(request(nodes, { memoryMiB: 449 }))).toMatchObject({
      ok: false,
      code: "NO_CAPACITY",
      message:
        "0 of 3 nodes fit: node 1: memory needs 513 MiB (449 + 64 overhead), 512 free; " +
        "node 2: memory needs 513 MiB (449 + 64 overhead), 300 free; node 3: vcpus needs 1, 0 of 0 free",
      hint: "Ask for less, free some room, or add a node.",
    });
  });

  it("shares a processor between several virtual ones, up to the factor that was set", () => {
    const taken = (count: number) => Array.from({ length: count }, () => on(1, { memoryMiB: 8 }));
    const nodes = [node(1, withCapacity(10_000, 1))];
    expect(schedule(request(nodes, {}, taken(15)))).toMatchObject({ ok: true });
    expect(schedule(request(nodes, {}, taken(16)))).toMatchObject({ ok: false });
    expect(schedule(request(nodes, {}, taken(1)), { vcpuOvercommit: 1.5 })).toMatchObject({
      ok: false,
      message: "0 of 1 nodes fit: node 1: vcpus needs 1, 0 of 1 free",
    });
  });

  it("fills nodes one after the other when it is to pack", () => {
    const nodes = [node(1), node(2), node(3)];
    const pack = { strategy: "binpack" } as const;
    expect(schedule(request(nodes, {}, [on(2)]), pack)).toMatchObject({ nodeId: 2 });
    expect(schedule(request(nodes, {}, [on(2)]))).toMatchObject({ nodeId: 1 });
    const full = Array.from({ length: 8 }, () => on(2));
    expect(schedule(request(nodes, {}, full), pack)).toMatchObject({ nodeId: 1 });
  });

  it("promises to disks what the file system has, times the factor, and no more than is free there", () => {
    const disk = { totalMiB: 10_240, freeMiB: 9_216 };
    const nodes = (more: Partial<typeof disk> = {}) => [
      node(1, { capacity: { vcpus: 4, memoryMiB: 8_192, drivers: ["fake"], disk: { ...disk, ...more } } }),
    ];
    const size = (sizeGiB: number) => ({ disks: [{ name: "data", sizeGiB }] });
    expect(schedule(request(nodes(), size(9)))).toMatchObject({ ok: true });
    expect(schedule(request(nodes(), size(2), [on(1, size(9))]))).toMatchObject({
      message: "0 of 1 nodes fit: node 1: disks need 2048 MiB, 1024 of 10240 are not promised",
    });
    expect(schedule(request(nodes(), size(2), [on(1, size(9))]), { diskOvercommit: 2 })).toMatchObject({ ok: true });
    expect(schedule(request(nodes({ freeMiB: 100 }), size(1)))).toMatchObject({
      message: "0 of 1 nodes fit: node 1: disks need 1024 MiB, 100 are free there",
    });
    expect(schedule(request(nodes({ freeMiB: 0 })))).toMatchObject({ ok: true });
    // A VM that is there already has its disks.
    expect(schedule({ ...request(nodes({ freeMiB: 0 }), size(9)), presentOn: 1 })).toMatchObject({ ok: true });
  });

  it("says for each node its points and what they are for, the best one first", () => {
    const decision = schedule(request([node(1), node(2, withCapacity(4_096)), node(3, { cordoned: true })]));
    expect(decision).toMatchObject({
      reasons:
        "node 2: 217 points (vms 100, load 97, image 20); node 1: 208 points (vms 100, load 88, image 20); " +
        "node 3: it is cordoned",
      nodes: [
        {
          nodeId: 2,
          fits: true,
          score: 217,
          points: [
            { criterion: "vms", points: 100 },
            { criterion: "load", points: 97 },
            { criterion: "image", points: 20 },
          ],
        },
        { nodeId: 1, fits: true, score: 208 },
        { nodeId: 3, fits: false, reason: "it is cordoned" },
      ],
    });
  });

  it("prefers a node that has the image", () => {
    const image = { ...demoImage, builtin: false, sources: [2] };
    expect(schedule({ ...request([node(1), node(2)]), image })).toMatchObject({ nodeId: 2 });
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

  it("gives a VM that grows while it runs to a driver that can do that, with room for its growth", () => {
    const driver: Driver = { kind: "qemu-tcg", imageFormats: ["multiboot", "disk"], vcpusMax: 8, memoryMiBMax: 9_000 };
    const image: ImageRecord = { ...demoImage, format: "disk" };
    const place = (spec: Partial<VmSpec>, capabilities: Driver, of = image) =>
      schedule({
        ...request([node(1, { capacity: { ...room, drivers: ["qemu-tcg"], capabilities: [capabilities] } })], spec),
        image: of,
      });
    const able = { ...driver, cpuHotplug: true, memoryHotplug: true };
    const spec = { vcpusMax: 8, memoryMiBMax: 9_000 };
    expect(place(spec, able)).toMatchObject({ ok: true });
    for (const [wanted, of, why] of [
      [spec, driver, "driver qemu-tcg takes no vcpus while it runs (cpuHotplug)"],
      [{ memoryMiBMax: 512 }, { ...able, memoryHotplug: false }, "takes no memory while it runs (memoryHotplug)"],
      [{ vcpusMax: 9 }, able, "driver qemu-tcg has 8 vcpus, 9 are needed"],
      [{ memoryMiBMax: 9_002 }, able, "driver qemu-tcg has 9000 MiB at most"],
    ] as const) {
      expect(place(wanted, of)).toMatchObject({ ok: false, message: expect.stringContaining(why) });
    }
    expect(place(spec, able, { ...demoImage, format: "multiboot" })).toMatchObject({
      message: expect.stringContaining("a multiboot image takes"),
    });
  });

  it("takes a node of a release that publishes only the kinds of its drivers", () => {
    const capacity = { ...room, drivers: ["embedded" as const] };
    expect(schedule(request([node(1, { capacity })], { vcpus: 2 }))).toMatchObject({ ok: true });
  });
});

const zoned = (id: number, zone: string | undefined, more: Record<string, string> = {}) =>
  node(id, { labels: { ...(zone === undefined ? {} : { zone }), ...more } });

describe("schedule with labels", () => {
  const nodes = [zoned(1, "a"), zoned(2, "b", { gpu: "" }), zoned(3, undefined)];
  const placedOn = (at: number, labels: Record<string, string>, placement?: VmSpec["placement"]) => ({
    node: nodes[at - 1]?.record ?? sampleNode(at),
    labels,
    ...(placement === undefined ? {} : { placement }),
  });
  type Placed = ReturnType<typeof placedOn>;
  const place = (placement: VmSpec["placement"], vms: Placed[] = [], labels: Record<string, string> = {}) =>
    schedule({ ...request(nodes, placement === undefined ? {} : { placement }), labels, vms });

  it.each([
    ["zone=a", [1]],
    ["zone!=a", [2, 3]],
    ["gpu", [2]],
    ["!gpu", [1, 3]],
    ["zone in (a,b)", [1, 2]],
    ["zone notin (a, c)", [2, 3]],
  ])("places a VM only where %s", (constraint, fitting) => {
    const { nodes: verdicts } = place({ constraints: [constraint] });
    const fits = verdicts.filter((verdict) => verdict.fits).map(({ nodeId }) => nodeId);
    expect(fits.sort()).toEqual(fitting);
    expect(verdicts.filter((verdict) => !verdict.fits)).toMatchObject(
      Array.from({ length: 3 - fitting.length }, () => ({ reason: `its labels are not ${constraint}` })),
    );
  });

  it("keeps VMs near to others and apart from others, on a node or in a zone", () => {
    const db = { app: "db" };
    const near = { affinity: [{ type: "near" as const, vms: db }] };
    expect(place(near, [placedOn(2, db)])).toMatchObject({ nodeId: 2 });
    expect(place(near)).toMatchObject({ ok: false, message: expect.stringContaining("no VM app=db is there") });
    const apart = { affinity: [{ type: "apart" as const, vms: db, topology: "zone" }] };
    expect(place(apart, [placedOn(1, db)])).toMatchObject({
      nodeId: 2,
      reasons: expect.stringContaining("node 1: a VM app=db is with the same zone"),
    });
  });

  it("lets the first of those that are to be near each other begin, and asks that of no other", () => {
    const near = { affinity: [{ type: "near" as const, vms: { app: "web" }, topology: "zone" }] };
    expect(place(near, [], { app: "web" })).toMatchObject({ nodeId: 1 });
    expect(place(near, [placedOn(2, { app: "web" })], { app: "web" })).toMatchObject({ nodeId: 2 });
  });

  it("keeps a VM away from one that is to be apart from it", () => {
    const alone = { affinity: [{ type: "apart" as const, vms: { app: "web" } }] };
    expect(place(undefined, [placedOn(1, {}, alone)], { app: "web" })).toMatchObject({ nodeId: 2 });
    expect(place(undefined, [placedOn(1, {}, alone)])).toMatchObject({ nodeId: 1 });
  });

  it("follows a wish where it can, and places the VM all the same where not", () => {
    const wish = { affinity: [{ type: "near" as const, vms: { app: "db" }, soft: true }] };
    expect(place(wish, [placedOn(3, { app: "db" })])).toMatchObject({ nodeId: 3 });
    expect(place(wish)).toMatchObject({ nodeId: 1 });
  });

  it("spreads VMs of the same labels over zones", () => {
    const web = { app: "web" };
    const spread = { spread: "zone" };
    const seen = [placedOn(1, web), placedOn(2, { app: "db" })];
    expect(place(spread, seen, web)).toMatchObject({ nodeId: 2 });
    expect(place(spread, [...seen, placedOn(2, web), placedOn(2, web)], web)).toMatchObject({ nodeId: 1 });
  });
});

describe("usageByNode", () => {
  it("counts what runs or shall run, and of what is stopped the disks", () => {
    const disks = [{ name: "data", sizeGiB: 2 }];
    const vm = (fields: Partial<VmRecord>) =>
      ({ name: "web", node: 1, spec: sampleSpec({ disks }), desired: "running", ...fields }) as VmRecord;
    const vms = [
      vm({ phase: "Running" }),
      vm({ phase: "Stopping", desired: "stopped" }),
      vm({ phase: "Stopped", desired: "stopped" }),
      vm({ phase: "Unknown", node: null }),
    ];
    const state = {
      vms: new Map(vms.map((each, at) => [String(at), each])),
      images: new Map([["demo", demoImage]]),
      volumes: new Map([["db", { node: 2, sizeGiB: 1 } as VolumeRecord]]),
    };
    expect([...usageByNode(state, [], schedulerDefaults)]).toEqual([
      [1, { vms: 2, vcpus: 2, memoryMiB: 256, diskMiB: 6_144 }],
      [2, { vms: 0, vcpus: 0, memoryMiB: 0, diskMiB: 1_024 }],
    ]);
    const one = { ...state, vms: new Map([["web", vm({ phase: "Running" })]]) };
    expect([...usageByNode(one, [], schedulerDefaults).keys()]).toEqual([1, 2]);
    expect([...usageByNode(one, [], schedulerDefaults, "web").keys()]).toEqual([2]);
  });
});
