/** `blixard page`: opens the page of a node of this machine without a token in the browser's hands. */
import { type LocalNode, listOwnNodes, readLocalNode } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import type { Command } from "commander";
import { type CliContext, say } from "../cli-context.ts";
import { parseOutputFormat, print } from "../output.ts";
import { pageAddress } from "../page-address.ts";

interface Options {
  readonly dataDir?: string;
  readonly output: string;
}

export function registerPage(command: Command, context: CliContext): void {
  command
    .option("--data-dir <dir>", "data directory of a node on this machine (default: the first of this user's)")
    .option("-o, --output <format>", "table, json, yaml or name", "table")
    .action(async ({ dataDir, output }: Options) => {
      const format = parseOutputFormat(output);
      const { http, token = "" } = await servingNode(context, dataDir);
      const address = await pageAddress(http, token, context.signal);
      await print(context, format, { address }, () => `${address}\n`, [address]);
      say(context, "it opens once, within two minutes, on this machine");
    });
}

/** A voter of this machine that serves plain HTTP. @throws UNREACHABLE, UNAUTHENTICATED */
async function servingNode(context: CliContext, dataDir: string | undefined): Promise<LocalNode> {
  const named = dataDir === undefined ? undefined : await readLocalNode(dataDir);
  const nodes = dataDir === undefined ? await listOwnNodes(context.env) : named === undefined ? [] : [named];
  const [first] = nodes;
  if (first === undefined) {
    const where = dataDir === undefined ? "of this user runs on this machine" : `runs on the data directory ${dataDir}`;
    throw new BlixardError("UNREACHABLE", `no node ${where}`, {
      hint: "Name one with --data-dir DIR. The page of a node elsewhere takes a token: blixard token create --role viewer.",
    });
  }
  const voters = nodes.filter(({ token }) => token !== undefined);
  const found = voters.find(({ http }) => http !== "off");
  if (found !== undefined) return found;
  if (voters.length > 0) {
    throw new BlixardError("UNREACHABLE", `node ${first.nodeId} serves no plain HTTP`, {
      hint: `Log in with a token at https://${first.bind}/, or start it without --http off.`,
    });
  }
  throw new BlixardError("UNAUTHENTICATED", `node ${first.nodeId} has no administrator's token: it is no voter`, {
    hint: "Open the page of a voter.",
  });
}
