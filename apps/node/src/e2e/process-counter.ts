import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { instanceProcesses } from "@blixard/testing";

const sampleMs = 100;

/** Counts the processes of VMs again and again, as anybody can who looks at this machine from outside. */
export class ProcessCounter {
  readonly #stopping = new AbortController();
  readonly #counting: Promise<void>;
  /** The most processes of one VM that were there at once. */
  most = 0;
  samples = 0;

  constructor(vmIds: readonly string[]) {
    this.#counting = this.#count(vmIds);
  }

  async #count(vmIds: readonly string[]): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      for (const vmId of vmIds) this.most = Math.max(this.most, instanceProcesses(vmId).length);
      this.samples++;
      await sleep(systemClock, sampleMs, this.#stopping.signal).catch(() => {});
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#counting;
  }
}
