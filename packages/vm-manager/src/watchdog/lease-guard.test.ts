import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { type Logger, silentLogger } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { unconfined } from "../confinement/launcher.ts";
import type { InstancePaths } from "../driver.ts";
import { InstanceStore } from "../instance-store.ts";
import { isAlive, type ProcessIdentity } from "../process/process-identity.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { LeaseGuard } from "./lease-guard.ts";

const vmId = "00000000-0000-4000-8000-000000000001";
const longMs = 600_000;

let directory: string;
let paths: InstancePaths;
let guards: LeaseGuard[];
let started: ProcessIdentity[];

beforeEach(async () => {
  directory = await temporaryDirectory();
  const store = new InstanceStore(join(directory, "instances"), directory);
  await store.makeDirectory(vmId);
  paths = store.pathsOf(vmId, 1, directory);
  guards = [];
  started = [];
});

afterEach(async () => {
  for (const guard of guards) guard.close();
  for (const pid of await watchdogs()) process.kill(pid, "SIGKILL");
  await until(() => started.every((identity) => !isAlive(identity)));
});

afterAll(removeTemporaryDirectories);

async function open(logger: Logger = silentLogger): Promise<LeaseGuard> {
  const guard = await LeaseGuard.open({ clock: systemClock, logger, dataDir: directory, runDirectory: directory });
  guards.push(guard);
  return guard;
}

/** A process that does nothing, as a VM that needs the lease. */
async function start(guard: LeaseGuard): Promise<ProcessIdentity> {
  const command = { program: "sleep", arguments: ["600"] };
  const identity = await guard.spawn(command, { vmId, paths, confinement: unconfined });
  started.push(identity);
  return identity;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Looked for from outside, by what stands in their arguments. */
async function watchdogs(): Promise<number[]> {
  const found: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const given = (await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "")).split("\0");
    if (given.includes("--blixard-watchdog") && given.includes(join(directory, "watchdog"))) found.push(Number(entry));
  }
  return found;
}

async function theWatchdog(): Promise<number> {
  const [pid = 0] = await watchdogs();
  return pid;
}

describe("LeaseGuard", () => {
  it("starts nothing without a lease", async () => {
    const guard = await open();
    await expect(start(guard)).rejects.toMatchObject({ message: expect.stringContaining("no lease") });
  });

  it("lets a VM run with the lease, ends it when that is over, and tells that it did", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + 2_000);
    const vm = await start(guard);
    expect(guard.isHeld()).toBe(true);
    await until(() => !isAlive(vm));
    expect(guard.isHeld()).toBe(false);
    expect(await guard.hasEnded(vm)).toBe(true);
    expect(await guard.hasEnded({ ...vm, startTime: "1" })).toBe(false);
  });

  it("lets a VM run on with each later lease", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + 2_000);
    const vm = await start(guard);
    await guard.extend(guard.nowMs() + longMs);
    const before = guard.nowMs();
    await until(() => guard.nowMs() > before + 2_500);
    expect(isAlive(vm)).toBe(true);
  });

  it("ends a VM together with its watchdog, and starts another one for the next", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + longMs);
    const vm = await start(guard);
    process.kill(await theWatchdog(), "SIGKILL");
    await until(() => !isAlive(vm));
    await until(async () => (await watchdogs()).length === 0);
    // The end of the connection is heard of later than that of the process.
    await until(async () => (await guard.unguarded()) === undefined);
    expect(isAlive(await start(guard))).toBe(true);
  });

  it("ends a VM whose watchdog stands still when the lease is over, while no node runs", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + 2_000);
    const vm = await start(guard);
    guard.close();
    process.kill(await theWatchdog(), "SIGSTOP");
    await until(() => !isAlive(vm));
    expect(guard.isHeld()).toBe(false);
  });

  it("lets a VM run whose watchdog stood still and goes on before the lease is over", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + longMs);
    const vm = await start(guard);
    const pid = await theWatchdog();
    process.kill(pid, "SIGSTOP");
    expect(await guard.unguarded()).toBe("its watchdog does not answer");
    // Longer than the guard of the watchdog waits for a sign of it.
    const before = guard.nowMs();
    await until(() => guard.nowMs() > before + 1_500);
    process.kill(pid, "SIGCONT");
    await until(async () => (await guard.unguarded()) === undefined);
    expect(isAlive(vm)).toBe(true);
    expect(await theWatchdog()).toBe(pid);
  });

  it("is found again with its lease and its VMs after the manager was started anew", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + longMs);
    const vm = await start(guard);
    guard.close();
    const again = await open();
    expect(again.isHeld()).toBe(true);
    expect(isAlive(vm)).toBe(true);
    expect(await watchdogs()).toHaveLength(1);
  });

  it("goes on when somebody says nonsense to it and hangs up without hearing the answer", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + longMs);
    const vm = await start(guard);
    const pid = await theWatchdog();
    for (const nonsense of [
      '{"id":1\n\u0000\n',
      "[]\nnull\n7\n",
      '{"id":2,"type":"lease","untilMs":"x"}\n{"id":3,"type":"no"}\n',
    ]) {
      const closed = await new Promise<boolean>((resolve) => {
        const socket = connect(join(directory, "watchdog"), () => {
          socket.write(nonsense.repeat(200));
          // What it answers is not read: the other side sees a connection that breaks.
          socket.pause();
          setTimeout(() => socket.destroy(), 50);
        });
        socket.on("close", () => resolve(true));
        socket.on("error", () => {});
      });
      expect(closed).toBe(true);
    }
    expect(await guard.unguarded()).toBeUndefined();
    expect(await theWatchdog()).toBe(pid);
    expect(isAlive(vm)).toBe(true);
  });

  it("ends by itself without a node and without a VM", async () => {
    const guard = await open();
    await guard.extend(guard.nowMs() + 3_000);
    const vm = await start(guard);
    guard.close();
    await until(() => !isAlive(vm));
    await until(async () => (await watchdogs()).length === 0);
  });
});
