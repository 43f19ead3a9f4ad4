import { fromUtf8, toHex } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { ownTokenOf, ownTokensLevel } from "../state-machine/token.ts";
import { adminToken, ClusterGroup, MemoryTokenStore, sha256, until } from "../testing/cluster-group.ts";

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  group.machine(1).ownToken = new MemoryTokenStore(adminToken);
  await group.bootstrap();
});
afterEach(async () => {
  await group.close();
});

const textAt = (id: number) => group.machine(id).ownToken?.text;
const hashOf = (text: string | undefined) => (text === undefined ? undefined : toHex(sha256(fromUtf8(text))));
const recordAt = (id: number, of: number) => ownTokenOf(group.node(id).state, of);
const callerAt = async (id: number, text: string | undefined) => group.node(id).authenticate(text ?? "")?.actor.id;

async function joined(id: number, role: "voter" | "worker" = "voter"): Promise<void> {
  group.machine(id).ownToken = new MemoryTokenStore();
  await group.join(id, await group.ticket({ role }));
}

describe("the first administrator's token in a cluster of before level 3, which does not say whose it is", () => {
  it("ends at its node when it is revoked, and does not come back when the level rises", async () => {
    await group.close();
    group = new ClusterGroup({ featureLevel: ownTokensLevel - 1 });
    group.machine(1).ownToken = new MemoryTokenStore(adminToken);
    await group.bootstrap();
    await group.node(1).untilOwnToken();
    expect(await callerAt(1, adminToken)).toBe("admin");
    await group.call(1, "token.revoke", { id: "admin" });
    expect(await callerAt(1, adminToken)).toBeUndefined();
    await until(() => textAt(1) !== adminToken);
    group.machine(1).options = { featureLevel: ownTokensLevel };
    await group.restart(1);
    await until(() => recordAt(1, 1) !== undefined);
    expect(await callerAt(1, adminToken)).toBeUndefined();
    expect(recordAt(1, 1)?.tokenHash).toBe(hashOf(textAt(1)));
  });
});

describe("the token of a node", () => {
  it("is made by a voter, stands in the list of all, and is good everywhere", async () => {
    await joined(2);
    await group.node(2).untilOwnToken();
    const { items } = await group.call(1, "token.list", {});
    expect(items.map(({ id, node, role }) => ({ id, node, role }))).toEqual([
      { id: "admin", node: 1, role: "admin" },
      { id: "node-2", node: 2, role: "admin" },
    ]);
    expect(await callerAt(1, textAt(2))).toBe("node-2");
    expect(await callerAt(2, textAt(1))).toBe("admin");
  });

  it("ends when it is revoked, and is not made again before somebody rotates it", async () => {
    await joined(2);
    await group.node(2).untilOwnToken();
    const before = textAt(2);
    await group.call(1, "token.revoke", { id: "node-2" });
    await until(() => textAt(2) === undefined);
    expect(await callerAt(2, before)).toBeUndefined();
    await group.restart(2);
    await group.node(2).untilOwnToken();
    expect(textAt(2)).toBeUndefined();
    const { token } = await group.call(1, "token.rotate", { id: "node-2" });
    expect(token).toBeNull();
    await until(() => textAt(2) !== undefined && recordAt(1, 2)?.tokenHash === hashOf(textAt(2)));
    expect(textAt(2)).not.toBe(before);
    expect(await callerAt(1, textAt(2))).toBe("node-2");
  });

  it("gets another text when somebody rotates it", async () => {
    const before = textAt(1);
    await group.call(1, "token.rotate", { id: "admin" });
    await until(() => textAt(1) !== before && recordAt(1, 1)?.tokenHash === hashOf(textAt(1)));
    expect(await callerAt(1, before)).toBeUndefined();
    expect(await callerAt(1, textAt(1))).toBe("admin");
  });

  it("comes and goes with the vote", async () => {
    await joined(2, "worker");
    await group.node(2).untilOwnToken();
    expect(textAt(2)).toBeUndefined();
    await group.call(1, "member.setRole", { id: 2, role: "voter" });
    await until(() => textAt(2) !== undefined && recordAt(1, 2) !== undefined);
    const text = textAt(2);
    await group.call(1, "member.setRole", { id: 2, role: "worker" });
    await until(() => textAt(2) === undefined);
    expect(recordAt(1, 2)).toBeUndefined();
    expect(await callerAt(1, text)).toBeUndefined();
  });

  it("is what the data directory holds after somebody put another text there", async () => {
    await group.call(1, "token.create", { role: "admin" });
    await group.call(1, "token.revoke", { id: "admin" });
    await until(() => textAt(1) === undefined);
    await group.machine(1).stop();
    group.machine(1).ownToken = new MemoryTokenStore("put there while the node stood still");
    await group.start(1, { mode: "resume" });
    await until(() => recordAt(1, 1)?.tokenHash === hashOf(textAt(1)));
    expect(await callerAt(1, "put there while the node stood still")).toBe("admin");
  });

  it("is one caller with those of the other nodes, whose request ids are one space", async () => {
    await joined(2);
    await group.node(2).untilOwnToken();
    const meta = { requestId: "one-id" };
    await group.call(1, "kv.put", { key: "k", value: "first" }, meta);
    await group.call(1, "kv.put", { key: "k", value: "second" });
    await until(() => group.node(2).state.kv.get("k")?.value === "second");
    const again = { ...meta, actor: { kind: "token", id: "node-2" } } as const;
    await group.call(2, "kv.put", { key: "k", value: "first" }, again);
    expect(group.node(group.leaderId()).state.kv.get("k")?.value).toBe("second");
  });
});
