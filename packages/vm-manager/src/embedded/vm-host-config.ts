import type { BootSource } from "../driver.ts";
import type { Nic } from "../network/nic.ts";

/**
 * What the embedded driver tells its host process, which is of the same release, as a JSON file named by `-config`. Files
 * are named as they are seen from the working directory; the listening sockets are descriptors of the process.
 */
export interface VmHostConfig {
  readonly format: 1;
  readonly vmId: string;
  readonly name: string;
  readonly memoryMiB: number;
  readonly boot: Extract<BootSource, { readonly type: "multiboot" }>;
  readonly consoleLog: string;
  readonly journalOut: string;
  /** The machine has at most one network card. */
  readonly nic?: Nic;
}
