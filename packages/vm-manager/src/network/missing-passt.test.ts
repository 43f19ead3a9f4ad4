/** A machine without passt: what it says of itself, and what becomes of its VMs. */
import { readdir, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { systemClock } from "@blixard/common/system";
import { afterAll, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { QemuDriver } from "../qemu/qemu-driver.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { VmHarness } from "../testing/vm-harness.ts";
import { whyNoNetworks } from "./vm-networks.ts";

const qemu = {
  name: "QEMU",
  present: findProgram("qemu-system-x86_64") !== undefined,
  install: "apt-get install -y qemu-system-x86 qemu-utils",
};
const path = process.env["PATH"];
afterAll(() => {
  process.env["PATH"] = path;
});
afterAll(removeTemporaryDirectories);

/** The programs of this machine, but for passt. */
async function hidePasst(): Promise<void> {
  const directory = await temporaryDirectory();
  for (const folder of (path ?? "").split(delimiter)) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (!name.startsWith("passt")) await symlink(join(folder, name), join(directory, name)).catch(() => {});
    }
  }
  process.env["PATH"] = directory;
}

describeWith(describe, qemu)("a machine without passt", () => {
  it("runs a VM that names no network, says so, and refuses one that asks for it", async () => {
    await hidePasst();
    expect(await whyNoNetworks(systemClock)).toEqual({
      reason: "passt is not installed",
      hint: "install passt: apt-get install -y passt",
    });
    const driver = new QemuDriver({ clock: systemClock }, { accelerator: "tcg" });
    await using harness = await VmHarness.open({ drivers: [driver] });
    expect(harness.capacity.capabilities?.map(({ networks }) => networks)).toEqual([["private"]]);
    harness.want();
    const running = await harness.untilReady();
    const message = "it has no network card: passt is not installed";
    expect(running.conditions).toEqual([{ type: "Network", status: false, reason: "NoNetwork", message }]);
    harness.want({ fencingEpoch: 2, spec: { networks: [] } });
    expect((await harness.untilReady(2)).conditions).toBeUndefined();
    harness.want({ fencingEpoch: 3, spec: { networks: [{ network: "user" }] } });
    const failed = await harness.untilPhase("Failed");
    expect(failed).toMatchObject({
      reason: "driver-unsupported",
      message: expect.stringContaining("has no network user there"),
    });
  });
});
