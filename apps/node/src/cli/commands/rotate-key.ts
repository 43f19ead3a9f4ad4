/** `blixard cluster rotate-key`: asks for another key of a node, and waits until the node runs with it. */
import { BlixardError, errorCodeOf, errorCodes, isBlixardError, messageOf, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient, withClientOptions } from "../client-command.ts";
import { replacePinned } from "../file-pins.ts";
import { nodeIdOf } from "../node-name.ts";
import { print } from "../output.ts";
import { parseDurationMs } from "../quantities.ts";

const waitMsDefault = 60_000;
const lookAgainMs = 300;

export function addRotateKey(command: Command, context: CliContext): void {
  withClientOptions(
    command.command("rotate-key <node>").description("give a node another key; it starts again, and its VMs go on"),
  ).action((node: string, options: ClientOptions) => rotateKey(context, node, options));
}

async function rotateKey(context: CliContext, node: string, options: ClientOptions): Promise<void> {
  const waitMs = options.timeout === undefined ? waitMsDefault : parseDurationMs(options.timeout);
  const endMs = systemClock.monotonicMs() + waitMs;
  let [nodeId, before, wanted] = [0, "", ""];
  await withClient(context, options, async ({ client }) => {
    nodeId = await nodeIdOf(client, node);
    before = (await client.nodes.get(nodeId)).endpointId;
    const { endpointId } = await client.nodes.rotateKey(nodeId);
    wanted = endpointId;
  });
  say(context, `node ${nodeId} changes to the key ${wanted}, once every member knows it`);
  // The node that is asked may be the one that starts again, with another key: each look finds it anew.
  for (let last = "it has its key of before"; ; ) {
    const look = await lookAt(context, options, nodeId, wanted).catch((error: unknown) => {
      if (context.signal.aborted || !(mayPass(error) || showsKey(error, wanted))) throw error;
      // The cluster named the next key before anybody showed it.
      if (showsKey(error, wanted)) replacePinned(context.env, before, wanted);
      return messageOf(error);
    });
    if (look === undefined) return;
    last = look;
    if (systemClock.monotonicMs() >= endMs) throw notYet(nodeId, last);
    await sleep(systemClock, lookAgainMs, context.signal);
  }
}

/** Prints the node and gives nothing when it has the key that is wanted; else why it does not. */
async function lookAt(
  context: CliContext,
  options: ClientOptions,
  nodeId: number,
  wanted: string,
): Promise<string | undefined> {
  let found: string | undefined = "it has its key of before";
  await withClient(context, { ...options, timeout: lookTimeout }, async ({ client, format }) => {
    const { endpointId, keyNumber } = await client.nodes.get(nodeId);
    if (endpointId !== wanted) return;
    found = undefined;
    const text = () => `node ${nodeId} has the key ${endpointId} now; the one of before is banned for good\n`;
    await print(context, format, { nodeId, endpointId, keyNumber: keyNumber ?? 0 }, text, [String(nodeId)]);
  });
  return found;
}

const lookTimeout = "5s";

function mayPass(error: unknown): boolean {
  const code = errorCodeOf(error);
  return code !== undefined && code !== "CANCELLED" && errorCodes[code].retryable;
}

/** Whether the node at the address that was asked has the key already, and another one is pinned. */
function showsKey(error: unknown, wanted: string): boolean {
  return isBlixardError(error) && error.code === "UNKNOWN_PEER" && error.details?.["endpointId"] === wanted;
}

function notYet(nodeId: number, reason: string): BlixardError {
  return new BlixardError("DEADLINE_EXCEEDED", `node ${nodeId} has not changed its key yet: ${reason}`, {
    outcome: "unknown",
    hint: "It goes on by itself when every member has answered. See: blixard nodes list -o wide",
  });
}
