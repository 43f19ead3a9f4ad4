import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

interface SwallowingProxy {
  readonly address: string;
  close(): Promise<void>;
}

/** Passes on what clients ask at `port`, and no answer to a request that changes something. */
async function swallowAnswers(port: number): Promise<SwallowingProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    }
    let silent = false;
    client.on("data", (data) => {
      silent ||= /^(POST|PUT|PATCH|DELETE) /m.test(data.toString("latin1"));
      upstream.write(data);
    });
    client.on("close", () => upstream.destroy());
    upstream.on("data", (data) => {
      if (!silent) client.write(data);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: own } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${own}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

describe("a command that gives up", () => {
  let root: string;
  let node: ProcessNode;
  let swallowing: SwallowingProxy;
  const run = (args: readonly string[]) => {
    const env = { XDG_DATA_HOME: join(root, "home"), XDG_CONFIG_HOME: join(root, "home") };
    return runBinary(args, { env });
  };
  const blixard = (...args: string[]) => run([...args, "--data-dir", join(root, "1")]);
  /** Asks for a change whose answer never comes. */
  const unanswered = (...args: string[]) =>
    run([...args, "--address", swallowing.address, "--token-file", join(root, "1", "admin.token"), "--timeout", "2s"]);

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "blixard-early-"));
    const flags = ["--vm-driver", "fake"];
    node = await ProcessNode.start({ binary: builtBinary(), id: 1, dataDir: join(root, "1"), flags });
    swallowing = await swallowAnswers(Number(new URL(node.ready.http).port));
  });

  afterAll(async () => {
    await swallowing?.close();
    await node?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it("says that its change may have happened, and again matches it", async () => {
    const create = ["vm", "create", "web", "--image", "demo", "--memory", "64M"];
    const first = await unanswered(...create, "-o", "json");
    expect(first.code).toBe(124);
    const line = first.stderr.trimEnd().split("\n").at(-1) ?? "";
    expect(JSON.parse(line)).toMatchObject({
      error: {
        code: "DEADLINE_EXCEEDED",
        outcome: "unknown",
        hint: expect.stringMatching(/blixard vm get web.*same command again/),
      },
    });
    expect(await blixard(...create)).toMatchObject({ code: 0, stdout: expect.stringContaining("Running") });
    // That one saw its end: a third is a second VM of the same name.
    expect(await blixard(...create)).toMatchObject({ code: 5, stderr: expect.stringContaining("ALREADY_EXISTS") });
  });

  it("says nothing of an outcome while its change cannot have left", async () => {
    const early = await blixard("kv", "put", "never", "x", "--timeout", "1ms");
    expect(early.code).toBe(124);
    if (!early.stderr.includes("outcome:")) expect(await blixard("kv", "get", "never")).toMatchObject({ code: 3 });
  });

  it.each([
    ["a swap", ["kv", "cas", "swapped", "--absent", "--to", "x"]],
    ["a removal", ["image", "remove", "demo-copy", "--yes"]],
    ["a write at an index", ["kv", "put", "first", "x", "--if-match", "0"]],
  ])("matches what it did: %s", async (_what, command) => {
    if (command[0] === "image") {
      const { items } = (await call("GET", "/v1/images")) as { items: { name: string }[] };
      const {
        createdUnixMs: _,
        builtin: __,
        ...demo
      } = items.find(({ name }) => name === "demo") as never as {
        createdUnixMs: number;
        builtin: boolean;
      };
      await call("POST", "/v1/images", { ...demo, name: "demo-copy", sources: [1] });
    }
    const first = await unanswered(...command);
    expect(first).toMatchObject({ code: 124, stderr: expect.stringMatching(/\noutcome: .*\nhint: .*again/) });
    expect((await blixard(...command)).code).toBe(0);
    expect([3, 5]).toContain((await blixard(...command)).code);
  });

  async function call(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`${node.ready.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${await node.token()}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    expect(answer.ok).toBe(true);
    return await answer.json();
  }
});
