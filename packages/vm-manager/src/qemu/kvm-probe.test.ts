import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "@blixard/common/system";
import { afterAll, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { runProbe } from "./kvm-probe.ts";
import { kvmProbeRom } from "./kvm-probe-rom.ts";
import { QemuDriver, qemuInstallHint } from "./qemu-driver.ts";

afterAll(removeTemporaryDirectories);

const program = "qemu-system-x86_64";
const qemu = { name: "QEMU", present: findProgram(program) !== undefined, install: qemuInstallHint };

async function probeRom(change: (rom: Uint8Array) => void, timeoutMs: number) {
  const path = join(await temporaryDirectory(), "rom");
  const rom = kvmProbeRom();
  change(rom);
  await writeFile(path, rom);
  // Translation always works, so it shows what the ROM and the judgement do on a sound machine.
  return await runProbe(program, path, "tcg", timeoutMs);
}

describeWith(describe, qemu)("runProbe", () => {
  it("says yes when the ROM gets through long mode and its loop", async () => {
    expect(await probeRom(() => {}, 60_000)).toEqual({ works: true });
  });

  it("kills a guest that does not finish, and says so", async () => {
    const result = await probeRom((rom) => rom.set([0xeb, 0xfe], 0), 500);
    expect(result).toEqual({ works: false, reason: "a test guest did not finish within 500 ms" });
  });

  it("says no with the reason for any other end", async () => {
    const result = await runProbe(program, "/does-not-exist", "tcg", 60_000);
    expect(result).toMatchObject({ works: false, reason: expect.stringContaining("does-not-exist") });
  });
});

describe("QemuDriver.probe", () => {
  it("says how to get QEMU when it is missing", async () => {
    const driver = new QemuDriver(
      { clock: systemClock },
      { program: "no-such-qemu", cacheDirectory: await temporaryDirectory() },
    );
    expect(await driver.probe()).toEqual({
      works: false,
      reason: "no-such-qemu is not installed",
      hint: qemuInstallHint,
    });
  });
});
