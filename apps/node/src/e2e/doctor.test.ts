import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestCluster } from "@blixard/testing";
import { afterEach, describe, expect, it } from "@jest/globals";
import { type BinaryRun, runBinary } from "./run-binary.ts";

interface Report {
  readonly healthy: boolean;
  readonly findings: readonly { check: string; result: string; detail: string; next: string | null }[];
}

const reportOf = ({ stdout }: BinaryRun): Report => JSON.parse(stdout) as Report;
const find = (report: Report, check: string) => report.findings.find((finding) => finding.check === check);

describe("blixard doctor", () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  const home = async () => {
    const path = await mkdtemp(join(tmpdir(), "blixard-doctor-"));
    cleanups.push(() => rm(path, { recursive: true }));
    return path;
  };
  const listen = async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    cleanups.push(() => new Promise((closed) => server.close(closed)));
    return (server.address() as { port: number }).port;
  };

  it("examines a machine without a node, and exits 0 when nothing fails", async () => {
    const directory = await home();
    const run = await runBinary(["doctor", "--bind", "127.0.0.1:0", "--data-dir", directory, "-o", "json"], {
      env: { XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    });
    const report = reportOf(run);
    expect({ code: run.code, failed: report.findings.filter(({ result }) => result === "fail") }).toEqual({
      code: 0,
      failed: [],
    });
    for (const check of ["UDP", "Iroh", "clock", "Node.js", "blixard", "port bind", "port http", "relay"]) {
      expect([check, find(report, check)?.result]).toEqual([check, "ok"]);
    }
    expect(find(report, "disk fsync")).toMatchObject({ detail: expect.stringMatching(/^p50 [\d.]+ ms/), next: null });
    expect(find(report, "free space")?.detail).toContain(directory);
    // What cannot be known is not claimed.
    expect(find(report, "NAT")).toMatchObject({ result: "unknown" });
    expect(find(report, "cluster")).toMatchObject({ result: "unknown", next: expect.any(String) });
    expect(["QEMU", "KVM", "open files", "VM networks"].filter((check) => find(report, check) === undefined)).toEqual(
      [],
    );
  });

  it("says which walls around VMs are missing, and why that matters", async () => {
    const directory = await home();
    const off = ["--vm-users", "off", "--vm-control-group", "off"];
    const run = await runBinary(["doctor", "--bind", "127.0.0.1:0", "--data-dir", directory, ...off, "-o", "json"], {
      env: { XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    });
    const report = reportOf(run);
    expect(run.code).toBe(0);
    expect(find(report, "VM processes")).toMatchObject({ result: "ok", detail: expect.stringContaining("descriptor") });
    for (const [wall, matters] of [
      ["user", /switched off; .*the node's key/],
      ["control groups", /switched off; .*memory/],
    ] as const) {
      expect(find(report, `VM processes: ${wall}`)).toMatchObject({
        result: "warn",
        detail: expect.stringMatching(matters),
        next: expect.any(String),
      });
    }
  });

  it("names what fails and what to do next, in words and by exit code 1", async () => {
    const directory = await home();
    const bind = `127.0.0.1:${await listen()}`;
    const run = await runBinary(["doctor", "--bind", bind, "--http", "127.0.0.1:0", "--data-dir", directory], {
      env: { XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    });
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/^port bind\s+FAIL\s+TCP 127\.0\.0\.1:\d+ is taken/m);
    expect(run.stderr).toMatch(/^port bind: see who has it: ss /m);
  });

  it("asks a running node about its cluster", async () => {
    const cluster = await TestCluster.builder().withNodes(3).withTransport("iroh").build();
    cleanups.push(() => cluster.shutdown());
    const [first, second, third] = cluster.nodes;
    if (first === undefined || second === undefined || third === undefined)
      throw new Error("three nodes were asked for");
    await cluster.waitForLeader();
    const directory = await home();
    const doctor = async (bind = first.address) => {
      const target = ["--address", first.address, "--token", await first.token()];
      const own = ["--bind", bind, "--data-dir", first.dataDir, "--http", "127.0.0.1:0"];
      return runBinary(["doctor", ...target, ...own, "-o", "json"], {
        env: { XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
      });
    };
    const well = await doctor();
    const report = reportOf(well);
    expect([well.code, report.findings.filter(({ result }) => result === "fail")]).toEqual([0, []]);
    for (const check of [
      "node",
      "leader",
      "storage",
      "peer 2",
      "peer 3",
      "versions",
      "clock of 2",
      "clock of 3",
      "VM networks of the cluster",
    ]) {
      expect([check, find(report, check)?.result]).toEqual([check, "ok"]);
    }
    expect(find(report, "port bind")?.detail).toMatch(/is served by node 1/);
    // So is a port of another node of this user.
    await mkdir(join(directory, "blixard"), { mode: 0o700 });
    await symlink(second.dataDir, join(directory, "blixard", "node-2"));
    const other = await doctor(second.address);
    expect([other.code, find(reportOf(other), "port bind")?.detail]).toEqual([
      0,
      expect.stringMatching(/is served by node 2/),
    ]);
    await third.stop();
    // Silence is told apart from a moment without a message.
    let ill = await doctor();
    for (let attempt = 0; attempt < 20 && ill.code === 0; attempt++) ill = await doctor();
    expect(ill.code).toBe(1);
    expect(find(reportOf(ill), "peer 3")).toMatchObject({ result: "fail", next: expect.stringContaining("UDP") });
    expect(find(reportOf(ill), "clock of 3")).toMatchObject({ result: "unknown" });
  });
});
