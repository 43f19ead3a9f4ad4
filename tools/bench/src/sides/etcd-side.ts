/** Three processes of etcd on loopback, to measure beside. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { Side } from "./side.ts";

const startTimeoutMs = 30_000;
const callTimeoutMs = 60_000;

/** Starts `binary` with its defaults: a heartbeat every 100 ms, an election after 1 s without one. */
export async function startEtcd(binary: string): Promise<Side> {
  const dataRoot = await mkdtemp(join(tmpdir(), "etcd-"));
  const ports = await freePorts(6);
  const members = [0, 1, 2].map((at) => ({
    name: `n${at + 1}`,
    client: `http://127.0.0.1:${ports[2 * at]}`,
    peer: `http://127.0.0.1:${ports[2 * at + 1]}`,
  }));
  const all = members.map(({ name, peer }) => `${name}=${peer}`).join(",");
  const children = members.map(({ name, client, peer }): ChildProcess => {
    const args = ["--name", name, "--data-dir", join(dataRoot, name), "--logger", "zap", "--log-level", "error"];
    args.push("--listen-client-urls", client, "--advertise-client-urls", client);
    args.push("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", all);
    return spawn(binary, args, { stdio: "ignore" });
  });
  const post = async (url: string, body: unknown) => {
    const response = await fetch(url, {
      method: "POST",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(callTimeoutMs),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`etcd answered ${response.status}: ${JSON.stringify(answer)}`);
    return answer;
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const put = async (node: number, key: string, value: string) => {
    await post(`${members[node]?.client}/v3/kv/put`, { key: base64(key), value: base64(value) });
  };
  const close = async () => {
    const ended = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(ended);
    await rm(dataRoot, { recursive: true, force: true });
  };
  const endMs = systemClock.monotonicMs() + startTimeoutMs;
  for (;;) {
    try {
      await put(0, "ready", "yes");
      break;
    } catch (error) {
      if (systemClock.monotonicMs() > endMs) {
        await close();
        throw error;
      }
      await sleep(systemClock, 100);
    }
  }
  return {
    pids: children.map(({ pid }) => pid ?? 0),
    put,
    term: async () => {
      const terms = members.map(async ({ client }) => {
        const { raftTerm } = await post(`${client}/v3/maintenance/status`, {});
        return Number(raftTerm);
      });
      return Math.max(...(await Promise.all(terms)));
    },
    notes: () => [],
    close,
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
