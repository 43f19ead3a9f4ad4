/**
 * A driver that runs nothing, for tests of what stands above the drivers. It says so on the console of each VM and in
 * the version of each handle. Its instances live in this object, so they end with the manager.
 */
import { appendFile } from "node:fs/promises";
import { BlixardError, fromUtf8, Watch } from "@blixard/common";
import { type DriverCapabilities, type DriverKind, limits } from "@blixard/protocol";
import type {
  ExitReason,
  InstanceHandle,
  InstancePaths,
  InstanceSpec,
  InstanceState,
  ProbeResult,
  VmDriver,
  VmInstance,
} from "../driver.ts";
import { EndedInstance } from "../process/ended-instance.ts";

const version = "fake: runs nothing";

/** First line on the console of a fake VM. */
const fakeBanner = "fake driver: this VM runs nothing";

export class FakeDriver implements VmDriver {
  readonly name = "fake";
  readonly kinds = ["fake"] as const;
  readonly capabilities: DriverCapabilities = {
    imageFormats: ["multiboot", "linux", "disk"],
    vcpusMax: limits.vmVcpusMax,
    memoryMiBMax: limits.vmMemoryMiBMax,
    disks: true,
    cloudInit: true,
  };

  async probe(): Promise<ProbeResult> {
    return { works: true, kinds: this.kinds, version, notes: [version], start: startFake };
  }

  async adopt(_kind: DriverKind, _paths: InstancePaths, handle: InstanceHandle | undefined): Promise<VmInstance> {
    return new EndedInstance(handle ?? makeHandle(), "driver-closed", "a fake VM ends with its manager");
  }
}

async function startFake(spec: InstanceSpec): Promise<VmInstance> {
  const instance = new FakeInstance(spec);
  await instance.print(`${fakeBanner}\n`);
  return instance;
}

class FakeInstance implements VmInstance {
  readonly handle = makeHandle();
  readonly state = new Watch<InstanceState>({ type: "running" });
  readonly serialActivity = new Watch(0);
  readonly #consoleLog: string;

  constructor(spec: InstanceSpec) {
    this.#consoleLog = spec.paths.consoleLog;
  }

  async pause(): Promise<void> {
    if (this.state.value.type === "running") this.state.set({ type: "paused" });
  }

  async resume(): Promise<void> {
    if (this.state.value.type === "paused") this.state.set({ type: "running" });
  }

  async requestPowerdown(): Promise<void> {
    this.#end("guest-shutdown");
  }

  async quit(): Promise<void> {
    this.#end("host-quit");
  }

  kill(): void {
    this.#end("host-signal");
  }

  /** Prints the line back; `poweroff` ends the VM as a guest would. */
  async writeConsole(data: Uint8Array): Promise<void> {
    if (this.state.value.type === "ended") throw new BlixardError("UNAVAILABLE", "the VM does not run");
    const line = new TextDecoder().decode(data).trim();
    await this.print(`echo: ${line}\n`);
    if (line === "poweroff") this.#end("guest-shutdown");
  }

  async detach(): Promise<void> {
    this.#end("driver-closed");
  }

  async print(text: string): Promise<void> {
    await appendFile(this.#consoleLog, fromUtf8(text), { mode: 0o600 });
    this.serialActivity.update((value) => value + 1);
  }

  #end(reason: ExitReason): void {
    if (this.state.value.type !== "ended") this.state.set({ type: "ended", reason, message: version });
  }
}

function makeHandle(): InstanceHandle {
  return { driver: "fake", pid: 0, startTime: "", bootId: "", machine: "fake", driverVersion: version };
}
