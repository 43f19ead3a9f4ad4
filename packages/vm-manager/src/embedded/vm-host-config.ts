import type { BootSource, InstanceSpec } from "../driver.ts";

/** What the embedded driver tells its host process, which is of the same release, as a JSON file named by `-config`. */
export interface VmHostConfig extends Omit<InstanceSpec, "boot"> {
  readonly format: 1;
  readonly boot: Extract<BootSource, { readonly type: "multiboot" }>;
}
