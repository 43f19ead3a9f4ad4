/** What a running node knows of its cluster: its leader, disk and members, and how far the clocks are apart. */
import { type BlixardClient, parseNodeAddress } from "@blixard/client";
import { type Clock, directAddresses, reasonOf } from "@blixard/common";
import { connectPinned } from "@blixard/identity";
import type { MemberStatus, NodeStatus } from "@blixard/protocol";
import { type Finding, notOk, ok } from "./finding.ts";

const silentMs = 3_000;
const clockAnswerMs = 2_000;
/** The answer carries whole seconds. */
const dateResolutionMs = 1_000;
const skewWarnMs = 2_000;

export async function checkCluster(client: BlixardClient, clock: Clock): Promise<Finding[]> {
  let status: NodeStatus;
  try {
    status = await client.status({ timeoutMs: 5_000 });
  } catch (error) {
    return [notOk("node", "fail", reasonOf(error), "is it running? start it, or name another with --address")];
  }
  const versions = new Map(
    (await client.nodes.list({ timeoutMs: 5_000 }).catch(() => [])).map((node) => [node.id, node.version]),
  );
  const others = status.members.filter(({ id }) => id !== status.nodeId);
  const clocks = await Promise.all(others.map((member) => checkMemberClock(member, clock)));
  return [
    ok("node", `node ${status.nodeId} of cluster ${status.clusterId}, ${status.role} of term ${status.term}`),
    leaderOf(status),
    status.storage.healthy
      ? ok("storage", "healthy")
      : notOk(
          "storage",
          "fail",
          status.storage.lastError ?? "failed",
          "blixard check --data-dir DIR, when the node is stopped",
        ),
    ...others.map(sessionOf),
    ...versionsOf(status, versions),
    ...clocks,
  ];
}

function leaderOf(status: NodeStatus): Finding {
  if (status.leaderId !== null) return ok("leader", `node ${status.leaderId}`);
  return notOk("leader", "fail", "none is known", "start the missing nodes: a leader needs a majority of the voters");
}

function sessionOf({ id, name, path, transport, rttMs, lastContactMs, addresses }: MemberStatus): Finding {
  const check = `peer ${id}`;
  if (lastContactMs !== null && lastContactMs <= silentMs) {
    const rtt = rttMs === null ? "" : `, round trip ${rttMs.toFixed(1)} ms`;
    return ok(check, `${name}, ${path} over ${transport}${rtt}`);
  }
  const silence = lastContactMs === null ? "was never heard" : `was heard ${(lastContactMs / 1000).toFixed(0)} s ago`;
  const next = `on that machine: blixard doctor; between the two, UDP to ${addresses.join(" or ")} must pass`;
  return notOk(check, "fail", `${name} ${silence}`, next);
}

function versionsOf(status: NodeStatus, versions: ReadonlyMap<number, string>): Finding[] {
  if (versions.size === 0) return [notOk("versions", "unknown", "the leader could not be asked for the members")];
  const different = [...versions].filter(([, version]) => version !== status.version);
  if (different.length === 0) return [ok("versions", `all members run ${status.version}`)];
  const list = different.map(([id, version]) => `node ${id} runs ${version}`).join(", ");
  return [notOk("versions", "warn", `this node runs ${status.version}; ${list}`, "upgrade one node after the other")];
}

/** Asks the member itself, on the TLS side of its bind port; its key is checked. */
async function checkMemberClock(member: MemberStatus, clock: Clock): Promise<Finding> {
  const check = `clock of ${member.id}`;
  for (const address of directAddresses(member.addresses)) {
    const { host, port } = parseNodeAddress(address);
    try {
      const { socket } = await connectPinned(host, port, { pin: member.endpointId, timeoutMs: clockAnswerMs });
      const startMs = clock.unixMs();
      const head = await new Promise<string>((resolve, reject) => {
        socket.setTimeout(clockAnswerMs, () => socket.destroy(new Error("no answer")));
        socket.once("data", (data) => resolve(data.toString("latin1"))).once("error", reject);
        socket.once("close", () => reject(new Error("closed")));
        socket.write(`HEAD /healthz HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
      }).finally(() => socket.destroy());
      const date = Date.parse(/^date: (.+)$/im.exec(head)?.[1] ?? "");
      if (Number.isNaN(date)) continue;
      // The date is of some moment of its second, between the question and the answer.
      const middleMs = date + dateResolutionMs / 2 - (startMs + clock.unixMs()) / 2;
      const apart = Math.max(0, Math.abs(middleMs) - dateResolutionMs / 2);
      const detail = `${(apart / 1000).toFixed(1)} s ${middleMs > 0 ? "ahead" : "behind"} at least`;
      if (apart <= skewWarnMs) return ok(check, "within two seconds");
      return notOk(
        check,
        "warn",
        detail,
        "let one service set the time on both machines (chrony or systemd-timesyncd)",
      );
    } catch {
      // The next address may answer.
    }
  }
  return notOk(check, "unknown", `no answer over TCP from ${member.addresses.join(", ") || "any address"}`);
}
