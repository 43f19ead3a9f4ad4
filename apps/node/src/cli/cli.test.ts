import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { Listener } from "@blixard/http-api";
import { type TestService, vmRecord } from "@blixard/http-api/testing";
import type { VmPhase } from "@blixard/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { run } from "./program.ts";
import { CliOnNode } from "./testing/cli-on-node.ts";

let cli: CliOnNode;
let service: TestService;
let listener: Listener;
let home: string;

beforeAll(async () => {
  cli = await CliOnNode.start();
  ({ service, listener, home } = cli);
});

afterAll(() => cli.close());

const blixard: CliOnNode["blixard"] = (...args) => cli.blixard(...args);
const onNode: CliOnNode["onNode"] = (...args) => cli.onNode(...args);

/** The same with Ctrl-C as soon as something was shown. */
const interrupted = (args: readonly string[]) =>
  blixard(
    args,
    { BLIXARD_ADDRESS: `http://${listener.address}`, BLIXARD_TOKEN: "admin-token" },
    "",
    new AbortController(),
  );

/** What a command shows that watches: each step is taken when its text has been shown, and after the last one comes Ctrl-C. */
async function watching(args: readonly string[], steps: readonly (readonly [shown: string, then: () => unknown])[]) {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() };
  const interrupt = new AbortController();
  const left = [...steps];
  let shown = "";
  streams.stdout.on("data", (data) => {
    shown += String(data);
    for (let step = left[0]; step !== undefined && shown.includes(step[0]); step = left[0]) {
      left.shift();
      step[1]();
      if (left.length === 0) interrupt.abort();
    }
  });
  const env = { XDG_DATA_HOME: home, XDG_CONFIG_HOME: home };
  const where = { BLIXARD_ADDRESS: `http://${listener.address}`, BLIXARD_TOKEN: "admin-token" };
  const context = { ...streams, env: { ...env, ...where }, signal: interrupt.signal, exitCode: 0 };
  const code = await run(args, context);
  return { code, shown, stderr: (streams.stderr.read() as Buffer | null)?.toString() ?? "" };
}

describe("--watch", () => {
  const vmNamed = (name: string, phase: VmPhase, updatedIndex: number) =>
    [name, { ...vmRecord, name, phase, updatedIndex }] as const;
  afterEach(() => service.vms.set(new Map()));

  it("shows the VMs again when one has changed", async () => {
    const outcome = await watching(
      ["vm", "list", "-w", "-o", "name"],
      [
        ["web\n", () => service.vms.set(new Map([vmNamed("db", "Running", 9)]))],
        ["db\nweb\n", () => {}],
      ],
    );
    expect(outcome).toMatchObject({ code: 130, shown: expect.stringMatching(/^web\ndb\nweb\n/), stderr: "" });
  });

  it("shows one VM until it is gone", async () => {
    const outcome = await watching(
      ["vm", "get", "db", "-w"],
      [
        ["Running", () => service.vms.set(new Map([vmNamed("db", "Stopping", 9)]))],
        ["Stopping", () => service.vms.set(new Map([["db", undefined]]))],
        ["never shown", () => {}],
      ],
    );
    expect(outcome).toMatchObject({ code: 3, stderr: expect.stringContaining("VM_NOT_FOUND") });
  });

  it("shows keys, at most as many as were asked for", async () => {
    for (const key of ["w/1", "w/2"]) service.put(key, "v");
    const outcome = await watching(
      ["kv", "list", "w/", "-w", "--limit", "2", "-o", "name"],
      [
        ["w/2\n", () => service.put("w/0", "v")],
        ["w/0\nw/1\n", () => {}],
      ],
    );
    expect(outcome).toEqual({
      code: 130,
      shown: "w/1\nw/2\nw/0\nw/1\n",
      stderr: "there are more keys than the --limit of 2\n",
    });
  });

  it("shows the value of one key, and none of those that begin with it", async () => {
    service.put("w/1", "first");
    const outcome = await watching(
      ["kv", "get", "w/1", "-w"],
      [
        [
          "first",
          () => {
            service.put("w/10", "of another key");
            service.put("w/1", "second");
          },
        ],
        ["second", () => {}],
      ],
    );
    expect(outcome).toEqual({ code: 130, shown: "first\nsecond\n", stderr: "" });
    expect(await watching(["kv", "get", "w/none", "-w"], [["never shown", () => {}]])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("KEY_NOT_FOUND"),
    });
  });
});

