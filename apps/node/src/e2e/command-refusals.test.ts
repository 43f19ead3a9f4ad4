import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { nanoGuestElf } from "@blixard/vm-manager";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { type BinaryRun, runBinary } from "./run-binary.ts";

describe("commands and routes that must not do as if", () => {
  let root: string;
  let node: ProcessNode;
  let worker: ProcessNode | undefined;
  let token: string;
  const env = () => ({ XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") });
  const blixard = (...args: string[]) => runBinary([...args, "--data-dir", join(root, "1")], { env: env() });
  const request = async (method: string, path: string, body?: string) => {
    const answer = await fetch(`${node.ready.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body }),
    });
    const { error } = (await answer.json()) as { error?: { code: string; outcome: string; message: string } };
    return { status: answer.status, ...error };
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-refusals-"));
    const flags = ["--vm-driver", "fake"];
    node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags });
    token = await node.token();
    expect((await blixard("vm", "create", "web", "--image", "demo", "--memory", "64M")).code).toBe(0);
  });

  afterAll(async () => {
    await worker?.stop("SIGKILL");
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it("vm create looks at --if-match", async () => {
    const create = ["vm", "create", "other", "--image", "demo", "--memory", "64M"];
    expect(await blixard(...create, "--if-match", "3")).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("PRECONDITION_FAILED"),
    });
    expect((await blixard("vm", "list", "-o", "name")).stdout).toBe("web\n");
    expect((await blixard(...create, "--if-match", "0")).code).toBe(0);
    expect((await blixard("vm", "delete", "other", "--yes")).code).toBe(0);
  });

  it.each([
    ["POST", "/v1/vms/web/stop", '{"force":true}'],
    ["POST", "/v1/vms/web/restart", '{"desired":"deleted"}'],
    ["POST", "/v1/vms/web/stop?force=true", undefined],
    ["PUT", "/v1/kv/k?ttl=5", '{"value":"v"}'],
    ["DELETE", "/v1/vms/web?force=true", undefined],
    ["DELETE", "/v1/vms/web", '{"force":true}'],
    ["DELETE", "/v1/kv/k", '{"if":1}'],
    ["DELETE", "/v1/tickets/t?role=voter", undefined],
  ])("%s %s refuses what it does not look at: %s", async (method, path, body) => {
    expect(await request(method, path, body)).toMatchObject({
      status: 400,
      code: "INVALID_ARGUMENT",
      outcome: "not_applied",
    });
    expect((await blixard("vm", "get", "web")).stdout).toContain("Running");
  });

  it("a VM that does not run can be neither paused nor resumed", async () => {
    // A running one can.
    expect(await blixard("vm", "pause", "web")).toMatchObject({ code: 0, stdout: expect.stringContaining("Paused") });
    expect((await blixard("vm", "pause", "web")).code).toBe(0);
    expect((await blixard("vm", "resume", "web")).code).toBe(0);
    expect(await blixard("vm", "resume", "web")).toMatchObject({ code: 0, stdout: expect.stringContaining("Running") });
    expect((await blixard("vm", "stop", "web")).code).toBe(0);
    for (const verb of ["pause", "resume"]) {
      expect(await blixard("vm", verb, "web", "--timeout", "3s")).toMatchObject({
        code: 5,
        stderr: expect.stringMatching(/is Stopped[\s\S]*blixard vm start web/),
      });
      expect(await request("POST", `/v1/vms/web/${verb}`)).toMatchObject({ status: 409, code: "CONFLICT" });
    }
    expect((await blixard("vm", "get", "web")).stdout).toContain("Stopped");
    expect((await blixard("vm", "start", "web")).code).toBe(0);
  });

  it("image import takes only what a VM can boot", async () => {
    const elf = join(root, "kernel.elf");
    await writeFile(elf, nanoGuestElf());
    const refused = async (...args: string[]) => {
      const { code, stderr } = await blixard("image", "import", "mine", ...args);
      expect(code).toBe(64);
      expect(stderr).not.toContain("uploading");
      return stderr;
    };
    expect(await refused("--kernel", "/etc/passwd")).toContain(
      "/etc/passwd: the image is refused: it is no Linux bzImage",
    );
    expect(await refused("--kernel", process.execPath)).toContain("no multiboot header");
    const vmdk = join(root, "disk.vmdk");
    await writeFile(vmdk, "# Disk DescriptorFile\nversion=1\n");
    expect(await refused("--kernel", elf, "--disk", vmdk)).toContain(`${vmdk}: the image is refused: its format`);
    expect((await blixard("image", "list", "-o", "name")).stdout).not.toContain("mine");
    expect((await blixard("image", "import", "mine", "--kernel", elf)).code).toBe(0);
  });

  it("status warns of what is dead and what is cordoned, and shows more with -o wide", async () => {
    const flags = ["--vm-driver", "fake"];
    const join_ = node.ready.bind;
    worker = await ProcessNode.start({ binary: builtBinary(), id: 2, dataDir: join(root, "2"), flags, join: join_ });
    await until(
      () => blixard("cluster", "demote", "2", "--role", "worker"),
      ({ code }) => code === 0,
    );
    expect((await blixard("nodes", "cordon", "1")).code).toBe(0);
    const [table, wide] = [await blixard("status"), await blixard("status", "-o", "wide")];
    expect(table.stderr).toContain("warning: node 1 is cordoned");
    for (const title of table.stdout.match(/[A-Z]{2,}(?: [A-Z]+)*/g) ?? []) expect(wide.stdout).toContain(title);
    expect(wide.stdout).toMatch(/ENDPOINT[\s\S]*PAIR/);
    await worker.stop("SIGKILL");
    const dead = await until(
      () => blixard("status"),
      ({ stderr }) => stderr.includes("does not answer"),
    );
    expect(dead.stderr).toMatch(/warning: node 2 \(n2\) does not answer/);
    expect(dead.stderr).toContain("next: start node 2 again");
    const { warnings } = JSON.parse((await blixard("status", "-o", "json")).stdout) as { warnings: string[] };
    expect(warnings).toHaveLength(2);
  });
});

async function until(run: () => Promise<BinaryRun>, holds: (run: BinaryRun) => boolean): Promise<BinaryRun> {
  for (let tries = 0; ; tries++) {
    const outcome = await run();
    if (holds(outcome)) return outcome;
    if (tries === 40) throw new Error(`not in time: ${JSON.stringify(outcome)}`);
    await sleep(systemClock, 250);
  }
}
