/** Each entry of this package in a process that has nothing installed but the packages of this repository. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

const packages = fileURLToPath(new URL("../../", import.meta.url));
const installed = join(packages, "../node_modules");
const transport = join(packages, "transport");

/** Binds an adapter and prints the error that this ends with. */
const program = (entry: string, make: string) => `
  import { ${make} } from "@blixard/transport/${entry}";
  const clock = { monotonicMs: () => 0, elapsedMs: () => 0, unixMs: () => Date.now(), setTimer: () => ({ cancel() {} }) };
  const options = { clock, secretKey: new Uint8Array(32), bind: "127.0.0.1:0", relay: false, discovery: false };
  const adapter = ${make}(options);
  const { code, message, hint } = await adapter.bind().then(() => ({ message: "it works" }), (error) => error);
  await adapter.close();
  console.log(JSON.stringify({ code, message, hint }));
`;

describe("an adapter whose packages are optional peers", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-peers-"));
    await mkdir(join(directory, "node_modules/@blixard"), { recursive: true });
    for (const name of await readdir(packages)) await link(`@blixard/${name}`, join(packages, name));
    for (const name of ["msgpackr", "zod"]) await link(name, join(installed, name));
  });
  afterAll(() => rm(directory, { recursive: true }));

  async function link(name: string, target: string): Promise<void> {
    const path = join(directory, "node_modules", name);
    await mkdir(dirname(path), { recursive: true });
    await symlink(target, path);
  }

  async function run(source: string): Promise<unknown> {
    const file = join(directory, "program.mjs");
    await writeFile(file, source);
    // Links are not followed, so what is installed beside the packages of this repository is not found.
    const { stdout } = await promisify(execFile)(process.execPath, ["--preserve-symlinks", file], { cwd: directory });
    return JSON.parse(stdout);
  }

  it.each([
    ["Iroh", "iroh", "createIrohAdapter", ["@number0/iroh"]],
    [
      "gRPC",
      "grpc",
      "createGrpcAdapter",
      ["@grpc/grpc-js", "@grpc/proto-loader", "@grpc/reflection", "grpc-health-check"],
    ],
  ])("names the packages that %s lacks, and how to install them", async (name, entry, make, peers) => {
    const manifest = JSON.parse(await readFile(join(transport, "package.json"), "utf8"));
    const { code, message, hint } = (await run(program(entry, make))) as Record<string, string>;
    expect(code).toBe("UNSUPPORTED");
    expect(message).toMatch(new RegExp(`^the ${name} transport needs the package (${peers.join("|")}), which is not`));
    const wanted = peers.map((peer) => `${peer}@${manifest.peerDependencies[peer]}`);
    expect(hint).toBe(`Run: npm install ${wanted.join(" ")}`);
    for (const peer of peers) expect(manifest.peerDependenciesMeta[peer]).toEqual({ optional: true });
  });

  it("needs none of them for memory and for the choice between two adapters", async () => {
    const imports = ["", "/memory", "/dual", "/testing"].map((entry) => `await import("@blixard/transport${entry}");`);
    expect(await run(`${imports.join("\n")}; console.log('"loaded"');`)).toBe("loaded");
  });

  it("names the one package of an adapter that is missing", async () => {
    for (const name of ["@grpc/grpc-js", "@grpc/proto-loader", "grpc-health-check"]) {
      await link(name, join(installed, name));
    }
    // What these packages need themselves. The scopes that exist already keep what they have.
    for (const name of await readdir(installed)) await link(name, join(installed, name)).catch(() => {});
    const { message } = (await run(program("grpc", "createGrpcAdapter"))) as Record<string, string>;
    expect(message).toContain("needs the package @grpc/reflection,");
  });
});
