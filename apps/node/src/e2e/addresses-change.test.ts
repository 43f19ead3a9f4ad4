/** All nodes of a cluster come back at other addresses at once, with nobody left at an old one. */
import type { NodeStatus } from "@blixard/protocol";
import { startDnsServer } from "@blixard/server/testing";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { freePorts } from "./free-ports.ts";

const ids = [1, 2, 3];
const flags = ["--vm-driver", "fake"];

describe.each(["iroh", "grpc"])("a cluster over %s whose addresses all change while it is down", (transport) => {
  let cluster: ProcessCluster;
  const carrier = [...flags, "--transport", transport];

  beforeAll(async () => {
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags: carrier });
    await put("before");
  });

  afterAll(async () => {
    await cluster?.close();
  });

  async function put(key: string): Promise<void> {
    const client = cluster.client();
    await client.kv.put(key, "written");
    client.close();
  }

  async function comeBack(binds: readonly string[], extra: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => cluster.node(id).stop("SIGTERM")));
    await Promise.all(
      ids.map((id, at) => cluster.restart(id, { bind: binds[at] ?? "", flags: [...carrier, ...extra] })),
    );
    const knowsAll = ({ leaderId, members }: NodeStatus) =>
      leaderId !== null &&
      members.every(({ id, path, addresses }) => path !== "none" && addresses.join() === binds[id - 1]);
    for (const id of ids) {
      await cluster.waitFor(
        `node ${id} to know the others where they are`,
        (status) => status.nodeId === id && knowsAll(status),
      );
    }
  }

  it("finds itself again on the local network, and shows the path of each pair", async () => {
    await comeBack(await freePorts(ids.length), []);
    await put("after moving");
    const client = cluster.client();
    for (const { id, paths } of await client.nodes.list()) {
      const others = ids.filter((other) => other !== id);
      expect(paths).toMatchObject(others.map((to) => ({ to, transport, path: "direct" })));
    }
    client.close();
  });

  it("finds itself again when each node has the old address of another", async () => {
    const [first = "", ...rest] = ids.map((id) => cluster.node(id).ready.bind);
    await comeBack([...rest, first], []);
    await put("after changing places");
  });

  it("finds itself again when a DNS name leads to one of the nodes", async () => {
    const binds = await freePorts(ids.length);
    const [host = "", port = ""] = (binds[1] ?? "").split(":");
    const srv = { target: host, port: Number(port), priority: 0, weight: 0 };
    await using dns = await startDnsServer([{ type: "SRV", name: "_blixard._udp.blixard.test", data: srv }]);
    await comeBack(binds, ["--no-discovery", "--peers", "dns:blixard.test", "--dns-servers", dns.address]);
    const client = cluster.client();
    for (const key of ["before", "after moving", "after changing places"]) {
      expect(await client.kv.get(key)).toMatchObject({ value: "written" });
    }
    client.close();
  });
});
