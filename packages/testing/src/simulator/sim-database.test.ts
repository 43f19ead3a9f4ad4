import { seededRandom } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { type CrashMode, DatabaseFiles, type DiskConditions, SimDatabase } from "./sim-database.ts";
import { SimProcess } from "./sim-process.ts";
import { Trace } from "./trace.ts";
import { VirtualTime } from "./virtual-time.ts";

class Machine {
  readonly time = new VirtualTime(new Trace());
  readonly files = new DatabaseFiles();
  full = false;
  syncErrors = 0;
  #process = this.#newProcess();
  readonly #disk: DiskConditions = {
    syncMs: () => 1,
    isFull: () => this.full,
    takeSyncError: () => this.syncErrors-- > 0,
  };

  #newProcess(): SimProcess {
    return new SimProcess(1, this.time, () => 0);
  }

  open(): SimDatabase {
    return new SimDatabase(this.files, this.#process, this.#disk);
  }

  write(database: SimDatabase, key: string, sync: boolean): Promise<void> {
    const batch = database.batch();
    batch.put(Buffer.from(key), Buffer.from(key));
    const written = batch.write({ sync });
    written.catch(() => {});
    return written;
  }

  pass(ms: number): Promise<void> {
    return this.time.runUntil(this.time.nowMs + ms, () => false);
  }

  crash(mode: CrashMode): SimDatabase {
    this.#process.kill();
    this.files.crash(mode, seededRandom(1));
    this.#process = this.#newProcess();
    return this.open();
  }
}

async function has(database: SimDatabase, key: string): Promise<boolean> {
  return (await database.get(Buffer.from(key))) !== undefined;
}

describe("SimDatabase", () => {
  it("keeps what was synced, and with it what was written before into the same file", async () => {
    const machine = new Machine();
    const database = machine.open();
    await machine.write(database, "a", false);
    const written = machine.write(database, "b", true);
    await machine.pass(2);
    await written;
    await machine.write(database, "c", false);
    const after = machine.crash("lost");
    expect([await has(after, "a"), await has(after, "b"), await has(after, "c")]).toEqual([true, true, false]);
  });

  it("keeps un-synced writes when only the process ends", async () => {
    const machine = new Machine();
    await machine.write(machine.open(), "a", false);
    expect(await has(machine.crash("kill"), "a")).toBe(true);
  });

  it("is read-only after a sync that failed", async () => {
    const machine = new Machine();
    const database = machine.open();
    machine.syncErrors = 1;
    const failed = machine.write(database, "a", true);
    await machine.pass(2);
    await expect(failed).rejects.toThrow(/Input\/output/);
    await expect(machine.write(database, "b", true)).rejects.toThrow(/Input\/output/);
  });

  it("loses what it acknowledged after a full disk had room again, as LevelDB does", async () => {
    const machine = new Machine();
    const database = machine.open();
    machine.full = true;
    await expect(machine.write(database, "a", true)).rejects.toThrow(/No space/);
    machine.full = false;
    const acknowledged = machine.write(database, "b", true);
    await machine.pass(2);
    await acknowledged;
    expect(await has(machine.crash("kill"), "b")).toBe(false);
  });
});