describe("usage errors", () => {
  it.each([
    [["vmm", "list"], "UNKNOWN_COMMAND", "Did you mean vm?"],
    [["vm", "lst"], "UNKNOWN_COMMAND", "Did you mean one of list, ls?"],
    [["vm", "list", "--adress", "x"], "UNKNOWN_OPTION", "Did you mean --address?"],
    [["vm", "get"], "INVALID_ARGUMENT", "blixard vm get --help"],
    [["vm"], "UNKNOWN_COMMAND", "blixard vm --help"],
    [["vm", "list", "-o", "xml"], "INVALID_ARGUMENT", "table, wide, json"],
    [["kv", "cas", "k"], "INVALID_ARGUMENT", "--from"],
    [["node", "--id", "one"], "INVALID_ARGUMENT", "--id"],
    [["vm", "create", "web", "--image", "demo", "--memory", "lots"], "INVALID_ARGUMENT", "256M"],
  ])("%j exits with 64, names %s and helps", async (args, code, help) => {
    const outcome = await onNode(args);
    expect(outcome).toMatchObject({ code: 64, stdout: "" });
    expect(outcome.stderr).toContain(`[${code}]`);
    expect(outcome.stderr).toContain(help);
  });

  it("are one JSON object on standard error with -o json", async () => {
    const outcome = await blixard(["vm", "list", "-o", "json", "--frobnicate"]);
    expect(JSON.parse(outcome.stderr)).toEqual({
      error: {
        code: "UNKNOWN_OPTION",
        message: "unknown option '--frobnicate'",
        hint: "See: blixard vm list --help",
        retryable: false,
        requestId: null,
      },
    });
  });

  it("do not come with --help and --version", async () => {
    expect(await blixard(["--help"])).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("vm") });
    expect(await blixard(["vm", "create", "--help"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("--memory"),
    });
    expect((await blixard(["--version"])).stdout).toMatch(/^blixard \d+\.\d+\.\d+\n$/);
    expect((await blixard(["-V"])).stdout).toMatch(/^blixard \d+\.\d+\.\d+\n$/);
  });

  it("take what follows an option for its value, whatever it looks like", async () => {
    const outcome = await blixard(["vm", "list", "--address", "127.0.0.1:1", "--timeout", "1s", "--token", "-Vabc"]);
    expect(outcome).toMatchObject({ stdout: "", stderr: expect.stringContaining("UNREACHABLE") });
    expect(await blixard(["kv", "put", "key", "-V"])).toMatchObject({
      ...{ code: 64, stdout: "", stderr: expect.stringContaining("unknown option '-V'") },
    });
  });
});

