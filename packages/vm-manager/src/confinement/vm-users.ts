/**
 * Gives each VM a user id of its own. The choice follows from the VM's id, so that a node that lost its records chooses
 * the same again; one that another VM has, or any process of this host, is passed over.
 */
import { createHash } from "node:crypto";
import { BlixardError } from "@blixard/common";
import { mapProcesses, uidOfProcess } from "../process/process-identity.ts";
import type { UserRange } from "./confinement-options.ts";

export class VmUsers {
  readonly #range: UserRange;
  readonly #uids = new Map<string, number>();

  /** `recorded`: what VMs were given before, which they keep, also outside of the range. */
  constructor(range: UserRange, recorded: Iterable<readonly [string, number]>) {
    this.#range = range;
    for (const [vmId, uid] of recorded) this.#uids.set(vmId, uid);
  }

  /** What the VM keeps until {@link forget}. */
  async assign(vmId: string): Promise<number> {
    const known = this.#uids.get(vmId);
    if (known !== undefined) return known;
    const running = new Set(await mapProcesses(uidOfProcess));
    const { first, last } = this.#range;
    const count = last - first + 1;
    const start = createHash("sha256").update(vmId).digest().readUIntBE(0, 6) % count;
    const taken = new Set(this.#uids.values());
    for (let step = 0; step < count; step++) {
      const uid = first + ((start + step) % count);
      if (taken.has(uid) || running.has(uid)) continue;
      this.#uids.set(vmId, uid);
      return uid;
    }
    throw new BlixardError("VM_DRIVER_FAILED", `all users from ${first} to ${last} are taken by other VMs`, {
      hint: "give VMs a larger range of users",
    });
  }

  /** Remembers what a running VM has. */
  keep(vmId: string, uid: number): void {
    this.#uids.set(vmId, uid);
  }

  forget(vmId: string): void {
    this.#uids.delete(vmId);
  }
}
