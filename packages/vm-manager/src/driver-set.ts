/** The drivers of this node: which work, which one a VM gets, and which one started an instance. */
import { BlixardError, type Logger } from "@blixard/common";
import { type DriverCapabilities, type DriverKind, driverRefusal } from "@blixard/protocol";
import type { VmDriver } from "./driver.ts";
import type { DesiredVm, VmManagerOptions } from "./vm-manager-types.ts";

export interface ChosenDriver {
  readonly driver: VmDriver;
  readonly kind: DriverKind;
}

export class DriverSet {
  readonly #drivers: readonly VmDriver[];
  readonly #logger: Logger;
  #working: readonly ChosenDriver[] = [];

  /** `drivers`, best first. All are used to adopt, whatever this node may start. */
  constructor(drivers: readonly VmDriver[], logger: Logger) {
    this.#drivers = drivers;
    this.#logger = logger;
  }

  /**
   * Probes what `wanted` allows; resolves with the kinds that work, best first.
   * @throws VM_DRIVER_FAILED when a driver was asked for by name and does not work
   */
  async probe(wanted: VmManagerOptions["driver"]): Promise<readonly (DriverCapabilities & { kind: DriverKind })[]> {
    const working: ChosenDriver[] = [];
    for (const driver of this.#drivers) {
      // The fake driver is for tests and never a fall-back.
      if (wanted === "auto" ? driver.name === "fake" : driver.name !== wanted) continue;
      const result = await driver.probe();
      if (result.works) {
        for (const kind of result.kinds) working.push({ driver, kind });
        for (const note of result.notes) this.#logger.log("info", "driver note", { driver: driver.name, note });
      } else if (wanted !== "auto") {
        throw new BlixardError("VM_DRIVER_FAILED", result.reason, { hint: result.hint });
      } else {
        this.#logger.log("info", "driver does not work here", { driver: driver.name, ...result });
      }
    }
    this.#working = working;
    return working.map(({ driver, kind }) => ({ kind, ...driver.capabilities }));
  }

  /**
   * The best driver that can run the VM.
   * @throws UNSUPPORTED when there is none
   */
  choose({ spec, image }: DesiredVm): ChosenDriver {
    const reasons: string[] = [];
    if (spec.memoryMiB < image.minMemoryMiB) {
      throw new BlixardError(
        "UNSUPPORTED",
        `the image ${image.name} needs at least ${image.minMemoryMiB} MiB of memory`,
      );
    }
    for (const candidate of this.#working) {
      const reason = driverRefusal(candidate.kind, candidate.driver.capabilities, { spec, image });
      if (reason === undefined) return candidate;
      reasons.push(reason);
    }
    throw new BlixardError("UNSUPPORTED", `no driver of this node can run it: ${reasons.join("; ") || "none works"}`);
  }

  ofKind(kind: DriverKind): VmDriver {
    const name = kind === "embedded" || kind === "fake" ? kind : "qemu";
    const driver = this.#drivers.find((candidate) => candidate.name === name);
    if (driver === undefined) throw new BlixardError("UNSUPPORTED", `this node has no driver ${name}`);
    return driver;
  }
}
