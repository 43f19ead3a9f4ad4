/** The options that make up the specification of a VM, one for each field of its schema. */
import { BlixardError } from "@blixard/common";
import { type VmSpecInput, vmSpecSchema } from "@blixard/protocol";
import { type Command, Option } from "commander";
import { z } from "zod";
import { addLater } from "../later-options.ts";
import { parseDurationMs, parseInteger, parseMemoryMiB } from "../quantities.ts";
import { type ListOption, repeatedOption } from "./list-option.ts";
import { bootOrderOption, cdromOption } from "./vm-cdroms.ts";
import { sshKeyOption, userDataFlag } from "./vm-cloud-init.ts";
import { diskOption } from "./vm-disks.ts";
import { parseHealth } from "./vm-health-options.ts";
import { parseForwards, parseNetworks } from "./vm-network-options.ts";
import { affinityOption, constraintOption } from "./vm-placement-options.ts";

interface Addition {
  readonly fallback?: string;
  readonly hint?: string;
  /** Where the name of the field makes none that people like. */
  readonly flag?: string;
}

/** What only the command line adds to a field: its default for people, and a word in the help. */
const additions: Readonly<Partial<Record<string, Addition>>> = {
  memoryMiB: { fallback: "256M", hint: "for example 256M or 1G" },
  image: { hint: "see: blixard image list" },
  "cloudInit-userData": { flag: userDataFlag },
  "cloudInit-hostname": { flag: "--hostname <name>" },
};

/** The fields that are lists: the option for one of its items, which may be given several times. */
const lists: Readonly<Partial<Record<string, ListOption>>> = {
  disks: diskOption,
  cdroms: cdromOption,
  bootOrder: bootOrderOption,
  "cloudInit.sshKeys": sshKeyOption,
  networks: {
    flag: "--network <network>",
    hint: "NAME[,address=ADDRESS][,mac=MAC][,egress=none|RANGE+RANGE][,groups=GROUP+GROUP]; `none` alone",
    read: parseNetworks,
  },
  "placement-constraints": constraintOption,
  "placement-affinity": affinityOption,
  health: {
    flag: "--health <check>",
    hint: "tcp:PORT, http:PORT[/PATH], console:TEXT, agent or exec:PROGRAM ARGUMENTS, with ,interval=5s,timeout=2s,failures=3,grace=60s,recovery=restart|none",
    read: parseHealth,
  },
  forwards: { flag: "--forward <ports>", hint: "[all|ADDRESS:]PORT:TO[/udp][,from=RANGE+RANGE]", read: parseForwards },
};

interface SpecOption {
  /** The path of the field: two names for one of an object in the specification. */
  readonly field: readonly string[];
  readonly option: Option;
  /** @throws INVALID_ARGUMENT for text that is no value of this kind; whether the value fits is up to the node */
  readonly read: (given: Given) => unknown;
}

type Given = string | boolean | readonly string[];

/** A field as JSON Schema describes it. */
interface FieldSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly properties?: Readonly<Record<string, FieldSchema>>;
}

/** Made when they are asked for: most commands about VMs have none of them. */
let made: readonly SpecOption[] | undefined;

function specOptions(): readonly SpecOption[] {
  made ??= optionsOf(vmSpecSchema);
  return made;
}

export function addSpecOptions(command: Command): Command {
  return addLater(command, () => {
    for (const { option } of specOptions()) command.addOption(option);
  });
}

/** The same options for a VM that there is: what is not given stays as it is. */
export function addChangeOptions(command: Command): Command {
  return addLater(command, () => {
    for (const { option } of optionsOf(vmSpecSchema, { fills: false })) command.addOption(option);
  });
}

/** The specification that the command line gave; what it did not give is left to the defaults of the schema. */
export function specOf(options: object): VmSpecInput {
  const given = options as Readonly<Record<string, Given | undefined>>;
  const spec: Record<string, unknown> = {};
  for (const { field, option, read } of specOptions()) {
    const value = given[option.attributeName()];
    if (value === undefined) continue;
    const [name = "", part] = field;
    spec[name] = part === undefined ? read(value) : { ...(spec[name] as object | undefined), [part]: read(value) };
  }
  return spec as VmSpecInput;
}

/**
 * `memoryMiB` is `--memory <size>`: a unit at the end of the name is what people write with the value. The fields of an
 * object have an option each: `autostart.delayMs` is `--autostart-delay <time>`.
 */
export function optionsOf(schema: z.ZodObject, { fills = true }: { readonly fills?: boolean } = {}): SpecOption[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input" });
  return Object.entries(properties as Record<string, FieldSchema>).flatMap(([name, described]) => {
    const { type, properties: parts = {} } = described;
    if (type !== "object") return [optionOf([name], described, { mandatory: fills && required.includes(name), fills })];
    return Object.entries(parts).map(([part, field]) => {
      const partList = lists[`${name}.${part}`];
      return partList === undefined
        ? optionOf([name, part], field, { mandatory: false, fills })
        : listOptionOf([name, part], field, partList);
    });
  });
}

function listOptionOf(field: readonly string[], { description = "" }: FieldSchema, list: ListOption): SpecOption {
  const read = (given: Given) => list.read(typeof given === "object" ? given : [String(given)]);
  return { field, option: repeatedOption(list, description), read };
}

/** `fills`: what is not given gets its default. */
function optionOf(
  field: readonly string[],
  described: FieldSchema,
  { mandatory, fills }: { readonly mandatory: boolean; readonly fills: boolean },
): SpecOption {
  const name = field.join("-");
  const list = described.type === "array" ? lists[name] : undefined;
  if (list !== undefined) return listOptionOf(field, described, list);
  const { fallback, hint, flag: ownFlag } = additions[name] ?? {};
  const flag = flagOf(name);
  const { value, read } = kindOf(name, flag, described);
  const help = [described.description, hint].filter((part) => part !== undefined).join("; ");
  const shown = described.default === undefined || !fills ? help : `${help} (default ${described.default})`;
  const option = new Option(ownFlag ?? (value === "" ? flag : `${flag} <${value}>`), shown);
  if (fills) option.default(fallback);
  return { field, option: option.makeOptionMandatory(mandatory), read };
}

/** @throws INVARIANT for a kind of field that no single option can carry */
function kindOf(field: string, flag: string, schema: FieldSchema): Pick<SpecOption, "read"> & { value: string } {
  switch (schema.type) {
    case "integer":
      if (/MiB(Max)?$/.test(field)) return { value: "size", read: (given) => parseMemoryMiB(String(given)) };
      if (field.endsWith("Ms")) return { value: "time", read: (given) => parseDurationMs(String(given), { minMs: 0 }) };
      return { value: "n", read: (given) => parseInteger(String(given), flag, Math.max(0, schema.minimum ?? 0)) };
    case "string":
      return { value: schema.enum?.join("|") ?? flag.slice(2), read: (given) => given };
    case "boolean":
      return { value: "", read: (given) => given };
    default:
      throw new BlixardError("INVARIANT", `the field ${field} of a VM is of a kind that vm create has no option for`);
  }
}

function flagOf(field: string): string {
  const words = field.replace(/(MiB|Ms)(?=$|Max$)/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${words}`;
}
