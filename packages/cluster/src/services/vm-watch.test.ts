import type { CommandBody, VmChange } from "@blixard/protocol";
import { describe, expect, it, jest } from "@jest/globals";
import { sampleObservation, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { fedMachine } from "../testing/fed-machine.ts";
import { watchVms } from "./vm-watch.ts";

const create = (number: number, vmId = sampleVmId(number)): CommandBody => ({
  type: "vm.create",
  name: `vm-${number}`,
  vmId,
  spec: sampleSpec(),
  desired: "running",
  node: 1,
  placement: "",
});
const observe = (number: number, phase: "Starting" | "Running"): CommandBody => ({
  type: "vm.observe",
  nodeId: 1,
  observations: [sampleObservation(sampleVmId(number), { phase })],
});
const purge = (number: number): CommandBody => ({ type: "vm.purge", name: `vm-${number}` });

async function watched(name?: string) {
  const fed = await fedMachine();
  const over = new AbortController();
  let changes: AsyncGenerator<VmChange> | undefined;
  /** The next `count` changes, each in one text. */
  const read = async (count: number) => {
    changes ??= watchVms(fed, name, over.signal);
    const told: string[] = [];
    while (told.length < count) {
      const { value } = await changes.next();
      if (value === undefined) break;
      if (value.type === "put") told.push(`${value.vm.name} ${value.vm.phase}`);
      else told.push(value.type === "delete" ? `-${value.name}` : value.type);
    }
    return told;
  };
  return { ...fed, read, over };
}

describe("watchVms", () => {
  it("tells the VMs that are there, and then every later state", async () => {
    const { apply, read, over } = await watched();
    await apply(create(1), create(2));
    expect(await read(3)).toEqual(["vm-1 Pending", "vm-2 Pending", "current"]);
    const next = read(1);
    await apply(observe(2, "Starting"));
    expect(await next).toEqual(["vm-2 Starting"]);
    await apply(purge(1), create(3));
    expect(await read(2)).toEqual(["-vm-1", "vm-3 Pending"]);
    over.abort();
    await expect(read(1)).rejects.toBeDefined();
  });

  it("gives a slow reader the last state only, also after a restore", async () => {
    const { apply, read, restoreAfter } = await watched();
    await apply(create(1), create(2));
    await read(3);
    await apply(observe(1, "Starting"));
    await apply(observe(1, "Running"));
    expect(await read(1)).toEqual(["vm-1 Running"]);
    await restoreAfter(purge(1), create(1, sampleVmId(9)), create(3));
    expect(await read(2)).toEqual(["vm-1 Pending", "vm-3 Pending"]);
  });

  it("looks at no other VM for the sake of one, however many there are", async () => {
    const { apply, read, stateMachine } = await watched("vm-7");
    expect(await read(1)).toEqual(["current"]);
    await apply(...Array.from({ length: 500 }, (_, number) => create(number)));
    expect(await read(1)).toEqual(["vm-7 Pending"]);
    const { vms } = stateMachine.state;
    const walks = (["keys", "values", "entries", "forEach"] as const).map((walk) => jest.spyOn(vms, walk));
    const next = read(1);
    await apply(observe(8, "Starting"));
    await apply(observe(9, "Starting"));
    const looks = jest.spyOn(vms, "get");
    await apply(observe(7, "Starting"));
    expect(await next).toEqual(["vm-7 Starting"]);
    for (const walk of walks) expect(walk).not.toHaveBeenCalled();
    expect(looks.mock.calls.length).toBeLessThan(10);
    const gone = read(1);
    await apply(purge(7));
    expect(await gone).toEqual(["-vm-7"]);
  });

  it("stops in the middle of many when its signal aborts", async () => {
    const { apply, read, over } = await watched();
    await apply(...Array.from({ length: 10 }, (_, number) => create(number)));
    await read(2);
    over.abort();
    await expect(read(1)).rejects.toBeDefined();
  });
});
