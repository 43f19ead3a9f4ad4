import { BlixardError, Watch } from "@blixard/common";
import type { ExitReason, InstanceHandle, InstanceState, VmInstance } from "../driver.ts";

/** An instance that was found to be over. */
export class EndedInstance implements VmInstance {
  readonly handle: InstanceHandle;
  readonly state: Watch<InstanceState>;
  readonly serialActivity = new Watch(0);

  constructor(handle: InstanceHandle, reason: ExitReason, message: string, note?: string) {
    this.handle = handle;
    this.state = new Watch<InstanceState>({
      ...{ type: "ended", reason, message },
      ...(note === undefined ? {} : { note }),
    });
  }

  async pause(): Promise<void> {}
  async resume(): Promise<void> {}
  async requestPowerdown(): Promise<void> {}
  async quit(): Promise<void> {}
  kill(): void {}
  async detach(): Promise<void> {}

  async writeConsole(): Promise<void> {
    throw new BlixardError("UNAVAILABLE", "the VM does not run");
  }
}
