/** Merges the sources of a node's configuration: flag, then environment, then file, then default. */
import { BlixardError, issueText, nearest } from "@blixard/common";
import {
  flagOf,
  type NodeConfig,
  nodeSettings,
  type Setting,
  type SettingName,
  settingNames,
  variableOf,
} from "@blixard/server/settings";
import { z } from "zod";

export interface ConfigSources {
  /** Values as the command line gave them; absent ones are undefined. */
  readonly flags: Readonly<Partial<Record<SettingName, unknown>>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The parsed configuration file, if there is one. */
  readonly file?: { readonly path: string; readonly content: unknown };
}

export interface Origin {
  readonly kind: "flag" | "environment" | "file" | "default";
  /** The flag, the variable or the file. */
  readonly name: string;
}

export interface ResolvedConfig {
  readonly config: NodeConfig;
  readonly origins: Readonly<Record<SettingName, Origin>>;
}

/** @throws INVALID_ARGUMENT that names each wrong value and where it came from */
export function resolveNodeConfig(sources: ConfigSources): ResolvedConfig {
  const fromFile = fileValues(sources.file);
  const values: Partial<Record<SettingName, unknown>> = {};
  const origins: Partial<Record<SettingName, Origin>> = {};
  const problems: string[] = [];
  for (const name of settingNames) {
    const { value, origin } = pick(name, sources, fromFile);
    origins[name] = origin;
    const parsed = parse(nodeSettings[name], value);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${describe(origin, name, value)}: ${problemOf(parsed.error)}`);
  }
  const config = values as NodeConfig;
  if (problems.length === 0) problems.push(...contradictions(config));
  if (problems.length > 0) {
    throw new BlixardError("INVALID_ARGUMENT", problems.join("; "), {
      hint: "See: blixard node --help, and blixard config view --show-origin",
    });
  }
  return { config, origins: origins as Record<SettingName, Origin> };
}

function pick(
  name: SettingName,
  sources: ConfigSources,
  fromFile: Readonly<Record<string, unknown>>,
): { value: unknown; origin: Origin } {
  const flag = sources.flags[name];
  if (flag !== undefined) return { value: flag, origin: { kind: "flag", name: flagOf(name) } };
  const variable = variableOf(name);
  const text = sources.env[variable];
  if (text !== undefined && text !== "") return { value: text, origin: { kind: "environment", name: variable } };
  if (Object.hasOwn(fromFile, name)) {
    return { value: fromFile[name], origin: { kind: "file", name: sources.file?.path ?? "" } };
  }
  return { value: nodeSettings[name].fallback, origin: { kind: "default", name: "default" } };
}

/** Text from a flag or a variable is read as the type that the setting has. */
function parse(setting: Setting, value: unknown): z.ZodSafeParseResult<unknown> {
  return setting.schema.safeParse(typeof value === "string" ? fromText(setting, value) : value);
}

function fromText(setting: Setting, text: string): unknown {
  const kind = innerType(setting.schema);
  if (kind === "number" && /^-?\d{1,15}$/.test(text.trim())) return Number(text);
  if (kind === "boolean" && /^(true|1|yes|on)$/i.test(text)) return true;
  if (kind === "boolean" && /^(false|0|no|off)$/i.test(text)) return false;
  if (kind === "array") return text.split(",").map((part) => part.trim());
  return text;
}

function innerType(schema: z.ZodType): string {
  return schema instanceof z.ZodOptional ? innerType(schema.unwrap() as z.ZodType) : schema.def.type;
}

function fileValues(file: ConfigSources["file"]): Readonly<Record<string, unknown>> {
  if (file === undefined || file.content === null || file.content === undefined) return {};
  if (typeof file.content !== "object" || Array.isArray(file.content)) {
    throw new BlixardError("INVALID_ARGUMENT", `${file.path} is not a list of \`name: value\``);
  }
  for (const key of Object.keys(file.content)) {
    if (Object.hasOwn(nodeSettings, key)) continue;
    const near = nearest(key, settingNames);
    throw new BlixardError("UNKNOWN_OPTION", `${file.path}: there is no setting "${key}"`, {
      hint: near === undefined ? "See: blixard config view" : `Did you mean "${near}"?`,
    });
  }
  return file.content as Record<string, unknown>;
}

function describe(origin: Origin, name: SettingName, value: unknown): string {
  const shown = name === "join" ? "" : ` ${JSON.stringify(value)}`;
  return origin.kind === "file" ? `${name}${shown} in ${origin.name}` : `${origin.name}${shown}`;
}

function problemOf(error: z.ZodError): string {
  return error.issues.map(issueText).join(", ");
}

/** Settings that are fine alone and not together. */
function contradictions(config: NodeConfig): string[] {
  const problems: string[] = [];
  const joins = config.join !== undefined || config.joinFile !== undefined;
  if (config.bootstrap && joins) problems.push("--bootstrap and --join exclude each other");
  if (config.join !== undefined && config.joinFile !== undefined)
    problems.push("--join and --join-file exclude each other");
  if (config.heartbeatMs * 2 > config.electionTimeoutMs) {
    problems.push(
      `--election-timeout-ms ${config.electionTimeoutMs} must be at least twice --heartbeat-ms ${config.heartbeatMs}`,
    );
  }
  return problems;
}
