/** Runs VMs with QEMU: under KVM when the host's KVM really works, else by translation (TCG). */
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { type Clock, messageOf, systemErrorCodeOf } from "@blixard/common";
import { type DriverCapabilities, type DriverKind, limits, privateNetworks, userNetwork } from "@blixard/protocol";
import { launchCommand, notFoundExitCode } from "../confinement/launcher.ts";
import type { InstanceHandle, InstancePaths, InstanceSpec, ProbeResult, VmDriver, VmInstance } from "../driver.ts";
import { adoptProcess } from "../process/adopt-process.ts";
import { journalInput } from "../process/event-journal.ts";
import { prepareInstanceFiles } from "../process/instance-files.ts";
import { readBootId } from "../process/process-identity.ts";
import type { QmpAbilities } from "../process/qmp-instance.ts";
import { awaitStarted, spawnInstance } from "../process/spawn-instance.ts";
import { makeUserDirectory } from "../run-directory.ts";
import { probeKvm } from "./kvm-probe.ts";
import { qemuArguments, tapsOf } from "./qemu-arguments.ts";
import { QemuDisks } from "./qemu-disks.ts";
import { QemuNics } from "./qemu-nics.ts";
import { QemuSize } from "./qemu-size.ts";

const execFileAsync = promisify(execFile);
const probeTimeoutMs = 20_000;

/** How to get QEMU, for people. */
export const qemuInstallHint = "install QEMU: apt-get install -y qemu-system-x86 qemu-utils";

export interface QemuDriverOptions {
  /** The program; default `qemu-system-x86_64` on the path. */
  readonly program?: string;
  /**
   * Directory for the result of the KVM probe, which holds until the host boots again. Default: one that all managers
   * of this user share.
   */
  readonly cacheDirectory?: string;
  /** `tcg` does not even try KVM. Default `auto`. */
  readonly accelerator?: "auto" | "tcg";
}

/** What a probe learns of the program, for the handles of its instances. */
type FoundQemu = Pick<InstanceHandle, "driverVersion" | "machine" | "bootId">;

export class QemuDriver implements VmDriver {
  readonly name = "qemu";
  readonly kinds = ["qemu-kvm", "qemu-tcg"] as const;
  readonly capabilities: DriverCapabilities = {
    imageFormats: ["multiboot", "linux", "disk"],
    vcpusMax: limits.vmVcpusMax,
    memoryMiBMax: limits.vmMemoryMiBMax,
    networks: [userNetwork, privateNetworks],
    disks: true,
    cloudInit: true,
    agent: true,
    diskHotplug: true,
    cpuHotplug: true,
    memoryHotplug: true,
    cdrom: true,
    nicHotplug: true,
    bridges: [],
  };
  readonly #clock: Clock;
  readonly #options: QemuDriverOptions;
  readonly #program: string;

  constructor(deps: { readonly clock: Clock }, options: QemuDriverOptions = {}) {
    this.#clock = deps.clock;
    this.#options = options;
    const program = options.program ?? "qemu-system-x86_64";
    // A bare name is looked up on the path; anything else is a file, seen from this process and not from the VM's.
    this.#program = program.includes("/") ? resolve(program) : program;
  }

  async probe(): Promise<ProbeResult> {
    let found: FoundQemu;
    try {
      found = {
        driverVersion: parseVersion(await this.#output(["--version"])),
        machine: parseMachine(await this.#output(["-machine", "help"])),
        bootId: await readBootId(),
      };
    } catch (error) {
      const missing = systemErrorCodeOf(error) === "ENOENT" || exitCodeOf(error) === notFoundExitCode;
      const reason = missing
        ? `${this.#program} is not installed`
        : `${this.#program} does not work: ${messageOf(error)}`;
      return { works: false, reason, hint: qemuInstallHint };
    }
    const kinds: DriverKind[] = ["qemu-tcg"];
    const notes: string[] = [];
    if (this.#options.accelerator !== "tcg") {
      const cacheDirectory = this.#options.cacheDirectory ?? (await makeUserDirectory());
      const kvm = await probeKvm({ program: this.#program, cacheDirectory, bootId: found.bootId });
      if (kvm.works) kinds.unshift("qemu-kvm");
      else notes.push(`KVM is not used: ${kvm.reason}`);
    }
    return {
      works: true,
      kinds,
      version: found.driverVersion,
      notes,
      trial: { program: this.#program, arguments: ["--version"] },
      start: (spec, options) => this.#start(found, spec, options),
    };
  }

  async adopt(kind: DriverKind, paths: InstancePaths, handle: InstanceHandle | undefined): Promise<VmInstance> {
    return await adoptProcess(this.#clock, kind, paths, handle, this.#abilities);
  }

  async #start(
    found: FoundQemu,
    spec: InstanceSpec,
    options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<VmInstance> {
    const machine = spec.machine ?? found.machine;
    const files = await prepareInstanceFiles(spec, journalInput);
    const command = {
      program: this.#program,
      arguments: qemuArguments({ ...spec, ...files }, machine),
      taps: tapsOf(spec),
    };
    const identity = await (spec.spawn ?? spawnInstance)(command, spec);
    const handle: InstanceHandle = { driver: spec.driver, ...identity, ...found, machine };
    return await awaitStarted(this.#clock, handle, spec.paths, options, this.#abilities);
  }

  get #abilities(): QmpAbilities {
    return {
      disks: (execute) => new QemuDisks(this.#clock, execute),
      size: (execute) => new QemuSize(this.#clock, execute),
      nics: (execute) => new QemuNics(this.#clock, execute),
    };
  }

  async #output(programArguments: readonly string[]): Promise<string> {
    const launch = launchCommand({ program: this.#program, arguments: programArguments });
    const { stdout } = await execFileAsync(launch.program, [...launch.arguments], {
      timeout: probeTimeoutMs,
      killSignal: "SIGKILL",
    });
    return stdout;
  }
}

function exitCodeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

function parseVersion(text: string): string {
  const version = /version (\S+)/.exec(text)?.[1];
  if (version === undefined) throw new Error(`unexpected answer: ${text.slice(0, 80)}`);
  return version;
}

/** The versioned name of the newest q35, so that a VM keeps its hardware when QEMU is upgraded. */
function parseMachine(text: string): string {
  const machine = /alias of (pc-q35-[\w.]+)/.exec(text)?.[1];
  if (machine === undefined) throw new Error("it has no q35 machine");
  return machine;
}
