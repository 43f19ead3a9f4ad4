/** Decides how a node starts: with what it has, with a ticket, with an address, or as a new cluster. */
import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { isLoopbackHost, parseNodeAddress } from "@blixard/client";
import type { JoinTarget } from "@blixard/cluster";
import { BlixardError, type Clock, errorCodeOf, messageOf, sleep, toHex } from "@blixard/common";
import { decodeTicket, ticketPrefix } from "@blixard/protocol";
import { fetchPeerIdentity } from "@blixard/transport/identity";
import type { NodeConfig } from "../node-settings.ts";
import type { DataDir } from "./data-dir.ts";

export type StartPlan =
  | { readonly type: "resume"; readonly ignoredJoin: boolean }
  | { readonly type: "bootstrap" }
  | { readonly type: "join"; readonly target: JoinTarget; readonly byAddress: string | undefined };

const ticketBytesMax = 64 * 1024;
const identityTimeoutMs = 3_000;
const identityPatienceMs = 30_000;
const identityRetryMs = 300;

/** @throws TICKET_INVALID, WRONG_CLUSTER, PERMISSION_DENIED, UNREACHABLE, INVALID_ARGUMENT */
export async function planStart(
  config: NodeConfig,
  dataDir: DataDir,
  deps: { readonly stdin: Readable; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<StartPlan> {
  const join = await joinText(config, deps.stdin);
  if (dataDir.nodeFile !== undefined) {
    // The flags of a service file stay the same over restarts, so a join that was done is no error.
    if (join?.startsWith(ticketPrefix)) checkCluster(decodeTicket(join).clusterId, dataDir.nodeFile.clusterId);
    return { type: "resume", ignoredJoin: join !== undefined };
  }
  if (join === undefined) return { type: "bootstrap" };
  if (join.startsWith(ticketPrefix)) {
    const { clusterId, endpoints, ticketId, secret } = decodeTicket(join);
    const target = { endpoints, clusterId, ticket: { id: ticketId, secret: toHex(secret) } };
    return { type: "join", target, byAddress: undefined };
  }
  if (!/:\d+$/.test(join)) {
    throw new BlixardError("INVALID_ARGUMENT", "--join takes a ticket (blx1-...) or HOST:PORT", {
      hint: "Create a ticket on a member with: blixard ticket create",
    });
  }
  return { type: "join", target: await targetByAddress(config, join, deps), byAddress: join };
}

async function joinText(config: NodeConfig, stdin: Readable): Promise<string | undefined> {
  if (config.joinFile === undefined) return config.join?.trim();
  if (config.joinFile === "-") return await readTicket(stdin);
  try {
    return (await readFile(config.joinFile, "utf8")).trim();
  } catch (error) {
    throw new BlixardError("INVALID_ARGUMENT", `--join-file: ${messageOf(error)}`, { cause: error });
  }
}

async function readTicket(stdin: Readable): Promise<string> {
  let text = "";
  for await (const piece of stdin) {
    text += String(piece);
    if (text.length > ticketBytesMax) throw new BlixardError("TICKET_INVALID", "standard input holds no ticket");
    if (text.includes("\n")) break;
  }
  if (text.trim() === "") {
    throw new BlixardError("TICKET_INVALID", "standard input holds no ticket", {
      hint: "Give the ticket on one line.",
    });
  }
  return text.trim();
}

function checkCluster(ticketClusterId: string, ownClusterId: string): void {
  if (ticketClusterId === ownClusterId) return;
  throw new BlixardError(
    "WRONG_CLUSTER",
    `this node is in cluster ${ownClusterId}, the ticket is for ${ticketClusterId}`,
    {
      hint: "Start it without --join, or give it an empty --data-dir to join the other cluster.",
    },
  );
}

/** The key of the node at an address is learned from its certificate; nobody can be between on loopback. */
async function targetByAddress(
  config: NodeConfig,
  address: string,
  deps: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<JoinTarget> {
  const loopback = [address, config.bind.replace(/:0$/, ":1")].every((text) =>
    isLoopbackHost(parseNodeAddress(text).host),
  );
  if (!loopback) {
    throw new BlixardError(
      "PERMISSION_DENIED",
      `joining ${address} by address alone works only between loopback addresses`,
      {
        hint: "Create a ticket on a member with `blixard ticket create`, and give it with --join-file.",
      },
    );
  }
  const endMs = deps.clock.monotonicMs() + identityPatienceMs;
  for (;;) {
    try {
      const options = { timeoutMs: identityTimeoutMs, signal: deps.signal };
      return {
        endpoints: [{ endpointId: await fetchPeerIdentity(address, options), addresses: [address] }],
        ticket: null,
      };
    } catch (error) {
      // The other node may be starting just now, too.
      const mayPass = ["UNREACHABLE", "DEADLINE_EXCEEDED"].includes(errorCodeOf(error) ?? "");
      if (!mayPass || deps.clock.monotonicMs() > endMs) throw error;
      await sleep(deps.clock, identityRetryMs, deps.signal);
    }
  }
}
