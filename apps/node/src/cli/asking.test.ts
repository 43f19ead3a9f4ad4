import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { CliOnNode } from "./testing/cli-on-node.ts";

let cli: CliOnNode;
beforeAll(async () => {
  cli = await CliOnNode.start();
});
afterAll(() => cli.close());

describe("what is asked on a terminal", () => {
  it.each([
    ["y\n", 0, ""],
    ["n\n", 1, "NOT_CONFIRMED"],
    ["\n", 1, "NOT_CONFIRMED"],
    ["\u0004", 1, "NOT_CONFIRMED"],
    ["\u0003", 130, "CANCELLED"],
  ])("%j ends with %d", async (keys, code, word) => {
    const before = cli.service.calls.filter(({ name }) => name === "member.remove").length;
    const outcome = await cli.answered(keys, ["cluster", "remove", "3"]);
    expect(outcome).toMatchObject({ code, stderr: expect.stringContaining(word) });
    expect(cli.service.calls.filter(({ name }) => name === "member.remove").length - before).toBe(code === 0 ? 1 : 0);
  });

  it("is the names of the VMs that may run twice, before a removal by force", async () => {
    const outcome = await cli.answered("web, db\n", ["cluster", "remove", "2", "--force", "--yes"]);
    expect(outcome).toMatchObject({ code: 0, stderr: expect.stringContaining("web (Running)") });
    expect(cli.service.calls.at(-1)).toMatchObject({
      name: "member.remove",
      request: { acceptTwoCopies: ["web", "db"] },
    });
  });

  it("is the role of a ticket, which is made for the answer", async () => {
    const made = () => cli.service.calls.filter(({ name }) => name === "ticket.create").map(({ request }) => request);
    const before = made().length;
    expect(await cli.answered("witness\n", ["ticket", "create"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^blx1-/),
    });
    expect(made().slice(before)).toEqual([{ role: "witness" }]);
    expect(await cli.answered("\n", ["ticket", "create"])).toMatchObject({ code: 64, stdout: "" });
    expect(await cli.answered("\u0003", ["ticket", "create"])).toMatchObject({ code: 130, stdout: "" });
    expect(made()).toHaveLength(before + 1);
  });
});

describe("a removal by force", () => {
  const removals = () => cli.service.calls.filter(({ name }) => name === "member.remove");
  const force = ["cluster", "remove", "2", "--force", "--yes"];

  it("lists the VMs that may run twice, and goes on only with their names", async () => {
    const before = removals().length;
    const refused = await cli.onNode(force);
    expect(refused).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/web \(Running\)[\s\S]*--accept-two-copies web/),
    });
    expect(removals().length).toBe(before);
    expect((await cli.onNode([...force, "--accept-two-copies", "web,db"])).code).toBe(0);
    expect(removals().at(-1)?.request).toEqual({ id: 2, force: true, acceptTwoCopies: ["web", "db"] });
  });

  it("names none where none is placed", async () => {
    expect((await cli.onNode(["cluster", "remove", "3", "--force", "--yes"])).code).toBe(0);
    expect(removals().at(-1)?.request).toEqual({ id: 3, force: true });
  });
});

describe("ticket create", () => {
  it("wants a role, and names the roles where nobody can be asked", async () => {
    const before = cli.service.calls.length;
    const missing = await cli.onNode(["ticket", "create"]);
    expect(missing).toMatchObject({ code: 64, stdout: "", stderr: expect.stringContaining("--role") });
    expect(missing.stderr).toContain("voter, learner, worker, witness, viewer, operator, admin");
    expect(await cli.onNode(["ticket", "create", "--role", "king"])).toMatchObject({ code: 64, stdout: "" });
    expect(cli.service.calls.length).toBe(before);
  });

  it("warns of a ticket that nobody on another machine can use", async () => {
    const near = await cli.onNode(["ticket", "create", "--role", "worker"]);
    expect(near).toMatchObject({ code: 0, stdout: expect.stringMatching(/^blx1-/) });
    expect(near.stderr).toContain("nobody on another machine can use it");
    const far = await cli.onNode(["ticket", "create", "--role", "worker", "--name", "far"]);
    expect(far).toMatchObject({ code: 0, stderr: expect.not.stringContaining("warning") });
  });
});

describe("a removal of a compromised node", () => {
  const bans = () => cli.service.calls.filter(({ name }) => name === "ban.add");
  const compromised = ["cluster", "remove", "--compromised", "2", "--yes"];

  it("wants the names of its VMs, then shows what it held, what is done and what to do", async () => {
    const before = bans().length;
    expect((await cli.onNode(compromised)).stderr).toMatch(/web \(Running\)[\s\S]*--accept-two-copies web/);
    expect(bans().length).toBe(before);
    const shown = await cli.onNode([...compromised, "--accept-two-copies", "web"]);
    expect(shown).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/banned for good[\s\S]*token node-2, ticket t1/),
    });
    expect(shown.stdout).toMatch(/node-key +done[\s\S]*bearer-tokens +to do +rotate +texts: ops, ci/);
    expect(bans().at(-1)?.request).toEqual({ id: 2, acceptTwoCopies: ["web"] });
    const json = await cli.onNode([...compromised, "--accept-two-copies", "web", "-o", "json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({ nodeId: 2, revoked: { tickets: ["t1"] }, vms: ["web"] });
  });
});