describe("commands against a node", () => {
  it("put and get a value, from an argument and from standard input", async () => {
    expect(await onNode(["kv", "put", "a/b", "v"])).toMatchObject({ code: 0, stderr: "" });
    expect((await onNode(["kv", "put", "long", "-"], "from stdin")).code).toBe(0);
    expect((await onNode(["kv", "get", "a/b"])).stdout).toBe("v\n");
    expect((await onNode(["kv", "get", "long"])).stdout).toBe("from stdin\n");
    expect(JSON.parse((await onNode(["kv", "get", "a/b", "-o", "json"])).stdout)).toMatchObject({
      key: "a/b",
      value: "v",
    });
  });

  it("print lists in each format, and an empty list as []", async () => {
    const { stdout } = await onNode(["kv", "list", "a", "-o", "table"]);
    expect(stdout).toMatch(/^KEY {3,}INDEX {3,}VALUE\na\/b /);
    expect((await onNode(["kv", "ls", "a", "-o", "name"])).stdout).toBe("a/b\n");
    expect((await onNode(["kv", "list", "a", "-o", "yaml"])).stdout).toContain("- key: a/b");
    expect((await onNode(["kv", "list", "none", "-o", "json"])).stdout).toBe("[]\n");
  });

  it("map error codes to exit codes", async () => {
    expect(await onNode(["kv", "get", "nothing"])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining("KEY_NOT_FOUND"),
    });
    const denied = await onNode(["kv", "get", "a/b", "--token", "wrong"]);
    expect(denied).toMatchObject({ code: 4, stderr: expect.stringContaining("admin.token") });
    expect((await onNode(["kv", "cas", "a/b", "--absent", "--to", "w"])).code).toBe(5);
    const nobody = await blixard(["kv", "get", "k", "--timeout", "50ms", "--address", "127.0.0.1:1"]);
    expect(nobody).toMatchObject({ code: 6, stderr: expect.stringContaining("UNREACHABLE") });
    expect((await blixard(["status"])).stderr).toContain("no node of this user runs on this machine");
  });

  it("create a VM, wait for it, and print it", async () => {
    const created = await onNode(["vm", "create", "web", "--image", "demo", "--memory", "1G", "--vcpus", "2"]);
    expect(created).toMatchObject({ code: 0, stdout: expect.stringContaining("Running") });
    expect(created.stderr).toContain("placed on node 2");
    expect(service.calls.find(({ name }) => name === "vm.create")?.request).toMatchObject({
      spec: { memoryMiB: 1024, vcpus: 2, image: "demo" },
    });
  });

  it.each([
    [["vm", "get", "web", "-w", "-o", "name"], "web\n"],
    [["vm", "logs", "web", "-f"], "booting\n"],
    [["kv", "watch", "a/"], "put a/b v\n"],
  ])("%j shows what there is until Ctrl-C, which is 130 and no error", async (args, stdout) => {
    await onNode(["kv", "put", "a/b", "v"]);
    expect(await interrupted(args)).toEqual({ code: 130, stdout, stderr: "" });
  });

  it("say at Ctrl-C that what the cluster was asked to do goes on", async () => {
    const outcome = await interrupted(["vm", "stop", "web"]);
    expect(outcome).toMatchObject({ code: 130, stderr: expect.stringContaining("goes on") });
  });

  it("give up waiting with 124", async () => {
    const outcome = await onNode(["vm", "stop", "web", "--timeout", "200ms"]);
    expect(outcome).toMatchObject({ code: 124, stderr: expect.stringContaining("DEADLINE_EXCEEDED") });
    expect((await onNode(["vm", "stop", "web", "--detach"])).code).toBe(0);
  });

  it("destroy nothing unasked", async () => {
    const before = service.calls.length;
    expect(await onNode(["vm", "delete", "web"])).toMatchObject({ code: 64, stderr: expect.stringContaining("--yes") });
    expect(await onNode(["cluster", "remove", "3"])).toMatchObject({ code: 64 });
    expect(service.calls.length).toBe(before);
    expect((await onNode(["vm", "rm", "web", "--yes", "--detach"])).code).toBe(0);
  });

  it("print the serial output as it is", async () => {
    expect((await onNode(["vm", "logs", "web"])).stdout).toBe("booting\n");
    expect((await onNode(["vm", "logs", "web", "--tail-bytes", "4"])).stdout).toBe("ing\n");
  });

  it("carry the console both ways when it is piped", async () => {
    const outcome = await onNode(["vm", "console", "web"], "hello");
    expect(outcome).toMatchObject({ code: 0, stdout: "booting\nhello" });
  });
});

