import { type LossPolicy, nodeReachable, type VmRecord, type VmSpec } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { leaseText } from "./vm-explain.ts";

const moves: LossPolicy = { onNodeLoss: "move", onPartition: "stop", effect: "moves" };
const waits: LossPolicy = { onNodeLoss: "wait", onPartition: "keep", effect: "waits" };
const vmWith = (lossPolicy: LossPolicy, more: Partial<Omit<VmRecord, "spec">> = {}, spec: Partial<VmSpec> = {}) => {
  const fields = { name: "web", node: 2, desired: "running", conditions: [], lossPolicy, ...more };
  return { ...fields, spec } as unknown as VmRecord;
};
const silent = { conditions: [{ type: nodeReachable, status: false, reason: "", message: "" }] };
const elsewhere = { nodeId: 3, message: "", withinMs: 12_000 };

describe("what vm explain says of the lease of a VM", () => {
  it("counts down to the start on another node, and names that", () => {
    const vm = vmWith(moves, silent);
    expect(leaseText(vm, { leaseLeftMs: 4_230, ifLost: elsewhere })).toBe(
      "lost       node 2 does not answer; the VM starts on node 3 in 4.2 s, when the lease of node 2 is over\n",
    );
    expect(leaseText(vm, { leaseLeftMs: 0, ifLost: elsewhere })).toContain(
      "starts on node 3 next: the lease of node 2",
    );
    expect(leaseText(vm, {})).toContain("only a leader knows when");
  });

  it("says why it starts nowhere", () => {
    const full = { ...elsewhere, nodeId: null, message: "node 3 is full" };
    expect(leaseText(vmWith(moves, silent), { leaseLeftMs: 4_000, ifLost: full })).toContain(
      "over in 4.0 s, and no other node can take the VM: node 3 is full",
    );
    expect(leaseText(vmWith(moves, { ...silent, desired: "stopped" }), {})).toContain(
      "is to be stopped, and starts nowhere",
    );
  });

  it("says why it waits, and what it may do meanwhile", () => {
    expect(leaseText(vmWith(waits, silent), {})).toContain(
      "waits for it: its disks are on node 2 alone; it may still run",
    );
    const asked = leaseText(vmWith({ ...waits, onPartition: "stop" }, silent, { onNodeLoss: "wait" }), {});
    expect(asked).toContain("that was asked for (onNodeLoss wait); it ends there when the lease is over");
    expect(leaseText(vmWith(waits, silent, { onPartition: "keep" }), {})).toContain("(onPartition keep)");
  });

  it("says of a node that answers how long it holds it", () => {
    expect(leaseText(vmWith(moves), { leaseLeftMs: 9_960 })).toBe(
      "lease      node 2 holds it for 10.0 s more, and renews it\n",
    );
    expect(leaseText(vmWith(waits), {})).toBe("");
  });
});
