/** `blixard cluster remove --compromised`, and what every removal asks about the VMs on the node. */
import type { BlixardClient } from "@blixard/client";
import { type CliContext, say } from "../cli-context.ts";
import type { ClientSession } from "../client-command.ts";
import { askPerson, confirm } from "../confirm.ts";
import { print } from "../output.ts";
import { formatTable } from "../table.ts";

export interface BanOptions {
  readonly yes?: boolean;
  readonly force?: boolean;
  readonly acceptTwoCopies?: string;
}

export async function banNode(
  { context, client, format }: Pick<ClientSession, "context" | "client" | "format">,
  nodeId: number,
  options: BanOptions,
): Promise<void> {
  const question = `Remove node ${nodeId} and ban its key for good, and revoke its token and all open tickets?`;
  await confirm(context, question, options.yes);
  const named = await acceptTwoCopies(context, client, nodeId, options);
  const answer = await client.bans.add({
    id: nodeId,
    ...(options.force === undefined ? {} : { force: options.force }),
    ...(named === undefined ? {} : { acceptTwoCopies: named }),
  });
  const { endpointId, secrets, revoked, vms } = answer;
  await print(context, format, answer, () => tableOf(secrets), [String(nodeId)]);
  say(context, `node ${nodeId} removed at index ${answer.index}; its key ${endpointId} is banned for good`);
  const gone = [...revoked.tokens.map((id) => `token ${id}`), ...revoked.tickets.map((id) => `ticket ${id}`)];
  if (gone.length > 0) say(context, `revoked: ${gone.join(", ")}`);
  if (vms.length > 0) {
    say(context, `placed nowhere now, and perhaps running on that machine still: ${vms.join(", ")}`);
    say(context, `when it is switched off: ${vms.map((name) => `blixard vm start ${name}`).join("; ")}`);
  }
}

type Secrets = Awaited<ReturnType<BlixardClient["bans"]["add"]>>["secrets"];

function tableOf(secrets: Secrets): string {
  const rows = secrets.map(({ kind, held, ids, settled, next }) => {
    const what = ids.length === 0 ? held : `${held}: ${ids.join(", ")}`;
    return [kind, settled ? "done" : "to do", next, what];
  });
  return formatTable(["SECRET", "STATE", "NEXT", "WHAT IT HELD"], rows);
}

/**
 * The names of the VMs that are placed on the node, as the person gives or types them; undefined when there are none. A node
 * that cannot be reached may go on running them, and nobody but a person knows.
 */
export async function acceptTwoCopies(
  context: CliContext,
  client: BlixardClient,
  nodeId: number,
  options: BanOptions,
): Promise<string[] | undefined> {
  const namesIn = (text: string) => text.split(/[\s,]+/).filter((name) => name !== "");
  if (options.acceptTwoCopies !== undefined) return namesIn(options.acceptTwoCopies);
  const placed = (await client.vms.list()).filter(({ node }) => node === nodeId);
  if (placed.length === 0) return undefined;
  say(context, `placed on node ${nodeId}, where they may go on running after it was removed:`);
  for (const { name, phase } of placed) say(context, `  ${name} (${phase})`);
  say(context, "One that is started elsewhere may then run twice, on two disks. Switch the machine off first.");
  const all = placed.map(({ name }) => name).join(",");
  return namesIn(
    await askPerson(context, "Type their names to go on: ", {
      elsewhere: "VMs may run twice, and nobody can be asked here",
      hint: `Add --accept-two-copies ${all}`,
    }),
  );
}
