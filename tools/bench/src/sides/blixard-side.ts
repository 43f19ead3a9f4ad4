/** Three processes of the binary. */
import { ProcessCluster } from "@blixard/testing";
import type { Side } from "./side.ts";

const complaints = [
  ["links cut", /nothing was heard for/],
  ["disk blamed", /a disk \w+ takes long/],
  ["ended", /the node stops/],
] as const;

export async function startBlixard(binary: string): Promise<Side> {
  const flags = ["--vm-driver", "fake", "--log-level", "info", "--log-format", "json", "--no-relay", "--no-discovery"];
  const cluster = await ProcessCluster.start({ binary, flags });
  const clients = cluster.nodes.map(({ id }) => cluster.client(id));
  return {
    pids: cluster.nodes.map(({ ready }) => ready.pid),
    put: async (node, key, value) => {
      await clients[node]?.kv.put(key, value);
    },
    term: async () => {
      const statuses = await Promise.all(clients.map((client) => client.status({ timeoutMs: 60_000 })));
      return Math.max(...statuses.map(({ term }) => term));
    },
    notes: () => {
      const log = cluster.nodes.flatMap((node) => node.stderrTail(Number.POSITIVE_INFINITY).split("\n"));
      return complaints.map(([name, pattern]) => `${name} ${log.filter((line) => pattern.test(line)).length}`);
    },
    close: async () => {
      for (const client of clients) client.close();
      await cluster.close();
    },
  };
}
