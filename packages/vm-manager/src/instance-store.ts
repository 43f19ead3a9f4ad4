/** What this node knows about each of its VMs across restarts: one directory per VM with one JSON record. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assert, assertAtMost, BlixardError, messageOf, systemErrorCodeOf } from "@blixard/common";
import { removeDurable, writeFileDurable } from "@blixard/common/system";
import { limits } from "@blixard/protocol";
import { seedFile } from "./cloud-init/seed.ts";
import { isCdromFile } from "./disks/cdrom-files.ts";
import { isVolumeLink } from "./disks/vm-disks.ts";
import type { InstancePaths } from "./driver.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { imageNames } from "./process/instance-files.ts";

/** The names of sockets are short and end in a letter: one for each network card. */
const nicLetters = [..."defghijk"];
assertAtMost({ vmNetworksMax: limits.vmNetworksMax }, { nicLetters: nicLetters.length }, "each card has a socket");

/** A record, twice: the next one takes the place of the one before when it is whole. */
const spareBytes = 32 * 1024;
const vmIdPattern = /^[0-9a-f-]{36}$/i;

export class InstanceStore {
  readonly #directory: string;
  readonly #runDirectory: string;

  constructor(directory: string, runDirectory: string) {
    this.#directory = directory;
    this.#runDirectory = runDirectory;
  }

  get runDirectory(): string {
    return this.#runDirectory;
  }

  /** The VMs that have a directory here. */
  async vmIds(): Promise<readonly string[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    return (await readdir(this.#directory)).filter((entry) => vmIdPattern.test(entry));
  }

  async makeDirectory(vmId: string): Promise<void> {
    await mkdir(this.directoryOf(vmId), { recursive: true, mode: 0o700 });
  }

  /** Takes the room that the end of the VM needs to be written down, before its guest can fill the file system. */
  async keepSpare(vmId: string): Promise<void> {
    const path = this.#spareOf(vmId);
    if (!existsSync(path)) await writeFile(path, randomBytes(spareBytes), { mode: 0o600 });
  }

  async save(record: InstanceRecord): Promise<void> {
    await this.makeDirectory(record.vmId);
    const path = join(this.directoryOf(record.vmId), "instance.json");
    const write = () => writeFileDurable(path, JSON.stringify(record));
    await write().catch(async (error: unknown) => {
      if (systemErrorCodeOf(error) !== "ENOSPC" || !existsSync(this.#spareOf(record.vmId))) throw error;
      await rm(this.#spareOf(record.vmId));
      await write();
    });
  }

  #spareOf(vmId: string): string {
    return join(this.directoryOf(vmId), "spare");
  }

  async remove(vmId: string): Promise<void> {
    await removeDurable(this.directoryOf(vmId));
  }

  /** Removes the files of a generation that is over. The console stays. */
  async removeRunFiles(paths: InstancePaths): Promise<void> {
    const { controlSocket, serialSocket, agentSocket, networkSockets, journalIn, journalOut, pidFile, directory } =
      paths;
    const present = await readdir(directory).catch(() => []);
    const linked = present.filter((name) => isVolumeLink(name) || isCdromFile(name));
    const images = [...imageNames, seedFile, ...linked].map((name) => join(directory, name));
    const sockets = [controlSocket, serialSocket, agentSocket, ...networkSockets];
    for (const path of [...sockets, journalIn, journalOut, pidFile, ...images]) {
      await rm(path, { force: true });
    }
  }

  directoryOf(vmId: string): string {
    assert(vmIdPattern.test(vmId), "a VM id becomes a directory name");
    return join(this.#directory, vmId);
  }

  pathsOf(vmId: string, generation: number, runDirectory: string): InstancePaths {
    const directory = this.directoryOf(vmId);
    const short = createHash("sha256").update(vmId).digest("hex").slice(0, 12);
    return {
      directory,
      consoleLog: join(directory, "console.log"),
      pidFile: join(directory, `pid-${generation}`),
      stderrLog: join(directory, "stderr.log"),
      journalIn: join(directory, `events-${generation}.in`),
      journalOut: join(directory, `events-${generation}.out`),
      controlSocket: join(runDirectory, `${short}-${generation}.c`),
      serialSocket: join(runDirectory, `${short}-${generation}.s`),
      agentSocket: join(runDirectory, `${short}-${generation}.a`),
      networkSockets: nicLetters.map((letter) => join(runDirectory, `${short}-${generation}.${letter}`)),
    };
  }

  /**
   * The record of one VM; undefined when this node has none.
   * @throws STORAGE_CORRUPT when there is one that cannot be read
   */
  async find(vmId: string): Promise<InstanceRecord | undefined> {
    const path = join(this.directoryOf(vmId), "instance.json");
    let why = "it has an unknown format";
    try {
      const record = JSON.parse(await readFile(path, "utf8")) as Partial<InstanceRecord> | null;
      if (record?.format === 1 && record.vmId === vmId) return record as InstanceRecord;
    } catch (error) {
      if (systemErrorCodeOf(error) === "ENOENT") return undefined;
      why = messageOf(error);
    }
    throw new BlixardError("STORAGE_CORRUPT", `the record ${path} of the VM cannot be read: ${why}`);
  }
}
