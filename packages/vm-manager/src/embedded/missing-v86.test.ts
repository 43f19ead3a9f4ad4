import { execFile } from "node:child_process";
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "@jest/globals";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";

afterAll(removeTemporaryDirectories);

const packages = fileURLToPath(new URL("../../..", import.meta.url));
const installed = fileURLToPath(new URL("../../../../node_modules", import.meta.url));

/** A directory of a program that installed this package, and not its optional peer. */
async function programDirectory(): Promise<string> {
  const directory = await temporaryDirectory();
  const parts = ["common", "raft", "protocol", "vm-manager"].flatMap((name) => [
    `${name}/package.json`,
    `${name}/dist`,
  ]);
  for (const part of [...parts, "vm-manager/guest"]) {
    await cp(join(packages, part), join(directory, "node_modules/@blixard", part), { recursive: true });
  }
  for (const name of ["zod", "msgpackr"]) {
    const to = join(directory, "node_modules", name);
    await mkdir(dirname(to), { recursive: true });
    await symlink(join(installed, name), to);
  }
  return directory;
}

const program = `
import { discardMetrics, silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { startVmManager } from "@blixard/vm-manager";
import { EmbeddedDriver } from "@blixard/vm-manager/embedded";
import "@blixard/vm-manager/qemu";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger, metrics: discardMetrics };
const drivers = [new EmbeddedDriver({ clock: systemClock })];
const { code, message, hint } = await startVmManager(deps, { dataDir: "vms", drivers }).catch((error) => error);
console.log(JSON.stringify({ code, message, hint }));
`;

describe("EmbeddedDriver without v86", () => {
  it("is loaded, and names the package to install when it is to work", async () => {
    const directory = await programDirectory();
    await writeFile(join(directory, "program.mjs"), program);
    const { stdout } = await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: directory });
    expect(JSON.parse(stdout)).toEqual({
      code: "VM_DRIVER_FAILED",
      message: "the package v86 is not installed, which embedded VMs run on",
      hint: expect.stringMatching(/^run: npm install v86@\^\d+\.\d+\.\d+$/),
    });
  });
});
