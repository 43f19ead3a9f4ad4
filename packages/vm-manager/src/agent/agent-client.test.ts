/** The client of the agent against a guest that says whatever it likes. */
import type { Server, Socket } from "node:net";
import { join } from "node:path";
import { errorCodeOf, toUtf8 } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import {
  type AgentGuest,
  honestGuest,
  agentLine as line,
  openAgentPeer,
  agentSynced as synced,
} from "../testing/agent-peer.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { AgentClient, agentAnswerBytesMax } from "./agent-client.ts";
import { GuestAgent } from "./guest-agent.ts";

afterAll(removeTemporaryDirectories);

const mebibyte = 1024 ** 2;

let path: string;
let guest: AgentGuest;
let connections: number;
let server: Server;
let client: AgentClient;

/** One that keeps to the rules where a test says nothing else. */
const honest = (answers: Readonly<Record<string, unknown>> = {}) => honestGuest(({ execute }) => answers[execute]);

beforeEach(async () => {
  path = join(await temporaryDirectory(), "a");
  connections = 0;
  guest = honest();
  server = await openAgentPeer(
    path,
    () => guest,
    () => {
      connections++;
    },
  );
  client = new AgentClient({ clock: systemClock, path });
});

afterEach(() => {
  client.close();
  server.close();
});

const call = (command = "guest-ping", timeoutMs = 5_000) => client.call(command, {}, { timeoutMs });
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "OK",
    (error: unknown) => errorCodeOf(error),
  );
/** Writes until the other side has had enough. */
function flood(socket: Socket, piece: Buffer): void {
  if (!socket.destroyed) socket.write(piece, () => flood(socket, piece));
}

describe("AgentClient", () => {
  it("asks one thing after the other, on one connection", async () => {
    guest = honest({ "guest-one": 1, "guest-two": 2 });
    expect(await Promise.all([call("guest-one"), call("guest-two"), call("guest-one")])).toEqual([1, 2, 1]);
    expect(connections).toBe(1);
  });

  it("finds its answer behind whatever was said before", async () => {
    guest = (socket, asked) => {
      if (asked.execute !== "guest-sync-delimited") return void socket.write(line({ return: "mine" }));
      socket.write(line({ return: "late answer of somebody else" }));
      socket.write(Buffer.from([0xff]));
      socket.write(line({ return: 4 }));
      socket.write("\u0000garbage</script>\u001b[2J\n");
      socket.write(synced(asked));
    };
    expect(await call()).toBe("mine");
  });

  it("takes no late answer for that to the next command", async () => {
    let answers = 0;
    guest = (socket, asked) => {
      if (asked.execute === "guest-sync-delimited") return void socket.write(synced(asked));
      answers++;
      const answer = line({ return: `answer ${answers}` });
      if (answers === 1) setTimeout(() => socket.write(answer), 300);
      else socket.write(answer);
    };
    expect(await codeOf(call("guest-slow", 100))).toBe("DEADLINE_EXCEEDED");
    expect(await call("guest-next")).toBe("answer 2");
    expect(connections).toBe(2);
  });

  it("says what a guest refuses, in one short line that draws nothing", async () => {
    guest = (socket, asked) => {
      if (asked.execute === "guest-sync-delimited") socket.write(synced(asked));
      else socket.write(line({ error: { class: "GenericError", desc: `no\u001b[2J\n${"x".repeat(9_999)}` } }));
    };
    const error: unknown = await call().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "CONFLICT", message: expect.stringMatching(/: no\?\[2J\?x+$/) });
    expect((error as Error).message.length).toBeLessThan(300);
  });

  it.each([
    ["garbage", "\u0000\u0001}{\n", "ANSWER_UNREADABLE"],
    ["a text", line("hello"), "ANSWER_UNREADABLE"],
    ["null", line(null), "ANSWER_UNREADABLE"],
    ["an error of another form", line({ error: 7 }), "ANSWER_UNREADABLE"],
  ])("refuses %s, and goes on", async (_, said, code) => {
    guest = (socket, asked) => void socket.write(asked.execute === "guest-sync-delimited" ? synced(asked) : said);
    expect(await codeOf(call())).toBe(code);
    guest = honest({ "guest-ping": "back" });
    expect(await call()).toBe("back");
  });

  it("waits only so long for a guest that says nothing, or half a line", async () => {
    guest = () => {};
    expect(await codeOf(call("guest-ping", 50))).toBe("DEADLINE_EXCEEDED");
    guest = (socket, asked) =>
      void socket.write(asked.execute === "guest-sync-delimited" ? synced(asked) : '{"return": "half');
    expect(await codeOf(call("guest-ping", 50))).toBe("DEADLINE_EXCEEDED");
  });

  it.each([
    ["before it has found its place", false, "ANSWER_UNREADABLE"],
    ["in the place of an answer", true, "VALUE_TOO_LARGE"],
  ])("keeps nothing of gigabytes %s", async (_, syncs, code) => {
    guest = (socket, asked) => {
      if (syncs && asked.execute === "guest-sync-delimited") socket.write(synced(asked));
      else flood(socket, Buffer.alloc(mebibyte, 0x41));
    };
    const before = process.memoryUsage().arrayBuffers;
    expect(await codeOf(call("guest-ping", 60_000))).toBe(code);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * agentAnswerBytesMax);
    guest = honest({ "guest-ping": "back" });
    expect(await call()).toBe("back");
  });

  it("reads nothing while it waits for nothing, so that a guest has to stop", async () => {
    let written = 0;
    guest = (socket, asked) => {
      if (asked.execute === "guest-sync-delimited") return void socket.write(synced(asked));
      socket.write(line({ return: "first" }));
      const more = () => {
        written++;
        if (!socket.destroyed && written < 1_000) socket.write(Buffer.alloc(64 * 1024, 0x41), more);
      };
      more();
    };
    expect(await call()).toBe("first");
    // It has written all that the buffers between take, and not more.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBeLessThan(100);
  });

  it("has no channel where there is none", async () => {
    const nobody = new AgentClient({ clock: systemClock, path: `${path}-not` });
    expect(await codeOf(nobody.call("guest-ping", {}, { timeoutMs: 1_000 }))).toBe("UNAVAILABLE");
  });
});

