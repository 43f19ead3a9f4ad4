/** When rights end: by revocation, by time, by a role that was narrowed, and where nobody can say any more. */
import { BlixardError, errorCodeOf } from "@blixard/common";
import type { CallMeta } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ClusterGroup, until } from "../testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(() => {
  group = new ClusterGroup({ rightsWithoutLeaderMs: 400 });
});
afterEach(async () => {
  await group.close();
});

const as = (id: string, access: CallMeta["access"] = "admin") => ({ actor: { kind: "token", id }, access }) as const;
const codeOf = (work: Promise<unknown>) => work.then(() => "OK", errorCodeOf);

describe("rights", () => {
  it("end everywhere from the entry that revokes the token, also at a node that has not heard of it", async () => {
    await group.form(3);
    const { id } = await group.call(1, "token.create", { role: "admin" });
    const far = [1, 2, 3].find((node) => node !== group.leaderId()) ?? 0;
    await until(() => group.node(far).state.tokens.has(id));
    // The node that lags takes the caller for what it was, as its state says: the others know more.
    const caller = as(id);
    expect(await codeOf(group.call(far, "kv.put", { key: "k", value: "1" }, caller))).toBe("OK");
    await group.call(group.leaderId(), "token.revoke", { id });
    const late = await Promise.all([
      codeOf(group.call(far, "kv.put", { key: "k", value: "2" }, caller)),
      codeOf(group.call(far, "kv.get", { key: "k" }, caller)),
      codeOf(group.call(far, "node.list", {}, caller)),
    ]);
    expect(late).toEqual(["UNAUTHENTICATED", "UNAUTHENTICATED", "UNAUTHENTICATED"]);
    expect(group.node(group.leaderId()).state.kv.get("k")?.value).toBe("1");
  });

  it("end by their time, streams too", async () => {
    await group.bootstrap();
    const { id, token } = await group.call(1, "token.create", { role: "viewer", ttlSeconds: 3_600 });
    expect(group.node(1).authenticate(token)).toMatchObject({ access: "viewer" });
    const caller = as(id, "viewer");
    expect(await codeOf(group.call(1, "kv.list", {}, caller))).toBe("OK");
    group.clockOffsetMs = 3_600_000;
    expect(group.node(1).authenticate(token)).toBeUndefined();
    expect(await codeOf(group.call(1, "kv.list", {}, caller))).toBe("UNAUTHENTICATED");
    const short = await group.call(1, "token.create", { role: "viewer", ttlSeconds: 1 });
    const signal = new AbortController().signal;
    const changes = await group
      .node(1)
      .stream("kv.watch", { prefix: "" }, group.meta(as(short.id, "viewer")), { signal });
    const ends = (async () => {
      for await (const _ of changes);
    })();
    await expect(ends).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  it("shrink with the role of the token, and never grow", async () => {
    await group.bootstrap();
    const { id } = await group.call(1, "token.create", { role: "admin" });
    await group.call(1, "token.narrow", { id, role: "operator" });
    expect(await codeOf(group.call(1, "token.list", {}, as(id)))).toBe("OK");
    expect(await codeOf(group.call(1, "token.create", { role: "viewer" }, as(id)))).toBe("PERMISSION_DENIED");
    expect(await codeOf(group.call(1, "kv.put", { key: "k", value: "v" }, as(id, "operator")))).toBe("OK");
    expect(await codeOf(group.call(1, "ticket.create", { role: "voter" }, as(id, "operator")))).toBe(
      "PERMISSION_DENIED",
    );
    expect(await codeOf(group.call(1, "ticket.create", { role: "viewer" }, as(id, "operator")))).toBe("OK");
    expect(await codeOf(group.call(1, "token.narrow", { id, role: "admin" }))).toBe("CONFLICT");
  });

  it("are refused by a node that hears no leader, which still says how it is; streams end", async () => {
    await group.form(3);
    const signal = new AbortController().signal;
    const changes = await group.node(1).stream("kv.watch", { prefix: "" }, group.meta(), { signal });
    const ends = (async () => {
      for await (const _ of changes);
    })();
    const ended = expect(ends).rejects.toMatchObject({ code: "NO_LEADER" });
    await Promise.all([2, 3].map((id) => group.machine(id).stop()));
    await ended;
    const stale = { stale: true, timeoutMs: 1_000 };
    await expect(group.call(1, "kv.list", {}, stale)).rejects.toThrow(BlixardError);
    expect(await codeOf(group.call(1, "kv.list", {}, stale))).toBe("NO_LEADER");
    expect(await codeOf(group.call(1, "status.get", {}))).toBe("OK");
    await group.restart(2);
    await until(() => group.leaderId() !== 0);
    await group.node(1).untilReady();
    expect(await codeOf(group.call(1, "kv.list", {}))).toBe("OK");
  });
});

describe("the last administrator", () => {
  it("goes only when somebody says so", async () => {
    await group.bootstrap();
    expect(await codeOf(group.call(1, "token.revoke", { id: "admin" }))).toBe("CONFLICT");
    const { id } = await group.call(1, "token.create", { role: "admin" });
    expect(await codeOf(group.call(1, "token.revoke", { id: "admin" }))).toBe("OK");
    expect(await codeOf(group.call(1, "token.narrow", { id, role: "viewer" }, as(id)))).toBe("CONFLICT");
    expect(await codeOf(group.call(1, "token.revoke", { id, lastAdmin: true }, as(id)))).toBe("OK");
  });
});

describe("a request id", () => {
  it("stands for one request: with another value it is refused, and nothing changes", async () => {
    await group.bootstrap();
    const meta = { requestId: "one" };
    const first = await group.call(1, "kv.put", { key: "k", value: "a" }, meta);
    expect(await group.call(1, "kv.put", { key: "k", value: "a" }, meta)).toEqual(first);
    const other = group.call(1, "kv.put", { key: "k", value: "b" }, meta);
    await expect(other).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("other content") });
    expect(group.node(1).state.kv.get("k")?.value).toBe("a");
  });
});

describe("a request that makes a secret", () => {
  it("makes it once, and names what it has made to who asks again", async () => {
    await group.bootstrap();
    const meta = { requestId: "make-one" };
    const { id } = await group.call(1, "token.create", { role: "viewer" }, meta);
    const again = group.call(1, "token.create", { role: "viewer" }, meta);
    await expect(again).rejects.toMatchObject({ code: "ALREADY_EXISTS", details: { id } });
    expect(group.node(1).state.tokens.size).toBe(2);
    const ticket = await group.call(1, "ticket.create", { role: "viewer" }, { requestId: "invite" });
    const twice = group.call(1, "ticket.create", { role: "viewer" }, { requestId: "invite" });
    await expect(twice).rejects.toMatchObject({ code: "ALREADY_EXISTS", details: { id: ticket.id } });
    expect(group.node(1).state.tickets.size).toBe(1);
  });
});
