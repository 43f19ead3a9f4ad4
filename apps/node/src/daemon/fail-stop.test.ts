import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connectClient } from "@blixard/client";
import { errorCodeOf } from "@blixard/common";
import type { ReadyLine } from "@blixard/server";
import { ProcessNode } from "@blixard/testing";
import { describe, expect, it } from "@jest/globals";
import { builtBinary } from "../e2e/binary.ts";

const writesMax = 100;

describe("a node whose disk refuses a write", () => {
  it("stops with 74, acknowledges nothing that is lost, and goes on where there is room", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "blixard-full-"));
    // The kernel refuses to let any file of the process grow beyond this: a disk that is full for it alone.
    const limited = ["-c", 'ulimit -f 700; exec "$@"', "sh", process.execPath, builtBinary(), "node", "--id", "1"];
    const ports = ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", dataDir, "--vm-driver", "fake"];
    const child = spawn("sh", [...limited, ...ports], { stdio: ["ignore", "pipe", "pipe"] });
    const ended = once(child, "close");
    let stderr = "";
    child.stderr.on("data", (data) => {
      stderr += String(data);
    });
    const [line] = await once(createInterface({ input: child.stdout }), "line");
    const { http } = JSON.parse(String(line)) as ReadyLine;
    const token = (await readFile(join(dataDir, "admin.token"), "utf8")).trim();

    const acknowledged: string[] = [];
    let failure: unknown;
    {
      await using client = connectClient({ addresses: [http], token, timeoutMs: 5_000, unreachableMs: 100 });
      for (let at = 0; at < writesMax && failure === undefined; at++) {
        await client.kv.put(`k${at}`, "x".repeat(60_000)).then(
          () => acknowledged.push(`k${at}`),
          (error: unknown) => {
            failure = error;
          },
        );
      }
    }
    expect(await ended).toEqual([74, null]);
    expect(stderr).toContain("STORAGE_FAILED");
    expect(["STORAGE_FAILED", "UNREACHABLE", "STOPPED", "OUTCOME_UNKNOWN"]).toContain(errorCodeOf(failure));
    expect(acknowledged.length).toBeGreaterThan(0);

    const node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir, flags: ["--vm-driver", "fake"] });
    await using client = connectClient({ addresses: [node.ready.http], token });
    const { items } = await client.kv.list();
    expect(items.map(({ key }) => key)).toEqual(expect.arrayContaining(acknowledged));
    await node.stop();
    await rm(dataDir, { recursive: true });
  });
});
