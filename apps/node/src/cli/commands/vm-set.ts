/** `blixard vm set|apply`: changes of VMs that there are. */
import { BlixardError, errorCodeOf, messageOf, reasonOf } from "@blixard/common";
import { readNamedFile } from "@blixard/common/system";
import {
  type ChangedField,
  type Labels,
  pendingRestart,
  type RequestOf,
  type ResponseOf,
  type VmRecord,
  type VmSpecInput,
} from "@blixard/protocol";
import type { Command } from "commander";
import { z } from "zod";
import { type CliContext, say } from "../cli-context.ts";
import { type ClientOptions, type ClientSession, withClient, withClientOptions } from "../client-command.ts";
import { print } from "../output.ts";
import { parseInteger } from "../quantities.ts";
import { formatTable } from "../table.ts";
import { repeatedOption } from "./list-option.ts";
import { closedPortsOf } from "./vm-network-lines.ts";
import { parseLabels } from "./vm-placement-options.ts";
import { addChangeOptions, specOf } from "./vm-spec-options.ts";

type SetOptions = ClientOptions & {
  readonly ifMatch?: string;
  readonly dryRun?: boolean;
  readonly label?: readonly string[];
  readonly unsetLabel?: readonly string[];
  readonly unset?: readonly string[];
  readonly unsetNetwork?: readonly string[];
};
type ApplyOptions = ClientOptions & {
  readonly file: string;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
};

type SetRequest = RequestOf<"vm.set">;

/** Waits until a VM that was made runs, and shows it. */
type Finish = (session: ClientSession, vm: VmRecord, options: ApplyOptions) => Promise<void>;

const documentBytesMax = 256 * 1024;

export function registerSet(command: Command, context: CliContext, finish: Finish): void {
  const set = withClientOptions(
    command.command("set <name>").description("change the specification and the labels of a VM that there is"),
  );
  addChangeOptions(set)
    .addOption(repeatedOption({ flag: "--label <label>", hint: "KEY=VALUE" }, "a label of the VM"))
    .addOption(repeatedOption({ flag: "--unset-label <key>", hint: "KEY" }, "a label that it is to lose"))
    .addOption(
      repeatedOption({ flag: "--unset-network <network>", hint: "NETWORK" }, "a network whose card it is to lose"),
    )
    .addOption(
      repeatedOption(
        { flag: "--unset <field>", hint: "such as health, forwards, placement" },
        "a field that it is to have no more",
      ),
    )
    .option("--if-match <index>", "only if the VM was last changed at this index")
    .option("--dry-run", "only say what would change")
    .action((name: string, options: SetOptions) =>
      withClient(context, options, (session) => change(session, requestOf(name, options), options)),
    );
  withClientOptions(
    command
      .command("apply")
      .description("make a VM as a file says: create it, or change the one that there is")
      .requiredOption("-f, --file <file>", "a YAML document: kind: VM, name, labels, spec"),
  )
    .option("--detach", "do not wait for a VM that is created")
    .option("--dry-run", "only say what would change")
    .action((options: ApplyOptions) =>
      withClient(context, options, async (session) =>
        apply(session, await readDocument(options.file), options, finish),
      ),
    );
}

/** @throws INVALID_ARGUMENT */
function requestOf(name: string, options: SetOptions): SetRequest {
  const { label, unsetLabel = [], unset = [], unsetNetwork = [], dryRun = false } = options;
  const spec = specOf(options);
  const request: SetRequest = {
    name,
    dryRun,
    // Whether they are fields that can be unset is up to the node.
    unset: unset as NonNullable<SetRequest["unset"]>,
    unsetLabels: [...unsetLabel],
    unsetNetworks: [...unsetNetwork],
    ...(Object.keys(spec).length === 0 ? {} : { spec: spec as NonNullable<SetRequest["spec"]> }),
    ...(label === undefined ? {} : { labels: parseLabels(label, "--label") }),
  };
  const gone = unset.length + unsetLabel.length + unsetNetwork.length;
  if (request.spec !== undefined || request.labels !== undefined || gone > 0) return request;
  throw new BlixardError("INVALID_ARGUMENT", "nothing is to change", { hint: "See: blixard vm set --help" });
}

