/** Streams over HTTP of whole nodes: how many requests a wait takes, and what ends a stream. */
import { connectClient } from "@blixard/client";
import { Watch } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import type { TestNode } from "./test-node.ts";

let cluster: TestCluster;
let node: TestNode;
beforeEach(async () => {
  cluster = await TestCluster.builder().withNodes(1).withTransport("memory").build();
  node = cluster.node(1);
});
afterEach(() => cluster.shutdown());

/** Requests that the node has answered, or begun to, by verb and route. */
async function requests(): Promise<Record<string, number>> {
  const response = await fetch(`${node.http}/metrics`, { headers: { authorization: `Bearer ${await node.token()}` } });
  const counts: Record<string, number> = {};
  const sample = /^blixard_http_requests_total\{verb="(\w+)",route="([^"]+)".*\} (\d+)$/gm;
  for (const [, verb, route, count] of (await response.text()).matchAll(sample)) {
    if (route !== "/metrics") counts[`${verb} ${route}`] = Number(count);
  }
  return counts;
}

describe("streams over HTTP", () => {
  it("make two requests of the creation of a VM that is waited for", async () => {
    await using client = connectClient({ addresses: [node.http], token: await node.token() });
    const before = await requests();
    await client.vms.create("web", { image: "demo", memoryMiB: 64 });
    const seen: string[] = [];
    const onProgress = ({ phase }: { readonly phase: string }) => void seen.push(phase);
    expect(await client.vms.waitForPhase("web", ["Running"], { onProgress })).toMatchObject({ phase: "Running" });
    expect(seen.at(-1)).toBe("Running");
    const after = await requests();
    const made = Object.entries(after).map(([route, count]) => [route, count - (before[route] ?? 0)] as const);
    expect(Object.fromEntries(made.filter(([, count]) => count > 0))).toEqual({
      // Before its first write the client asks what is logged, and before it shows its token whether the node serves people.
      "GET /v1/identity": 2,
      "POST /v1/vms": 1,
      "GET /v1/vms": 1,
    });
    await client.vms.delete("web");
    const gone = client.vms.waitFor("web", "deleted", () => false);
    await expect(gone).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
  });

  it("end when the token is revoked, and when the node stops", async () => {
    await using admin = await node.client();
    const { id, token } = await admin.tokens.create({ role: "viewer" });
    await using viewer = connectClient({ addresses: [node.http], token });
    const told = new Watch(0);
    const watch = async (client: typeof admin) => {
      for await (const _ of await client.stream("kv.watch", {})) told.update((count) => count + 1);
    };
    const revoked = watch(viewer);
    const stopped = watch(admin);
    for (const each of [revoked, stopped]) each.catch(() => {});
    await told.until((count) => count === 2);
    await admin.tokens.revoke(id);
    await expect(revoked).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    const stop = node.stop();
    await expect(stopped).rejects.toMatchObject({ code: "STOPPED" });
    await stop;
  });
});
