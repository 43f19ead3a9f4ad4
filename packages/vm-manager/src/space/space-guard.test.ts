import { existsSync } from "node:fs";
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { silentLogger, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { FakeDriver } from "../fake/fake-driver.ts";
import { describeWith } from "../testing/required-component.ts";
import { SmallFileSystem, smallFileSystemNeeds } from "../testing/small-file-system.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { SpaceGuard } from "./space-guard.ts";

const mebibyte = 1024 * 1024;
const reserveBytes = 8 * mebibyte;
const patienceMs = 30_000;
const filler = (path: string, mebibytes: number) => writeFile(path, Buffer.alloc(mebibytes * mebibyte, 1));

async function opened(node: SmallFileSystem, vms = node) {
  const reserve = { path: join(node.path, "reserve"), bytes: reserveBytes };
  const deps = { clock: systemClock, logger: silentLogger, directory: vms.path, reserve };
  const guard = await SpaceGuard.open(deps);
  const until = (holds: (space: { mustHold: boolean; hasRoom: boolean }) => boolean) =>
    withTimeLimit(systemClock, patienceMs, undefined, (signal) => guard.space.until(holds, { signal }));
  return { guard, reserve: reserve.path, until };
}

describeWith(describe, smallFileSystemNeeds)("SpaceGuard on a small file system", () => {
  it("keeps the reserve once VMs write here, gives it up when they stand still, and makes it again", async () => {
    await using node = SmallFileSystem.mount(64);
    const { guard, reserve, until } = await opened(node);
    expect(guard.space.value).toEqual({ mustHold: false, hasRoom: true });
    expect(existsSync(reserve)).toBe(false);
    let still = false;
    guard.want(() => still);
    expect(guard.space.value.mustHold).toBe(true);
    await until(({ mustHold }) => !mustHold);
    expect((await stat(reserve)).blocks * 512).toBeGreaterThanOrEqual(reserveBytes);

    const guest = join(node.path, "guest");
    await filler(guest, 50);
    await until(({ mustHold }) => mustHold);
    expect(existsSync(reserve)).toBe(true);
    still = true;
    await untilGone(reserve);
    // Another process of the node finds it full: nothing goes on there either.
    await guard.close();
    const again = await opened(node);
    again.guard.want(() => true);
    expect(again.guard.space.value.mustHold).toBe(true);
    await again.until(({ hasRoom }) => !hasRoom);
    expect(again.guard.space.value.mustHold).toBe(true);
    await rm(guest);
    await again.until(({ mustHold, hasRoom }) => !mustHold && hasRoom);
    expect(existsSync(reserve)).toBe(true);
    await again.guard.close();
  });

  it("does not wait for ever for VMs that do not stand still", async () => {
    await using node = SmallFileSystem.mount(64);
    const { guard, reserve, until } = await opened(node);
    guard.want(() => false);
    await until(({ mustHold }) => !mustHold);
    await filler(join(node.path, "guest"), 50);
    await untilGone(reserve);
    expect(guard.space.value.mustHold).toBe(true);
    await guard.close();
  });

  it("holds no VM back whose disks are on another file system", async () => {
    await using node = SmallFileSystem.mount(64);
    await using vms = SmallFileSystem.mount(64);
    const { guard, reserve, until } = await opened(node, vms);
    guard.want(() => false);
    await filler(join(vms.path, "guest"), 60);
    await until(({ hasRoom }) => !hasRoom);
    expect(guard.space.value.mustHold).toBe(false);
    await filler(join(node.path, "others"), 50);
    await untilGone(reserve);
    expect(guard.space.value).toEqual({ mustHold: false, hasRoom: false });
    await guard.close();
  });

  it("lets no VM with disks begin while there is no room for the reserve, and others begin", async () => {
    await using node = SmallFileSystem.mount(64);
    const others = join(node.path, "others");
    await filler(others, 45);
    await mkdir(join(node.path, "vms"));
    const reserve = { path: join(node.path, "reserve"), bytes: reserveBytes };
    await using harness = await VmHarness.open({
      drivers: [new FakeDriver()],
      parent: join(node.path, "vms"),
      reserve,
    });
    harness.want({ spec: { disks: [{ name: "data", sizeGiB: 1 }] } });
    expect(await harness.untilPhase("Pending")).toMatchObject({ reason: "no-room" });
    await rm(others);
    await harness.untilReady();
    harness.want({ fencingEpoch: 2 });
    await filler(others, 45);
    await harness.untilReady(2);
  });
});

async function untilGone(path: string): Promise<void> {
  const untilMs = systemClock.monotonicMs() + patienceMs;
  while (existsSync(path)) {
    if (systemClock.monotonicMs() > untilMs) throw new Error(`${path} is still there`);
    await new Promise((resolve) => systemClock.setTimer(20, () => resolve(undefined)));
  }
}
