import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { Server } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BlixardError, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { type AgentGuest, agentLine, honestGuest, openAgentPeer } from "../testing/agent-peer.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { type FreezeDeps, thawLeftovers, whileFrozen } from "./file-system-freeze.ts";
import { freezeArgument } from "./freeze-limits.ts";
import { GuestAgent } from "./guest-agent.ts";

const program = join(dirname(fileURLToPath(import.meta.url)), "../../dist/agent/freeze-main.js");
const neverAborted = new AbortController().signal;

let directory: string;
let path: string;
let agent: GuestAgent;
let server: Server;
let guest: AgentGuest;
let child: ChildProcess | undefined;
/** What the agent was told, without what it takes to find it. */
const told = new Watch<readonly string[]>([]);
const honest = honestGuest(({ execute }) => {
  told.update((before) => [...before, execute.replace("guest-fsfreeze-", "")]);
  return execute === "guest-fsfreeze-freeze" ? 2 : 1;
});

beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory, "agent.sock");
  guest = honest;
  told.set([]);
  server = await openAgentPeer(path, () => guest);
  agent = new GuestAgent({ clock: systemClock, path });
});

afterEach(async () => {
  child?.kill("SIGKILL");
  child = undefined;
  agent.close();
  await new Promise((resolve) => server.close(resolve));
});

afterAll(removeTemporaryDirectories);

const deps = (): FreezeDeps => ({ clock: systemClock, agent, directory });
const during = (work: () => Promise<void>) => whileFrozen(deps(), { work, signal: neverAborted });
const mark = () => join(directory, "frozen");
const isThawed = () => told.until((words) => words.at(-1) === "thaw" && words.includes("freeze"));

/** The process that freezes for this socket. */
function freezerPid(): number {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const given = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
      if (given.includes(freezeArgument) && given.includes(path)) return Number(pid);
    } catch {
      // It has ended.
    }
  }
  throw new BlixardError("INVARIANT", "nobody freezes");
}

describe("the file systems of a guest", () => {
  it("stand still while something is done, and go on after that, also when that fails", async () => {
    const isFrozen = await during(async () => {
      expect(told.value).toEqual(["freeze"]);
      expect(existsSync(mark())).toBe(true);
    });
    expect(isFrozen).toBe(true);
    expect(told.value).toEqual(["freeze", "thaw"]);
    expect(existsSync(mark())).toBe(false);
    const failed = during(() => Promise.reject(new BlixardError("STORAGE_FAILED", "no")));
    await expect(failed).rejects.toMatchObject({ code: "STORAGE_FAILED" });
    expect(told.value.slice(2)).toEqual(["freeze", "thaw"]);
    await expect(agent.ping({ timeoutMs: 5_000 })).resolves.toBeUndefined();
  });

  it("do not stand still where the agent does not do that, which is said", async () => {
    guest = (socket, asked) => {
      if (asked.execute === "guest-fsfreeze-freeze") socket.write(agentLine({ error: { desc: "disabled" } }));
      else honest(socket, asked);
    };
    expect(await during(async () => {})).toBe(false);
    expect(told.value.at(-1)).toBe("thaw");
  });

  it("are not asked to go on for minutes where the agent does neither", async () => {
    let refused = 0;
    guest = (socket, asked) => {
      if (!asked.execute.startsWith("guest-fsfreeze")) return honest(socket, asked);
      refused++;
      socket.write(agentLine({ error: { desc: "disabled" } }));
    };
    expect(await during(async () => {})).toBe(false);
    expect({ refused, isMarked: existsSync(mark()) }).toEqual({ refused: 2, isMarked: false });
    await expect(agent.ping({ timeoutMs: 5_000 })).resolves.toBeUndefined();
  });

  it("go on when whoever had them stand still is killed", async () => {
    child = spawn(process.execPath, [program, freezeArgument, path], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve) => child?.stdout?.once("data", resolve));
    expect(told.value).toEqual(["freeze"]);
    // As the kernel does it for one that is killed.
    child.stdin?.destroy();
    await isThawed();
  });

  it("go on when the process that froze them is killed, and what was done meanwhile is no good", async () => {
    const killed = during(async () => {
      process.kill(freezerPid(), "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 200));
    });
    await expect(killed).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await isThawed();
    await thawLeftovers(deps(), neverAborted);
    expect(existsSync(mark())).toBe(false);
  });

  it("go on when the next manager finds that both were killed", async () => {
    await writeFile(mark(), "");
    await thawLeftovers(deps(), neverAborted);
    expect(told.value).toEqual(["thaw"]);
    expect(existsSync(mark())).toBe(false);
    await thawLeftovers(deps(), neverAborted);
    expect(told.value).toEqual(["thaw"]);
  });
});