async function change(session: ClientSession, request: SetRequest, { ifMatch }: SetOptions): Promise<void> {
  const { client, context } = session;
  const matched = ifMatch === undefined ? {} : { ifMatchIndex: parseInteger(ifMatch, "--if-match") };
  const answer = await client.vms.set(request, matched);
  await show(session, answer, request);
  const { vm, changes } = answer;
  const opens = changes.some(({ field, effect }) => field === "forwards" && effect === "now");
  if (request.dryRun === true || !opens || vm.phase !== "Running") return;
  for (const closed of await closedPortsOf(client, vm, context.signal)) say(context, `${vm.name}: ${closed}`);
}

const effects: Readonly<Record<ChangedField["effect"], string>> = {
  now: "at once",
  restart: "when it is started again",
  placement: "when it is placed the next time",
};

async function show(
  { context, format }: ClientSession,
  { vm, changes, index }: ResponseOf<"vm.set">,
  { name, dryRun = false }: SetRequest,
): Promise<void> {
  const pending = pendingRestart(vm);
  const rows = changes.map(({ field, from, to, effect }) => [field, from ?? "-", to ?? "-", effects[effect]]);
  const table = formatTable(["FIELD", "BEFORE", "AFTER", "IN FORCE"], rows);
  const text = () => (changes.length === 0 ? `${name}: nothing changes\n` : table);
  await print(context, format, { name, index, dryRun, changes, pendingRestart: pending }, text, [name]);
  const fields = [...new Set(changes.filter(({ effect }) => effect === "restart").map(({ field }) => field))];
  if (dryRun || fields.length === 0) return;
  say(context, `${name}: restart it for ${fields.join(", ")}: blixard vm restart ${name}`);
}

const documentSchema = z
  .object({
    kind: z.literal("VM"),
    name: z.string(),
    labels: z.record(z.string(), z.string()).exactOptional(),
    // Whether it is one is up to the node.
    spec: z.custom<VmSpecInput>(
      (spec) => typeof spec === "object" && spec !== null && !Array.isArray(spec),
      "is no object",
    ),
  })
  .strict();
type VmDocument = z.infer<typeof documentSchema>;

/** @throws INVALID_ARGUMENT for a file that is no such document; what its specification says is up to the node */
async function readDocument(file: string): Promise<VmDocument> {
  const wrong = (why: string) => new BlixardError("INVALID_ARGUMENT", `${file}: ${why}`, { hint: documentHint });
  try {
    const { parse } = await import("yaml");
    const parsed = documentSchema.safeParse(parse(await readNamedFile(file, documentBytesMax)));
    if (parsed.success) return parsed.data;
    throw wrong(reasonOf(parsed.error));
  } catch (error) {
    throw error instanceof BlixardError ? error : wrong(messageOf(error));
  }
}

const documentHint = "It is one YAML document with kind: VM, name, labels (where there are some) and spec.";

async function apply(
  session: ClientSession,
  { name, labels = {}, spec }: VmDocument,
  options: ApplyOptions,
  finish: Finish,
): Promise<void> {
  const { client, context } = session;
  const dryRun = options.dryRun === true;
  const present = await client.vms.get(name).catch((error: unknown) => {
    if (errorCodeOf(error) !== "VM_NOT_FOUND") throw error;
    return undefined;
  });
  if (present === undefined) {
    if (dryRun) await showNew(session, name, { spec, labels });
    else await finish(session, await made(session, name, { spec, labels }), options);
    return;
  }
  const { cloudInit, ...rest } = spec;
  if (cloudInit !== undefined) {
    say(context, `${name}: what cloud-init is told stays as it was: the guest reads it at its first boot`);
  }
  const request: SetRequest = { name, spec: rest as NonNullable<SetRequest["spec"]>, labels, whole: true, dryRun };
  await show(session, await client.vms.set(request), request);
}

interface Wished {
  readonly spec: VmDocument["spec"];
  readonly labels: Labels;
}

async function made({ client }: ClientSession, name: string, { spec, labels }: Wished): Promise<VmRecord> {
  const labelled = Object.keys(labels).length === 0 ? {} : { labels };
  const { vm } = await client.vms.create(name, spec, labelled);
  return vm;
}

async function showNew({ client, context, format }: ClientSession, name: string, { spec, labels }: Wished) {
  const { nodeId } = await client.vms.candidates({ spec, labels });
  const where = nodeId === null ? "waits for room" : `is placed on node ${nodeId}`;
  const text = () => `${name}: is created, and ${where}\n`;
  await print(context, format, { name, dryRun: true, creates: true, nodeId }, text, [name]);
}
