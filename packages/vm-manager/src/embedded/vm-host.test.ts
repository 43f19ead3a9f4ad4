import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, describe, expect, it } from "@jest/globals";
import { nanoGuestElf } from "../guest/nano-guest.ts";
import { bindInstanceSocket } from "../process/instance-socket.ts";
import { QmpClient } from "../process/qmp-client.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import type { VmHostConfig } from "./vm-host-config.ts";

afterAll(removeTemporaryDirectories);

const program = fileURLToPath(new URL("../../dist/embedded/vm-host.js", import.meta.url));

interface StartedHost {
  readonly host: ChildProcess;
  readonly controlSocket: string;
  readonly journalOut: string;
}

async function startHost(): Promise<StartedHost> {
  const directory = await temporaryDirectory();
  const path = (name: string) => join(directory, name);
  await writeFile(path("nano.elf"), nanoGuestElf());
  const config: VmHostConfig = {
    format: 1,
    vmId: "11111111-2222-4333-8444-555555555555",
    name: "web",
    memoryMiB: 16,
    boot: { type: "multiboot", kernelPath: "nano.elf", commandLine: "" },
    consoleLog: "console.log",
    journalOut: "journal.out",
  };
  await writeFile(path("config.json"), JSON.stringify(config));
  await using control = await bindInstanceSocket(path("c"));
  await using serial = await bindInstanceSocket(path("s"));
  const host = spawn(process.execPath, [program, "-config", "config.json"], {
    cwd: directory,
    stdio: ["inherit", "inherit", "inherit", control.descriptor, serial.descriptor],
  });
  await once(host, "spawn");
  return { host, controlSocket: path("c"), journalOut: path("journal.out") };
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
    const { host, controlSocket } = await startHost();
    try {
      const client = await connectEarly(controlSocket);
      expect(await client.execute("query-status")).toMatchObject({ status: "running" });
      client.close();
    } finally {
      host.kill("SIGKILL");
    }
  });

  it("ends by itself on quit and on SIGTERM, and says why in its journal", async () => {
    for (const [end, reason] of [
      ["quit", "host-qmp-quit"],
      ["SIGTERM", "host-signal"],
    ] as const) {
      const { host, controlSocket, journalOut } = await startHost();
      const client = await connectEarly(controlSocket);
      const exited = once(host, "exit");
      if (end === "quit") await client.execute("quit").catch(() => {});
      else host.kill("SIGTERM");
      expect(await exited).toEqual([0, null]);
      expect(await readFile(journalOut, "utf8")).toContain(`"reason":"${reason}"`);
      client.close();
    }
  });

  it("refuses commands outside the part of QMP that it speaks", async () => {
    const { host, controlSocket } = await startHost();
    try {
      const client = await connectEarly(controlSocket);
      await expect(client.execute("human-monitor-command")).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
      client.close();
    } finally {
      host.kill("SIGKILL");
    }
  });
});
