/** The options that make up the specification of a VM, one for each field of its schema. */
import { BlixardError } from "@blixard/common";
import { type VmSpec, type VmSpecInput, vmSpecSchema } from "@blixard/protocol";
import { type Command, Option } from "commander";
import { z } from "zod";
import { parseDurationMs, parseInteger, parseMemoryMiB } from "../quantities.ts";

/** What only the command line adds to a field: its default for people, and a word in the help. */
const additions: Readonly<Partial<Record<keyof VmSpec, { readonly fallback?: string; readonly hint?: string }>>> = {
  memoryMiB: { fallback: "256M", hint: "for example 256M or 1G" },
  image: { hint: "see: blixard image list" },
};

interface SpecOption {
  readonly field: string;
  readonly option: Option;
  /** @throws INVALID_ARGUMENT for text that is no value of this kind; whether the value fits is up to the node */
  readonly read: (given: string | boolean) => unknown;
}

/** A field as JSON Schema describes it. */
interface FieldSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
}

const specOptions: readonly SpecOption[] = optionsOf(vmSpecSchema);

export function addSpecOptions(command: Command): Command {
  for (const { option } of specOptions) command.addOption(option);
  return command;
}

/** The specification that the command line gave; what it did not give is left to the defaults of the schema. */
export function specOf(options: object): VmSpecInput {
  const given = options as Readonly<Record<string, string | boolean | undefined>>;
  const fields = specOptions.flatMap(({ field, option, read }) => {
    const value = given[option.attributeName()];
    return value === undefined ? [] : [[field, read(value)]];
  });
  return Object.fromEntries(fields) as VmSpecInput;
}

/** `memoryMiB` is `--memory <size>`: a unit at the end of the name is what people write with the value. */
export function optionsOf(schema: z.ZodObject): SpecOption[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input" });
  return Object.entries(properties as Record<string, FieldSchema>).map(([field, described]) => {
    const { fallback, hint } = additions[field as keyof VmSpec] ?? {};
    const flag = flagOf(field);
    const { value, read } = kindOf(field, flag, described);
    const help = [described.description, hint].filter((part) => part !== undefined).join("; ");
    const shown = described.default === undefined ? help : `${help} (default ${described.default})`;
    const option = new Option(value === "" ? flag : `${flag} <${value}>`, shown).default(fallback);
    return { field, option: option.makeOptionMandatory(required.includes(field)), read };
  });
}

/** @throws INVARIANT for a kind of field that no single option can carry */
function kindOf(field: string, flag: string, schema: FieldSchema): Pick<SpecOption, "read"> & { value: string } {
  switch (schema.type) {
    case "integer":
      if (field.endsWith("MiB")) return { value: "size", read: (given) => parseMemoryMiB(String(given)) };
      if (field.endsWith("Ms")) return { value: "time", read: (given) => parseDurationMs(String(given)) };
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
  const words = field.replace(/(MiB|Ms)$/, "").replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `--${words}`;
}
