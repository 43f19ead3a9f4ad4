/** What this node knows about each of its VMs across restarts: one directory per VM with one JSON record. */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { assert, type Logger, messageOf, systemErrorCodeOf } from "@blixard/common";
import { removeDurable, writeFileDurable } from "@blixard/common/system";
import type { InstancePaths } from "./driver.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { imageNames } from "./process/instance-files.ts";

const vmIdPattern = /^[0-9a-f-]{36}$/i;

export class InstanceStore {
  readonly #directory: string;
  readonly #runDirectory: string;
  readonly #logger: Logger;

  constructor(directory: string, runDirectory: string, logger: Logger) {
    this.#directory = directory;
    this.#runDirectory = runDirectory;
    this.#logger = logger;
  }

  get runDirectory(): string {
    return this.#runDirectory;
  }

  /** All records. A directory without a readable record never had a process: the record is durable before the spawn. */
  async load(): Promise<readonly InstanceRecord[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const records: InstanceRecord[] = [];
    for (const entry of await readdir(this.#directory)) {
      const record = await this.find(entry);
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  async makeDirectory(vmId: string): Promise<void> {
    await mkdir(this.directoryOf(vmId), { recursive: true, mode: 0o700 });
  }

  async save(record: InstanceRecord): Promise<void> {
    await this.makeDirectory(record.vmId);
    await writeFileDurable(join(this.directoryOf(record.vmId), "instance.json"), JSON.stringify(record));
  }

  async remove(vmId: string): Promise<void> {
    await removeDurable(this.directoryOf(vmId));
  }

  /** Removes the files of a generation that is over. The console stays. */
  async removeRunFiles(paths: InstancePaths): Promise<void> {
    const { controlSocket, serialSocket, journalIn, journalOut, pidFile, directory } = paths;
    const images = imageNames.map((name) => join(directory, name));
    for (const path of [controlSocket, serialSocket, journalIn, journalOut, pidFile, ...images]) {
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
    };
  }

  /** The record of one VM; undefined when this node has none. */
  async find(vmId: string): Promise<InstanceRecord | undefined> {
    const path = join(this.#directory, vmId, "instance.json");
    try {
      const record = JSON.parse(await readFile(path, "utf8")) as InstanceRecord;
      if (record.format === 1 && record.vmId === vmId) return record;
      this.#logger.log("error", "an instance record has an unknown format", { path });
    } catch (error) {
      if (systemErrorCodeOf(error) !== "ENOENT") {
        this.#logger.log("error", "an instance record cannot be read", { path, error: messageOf(error) });
      }
    }
    return undefined;
  }
}
