import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, symlinkSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import { ProcessCluster } from "@blixard/testing";
import { ovaFile, partitionedDisk, qcow2File } from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const patienceMs = 180_000;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

describe("images from the command line", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let files: string;
  let server: Server;
  /** What the server was asked for, and how it answers. */
  const served = { content: Buffer.alloc(0), breaksAt: 0, ranges: [] as (string | undefined)[] };

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "fake"] });
    client = cluster.client();
    files = await mkdtemp(join(tmpdir(), "blixard-images-"));
    server = createServer((request, response) => {
      const { range } = request.headers;
      served.ranges.push(range);
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
      const rest = served.content.subarray(from);
      const headers = { etag: '"one"', "content-length": rest.length };
      const part = `bytes ${from}-${served.content.length - 1}/${served.content.length}`;
      response.writeHead(from > 0 ? 206 : 200, from > 0 ? { ...headers, "content-range": part } : headers);
      const { breaksAt } = served;
      served.breaksAt = 0;
      if (breaksAt === 0) response.end(rest);
      else response.write(rest.subarray(0, breaksAt), () => setTimeout(() => response.destroy(), 200));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  }, patienceMs);

  afterAll(async () => {
    client.close();
    server.close();
    await cluster.close();
    await rm(files, { recursive: true, force: true });
  });

  const at = (id: number, ...args: string[]) =>
    runBinary([...args, "--data-dir", `${cluster.dataRoot}/node-${id}`], {
      env: { XDG_CACHE_HOME: join(files, "cache") },
    });
  const image = (...args: string[]) => at(1, "image", ...args);
  const file = async (name: string, bytes: Uint8Array | string) => {
    await writeFile(join(files, name), bytes);
    return join(files, name);
  };
  const blobsOf = (id: number) => readdirSync(join(cluster.dataRoot, `node-${id}`, "vms", "images", "blobs"));
  const allBlobs = () => [1, 2, 3].flatMap(blobsOf);

  it("are refused before anything is sent, and change nothing", async () => {
    const before = [allBlobs(), await client.images.list()];
    const [pipe, link] = [join(files, "pipe"), join(files, "link")];
    execFileSync("mkfifo", [pipe]);
    symlinkSync(files, link);
    const qcow2 = (name: string, change: (view: DataView) => void) => file(name, qcow2File(change));
    const hostile: readonly (readonly [string, string, ...string[]])[] = [
      [files, "it is a directory"],
      [link, "it is a directory"],
      [pipe, "no regular file"],
      ["/dev/zero", "no regular file"],
      [join(files, "missing"), "does not exist"],
      [await file("text", "hello\n".repeat(1_000)), "no sign of a disk"],
      [await file("empty", ""), "it is empty"],
      [await file("cut", qcow2File().slice(0, 90)), "cut off"],
      [await file("short", qcow2File().slice(0, 300_000)), "cut off"],
      [await qcow2("backing", (view) => view.setBigUint64(8, 512n)), "backing file"],
      [await qcow2("data", (view) => view.setBigUint64(72, 4n)), "data file"],
      [await qcow2("snapshots", (view) => view.setUint32(60, 2)), "snapshots"],
      [await qcow2("absurd", (view) => view.setBigUint64(24, 1n << 60n)), "its disk would have"],
      [await file("as-raw", qcow2File()), "is not that of a raw disk", "--format", "raw"],
      [await file("as-vmdk", partitionedDisk(4_096)), "it is no vmdk", "--format", "vmdk"],
      [await file("sum", partitionedDisk(4_096)), "has the SHA-256", "--checksum", `sha256:${"0".repeat(64)}`],
    ];
    for (const [path, why, ...options] of hostile) {
      const refused = await image("import", "bad", path, ...options);
      expect([path, refused.code, refused.stderr]).toEqual([path, 64, expect.stringContaining(why)]);
      expect(refused.stderr).not.toContain("uploading");
      expect(refused.stderr).not.toMatch(/^ +at /m);
    }
    expect([allBlobs(), await client.images.list()]).toEqual(before);
  });

  it("are refused by the node too, whatever a client says of them", async () => {
    const text = new TextEncoder().encode("hello\n".repeat(20_000));
    async function* pieces(bytes: Uint8Array) {
      yield bytes;
    }
    const refusal = { code: "INVALID_ARGUMENT" };
    await expect(client.images.uploadBlob(pieces(text))).rejects.toMatchObject(refusal);
    const disk = partitionedDisk(1024 * 1024);
    const { digest, sizeBytes, nodeId } = await client.images.uploadBlob(pieces(disk));
    const put = (more: object, format: "disk" | "linux" = "disk") =>
      client.images.put({
        ...{ name: "lie", format, sources: [nodeId] },
        blobs: [{ role: format === "disk" ? "disk" : "kernel", digest, sizeBytes, ...more }],
      });
    await expect(put({ digest: "ab".repeat(32) })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(put({ sizeBytes: 1 })).rejects.toMatchObject(refusal);
    await expect(put({ format: "qcow2" })).rejects.toMatchObject(refusal);
    await expect(put({}, "linux")).rejects.toMatchObject(refusal);
    expect(await client.images.list()).not.toContainEqual(expect.objectContaining({ name: "lie" }));
  });

  it("are held by two nodes, each a source, and come back as they were", async () => {
    const disk = partitionedDisk(3 * 1024 * 1024);
    const path = await file("disk.raw", disk);
    expect(await image("import", "mine", path, "--checksum", `sha256:${sha256(disk)}`)).toMatchObject({ code: 0 });
    const holders = await untilHeld("mine", 2);
    for (const id of holders) expect(blobsOf(id)).toContain(sha256(disk));
    expect((await at(2, "image", "get", "mine")).stdout).toMatch(
      new RegExp(`^mine +disk .* ${holders.join(",")} +no`, "m"),
    );
    const [other = 0] = [1, 2, 3].filter((id) => !holders.includes(id));
    const out = join(files, "out.raw");
    expect(await at(other, "image", "export", "mine", out)).toMatchObject({ code: 0 });
    expect(readFileSync(out).equals(disk)).toBe(true);
    expect(await at(other, "image", "export", "mine", out)).toMatchObject({ code: 5 });
    // The node of a VM becomes a source.
    expect(await at(1, "vm", "create", "user", "--image", "mine", "--memory", "64M")).toMatchObject({ code: 0 });
    expect(await image("remove", "mine", "--yes")).toMatchObject({ code: 5, stderr: expect.stringContaining("user") });
    const { node } = await client.vms.get("user");
    const after = await untilHeld("mine", 2);
    expect(after).toContain(node);
    expect(await image("import", "again", path)).toMatchObject({ code: 0, stderr: expect.stringContaining("already") });
  });

  it("come as an OVA, which is checked, and are stored as qcow2", async () => {
    const raw = await file("source.raw", partitionedDisk(2 * 1024 * 1024));
    const vmdk = join(files, "made.vmdk");
    execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, vmdk]);
    const disk = new Uint8Array(readFileSync(vmdk));
    expect(
      await image(
        "import",
        "bad",
        await file("bad.ova", ovaFile({ disk, digests: `SHA256(vm.ovf)= ${"0".repeat(64)}\n` })),
      ),
    ).toMatchObject({ code: 64, stderr: expect.stringContaining("another digest") });
    expect(await image("import", "appliance", await file("vm.ova", ovaFile({ disk })))).toMatchObject({ code: 0 });
    expect((await client.images.get("appliance")).blobs).toMatchObject([{ role: "disk", format: "qcow2" }]);
    const out = join(files, "appliance.qcow2");
    expect(await image("export", "appliance", out)).toMatchObject({ code: 0 });
    const back = join(files, "back.raw");
    execFileSync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", out, back]);
    expect(readFileSync(back).equals(readFileSync(raw))).toBe(true);
  });

  it("come from a URL, go on where the server or the node broke off, and are checked", async () => {
    const disk = partitionedDisk(4 * 1024 * 1024).fill(9, 600_000, 3_000_000);
    served.content = Buffer.from(disk);
    served.breaksAt = 1_000_000;
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.raw`;
    const digest = sha256(disk);
    // A part of it is on the node from an upload that broke off.
    async function* broken() {
      yield disk.slice(0, 1_500_000);
      throw new Error("broken on purpose");
    }
    await expect(client.images.uploadBlob(broken(), { digest, sizeBytes: disk.length })).rejects.toBeDefined();
    const before = await client.images.statBlob(digest);
    expect(before).toMatchObject({ isWhole: false });
    const imported = await at(before.nodeId, "image", "import", "fetched", url, "--checksum", `sha256:${digest}`);
    expect(imported).toMatchObject({ code: 0 });
    expect(imported.stderr).toMatch(before.storedBytes > 0 ? /from byte \d+ on/ : /uploading/);
    expect(served.ranges).toEqual([undefined, expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    expect((await client.images.get("fetched")).blobs).toMatchObject([{ digest, sizeBytes: disk.length }]);
    expect(readdirSync(join(files, "cache", "blixard", "imports"))).toEqual([]);
    served.content = Buffer.from("<html>not found</html>");
    expect(await image("import", "page", `${url}?page`)).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("no sign of a disk"),
    });
    expect(await image("import", "page", "ftp://127.0.0.1/disk")).toMatchObject({ code: 64 });
  });

  it("are fetched by a node from the public Internet alone, and for an administrator", async () => {
    const { port } = server.address() as AddressInfo;
    served.ranges = [];
    for (const host of ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "2130706433"]) {
      const refused = await image("import", "inside", `http://${host}:${port}/disk`, "--on-node");
      expect([host, refused.code]).toEqual([host, 4]);
      expect(refused.stderr).toContain("no address of the public Internet");
    }
    expect(served.ranges).toEqual([]);
    const operator = await client.tokens.create({ role: "operator" });
    const asked = image("import", "inside", "http://8.8.8.8/", "--on-node", "--token", operator.token);
    expect(await asked).toMatchObject({ code: 4 });
  });

  it("are pinned, and collected when nothing names them", async () => {
    expect(await image("pin", "fetched")).toMatchObject({ code: 0, stdout: expect.stringMatching(/^fetched .* yes/m) });
    expect(await image("remove", "fetched", "--yes")).toMatchObject({
      code: 5,
      stderr: expect.stringContaining("pinned"),
    });
    const [{ digest = "" } = {}] = (await client.images.get("appliance")).blobs;
    await untilHeld("appliance", 2);
    const dry = await image("gc", "--unused", "--older-than", "1s", "--dry-run");
    expect(dry.stdout).toContain("image appliance would be forgotten");
    expect(dry.stdout).not.toContain("image mine would");
    expect(dry.stdout).not.toContain("image fetched would");
    expect(allBlobs()).toContain(digest);
    expect(await image("gc", "--unused", "--older-than", "1s", "--yes")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(digest),
    });
    expect(allBlobs()).not.toContain(digest);
    expect((await client.images.list()).map(({ name }) => name).sort()).toEqual([
      "builtin/nano",
      "demo",
      "fetched",
      "mine",
    ]);
    expect(await image("unpin", "fetched")).toMatchObject({ code: 0 });
    expect(await image("remove", "fetched", "--yes")).toMatchObject({ code: 0 });
  });

  async function untilHeld(name: string, count: number): Promise<readonly number[]> {
    for (let tries = 0; ; tries++) {
      const { sources } = await client.images.get(name);
      if (sources.length >= count) return sources;
      if (tries > patienceMs / 100) throw new Error(`${name} is held by ${sources.join(",")} alone`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
});