describe("config", () => {
  it("shows values and where they come from", async () => {
    const path = join(home, "node.yaml");
    await writeFile(path, "id: 4\n");
    const args = ["config", "view", "--show-origin", "--config", path, "--bind", "127.0.0.1:9", "-o", "json"];
    const view = JSON.parse((await blixard(args, { BLIXARD_HEARTBEAT_MS: "50" })).stdout);
    expect(view).toMatchObject({
      id: { value: 4, origin: `file ${path}` },
      bind: { value: "127.0.0.1:9", origin: "flag --bind" },
      heartbeatMs: { value: 50, origin: "environment BLIXARD_HEARTBEAT_MS" },
      transport: { value: "iroh", origin: "default" },
      relay: { value: true, origin: "default" },
    });
    expect((await blixard(["config", "validate", "--no-relay"])).code).toBe(0);
    expect((await blixard(["config", "validate"], { BLIXARD_ID: "x" })).code).toBe(64);
  });
});

describe("completion", () => {
  it("knows the whole tree", async () => {
    const { stdout, code } = await blixard(["completion", "bash"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/"vm"\) words="create .*console/);
    expect(stdout).toContain('"kv put") words="');
  });
});

describe("help", () => {
  it.each([
    [["help"], 0, "Commands:"],
    [["help", "vm"], 0, "create"],
    [["help", "vm", "create"], 0, "--memory"],
    [["vm", "help", "create"], 0, "--memory"],
    [["vm", "--help"], 0, "create"],
  ])("%j shows it", async (args, code, word) => {
    expect(await blixard(args)).toMatchObject({ code, stderr: "", stdout: expect.stringContaining(word) });
  });

  it.each([[["help", "nope"]], [["nope", "--help"]], [["vm", "nope", "--help"]], [["help", "vm", "nope"]]])(
    "%j is an unknown command",
    async (args) => {
      expect(await blixard(args)).toMatchObject({
        code: 64,
        stdout: "",
        stderr: expect.stringContaining("UNKNOWN_COMMAND"),
      });
    },
  );
});

describe("the last ends of a VM", () => {
  it("stand in what get and explain tell of it, and the last one in the wide table", async () => {
    const line = "1970-01-01T00:00:01.000Z host-reboot, by the host, on node 2: the host was started anew";
    expect((await onNode(["vm", "explain", "web"])).stdout).toContain(`ended      ${line}`);
    const shown = (await onNode(["vm", "get", "web"])).stdout;
    expect(shown).toMatch(/^ENDED +REASON +HOW +NODE/m);
    expect(shown).toMatch(/^1970-01-01T00:00:01.000Z +host-reboot +by the host +2 +3 +the host was started anew$/m);
    expect((await onNode(["vm", "list", "-o", "wide"])).stdout).toMatch(/host-reboot .* ago/);
    const { ends } = JSON.parse((await onNode(["vm", "get", "web", "-o", "json"])).stdout);
    expect(ends).toMatchObject([{ reason: "host-reboot", stoppedBy: "host", node: 2 }]);
  });
});

describe("what becomes of a VM without its node", () => {
  it("is said wherever it is shown or taken", async () => {
    for (const args of [
      ["explain", "web"],
      ["get", "web", "-o", "wide"],
    ]) {
      expect((await onNode(["vm", ...args])).stdout).toMatch(/waits/);
    }
    const { stdout } = await onNode(["vm", "create", "--help"]);
    expect(stdout).toMatch(/--on-node-loss <move\|wait>/);
    expect(stdout).toMatch(/--on-partition <stop\|keep>/);
  });

  it("is refused where a VM that runs on would be started elsewhere", async () => {
    const wishes = ["--on-node-loss", "move", "--on-partition", "keep"];
    const refused = await onNode(["vm", "create", "two", "--image", "demo", ...wishes]);
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining("move needs onPartition: stop") });
  });
});

