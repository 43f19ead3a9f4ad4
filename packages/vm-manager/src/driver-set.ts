/** The drivers of this node: which work, which one a VM gets, and which one finds an instance again. */
import { BlixardError, type Logger } from "@blixard/common";
import { type DriverCapabilities, type DriverKind, driverRefusal } from "@blixard/protocol";
import type { Command, VmDriver, WorkingDriver } from "./driver.ts";
import type { HostNetworks } from "./network/nic.ts";
import type { DesiredVm, VmManagerOptions } from "./vm-manager-types.ts";

export interface ChosenDriver {
  readonly kind: DriverKind;
  readonly capabilities: DriverCapabilities;
  readonly start: WorkingDriver["start"];
  readonly trial: Command | undefined;
}

export class DriverSet {
  readonly #all: readonly VmDriver[];
  /** What VMs are started with, best first. */
  readonly working: readonly ChosenDriver[];

  private constructor(all: readonly VmDriver[], working: readonly ChosenDriver[]) {
    this.#all = all;
    this.working = working;
  }

  /**
   * Probes the drivers that start VMs.
   * @throws VM_DRIVER_FAILED when none works and the options do not allow that
   */
  static async open(
    { drivers, adopters = [], allowNoDriver = false }: Pick<VmManagerOptions, "drivers" | "adopters" | "allowNoDriver">,
    logger: Logger,
  ): Promise<DriverSet> {
    const working: ChosenDriver[] = [];
    const failures: { readonly reason: string; readonly hint: string }[] = [];
    for (const driver of drivers) {
      const { name, capabilities } = driver;
      const result = await driver.probe();
      if (result.works) {
        for (const kind of result.kinds) {
          const start: WorkingDriver["start"] = (spec, options) => result.start(spec, options);
          working.push({ kind, capabilities, start, trial: result.trial });
        }
        for (const note of result.notes) logger.log("info", "driver note", { driver: name, note });
      } else {
        failures.push(result);
        logger.log("info", "driver does not work here", { driver: name, ...result });
      }
    }
    if (working.length === 0 && !allowNoDriver) {
      const reasons = failures.map(({ reason }) => reason).join("; ");
      const hint = failures.map((failure) => failure.hint).join("; ");
      throw new BlixardError("VM_DRIVER_FAILED", reasons || "no VM driver was given", hint === "" ? {} : { hint });
    }
    return new DriverSet([...drivers, ...adopters], working);
  }

  /** The same drivers on a host that has these networks and no others. */
  withNetworks(present: HostNetworks): DriverSet {
    const working = this.working.map((chosen) => ({
      ...chosen,
      capabilities: capabilitiesHere(chosen.capabilities, present),
    }));
    return new DriverSet(this.#all, working);
  }

  /**
   * The best driver that can run the VM.
   * @throws UNSUPPORTED when there is none
   */
  choose({ spec, image, cards }: DesiredVm): ChosenDriver {
    const reasons: string[] = [];
    if (spec.memoryMiB < image.minMemoryMiB) {
      throw new BlixardError(
        "UNSUPPORTED",
        `the image ${image.name} needs at least ${image.minMemoryMiB} MiB of memory`,
      );
    }
    for (const candidate of this.working) {
      const reason = driverRefusal(candidate.kind, candidate.capabilities, { spec, image, cards });
      if (reason === undefined) return candidate;
      reasons.push(reason);
    }
    throw new BlixardError("UNSUPPORTED", `no driver of this node can run it: ${reasons.join("; ") || "none works"}`);
  }

  /**
   * The driver that finds instances of this kind again.
   * @throws UNSUPPORTED when this manager was not given it
   */
  adopterOf(kind: DriverKind): VmDriver {
    const driver = this.#all.find(({ kinds }) => kinds.includes(kind));
    if (driver === undefined) throw new BlixardError("UNSUPPORTED", `this node was given no driver for ${kind}`);
    return driver;
  }
}

function capabilitiesHere(
  { networks = [], bridges, ...rest }: DriverCapabilities,
  present: HostNetworks,
): DriverCapabilities {
  const both = networks.filter((network) => present.networks.includes(network));
  const plugged = bridges === undefined ? [] : present.bridges;
  return {
    ...rest,
    ...(both.length === 0 ? {} : { networks: both }),
    ...(plugged.length === 0 ? {} : { bridges: [...plugged] }),
  };
}
