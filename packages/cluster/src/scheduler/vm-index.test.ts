import type { ImageRecord, VmRecord } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { applyChange, emptyState } from "../state-machine/state.ts";
import { VmIndex, vmIndexOf } from "./vm-index.ts";

const nodes = [1, 2, 3];
const names = ["a", "b", "c", "d"];

const vm = fc.record({
  node: fc.constantFrom(null, ...nodes),
  vcpus: fc.integer({ min: 1, max: 4 }),
  startedVcpus: fc.constantFrom(undefined, 1, 8),
  desired: fc.constantFrom("running", "stopped"),
  phase: fc.constantFrom("Running", "Stopped"),
  to: fc.constantFrom(undefined, ...nodes),
  leftOn: fc.uniqueArray(fc.constantFrom(...nodes)),
  disks: fc.constantFrom(undefined, [{ name: "data", sizeGiB: 2 }]),
  affinity: fc.constantFrom(undefined, []),
});

type Drawn = typeof vm extends fc.Arbitrary<infer T> ? T : never;

const recordOf = (name: string, { vcpus, to, leftOn, disks, affinity, startedVcpus, ...fields }: Drawn) =>
  ({
    ...{ name, ...fields },
    spec: {
      image: "demo",
      vcpus,
      memoryMiB: 64,
      disks,
      ...(affinity === undefined ? {} : { placement: { affinity } }),
    },
    ...(startedVcpus === undefined ? {} : { startedWith: { vcpus: startedVcpus, memoryMiB: 64 } }),
    ...(to === undefined ? {} : { held: { to, desired: "running" } }),
    ...(leftOn.length === 0 ? {} : { moved: { node: 1, leftOn } }),
  }) as unknown as VmRecord;

const image = (sizeBytes: number) =>
  ({ name: "demo", format: "disk", blobs: [{ role: "disk", sizeBytes }] }) as unknown as ImageRecord;

const told = (index: VmIndex) => ({
  names: nodes.map((nodeId) => index.namesAt(nodeId)),
  copies: nodes.map((nodeId) => index.copiesAt(nodeId)),
  phases: [...index.phases].sort(),
  affine: [...index.affine].sort(),
  moving: [...index.moving].sort(),
  taken: [undefined, ...names].map((without) => [...index.takenByNode(without)].sort(([a], [b]) => a - b)),
});

describe("VmIndex", () => {
  it("tells after any changes what one that is made anew tells", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ name: fc.constantFrom(...names), vm: fc.option(vm, { nil: undefined }) }) },
      { weight: 1, arbitrary: fc.record({ imageMiB: fc.nat(64) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const state = emptyState();
        applyChange(state, { table: "images", key: "demo", value: image(1) });
        vmIndexOf(state);
        for (const each of steps) {
          if ("imageMiB" in each)
            applyChange(state, { table: "images", key: "demo", value: image(each.imageMiB << 20) });
          else {
            const value = each.vm === undefined ? undefined : recordOf(each.name, each.vm);
            applyChange(state, { table: "vms", key: each.name, value });
          }
          expect(told(vmIndexOf(state))).toEqual(told(new VmIndex(state)));
        }
      }),
      { numRuns: 300 },
    );
  });

  it("knows the VMs of a node in order of their names, also of a table that somebody made in thought", () => {
    const state = emptyState();
    const fields = {
      vcpus: 1,
      desired: "running",
      phase: "Running",
      to: undefined,
      leftOn: [],
      disks: undefined,
    } as const;
    const on = (name: string, node: number) =>
      recordOf(name, { ...fields, leftOn: [], node, affinity: undefined, startedVcpus: undefined });
    for (const name of ["c", "a", "b"]) applyChange(state, { table: "vms", key: name, value: on(name, 1) });
    expect(vmIndexOf(state).namesAt(1)).toEqual(["a", "b", "c"]);
    const other = { ...state, vms: new Map(state.vms).set("b", on("b", 2)) };
    expect(vmIndexOf(other).namesAt(1)).toEqual(["a", "c"]);
    expect(vmIndexOf(state).namesAt(1)).toHaveLength(3);
  });
});