describe("GuestAgent", () => {
  const agent = () => new GuestAgent({ clock: systemClock, path });

  it("has the guest use what it sees and does not use, and nothing that is not named by a number", async () => {
    const cpu = (id: unknown, online: unknown) => ({ "logical-id": id, online });
    const block = (id: unknown, online: unknown) => ({ "phys-index": id, online });
    const asked: unknown[] = [];
    const answers: Record<string, unknown> = {
      "guest-get-vcpus": [cpu(0, true), cpu(1, false), cpu("2", false), cpu(3, "no")],
      "guest-get-memory-blocks": [block(0, true), block(32, false), block(33.5, false)],
    };
    guest = honestGuest(({ execute, arguments: given }) => {
      if (execute.startsWith("guest-set")) asked.push([execute, given]);
      return answers[execute];
    });
    const one = agent();
    expect(await one.useAll()).toEqual({ vcpus: 4, changed: true });
    expect(asked).toEqual([
      ["guest-set-vcpus", { vcpus: [cpu(1, true)] }],
      ["guest-set-memory-blocks", { "mem-blks": [block(32, true)] }],
    ]);
    answers["guest-get-vcpus"] = [cpu(0, true)];
    answers["guest-get-memory-blocks"] = { not: "a list" };
    expect(await codeOf(one.useAll())).toBe("ANSWER_UNREADABLE");
    answers["guest-get-memory-blocks"] = [];
    expect(await one.useAll()).toEqual({ vcpus: 1, changed: false });
    expect(asked).toHaveLength(2);
    one.close();
  });

  it("takes addresses for what they are, and not too many", async () => {
    const addresses = [
      { "ip-address": "10.0.2.15" },
      { "ip-address": "</script>" },
      { "ip-address": `fe80::1%${"x".repeat(999)}` },
      { "ip-address": 7 },
    ];
    const many = Array.from({ length: 1_000 }, () => ({ "ip-address": "fe80::1" }));
    const interfaces = [
      { name: "lo", "ip-addresses": [{ "ip-address": "127.0.0.1" }] },
      { name: "eth\u001b[2J".padEnd(99, "x"), "ip-addresses": addresses },
      { name: "eth1" },
      { name: 7, "ip-addresses": addresses },
      { name: "eth2", "ip-addresses": many },
    ];
    guest = honest({ "guest-network-get-interfaces": interfaces });
    const one = agent();
    const found = await one.addresses();
    expect(found[0]).toEqual({ interface: "eth?[2J".padEnd(32, "x"), address: "10.0.2.15" });
    expect(found).toHaveLength(16);
    guest = honest({ "guest-network-get-interfaces": [null] });
    expect(await codeOf(one.addresses())).toBe("ANSWER_UNREADABLE");
    guest = honest({ "guest-network-get-interfaces": "none" });
    expect(await codeOf(one.addresses())).toBe("ANSWER_UNREADABLE");
    one.close();
  });

  it("runs a program until it has ended, or the time is over", async () => {
    let polls = 0;
    guest = (socket, asked) => {
      if (asked.execute === "guest-sync-delimited") return void socket.write(synced(asked));
      if (asked.execute === "guest-exec") {
        expect(asked.arguments).toEqual({ path: "/bin/cat", arg: ["-"], "input-data": "aGk=", "capture-output": true });
        return void socket.write(line({ return: { pid: 7 } }));
      }
      polls++;
      const ended = { exited: true, exitcode: 3, "out-data": "aGk=", "out-truncated": true };
      socket.write(line({ return: polls < 3 ? { exited: false } : ended }));
    };
    const one = agent();
    const exec = { argv: ["/bin/cat", "-"], input: Buffer.from("hi"), timeoutMs: 5_000 };
    const result = await one.exec(exec);
    expect({ ...result, output: toUtf8(result.output), errors: toUtf8(result.errors) }).toEqual({
      ...{ exitCode: 3, signal: null, output: "hi", errors: "", truncated: true },
    });
    polls = Number.NEGATIVE_INFINITY;
    expect(await codeOf(one.exec({ ...exec, timeoutMs: 100 }))).toBe("DEADLINE_EXCEEDED");
    one.close();
  });

  it("reads no more of a file than it asked for", async () => {
    const read = { "buf-b64": Buffer.alloc(100).toString("base64"), eof: false };
    guest = honest({ "guest-file-open": 5, "guest-file-read": read });
    const one = agent();
    expect(await one.readFile("/etc/hostname", { offset: 0, bytesMax: 100 })).toEqual({
      data: new Uint8Array(100),
      end: false,
    });
    expect(await codeOf(one.readFile("/etc/hostname", { offset: 0, bytesMax: 99 }))).toBe("ANSWER_UNREADABLE");
    guest = honest({ "guest-file-open": 5, "guest-file-write": { count: 9 } });
    expect(await codeOf(one.writeFile("/x", { offset: 0, data: new Uint8Array(4) }))).toBe("ANSWER_UNREADABLE");
    one.close();
  });
});
