import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { vmSpecSchema } from "@blixard/protocol";
import { afterAll, describe, expect, it } from "@jest/globals";
import { nanoGuestElf } from "../guest/nano-guest.ts";
import { QmpClient } from "../process/qmp-client.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import type { VmHostConfig } from "./vm-host-config.ts";

afterAll(removeTemporaryDirectories);

const program = fileURLToPath(new URL("../../dist/embedded/vm-host.js", import.meta.url));

async function startHost(): Promise<{ readonly host: ChildProcess; readonly config: VmHostConfig }> {
  const directory = await temporaryDirectory();
  const path = (name: string) => join(directory, name);
  await writeFile(path("nano.elf"), nanoGuestElf());
  const config: VmHostConfig = {
    format: 1,
    vmId: "11111111-2222-4333-8444-555555555555",
    name: "web",
    fencingEpoch: 1,
    generation: 1,
    driver: "embedded",
    vm: vmSpecSchema.parse({ memoryMiB: 16, image: "nano" }),
    boot: { type: "multiboot", kernelPath: path("nano.elf"), commandLine: "" },
    paths: {
      directory,
      pidFile: path("pid"),
      controlSocket: path("c"),
      serialSocket: path("s"),
      consoleLog: path("console.log"),
      stderrLog: path("stderr.log"),
      journalIn: path("journal.in"),
      journalOut: path("journal.out"),
    },
    machine: undefined,
  };
  await writeFile(path("config.json"), JSON.stringify(config));
  return { host: spawn(process.execPath, [program, "-config", path("config.json")], { stdio: "inherit" }), config };
}

/** Connects as soon as there is anything to connect to. */
async function connectEarly(path: string): Promise<QmpClient> {
  for (;;) {
    if (existsSync(path)) {
      const connected = await QmpClient.connect({
        clock: systemClock,
        path,
        onEvent: () => {},
        onClose: () => {},
      }).catch(() => undefined);
      if (connected !== undefined) return connected;
    }
    await sleep(systemClock, 1);
  }
}

describe("vm-host", () => {
  it("lets nobody in before its machine is made: resumed too early it would execute zeros", async () => {
    const { host, config } = await startHost();
    try {
      const client = await connectEarly(config.paths.controlSocket);
      expect(await client.execute("query-status")).toMatchObject({ status: "running" });
      client.close();
    } finally {
      host.kill("SIGKILL");
    }
  });

  it("ends by itself on quit and on SIGTERM, says why in its journal, and leaves no socket", async () => {
    for (const [end, reason] of [
      ["quit", "host-qmp-quit"],
      ["SIGTERM", "host-signal"],
    ] as const) {
      const { host, config } = await startHost();
      const client = await connectEarly(config.paths.controlSocket);
      const exited = once(host, "exit");
      if (end === "quit") await client.execute("quit").catch(() => {});
      else host.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      expect(await readFile(config.paths.journalOut, "utf8")).toContain(`"reason":"${reason}"`);
      expect(
        existsSync(config.paths.controlSocket) ||
          existsSync(config.paths.serialSocket) ||
          existsSync(config.paths.pidFile),
      ).toBe(false);
      client.close();
    }
  });

  it("refuses commands outside the part of QMP that it speaks", async () => {
    const { host, config } = await startHost();
    try {
      const client = await connectEarly(config.paths.controlSocket);
      await expect(client.execute("human-monitor-command")).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
      client.close();
    } finally {
      host.kill("SIGKILL");
    }
  });
});
