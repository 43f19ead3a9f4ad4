import { describe, expect, it } from "@jest/globals";
import { sampleNode, sampleSpec } from "../testing/command-samples.ts";
import { demoImage } from "../testing/memory-vm-manager.ts";
import { planPreemption, type Victim } from "./preempt.ts";
import { schedulerDefaults } from "./scheduler-types.ts";

const nodes = [1, 2].map((id) => ({ record: sampleNode(id), reachable: true }));
/** Each node has 1,024 MiB. */
const request = (memoryMiB: number, victims: readonly Victim[], others: Readonly<Record<number, number>> = {}) => ({
  ...{ spec: sampleSpec({ memoryMiB }), image: demoImage, nodes, vms: [] },
  usage: new Map(
    nodes.map(({ record: { id } }) => {
      const there = victims.filter(({ node }) => node === id);
      const memory = there.reduce((sum, { spec }) => sum + spec.memoryMiB + 64, others[id] ?? 0);
      return [id, { vms: there.length, vcpus: there.length, memoryMiB: memory, diskMiB: 0 }];
    }),
  ),
});
const victim = (name: string, node: number, memoryMiB: number, priority = 10): Victim => ({
  ...{ name, node, priority, spec: { vcpus: 1, memoryMiB } },
});
const plan = (memoryMiB: number, victims: readonly Victim[], others: Readonly<Record<number, number>> = {}) => {
  const found = planPreemption(request(memoryMiB, victims, others), victims, schedulerDefaults);
  return found?.victims.map(({ name }) => name);
};

describe("planPreemption", () => {
  it("stops as few as will do, of priorities as low as will do", () => {
    expect(plan(480, [victim("a", 1, 400), victim("b", 1, 400), victim("c", 2, 900, 20)])).toEqual(["a"]);
    expect(plan(900, [victim("a", 1, 400), victim("b", 1, 400), victim("c", 2, 900, 20)])).toEqual(["a", "b"]);
    expect(plan(900, [victim("a", 1, 400), victim("b", 1, 400, 30), victim("c", 2, 900, 20)])).toEqual(["c"]);
  });

  it("leaves alone what was not needed after all", () => {
    expect(plan(600, [victim("small", 1, 100, 5), victim("large", 1, 700, 10)], { 2: 1_000 })).toEqual(["large"]);
  });

  it("stops nothing where that would not help, or too many would have to go", () => {
    expect(plan(900, [victim("a", 1, 400)], { 1: 500, 2: 1_000 })).toBeUndefined();
    const many = Array.from({ length: 10 }, (_, at) => victim(`v${at}`, 1, 30));
    expect(plan(900, many, { 2: 1_000 })).toBeUndefined();
  });
});
