/**
 * Runs VMs without any software beside Node.js: v86 in one process per VM. 32 bits, one CPU and several times slower
 * than QEMU's translation: for evaluation and tests.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, type Clock, isBlixardError, messageOf } from "@blixard/common";
import { type DriverCapabilities, type DriverKind, privateNetworks, userNetwork } from "@blixard/protocol";
import type {
  BootSource,
  Command,
  InstanceHandle,
  InstancePaths,
  InstanceSpec,
  ProbeResult,
  VmDriver,
  VmInstance,
} from "../driver.ts";
import { nicDeviceArguments } from "../network/nic.ts";
import { adoptProcess } from "../process/adopt-process.ts";
import { journalArgument } from "../process/find-processes.ts";
import { prepareInstanceFiles, writeOwned } from "../process/instance-files.ts";
import { readBootId } from "../process/process-identity.ts";
import { awaitStarted, spawnInstance } from "../process/spawn-instance.ts";
import type { VmHostConfig } from "./vm-host-config.ts";

/** v86 keeps the guest's memory in one WebAssembly memory, which is 32 bits wide. */
const memoryMiBMax = 1024;
const machine = "v86-pc";
const buildHint = "run `npx tsc -b packages/vm-manager`";

export interface EmbeddedDriverOptions {
  /** The compiled host program; default: where this package's build puts it. */
  readonly hostProgram?: string;
}

/** What a probe learns, for the handles of the instances. */
type FoundV86 = Pick<InstanceHandle, "driverVersion" | "bootId"> & { readonly hostProgram: string };

export class EmbeddedDriver implements VmDriver {
  readonly name = "embedded";
  readonly kinds = ["embedded"] as const;
  readonly capabilities: DriverCapabilities = {
    imageFormats: ["multiboot"],
    vcpusMax: 1,
    memoryMiBMax,
    networks: [userNetwork, privateNetworks],
    networkCardsMax: 1,
  };
  readonly #clock: Clock;
  readonly #options: EmbeddedDriverOptions;

  constructor(deps: { readonly clock: Clock }, options: EmbeddedDriverOptions = {}) {
    this.#clock = deps.clock;
    this.#options = options;
  }

  async probe(): Promise<ProbeResult> {
    try {
      const hostProgram = this.#hostProgram();
      const found: FoundV86 = { hostProgram, driverVersion: await v86Version(), bootId: await readBootId() };
      return {
        works: true,
        kinds: this.kinds,
        version: found.driverVersion,
        notes: [],
        trial: readTrial([hostProgram, createRequire(import.meta.url).resolve("v86")]),
        start: (spec, options) => this.#start(found, spec, options),
      };
    } catch (error) {
      const hint = isBlixardError(error) ? error.hint : undefined;
      return { works: false, reason: messageOf(error), hint: hint ?? buildHint };
    }
  }

  async adopt(kind: DriverKind, paths: InstancePaths, handle: InstanceHandle | undefined): Promise<VmInstance> {
    return await adoptProcess(this.#clock, kind, paths, handle);
  }

  async #start(
    { hostProgram, driverVersion, bootId }: FoundV86,
    spec: InstanceSpec,
    options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<VmInstance> {
    const { paths } = spec;
    const { boot } = await prepareInstanceFiles(spec, "");
    const configName = `vm-host-${spec.generation}.json`;
    await writeOwned(join(paths.directory, configName), JSON.stringify(hostConfig(spec, boot)), spec.confinement);
    // The same arguments as QEMU's, so that processes are counted from outside in one way.
    const label = ["-name", `guest=${spec.name},process=blixard-${spec.name}-${spec.fencingEpoch}`, "-uuid", spec.vmId];
    const journal = ["-chardev", journalArgument(basename(paths.journalIn, ".in"))];
    const cards = (spec.nics ?? []).flatMap((nic, slot) => nicDeviceArguments(nic, slot));
    const identity = await (spec.spawn ?? spawnInstance)(
      { program: process.execPath, arguments: [hostProgram, ...label, ...journal, ...cards, "-config", configName] },
      spec,
    );
    const handle: InstanceHandle = { driver: spec.driver, ...identity, machine, driverVersion, bootId };
    return await awaitStarted(this.#clock, handle, paths, options);
  }

  /** The host runs as plain JavaScript: when this module runs from its source, the build stands beside it. */
  #hostProgram(): string {
    if (this.#options.hostProgram !== undefined) return resolve(this.#options.hostProgram);
    const here = dirname(fileURLToPath(import.meta.url));
    for (const path of [join(here, "vm-host.js"), join(here, "../../dist/embedded/vm-host.js")]) {
      if (existsSync(path)) return path;
    }
    throw new BlixardError("VM_DRIVER_FAILED", "the host program of the embedded driver is not built", {
      hint: buildHint,
    });
  }
}

/** Succeeds where Node.js runs and can read these files. */
function readTrial(paths: readonly string[]): Command {
  const program = "for (const path of process.argv.slice(1)) require('node:fs').accessSync(path, 4)";
  return { program: process.execPath, arguments: ["-e", program, ...paths] };
}

/** @throws UNSUPPORTED for an image that needs firmware or a boot loader */
function hostConfig({ vmId, name, vm, paths, nics: [nic] = [] }: InstanceSpec, boot: BootSource): VmHostConfig {
  if (boot.type !== "multiboot") {
    throw new BlixardError("UNSUPPORTED", `the embedded driver cannot boot an image of the format ${boot.type}`);
  }
  return {
    format: 1,
    vmId,
    name,
    memoryMiB: vm.memoryMiB,
    boot,
    consoleLog: basename(paths.consoleLog),
    journalOut: basename(paths.journalOut),
    ...(nic === undefined ? {} : { nic }),
  };
}

/**
 * The version of v86, which is an optional peer: only who runs embedded VMs installs it.
 * @throws VM_DRIVER_FAILED with the command that installs it
 */
async function v86Version(): Promise<string> {
  const resolveHere = createRequire(import.meta.url);
  const manifestOf = async (path: string) => JSON.parse(await readFile(path, "utf8")) as PackageManifest;
  let entry: string;
  try {
    entry = resolveHere.resolve("v86");
  } catch (error) {
    const own = await manifestOf(fileURLToPath(new URL("../../package.json", import.meta.url)));
    throw new BlixardError("VM_DRIVER_FAILED", "the package v86 is not installed, which embedded VMs run on", {
      hint: `run: npm install v86@${own.peerDependencies?.["v86"] ?? "latest"}`,
      cause: error,
    });
  }
  return (await manifestOf(join(dirname(entry), "../package.json"))).version;
}

interface PackageManifest {
  readonly version: string;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}
