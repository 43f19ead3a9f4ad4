/** A node whose log was damaged while it stood still comes back by itself, with the entries of the others. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "@jest/globals";
import { TestCluster } from "./test-cluster.ts";
import type { TestNode } from "./test-node.ts";

const keysMax = 40;
let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.shutdown();
  cluster = undefined;
});

/** Flips one bit of the entry that holds `text`, in the write-ahead log of LevelDB. */
async function damageLog({ dataDir }: TestNode, text: string): Promise<void> {
  const directory = join(dataDir, "log");
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const bytes = await readFile(path);
    const at = name.endsWith(".log") ? bytes.lastIndexOf(text) : -1;
    if (at < 0) continue;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(path, bytes);
    return;
  }
  throw new Error(`no write-ahead log holds ${text}`);
}

async function page(node: TestNode, path: string): Promise<string> {
  const answer = await fetch(`${node.http}${path}`, { headers: { authorization: `Bearer ${await node.token()}` } });
  expect(answer.status).toBe(200);
  return answer.text();
}

async function formed(
  config: { readonly comeback?: boolean } = {},
): Promise<{ readonly cluster: TestCluster; readonly follower: TestNode }> {
  cluster = await TestCluster.builder().withNodes(3).withTransport("memory").withConfig(config).build();
  const leader = await cluster.waitForLeader();
  const follower = cluster.nodes.find(({ id }) => id !== leader.id);
  if (follower === undefined) throw new Error("three nodes have two followers");
  await using client = await leader.client();
  for (let key = 0; key < keysMax; key++) await client.kv.put(`key-${key}`, `value-${key}-${"x".repeat(50)}`);
  const { lastLogIndex } = await leader.status();
  await cluster.waitFor("the follower to have everything", (statuses) =>
    statuses.every(({ appliedIndex }) => appliedIndex >= lastLogIndex) ? true : undefined,
  );
  return { cluster, follower };
}

describe("a node with a damaged log", () => {
  it("takes what it lost from the others, says so, and holds the same state as they do", async () => {
    const { cluster, follower } = await formed();
    await follower.stop();
    await damageLog(follower, `value-${keysMax / 2}-`);
    await follower.restart();
    expect((await follower.status()).storage).toMatchObject({
      healthy: true,
      lastError: null,
      corruptions: 1,
      repairs: 1,
    });
    expect(await page(follower, "/metrics")).toMatch(/^blixard_storage_repairs_total 1$/m);
    const leader = await cluster.waitForLeader();
    await using client = await leader.client();
    const { index } = await client.kv.put("after", "repair");
    await cluster.waitFor("all to apply it", (statuses) =>
      statuses.length === 3 && statuses.every(({ appliedIndex }) => appliedIndex >= index) ? true : undefined,
    );
    const hashes = await Promise.all(cluster.nodes.map((node) => page(node, `/v1/debug/statehash?index=${index}`)));
    expect(new Set(hashes).size).toBe(1);
    await follower.restart();
    expect((await follower.status()).storage).toMatchObject({ corruptions: 0, repairs: 0 });
  });

  it("is refused with STORAGE_CORRUPT when nothing says what its log held at the end, and it may not come back", async () => {
    const { follower } = await formed({ comeback: false });
    await follower.stop();
    const directory = join(follower.dataDir, "log");
    const [name = ""] = (await readdir(directory)).filter((file) => file.endsWith(".log"));
    const bytes = await readFile(join(directory, name));
    const at = bytes.length - 3;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(join(directory, name), bytes);
    await expect(follower.restart()).rejects.toMatchObject({
      code: "STORAGE_CORRUPT",
      hint: expect.stringContaining("blixard recover"),
    });
  });
});
