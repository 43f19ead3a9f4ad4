/**
 * Runs VMs without any software beside Node.js: v86 in one process per VM. 32 bits, one CPU and several times slower
 * than QEMU's translation: for evaluation and tests.
 */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Clock, messageOf } from "@blixard/common";
import type { DriverCapabilities } from "@blixard/protocol";
import type { InstanceHandle, InstancePaths, InstanceSpec, ProbeResult, VmDriver, VmInstance } from "../driver.ts";
import { adoptProcess } from "../process/adopt-process.ts";
import { readBootId } from "../process/process-identity.ts";
import { awaitStarted, spawnDetached } from "../process/spawn-instance.ts";
import type { VmHostConfig } from "./vm-host-config.ts";

/** v86 keeps the guest's memory in one WebAssembly memory, which is 32 bits wide. */
const memoryMiBMax = 1024;
const machine = "v86-pc";

export interface EmbeddedDriverOptions {
  readonly startDeadlineMs: number;
  /** The compiled host program; default: where this package's build puts it. */
  readonly hostProgram?: string;
}

export class EmbeddedDriver implements VmDriver {
  readonly name = "embedded";
  readonly capabilities: DriverCapabilities = {
    imageFormats: ["multiboot"],
    vcpusMax: 1,
    memoryMiBMax,
  };
  readonly #clock: Clock;
  readonly #options: EmbeddedDriverOptions;
  #version = "";
  #bootId = "";

  constructor(deps: { readonly clock: Clock }, options: EmbeddedDriverOptions) {
    this.#clock = deps.clock;
    this.#options = options;
  }

  async probe(): Promise<ProbeResult> {
    try {
      this.#bootId = await readBootId();
      this.#version = await v86Version();
      this.#hostProgram();
      return { works: true, kinds: ["embedded"], version: this.#version, notes: [] };
    } catch (error) {
      return { works: false, reason: messageOf(error), hint: "run `npx tsc -b packages/vm-manager`" };
    }
  }

  async start(spec: InstanceSpec, options: { readonly signal?: AbortSignal } = {}): Promise<VmInstance> {
    const { paths } = spec;
    if (spec.boot.type !== "multiboot") {
      throw new BlixardError("UNSUPPORTED", `the embedded driver cannot boot an image of the format ${spec.boot.type}`);
    }
    const configPath = join(paths.directory, `vm-host-${spec.generation}.json`);
    const config: VmHostConfig = {
      format: 1,
      vmId: spec.vmId,
      name: spec.name,
      fencingEpoch: spec.fencingEpoch,
      memoryMiB: spec.memoryMiB,
      kernelPath: spec.boot.kernelPath,
      commandLine: spec.boot.commandLine,
      pidFile: paths.pidFile,
      controlSocket: paths.controlSocket,
      serialSocket: paths.serialSocket,
      consoleLog: paths.consoleLog,
      journal: paths.journalOut,
    };
    await writeFile(configPath, JSON.stringify(config), { mode: 0o600 });
    await writeFile(paths.journalOut, "", { mode: 0o600 });
    // The same arguments as QEMU's, so that processes are counted from outside in one way.
    const label = ["-name", `guest=${spec.name},process=blixard-${spec.name}-${spec.fencingEpoch}`, "-uuid", spec.vmId];
    const identity = await spawnDetached(
      process.execPath,
      [this.#hostProgram(), ...label, "-pidfile", paths.pidFile, "-config", configPath],
      paths,
      { PATH: process.env["PATH"] },
    );
    const handle: InstanceHandle = { driver: "embedded", ...identity, ...this.#facts(), bootId: this.#bootId };
    return await awaitStarted(this.#clock, handle, paths, { deadlineMs: this.#options.startDeadlineMs, ...options });
  }

  async adopt(paths: InstancePaths, handle: InstanceHandle | undefined): Promise<VmInstance> {
    return await adoptProcess(this.#clock, paths, handle, { driver: "embedded", ...this.#facts() });
  }

  #facts(): { readonly machine: string; readonly driverVersion: string } {
    return { machine, driverVersion: this.#version };
  }

  /** The host runs as plain JavaScript: when this module runs from its source, the build stands beside it. */
  #hostProgram(): string {
    if (this.#options.hostProgram !== undefined) return resolve(this.#options.hostProgram);
    const here = dirname(fileURLToPath(import.meta.url));
    for (const path of [join(here, "vm-host.js"), join(here, "../../dist/embedded/vm-host.js")]) {
      if (existsSync(path)) return path;
    }
    throw new BlixardError("VM_DRIVER_FAILED", "the host program of the embedded driver is not built", {
      hint: "run `npx tsc -b packages/vm-manager`",
    });
  }
}

async function v86Version(): Promise<string> {
  const entry = createRequire(import.meta.url).resolve("v86");
  const manifest: unknown = JSON.parse(await readFile(join(dirname(entry), "../package.json"), "utf8"));
  if (typeof manifest !== "object" || manifest === null || !("version" in manifest)) {
    throw new BlixardError("VM_DRIVER_FAILED", "v86 has no version");
  }
  return String(manifest.version);
}
