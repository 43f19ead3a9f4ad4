/** Over small clusters from seeds: what is moved ends, fits, and leaves nothing to move. */
import type { VmRecord, VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { schedulerDefaults } from "../scheduler/scheduler-types.ts";
import { usageByNode } from "../scheduler/usage.ts";
import type { ClusterState } from "../state-machine/types.ts";
import { sampleNode, sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";
import { type BalanceMove, type BalanceView, rebalanceMoves } from "./rebalance-moves.ts";

interface Placed {
  readonly node: number;
  readonly spec?: Partial<VmSpec>;
  readonly labels?: Record<string, string>;
  readonly desired?: "running" | "stopped";
}

function stateOf(count: number, vms: readonly Placed[]): ClusterState {
  const replica = Replica.initialised();
  for (let id = 2; id <= count; id++) {
    replica.apply({ type: "node.admit", node: sampleNode(id, { featureLevel: 3 }), ticketId: null });
  }
  replica.apply({ type: "node.update", nodeId: 1, featureLevel: 3 });
  replica.apply({ type: "cluster.setLevel", level: 3 });
  for (const [at, { node, spec, labels, desired = "running" }] of vms.entries()) {
    const vmId = sampleVmId(at);
    replica.apply({
      ...{ type: "vm.create", name: `vm-${at}`, vmId, spec: sampleSpec(spec), node, placement: "", desired },
      ...(labels === undefined ? {} : { labels }),
    });
    const phase = desired === "running" ? "Running" : "Stopped";
    replica.apply({ type: "vm.observe", nodeId: node, observations: [sampleObservation(vmId, { phase })] });
  }
  return replica.state;
}

const viewOf = (state: ClusterState, strategy: "spread" | "binpack" = "spread"): BalanceView => {
  const options = { ...schedulerDefaults, strategy };
  return {
    state,
    options,
    requestOf: ({ name, spec, labels = {}, node }, image, at) => ({
      ...{
        spec,
        labels,
        image,
        usage: usageByNode(at, [], options, name),
        ...(node === null ? {} : { presentOn: node }),
      },
      nodes: [...at.nodes.values()].map((record) => ({ record, reachable: true })),
      vms: [...at.vms.values()].flatMap((vm: VmRecord) => {
        const on = at.nodes.get(String(vm.node)) ?? [...at.nodes.values()].find(({ id }) => id === vm.node);
        const { placement } = vm.spec;
        if (vm.name === name || on === undefined) return [];
        return [{ node: on, labels: vm.labels ?? {}, ...(placement === undefined ? {} : { placement }) }];
      }),
    }),
  };
};

function after(state: ClusterState, moves: readonly BalanceMove[]): ClusterState {
  const vms = new Map(state.vms);
  for (const { vm: name, to } of moves) {
    const vm = vms.get(name);
    if (vm !== undefined) vms.set(name, { ...vm, node: to });
  }
  return { ...state, vms };
}

/** Of the part of each node that is taken. */
function squares(state: ClusterState): number {
  const loads = [...usageByNode(state, [], schedulerDefaults).values()].map(({ memoryMiB, vcpus }) =>
    Math.max(memoryMiB / 1_024, vcpus / 64),
  );
  return loads.reduce((sum, load) => sum + load ** 2, 0);
}

const placedArbitrary: fc.Arbitrary<Placed> = fc
  .record({
    node: fc.integer({ min: 1, max: 4 }),
    memoryMiB: fc.constantFrom(16, 64, 128, 200),
    vcpus: fc.integer({ min: 1, max: 8 }),
    app: fc.constantFrom("web", "db"),
    rule: fc.constantFrom("none", "apart", "soft", "near", "spread"),
    disk: fc.boolean(),
    wait: fc.boolean(),
  })
  .map(({ node, memoryMiB, vcpus, app, rule, disk, wait }) => {
    const vms = { app };
    const affinity = {
      none: {},
      apart: { affinity: [{ type: "apart" as const, vms: { app: "db" } }] },
      soft: { affinity: [{ type: "apart" as const, vms, soft: true }] },
      near: { affinity: [{ type: "near" as const, vms, soft: true }] },
      spread: { spread: "node" },
    }[rule];
    return {
      node,
      labels: { app },
      spec: {
        ...{ memoryMiB, vcpus, placement: affinity },
        ...(disk ? { disks: [{ name: "data", sizeGiB: 1 }] } : {}),
        ...(wait ? { onNodeLoss: "wait" as const } : {}),
      },
    };
  });

describe("rebalanceMoves", () => {
  it("moves VMs from a full node to an empty one until that gains nothing", () => {
    const state = stateOf(
      3,
      Array.from({ length: 9 }, () => ({ node: 1 })),
    );
    const { moves, more } = rebalanceMoves(viewOf(state));
    expect(more).toBe(false);
    const counts = usageByNode(after(state, moves), [], schedulerDefaults);
    expect([1, 2, 3].map((id) => counts.get(id)?.vms)).toEqual([3, 3, 3]);
    expect(moves[0]?.why).toMatch(/^\d+ points there, none here: memory needs /);
  });

  it("moves so many in one run, says that there are more, and the next run goes on", () => {
    const small = { memoryMiB: 16, vcpus: 1 };
    let state = stateOf(
      8,
      Array.from({ length: 90 }, () => ({ node: 1, spec: small })),
    );
    const first = rebalanceMoves(viewOf(state));
    expect([first.moves.length, first.more]).toEqual([50, true]);
    state = after(state, first.moves);
    const second = rebalanceMoves(viewOf(state));
    expect(second).toMatchObject({ more: false });
    expect(second.moves.length).toBeGreaterThan(10);
    expect(rebalanceMoves(viewOf(after(state, second.moves)))).toEqual({ moves: [], more: false });
  });

  it("leaves alone what keeps data, waits for its node, stands still, or is wanted where it is", () => {
    const fixed: readonly Placed[] = [
      { node: 1, spec: { disks: [{ name: "data", sizeGiB: 1 }] } },
      { node: 1, spec: { onNodeLoss: "wait" } },
      { node: 1, desired: "stopped" },
      { node: 1, labels: { app: "db" } },
      {
        node: 1,
        spec: { disks: [{ name: "d", sizeGiB: 1 }], placement: { affinity: [{ type: "near", vms: { app: "db" } }] } },
      },
      { node: 1, spec: { onNodeLoss: "wait", memoryMiB: 256 } },
    ];
    expect(rebalanceMoves(viewOf(stateOf(3, fixed)))).toEqual({ moves: [], more: false });
    const free = rebalanceMoves(viewOf(stateOf(3, [...fixed, { node: 1 }])));
    expect(free.moves.map(({ vm }) => vm)).toEqual(["vm-6"]);
  });

  it.each(["spread", "binpack"] as const)(
    "with %s moves nothing the second time, and only what may move",
    (strategy) => {
      let moved = 0;
      fc.assert(
        fc.property(fc.array(placedArbitrary, { maxLength: 12 }), (vms) => {
          const state = stateOf(4, vms);
          const { moves } = rebalanceMoves(viewOf(state, strategy));
          moved += moves.length;
          const next = after(state, moves);
          expect(rebalanceMoves(viewOf(next, strategy))).toEqual({ moves: [], more: false });
          for (const { vm: name, from } of moves) {
            const vm = state.vms.get(name);
            expect(vm).toMatchObject({ node: from, lossPolicy: { effect: "moves" } });
          }
          // What ends: each step leaves less, or more, than there was.
          const change = squares(next) - squares(state);
          if (moves.length > 0) expect(Math.sign(change)).toBe(strategy === "spread" ? -1 : 1);
          const before = usageByNode(state, [], schedulerDefaults);
          for (const [id, { memoryMiB, vcpus }] of usageByNode(next, [], schedulerDefaults)) {
            expect(memoryMiB).toBeLessThanOrEqual(Math.max(1_024, before.get(id)?.memoryMiB ?? 0));
            expect(vcpus).toBeLessThanOrEqual(Math.max(64, before.get(id)?.vcpus ?? 0));
          }
        }),
        { numRuns: 300, seed: 7 },
      );
      expect(moved).toBeGreaterThan(40);
    },
  );
});
