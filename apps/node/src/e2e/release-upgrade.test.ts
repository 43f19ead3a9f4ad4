/** This release starts on the data directories of an earlier one, at other addresses, and goes on with what they hold. */
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { ProcessNode } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { freePorts } from "./free-ports.ts";
import { callApi, lastingFacts, observeFacts, type ReleaseFixture, unpackFixture } from "./release-fixture.ts";
import { runBinary } from "./run-binary.ts";

const release = "056bb98";
const flags = [
  ...["--transport", "iroh", "--vm-driver", "fake", "--debug-api"],
  // Copies of the same nodes may run elsewhere on this network.
  ...["--no-relay", "--no-discovery"],
];
const pollMs = 100;

/** Looks until nothing is missing; an assertion that never holds ends the test with what it saw last. */
async function eventually(look: () => Promise<void>, timeoutMs = 60_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (true) {
    try {
      await look();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(systemClock, pollMs);
  }
}

async function expectVmsAsWanted(node: ProcessNode, token: string, fixture: ReleaseFixture): Promise<void> {
  const phases = (vms: unknown) => (vms as { name: string; phase: string }[]).map(({ name, phase }) => [name, phase]);
  await eventually(async () => {
    expect(phases((await callApi(node, token, "/v1/vms"))["items"])).toEqual(phases(fixture.facts.vms));
  });
}

async function expectHealthy(dataDir: string): Promise<void> {
  const { code, stdout } = await runBinary(["check", "--data-dir", dataDir, "-o", "json"]);
  expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, ok: true });
}

describe(`a single node of release ${release} with a snapshot and a log after it`, () => {
  let fixture: ReleaseFixture;
  const nodes: ProcessNode[] = [];
  let token = "";

  beforeAll(async () => {
    fixture = await unpackFixture(release, "single");
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop("SIGTERM")));
    await fixture?.[Symbol.asyncDispose]();
  });

  const start = async (id: number, join?: string) => {
    const place = { binary: builtBinary(), id, dataDir: fixture.dataDirOf(id), flags };
    const node = await ProcessNode.start(join === undefined ? place : { ...place, join });
    nodes.push(node);
    return node;
  };

  it("is healthy", async () => {
    await expectHealthy(fixture.dataDirOf(1));
  });

  it("starts with all that it held, its VMs as they were wanted, and takes writes", async () => {
    const node = await start(1);
    token = await node.token();
    expect(node.ready).toMatchObject({ clusterId: fixture.facts.clusterId, nodeId: 1 });
    await eventually(async () => {
      expect(await observeFacts(node, token, fixture.facts)).toEqual(lastingFacts(fixture.facts));
    });
    await expectVmsAsWanted(node, token, fixture);
    await callApi(node, token, "/v1/kv/written", { value: "by this release" });
    expect(await callApi(node, token, "/v1/kv/written")).toMatchObject({ value: "by this release" });
    expect(await callApi(node, token, "/v1/status")).toMatchObject({
      snapshotIndex: 1_176,
      storage: { corruptions: 0 },
    });
  });

  it("gives its state to a node that joins, as a snapshot, because its log has lost the first entries", async () => {
    const [first] = nodes;
    if (first === undefined) throw new Error("the first node does not run");
    const joined = await start(2, first.ready.bind);
    await eventually(async () => {
      expect(await callApi(joined, token, "/v1/kv/written")).toMatchObject({ value: "by this release" });
    });
    const { snapshotIndex, appliedIndex } = await callApi(joined, token, "/v1/status");
    expect(snapshotIndex).toBeGreaterThanOrEqual(fixture.facts.snapshotIndex);
    const hashOf = (node: ProcessNode) => callApi(node, token, `/v1/debug/statehash?index=${appliedIndex}`);
    expect(await hashOf(joined)).toEqual(await hashOf(first));
    expect((await callApi(joined, token, "/v1/kv?limit=10000"))["items"]).toEqual(
      expect.arrayContaining([...fixture.facts.kv]),
    );
  });
});

describe(`three nodes of release ${release}`, () => {
  const ids = [1, 2, 3];
  let fixture: ReleaseFixture;
  let nodes: ProcessNode[] = [];

  beforeAll(async () => {
    fixture = await unpackFixture(release, "cluster");
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop("SIGTERM")));
    await fixture?.[Symbol.asyncDispose]();
  });

  it("are healthy", async () => {
    for (const id of ids) await expectHealthy(fixture.dataDirOf(id));
  });

  it("form their cluster again, with all that it held on each of them, and take writes", async () => {
    // The recorded addresses are those of the machine where the directories were made.
    const binds = await freePorts(ids.length);
    nodes = await Promise.all(
      ids.map((id, at) =>
        ProcessNode.start({
          ...{ binary: builtBinary(), id, dataDir: fixture.dataDirOf(id), bind: binds[at] ?? "" },
          flags: [...flags, "--peers", binds.join()],
        }),
      ),
    );
    const [first] = nodes;
    if (first === undefined) throw new Error("no node runs");
    const token = await first.token();
    for (const node of nodes) {
      expect(node.ready.clusterId).toBe(fixture.facts.clusterId);
      await eventually(async () => {
        expect(await observeFacts(node, token, fixture.facts)).toEqual(lastingFacts(fixture.facts));
      });
      await callApi(node, token, `/v1/kv/written-${node.id}`, { value: "by this release" });
    }
    await expectVmsAsWanted(first, token, fixture);
    for (const node of nodes) {
      for (const id of ids) {
        expect(await callApi(node, token, `/v1/kv/written-${id}`)).toMatchObject({ value: "by this release" });
      }
    }
  });
});
