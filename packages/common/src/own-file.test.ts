import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { writeFileDurable } from "./durable-file.ts";
import { readNamedFile, readNamedFileNow } from "./named-file.ts";
import { assertOwnDirectory, makePrivateDirectory, readOwnFile, writeOwnFile } from "./own-file.ts";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "blixard-own-"));
  path = join(directory, "secret");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const onUnix = process.platform === "win32" ? it.skip : it;
const asRoot = process.geteuid?.() === 0 ? it : it.skip;
const nobody = 65_534;
const pipe = () => execFileSync("mkfifo", ["-m", "600", path]);

describe("readOwnFile", () => {
  it("reads a file of this user that nobody else can use", async () => {
    await writeFile(path, "text", { mode: 0o600 });
    expect(readOwnFile(path)).toBe("text");
    expect(() => readOwnFile(join(directory, "none"))).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });

  onUnix.each([
    ["mode 0640", () => writeFile(path, "x").then(() => chmod(path, 0o640)), "mode", "can read it \\(mode 0640\\)"],
    ["mode 0602", () => writeFile(path, "x").then(() => chmod(path, 0o602)), "mode", "can write it"],
    ["a link", () => symlink("/etc/hostname", path), "link", "is a link"],
    ["a link to nothing", () => symlink("/nowhere", path), "link", "is a link"],
    ["a pipe that nobody writes to", pipe, "kind", "is no file"],
    [
      "a huge file",
      () => writeFile(path, "", { mode: 0o600 }).then(() => truncate(path, 2 ** 33)),
      "size",
      "larger than",
    ],
  ])("refuses %s at once", async (_what, plant, fault, words) => {
    await plant();
    expect(() => readOwnFile(path)).toThrow(
      expect.objectContaining({ code: "DATA_DIR_INVALID", details: { fault }, message: expect.stringMatching(words) }),
    );
  });

  onUnix("refuses a socket", async () => {
    const server = createServer().listen(path);
    await new Promise((resolve) => server.once("listening", resolve));
    expect(() => readOwnFile(path)).toThrow(expect.objectContaining({ details: { fault: "kind" } }));
    await new Promise((resolve) => server.close(resolve));
  });

  asRoot("refuses a file of another user, also as root, and says what to type", async () => {
    await writeFile(path, "x", { mode: 0o600 });
    await chown(path, nobody, nobody);
    const fault = expect.objectContaining({
      code: "INVALID_ARGUMENT",
      details: { fault: "owner" },
      message: `${path} belongs to user ${nobody}, and this is user 0`,
      hint: expect.stringContaining(`chown 0 ${path}`),
    });
    expect(() => readOwnFile(path, { code: "INVALID_ARGUMENT", public: true })).toThrow(fault);
  });

  onUnix("gives a mode its own code, and does not look at that of a file without a secret", async () => {
    await writeFile(path, "x");
    await chmod(path, 0o644);
    expect(() => readOwnFile(path, { modeCode: "KEY_FILE_TOO_OPEN" })).toThrow(
      expect.objectContaining({ code: "KEY_FILE_TOO_OPEN", hint: `Run: chmod 600 ${path}` }),
    );
    expect(readOwnFile(path, { public: true })).toBe("x");
  });

  it("leaves the errors of the system as they are", async () => {
    await mkdir(path);
    expect(() => readOwnFile(path)).toThrow(expect.objectContaining({ code: "EISDIR" }));
    // Linux answers a read at the beginning of this file with EIO.
    if (process.platform !== "linux") return;
    expect(() => readOwnFile("/proc/self/mem")).toThrow(expect.objectContaining({ code: "EIO" }));
  });
});

describe("writeOwnFile", () => {
  onUnix("replaces a link and leaves alone where it leads, for this user only", async () => {
    const victim = join(directory, "victim");
    await writeFile(victim, "precious");
    await symlink(victim, path);
    writeOwnFile(path, "new");
    expect(await readFile(victim, "utf8")).toBe("precious");
    expect([(await lstat(path)).isFile(), (await stat(path)).mode & 0o777]).toEqual([true, 0o600]);
    expect((await readdir(directory)).sort()).toEqual(["secret", "victim"]);
  });

  it("keeps the old file, and no draft, when the new one cannot be put in its place", async () => {
    await mkdir(path);
    expect(() => writeOwnFile(path, "new")).toThrow();
    expect(await readdir(directory)).toEqual(["secret"]);
  });
});

