/** Checks by the agent, against a guest that speaks as an agent does. */
import type { Server } from "node:net";
import { join } from "node:path";
import { systemClock } from "@blixard/common/system";
import { type VmHealthCheck, vmSpecSchema } from "@blixard/protocol";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { GuestAgent } from "../agent/guest-agent.ts";
import { type AgentGuest, agentLine, agentSynced, honestGuest, openAgentPeer } from "../testing/agent-peer.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { AgentCheck } from "./agent-check.ts";

afterAll(removeTemporaryDirectories);

const timing = { timeoutMs: 5_000, intervalMs: 500, failuresMax: 1, graceMs: 0, recovery: "restart" } as const;
const ping: VmHealthCheck & { type: "agent" } = { type: "agent", ...timing };
const program: VmHealthCheck & { type: "exec" } = { type: "exec", argv: ["/bin/ready", "a b", "$(id)"], ...timing };
const short = { timeoutMs: 200 };

let guest: AgentGuest;
let server: Server;
let agent: GuestAgent;
let check: AgentCheck;

beforeEach(async () => {
  const path = join(await temporaryDirectory(), "a");
  server = await openAgentPeer(path, () => guest);
  agent = new GuestAgent({ clock: systemClock, path });
  check = new AgentCheck(systemClock, agent);
});

afterEach(() => {
  agent.close();
  server.close();
});

describe("a check by the agent of a guest", () => {
  it("is good when the agent answers, and fails when it does not, or refuses", async () => {
    guest = honestGuest(() => ({}));
    expect(await check.ask(ping)).toEqual({ type: "ok" });
    guest = () => {};
    expect(await check.ask({ ...ping, ...short })).toEqual({
      type: "failed",
      problem: "the agent in the guest does not answer within 200 ms",
    });
    guest = (socket, asked) =>
      void socket.write(
        asked.execute === "guest-sync-delimited" ? agentSynced(asked) : agentLine({ error: { desc: "no\u001b[2J" } }),
      );
    expect(await check.ask(ping)).toMatchObject({ type: "failed", problem: expect.stringMatching(/no\?\[2J$/) });
  });

  it("is nobody's failure while somebody else has the channel of the agent", async () => {
    guest = honestGuest(() => ({}));
    let giveBack = () => {};
    const lent = agent.lend(() => new Promise<void>((resolve) => (giveBack = resolve)));
    expect(await check.ask({ ...ping, ...short })).toMatchObject({ type: "unknown" });
    giveBack();
    await lent;
    expect(await check.ask(ping)).toEqual({ type: "ok" });
  });

  it("runs a program without a shell, and says how it ended", async () => {
    const asked: unknown[] = [];
    let status: object = { exited: true, exitcode: 0 };
    guest = honestGuest((each) => {
      if (each.execute !== "guest-exec") return status;
      asked.push(each.arguments);
      return { pid: 7 };
    });
    expect(await check.ask(program)).toEqual({ type: "ok" });
    expect(asked).toEqual([{ path: "/bin/ready", arg: ["a b", "$(id)"], "capture-output": true }]);
    const said = Buffer.from(`not yet\u001b[2J\n${"x".repeat(100_000)}`).toString("base64");
    status = { exited: true, exitcode: 3, "err-data": said };
    expect(await check.ask(program)).toEqual({ type: "failed", problem: "it ended with 3: not yet?[2J" });
    status = { exited: true, signal: 9 };
    expect(await check.ask(program)).toMatchObject({ problem: "a signal ended it (9)" });
  });

  it("starts no program beside one that has not ended, and takes a late end for a failure", async () => {
    let starts = 0;
    let exited = false;
    guest = honestGuest(({ execute }) => {
      if (execute !== "guest-exec") return exited ? { exited, exitcode: 0 } : { exited };
      starts++;
      return { pid: 7 };
    });
    const late = { type: "failed", problem: "it has not ended within 200 ms" };
    expect(await check.ask({ ...program, ...short })).toEqual(late);
    expect(await check.ask({ ...program, ...short })).toEqual(late);
    expect(starts).toBe(1);
    exited = true;
    expect(await check.ask(program)).toEqual({ type: "failed", problem: "it has ended too late" });
    expect(await check.ask(program)).toEqual({ type: "ok" });
    expect(starts).toBe(2);
  });

  it("is bounded in what it may ask", () => {
    const withArgv = (argv: readonly string[]) =>
      vmSpecSchema.safeParse({ memoryMiB: 64, image: "debian", health: [{ type: "exec", argv }] }).success;
    expect(withArgv(["/bin/true"])).toBe(true);
    for (const argv of [[], ["a\0b"], ["x".repeat(513)], Array.from({ length: 17 }, () => "x")]) {
      expect(withArgv(argv)).toBe(false);
    }
  });
});
