/** `blixard doctor`: what keeps this machine, or a running node, from working well. */
import { join } from "node:path";
import { type BlixardClient, defaultDataRoot, listOwnNodes, readLocalNode } from "@blixard/client";
import { type Command, Option } from "commander";
import { loadNodeConfig } from "../../config/load-config.ts";
import type { Finding } from "../../doctor/index.ts";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, withClient } from "../client-command.ts";
import { readContexts } from "../contexts.ts";
import { parseOutputFormat, print } from "../output.ts";
import { formatTable } from "../table.ts";
import { addNodeOptions, nodeFlags } from "./node-options.ts";

type Options = Readonly<Record<string, unknown>> & ClientOptions & { readonly config?: string };

export function registerDoctor(command: Command, context: CliContext): void {
  addNodeOptions(command)
    .option("--address <addresses>", "running nodes to ask, HOST:PORT,... (default: those on this machine)")
    .option("--context <name>", "ask the cluster of a context")
    .option("--token <token>", "bearer token (BLIXARD_TOKEN)")
    .option("--token-file <file>", "read the token from a file")
    .addOption(new Option("-o, --output <format>", "table, json or yaml").default("table"))
    .action((options: Options) => examineAndPrint(options, context));
}

async function examineAndPrint(options: Options, context: CliContext): Promise<void> {
  const format = parseOutputFormat(options.output ?? "table");
  const { systemClock } = await import("@blixard/common/system");
  const { examine } = await import("../../doctor/index.ts");
  const { config } = await loadNodeConfig(nodeFlags(options), options.config, context.env);
  const nodes = await listOwnNodes(context.env);
  const chosen = config.dataDir ?? nodes.find(({ nodeId }) => config.id === undefined || nodeId === config.id)?.dataDir;
  const dataDir = chosen ?? join(defaultDataRoot(context.env), `node-${config.id ?? 1}`);
  const running = await readLocalNode(dataDir);
  const { BLIXARD_ADDRESS, BLIXARD_CONTEXT } = context.env;
  const { current } = await readContexts(context.env);
  const named = [options.address, options.context, BLIXARD_ADDRESS, BLIXARD_CONTEXT, current].some((given) => given);
  const work = async (client: BlixardClient | undefined) =>
    report(await examine({ config, dataDir, clock: systemClock, running, nodes, client }), context, format);
  if (!named && running === undefined) return work(undefined);
  const { address, token, tokenFile, context: contextName } = options;
  const target = {
    ...(address === undefined ? {} : { address }),
    ...(token === undefined ? {} : { token }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(contextName === undefined ? {} : { context: contextName }),
    ...(running === undefined || contextName !== undefined ? {} : { dataDir }),
  };
  return withClient(context, target, ({ client }) => work(client), { onlyStatus: true });
}

async function report(findings: readonly Finding[], context: CliContext, format: ReturnType<typeof parseOutputFormat>) {
  const failed = findings.filter(({ result }) => result === "fail");
  const text = () =>
    formatTable(
      ["CHECK", "RESULT", "DETAIL"],
      findings.map(({ check, result, detail }) => [check, result === "fail" ? "FAIL" : result, detail]),
    );
  await print(
    context,
    format,
    { healthy: failed.length === 0, findings },
    text,
    failed.map(({ check }) => check),
  );
  if (format === "table" || format === "wide") {
    for (const { check, result, next } of findings)
      if (next !== null && result !== "ok") say(context, `${check}: ${next}`);
  }
  if (failed.length > 0) context.exitCode = 1;
}
