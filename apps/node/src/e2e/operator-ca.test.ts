/** A cluster over gRPC whose nodes are certified by an operator's CA: it forms, rotates under load, and lets nobody else in. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "@blixard/common/system";
import { TestCa } from "@blixard/identity/testing";
import { ProcessCluster, ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";

const run = promisify(execFile);

describe("a cluster with certificates of an operator's CA", () => {
  const ca = new TestCa(systemClock);
  let folder = "";
  let cluster: ProcessCluster;

  /** Writes the three files and gives the flags that name them. */
  async function files(name: string, issuer = ca): Promise<string[]> {
    const tls = issuer.issue(name);
    const path = (kind: string) => join(folder, `${name}.${kind}`);
    await Promise.all([
      writeFile(path("crt"), tls.cert),
      writeFile(path("key"), tls.key, { mode: 0o600 }),
      writeFile(path("ca"), tls.ca),
    ]);
    return ["--tls-cert", path("crt"), "--tls-key", path("key"), "--tls-ca", path("ca")];
  }

  const flags = ["--vm-driver", "fake", "--transport", "grpc"];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "blixard-ca-"));
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: [...flags, ...(await files("node"))] });
  });

  afterAll(async () => {
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("rotates the certificates of all nodes without a failed write", async () => {
    const client = cluster.client();
    const before = await client.certificates.list();
    expect(before.filter(({ kind }) => kind === "operator-ca").map(({ nodeId }) => nodeId)).toEqual([1, 2, 3]);
    let writes = 0;
    let rotated = false;
    const failures: unknown[] = [];
    const load = async (writer: number) => {
      for (let at = 0; !rotated || at < 20; at++) {
        await client.kv.put(`rotation/${writer}/${at}`, String(at)).catch((error: unknown) => failures.push(error));
        writes++;
      }
    };
    const writers = [1, 2, 3].map(load);
    await files("node");
    const after = await client.certificates.rotate();
    // What they had is not used again: this process has to connect with the new certificates.
    await cluster.restart(2, { signal: "SIGTERM" });
    rotated = true;
    await Promise.all(writers);
    expect({ failures, enough: writes >= 60 }).toEqual({ failures: [], enough: true });
    for (const { nodeId, kind, fingerprint } of after) {
      const old = before.find((view) => view.nodeId === nodeId && view.kind === kind);
      expect(old?.fingerprint).not.toBe(fingerprint);
    }
    expect(after).toHaveLength(before.length);
    client.close();
  });

  it("shows its certificate to who trusts the CA, and the node's own to who pins the key", async () => {
    const { bind, endpointId } = cluster.node(1).ready;
    const token = await cluster.node(1).token();
    const env = { ...process.env, BLIXARD_TOKEN: token, XDG_CONFIG_HOME: folder };
    const { stdout } = await run(process.execPath, [builtBinary(), "status", "--address", bind, "-o", "json"], { env });
    expect(JSON.parse(stdout)).toMatchObject({ endpointId });
  });

  it("lets no node in whose certificate is of another CA, and says why", async () => {
    const stranger = ProcessNode.start({
      binary: builtBinary(),
      id: 4,
      dataDir: join(folder, "node-4"),
      join: cluster.node(1).ready.bind,
      flags: [...flags, ...(await files("stranger", new TestCa(systemClock)))],
      readyTimeoutMs: 90_000,
    });
    await expect(stranger).rejects.toMatchObject({ hint: expect.stringMatching(/UNREACHABLE|UNKNOWN_PEER/) });
    expect((await cluster.status(1)).members.map(({ id }) => id)).toEqual([1, 2, 3]);
  });

  it("refuses the key of a revoked node, which ends with 77", async () => {
    const client = cluster.client(1);
    await client.members.remove(3);
    client.close();
    expect(await cluster.node(3).exited).toMatchObject({ code: 77 });
    const again = ProcessNode.start({
      binary: builtBinary(),
      id: 3,
      dataDir: cluster.node(3).dataDir,
      flags: [...flags, ...(await files("node"))],
    });
    await expect(again).rejects.toMatchObject({ hint: expect.stringContaining("REMOVED") });
  });
});
