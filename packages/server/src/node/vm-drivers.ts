/** The drivers of a node, best first, each loaded when it is wanted: a driver that is added is added here. */
import type { Clock } from "@blixard/common";
import type { VmDriver, VmManagerOptions } from "@blixard/vm-manager";

const drivers = {
  qemu: async (deps) => new (await import("@blixard/vm-manager/qemu")).QemuDriver(deps),
  embedded: async (deps) => new (await import("@blixard/vm-manager/embedded")).EmbeddedDriver(deps),
  fake: async () => new (await import("@blixard/vm-manager/fake")).FakeDriver(),
} as const satisfies Readonly<Record<string, (deps: { readonly clock: Clock }) => Promise<VmDriver>>>;

export type VmDriverName = keyof typeof drivers;

export const vmDriverNames = Object.keys(drivers) as readonly VmDriverName[];

/** Runs nothing, so it is never a fall-back. */
const testsOnly: readonly VmDriverName[] = ["fake"];

/**
 * The drivers that start VMs, and those that only find again what an earlier start of the node left running. One that
 * is asked for by name must work; a node on which none of `auto` works is a member that runs no VM.
 */
export async function chooseVmDrivers(
  wanted: "auto" | VmDriverName,
  deps: { readonly clock: Clock },
): Promise<Pick<VmManagerOptions, "drivers" | "adopters" | "allowNoDriver">> {
  const starts = (name: VmDriverName) => (wanted === "auto" ? !testsOnly.includes(name) : name === wanted);
  const load = async (names: readonly VmDriverName[]) => {
    const loaded: VmDriver[] = [];
    // One after another: the module loader of jest cannot link several at a time.
    for (const name of names) loaded.push(await drivers[name](deps));
    return loaded;
  };
  return {
    drivers: await load(vmDriverNames.filter(starts)),
    adopters: await load(vmDriverNames.filter((name) => !starts(name))),
    allowNoDriver: wanted === "auto",
  };
}