describe("writeFileDurable", () => {
  onUnix(
    "follows no link that stands where its draft will be, and takes the draft of a writer that was killed",
    async () => {
      const victim = join(directory, "victim");
      await writeFile(victim, "precious");
      for (const plant of [() => symlink(victim, `${path}.tmp`), () => writeFile(`${path}.tmp`, "half")]) {
        await plant();
        await writeFileDurable(path, "new");
        expect([await readFile(victim, "utf8"), await readFile(path, "utf8")]).toEqual(["precious", "new"]);
      }
      expect((await readdir(directory)).sort()).toEqual(["secret", "victim"]);
    },
  );
});

describe("assertOwnDirectory", () => {
  onUnix("takes a link to one, and a wide one only as long as it is empty", async () => {
    await mkdir(path);
    await chmod(path, 0o755);
    await symlink(path, join(directory, "link"));
    const wide = expect.objectContaining({ details: { fault: "mode" }, hint: expect.stringContaining("chmod 700 ") });
    expect(() => assertOwnDirectory(path)).toThrow(wide);
    assertOwnDirectory(join(directory, "link"), { emptyMayBeWide: true });
    await mkdir(join(path, "lost+found"));
    assertOwnDirectory(path, { emptyMayBeWide: true });
    await writeFile(join(path, "node.key"), "");
    expect(() => assertOwnDirectory(path, { emptyMayBeWide: true })).toThrow(wide);
    await chmod(path, 0o700);
    assertOwnDirectory(path);
  });

  asRoot("refuses the directory of another user, empty or not", async () => {
    await mkdir(path, { mode: 0o700 });
    await chown(path, nobody, nobody);
    const foreign = expect.objectContaining({ details: { fault: "owner" } });
    expect(() => assertOwnDirectory(path, { emptyMayBeWide: true })).toThrow(foreign);
  });
});

describe("makePrivateDirectory", () => {
  onUnix("makes each missing part for this user only", async () => {
    const below = join(path, "a", "b");
    makePrivateDirectory(below);
    makePrivateDirectory(below);
    for (const part of [path, join(path, "a"), below]) expect((await stat(part)).mode & 0o777).toBe(0o700);
  });

  it("ends where a file system takes no directories", async () => {
    await writeFile(path, "");
    expect(() => makePrivateDirectory(join(path, "a"))).toThrow(/secret is no directory/);
    if (!existsSync("/proc/self")) return;
    expect(() => makePrivateDirectory("/proc/x/y")).toThrow(/\/proc\/x cannot be made: \/proc takes no directories/);
  });
});

describe("readNamedFile", () => {
  onUnix("follows links, and reads what others may read", async () => {
    await writeFile(join(directory, "target"), "text");
    await symlink("target", path);
    expect([await readNamedFile(path, 4), readNamedFileNow(path, 4)]).toEqual(["text", "text"]);
  });

  it("reads no more than it may, however much there is", async () => {
    await writeFile(path, "");
    await truncate(path, 2 ** 33);
    await expect(readNamedFile(path, 1_000)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
    expect(() => readNamedFileNow(path, 1_000)).toThrow(expect.objectContaining({ code: "VALUE_TOO_LARGE" }));
    if (!existsSync("/dev/zero")) return;
    await expect(readNamedFile("/dev/zero", 100_000)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
    expect(await readNamedFile("/dev/null", 1)).toBe("");
  });

  onUnix("reads a pipe to its end, and does not wait for a writer for ever", async () => {
    pipe();
    const text = readNamedFile(path, 100_000);
    await writeFile(path, "x".repeat(80_000));
    expect((await text).length).toBe(80_000);
    await expect(readNamedFile(path, 10)).rejects.toThrow(/nobody writes into/);
    expect(() => readNamedFileNow(path, 10)).toThrow(/is no file/);
  });
});