describe("text from others", () => {
  it("reaches no terminal with control characters in it, and a pipe as it is", async () => {
    service.put("evil", "a\u001b[2J\u009b1mb\u202ec\td");
    expect((await onNode(["kv", "get", "evil"])).stdout).toBe("a\u001b[2J\u009b1mb\u202ec\td\n");
    const stdout = Object.assign(new PassThrough(), { isTTY: true });
    const env = { BLIXARD_ADDRESS: `http://${listener.address}`, BLIXARD_TOKEN: "admin-token", XDG_CONFIG_HOME: home };
    const others = { stdin: new PassThrough(), stderr: new PassThrough(), signal: new AbortController().signal };
    expect(await run(["kv", "get", "evil"], { ...others, stdout, env, exitCode: 0 })).toBe(0);
    expect(String(stdout.read())).toBe("a\ufffd[2J\ufffd1mb\ufffdc\td\n");
    for (const format of ["table", "json", "yaml"]) {
      const stop = new AbortController();
      const context = { ...others, signal: stop.signal, stdout, env, exitCode: 0 };
      const watching = run(["kv", "watch", "evil", "-o", format], context);
      let shown = "";
      while (!shown.includes("1mb")) {
        if (stdout.readableLength === 0) await once(stdout, "readable");
        shown += stdout.read();
      }
      stop.abort();
      await watching;
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect([format, shown]).toEqual([format, expect.not.stringMatching(/[\u001b\u0080-\u009f\u202e]/)]);
    }
    const refused = await onNode(["kv", "get", "no\u001b[31mkey"]);
    expect(refused.stderr).toMatch(/no\ufffd\[31mkey/);
  });

  it("warns of a token that everybody on the machine can read", async () => {
    const shown = await onNode(["kv", "list", "none", "-o", "name", "--token", "admin-token"]);
    expect(shown).toMatchObject({ code: 0, stderr: expect.stringContaining("process list") });
  });
});

describe("arguments and variables", () => {
  it("are checked in words before anything is asked", async () => {
    const before = service.calls.length;
    expect(await onNode(["kv", "get", ""])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("key: must not be empty"),
    });
    const create = await onNode(["vm", "create", "X", "--image", "demo", "--vcpus", "99"]);
    expect(create).toMatchObject({ code: 64, stderr: expect.stringContaining("spec.vcpus: must be at most 64") });
    expect(service.calls.length).toBe(before);
  });

  it("that are unknown or override something are said", async () => {
    const unknown = await blixard(["version"], { BLIXARD_ADRESS: "x" });
    expect(unknown.stderr).toBe("warning: there is no variable BLIXARD_ADRESS; did you mean BLIXARD_ADDRESS?\n");
    const config = await mkdtemp(join(tmpdir(), "blixard-contexts-"));
    await mkdir(join(config, "blixard"));
    const saved = {
      ...{ clusterId: "c", tokenId: "t", role: "admin", transport: "iroh", relay: false, discovery: false },
      nodes: [{ endpointId: "e".repeat(64), addresses: [] }],
    };
    const file = { formatVersion: 1, current: "home", contexts: { home: saved } };
    await writeFile(join(config, "blixard", "contexts.json"), JSON.stringify(file), { mode: 0o600 });
    const where = { BLIXARD_ADDRESS: `http://${listener.address}`, BLIXARD_TOKEN: "admin-token" };
    const args = ["kv", "list", "none", "-o", "name"];
    const overridden = await blixard(args, { ...where, XDG_CONFIG_HOME: config });
    expect(overridden).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/BLIXARD_ADDRESS is set.* home is not/),
    });
    const elsewhere = await blixard(args, { BLIXARD_DATA_DIR: join(home, "none"), XDG_CONFIG_HOME: config });
    expect(elsewhere.stderr).toMatch(/BLIXARD_DATA_DIR is set.* home is not/);
    expect(elsewhere.stderr).toContain(`no node runs on the data directory ${join(home, "none")}`);
    await rm(config, { recursive: true });
  });
});
