/** Who joins a node on loopback without a ticket: whoever can read the secret of its user, whatever the address looks like. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseHostPort } from "@blixard/common";
import { ProcessNode } from "@blixard/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? it : it.skip;
const hasNamespaces = isRoot && spawnSync("unshare", ["--net", "ip", "link", "set", "lo", "up"]).status === 0;
const inNamespace = hasNamespaces ? it : it.skip;
const nobody = 65_534;
// A forwarded port carries TCP.
const flags = ["--vm-driver", "fake", "--transport", "grpc"];

let root: string;
let runtime: string;
let first: ProcessNode;
const children: ChildProcess[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blixard-local-join-"));
  await chmod(root, 0o755);
  runtime = join(root, "runtime");
  await mkdir(runtime, { mode: 0o700 });
  first = await ProcessNode.start({
    ...{ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags },
    env: { XDG_RUNTIME_DIR: runtime },
  });
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  }
  for (const server of servers.splice(0)) server.close();
});

afterAll(async () => {
  await first?.stop();
  await rm(root, { recursive: true, force: true });
});

interface JoinerOptions {
  readonly to?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  /** Words before those of the joiner. */
  readonly before?: readonly string[];
}

/** Starts a joiner; resolves with what it does first: it serves, or it waits for an operator, and shows its key. */
async function joiner(id: number, options: JoinerOptions = {}): Promise<{ outcome: "serves" | "waits"; key: string }> {
  const { to = first.ready.bind, uid, before = [] } = options;
  const dataDir = join(root, String(id));
  await mkdir(dataDir, { mode: 0o700 });
  if (uid !== undefined) await chown(dataDir, uid, uid);
  const { HOME: _, XDG_RUNTIME_DIR: __, ...env } = process.env;
  const words = [...before, process.execPath, builtBinary(), "node", "--id", String(id), "--data-dir", dataDir];
  const [command = "", ...args] = [...words, "--bind", "127.0.0.1:0", "--http", "off", "--join", to, ...flags];
  const child = spawn(command, args, {
    ...(uid === undefined ? {} : { uid, gid: uid }),
    ...{ cwd: "/", env: { ...env, NODE_OPTIONS: "", ...options.env }, stdio: ["ignore", "pipe", "pipe"] },
  });
  children.push(child);
  const said: string[] = [];
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`joiner ${id} ended with ${code}\n${said.join("\n")}`)));
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", (line) =>
      resolve({ outcome: "serves", key: (JSON.parse(line) as { endpointId: string }).endpointId }),
    );
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
      said.push(line);
      const key = /blixard cluster add ([0-9a-f]{64})$/.exec(line)?.[1];
      if (key !== undefined) resolve({ outcome: "waits", key });
    });
  });
}

const cli = (...args: string[]) => runBinary([...args, "--data-dir", first.dataDir]);
const idsOf = async (...args: string[]) =>
  (JSON.parse((await cli(...args, "-o", "json")).stdout) as { id?: number; nodeId?: number }[]).map(
    ({ id, nodeId }) => id ?? nodeId,
  );

async function expectToWait(id: number, options: JoinerOptions): Promise<void> {
  expect((await joiner(id, options)).outcome).toBe("waits");
  expect(await idsOf("cluster", "add")).toContain(id);
  expect(await idsOf("nodes", "list")).not.toContain(id);
}

/** Passes TCP connections on, as `socat` or a forwarded port does. */
async function forward(listenAt: string | number): Promise<string> {
  const { host = "", port = 0 } = parseHostPort(first.ready.bind) ?? {};
  const server = createServer((socket) => {
    const upstream = connect({ host, port });
    for (const end of [socket, upstream]) end.on("error", () => {});
    socket.pipe(upstream).pipe(socket);
    socket.once("close", () => upstream.destroy());
  });
  servers.push(server);
  if (typeof listenAt === "number") server.listen(listenAt, "127.0.0.1");
  else server.listen(listenAt);
  await once(server, "listening");
  return typeof listenAt === "number" ? `127.0.0.1:${(server.address() as AddressInfo).port}` : listenAt;
}

describe("joining on loopback without a ticket", () => {
  it("keeps the secret in a file of this user alone", async () => {
    const [name = ""] = (await readdir(join(runtime, "blixard"))).filter((file) =>
      file.includes(first.ready.endpointId),
    );
    expect(name).toContain(`-${parseHostPort(first.ready.bind)?.port}-`);
    expect((await stat(join(runtime, "blixard"))).mode & 0o777).toBe(0o700);
    expect((await stat(join(runtime, "blixard", name))).mode & 0o777).toBe(0o600);
  });

  it("lets a machine wait that cannot read the secret, by a forwarded port too", async () => {
    const elsewhere = join(root, "elsewhere");
    await mkdir(elsewhere, { mode: 0o700 });
    await expectToWait(10, { env: { XDG_RUNTIME_DIR: elsewhere } });
    // The port is another one, so that it is not that of the node, whoever asks.
    await expectToWait(11, { env: { XDG_RUNTIME_DIR: runtime }, to: await forward(0) });
  });

  asRoot("lets another user of the machine wait", async () => {
    await expectToWait(12, { uid: nobody });
    await expectToWait(13, { uid: nobody, env: { XDG_RUNTIME_DIR: runtime } });
  });

  inNamespace("lets a machine wait that reaches the same port from another network namespace", async () => {
    const socket = await forward(join(root, "forward.sock"));
    const script = join(root, "forward.cjs");
    const port = parseHostPort(first.ready.bind)?.port;
    await writeFile(
      script,
      `const net = require("node:net");
       net.createServer((near) => {
         const far = net.connect(${JSON.stringify(socket)});
         for (const end of [near, far]) end.on("error", () => {});
         near.pipe(far).pipe(near);
       }).listen(${port}, "127.0.0.1");`,
    );
    const inside = join(root, "inside");
    await mkdir(inside, { mode: 0o700 });
    const start = `ip link set lo up && { "$0" ${script} & "$0" "$@"; }`;
    // The first process of a process namespace takes all others with it.
    const before = ["unshare", "--net", "--pid", "--mount-proc", "--kill-child", "--fork", "sh", "-c", start];
    await expectToWait(14, { before, env: { XDG_RUNTIME_DIR: inside } });
  });

  // Last, because the others would miss these two when they are stopped.
  it("takes the user of the node, without a home directory and two at the same time", async () => {
    const env = { XDG_RUNTIME_DIR: runtime };
    expect(await Promise.all([joiner(2, { env }), joiner(3, { env })])).toMatchObject([
      { outcome: "serves" },
      { outcome: "serves" },
    ]);
    expect(await idsOf("nodes", "list")).toEqual([1, 2, 3]);
  });
});
