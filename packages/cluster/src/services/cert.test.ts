import type { CertificateView } from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { CallScope } from "../calls/call-types.ts";
import { ClusterGroup } from "../testing/cluster-group.ts";
import { certificateHandlers } from "./cert.ts";

const view = (nodeId: number): CertificateView => ({
  ...{ nodeId, kind: "node-key", subject: "s", issuer: "i", serial: "1" },
  ...{ notBeforeUnixMs: 1, notAfterUnixMs: 2, fingerprint: `${nodeId}`.repeat(64) },
});

describe("certificates of all nodes", () => {
  it("are what each node says of itself, and nothing that it says of others", async () => {
    const answers = new Map([
      [2, { items: [view(2), view(1), view(3)] }],
      [3, { items: [view(3)] }],
    ]);
    const handlers = certificateHandlers({
      certificates: { list: () => [view(1)], rotate: () => {} },
      options: { nodeId: 1 },
      peerCalls: { askMembers: async () => answers, forwardToMembers: async () => answers },
    } as unknown as Parameters<typeof certificateHandlers>[0]);
    const call = {} as CallScope;
    const listed = await handlers["cert.list"]({ scope: "cluster" }, call);
    const rotated = await handlers["cert.rotate"]({ scope: "cluster" }, call);
    for (const { items } of [listed, rotated]) expect(items.map(({ nodeId }) => nodeId)).toEqual([1, 2, 3]);
  });
});

describe("a call that asks every member", () => {
  let group: ClusterGroup;
  beforeEach(() => {
    group = new ClusterGroup();
  });
  afterEach(() => group.close());

  it("is made in the name of the node that asks: no member learns who called or speaks for them", async () => {
    await group.form(3);
    const asked: string[] = [];
    group.network.beforeCall = async (_, to, method) => void asked.push(`${method} at ${to}`);
    await group.call(1, "cert.list", { scope: "cluster" });
    expect(asked.filter((call) => /^(cert|forward)/.test(call)).sort()).toEqual(["cert.list at 2", "cert.list at 3"]);
  });
});
