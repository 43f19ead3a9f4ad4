/** Reads the configuration of a node from its real sources. */
import { BlixardError, errorCodeOf, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { readNamedFile } from "@blixard/common/system";
import type { SettingName } from "@blixard/server/settings";
import { parse } from "yaml";
import { type ResolvedConfig, resolveNodeConfig } from "./resolve-config.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const fileBytesMax = 1024 * 1024;

/** `file` is the value of `--config`; `BLIXARD_CONFIG` stands in for it. @throws INVALID_ARGUMENT, NOT_FOUND */
export async function loadNodeConfig(
  flags: Readonly<Partial<Record<SettingName, unknown>>>,
  file: string | undefined,
  env: Environment = process.env,
): Promise<ResolvedConfig> {
  const path = file ?? env["BLIXARD_CONFIG"];
  if (path === undefined || path === "") return resolveNodeConfig({ flags, env });
  return resolveNodeConfig({ flags, env, file: { path, content: await readYaml(path) } });
}

async function readYaml(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readNamedFile(path, fileBytesMax);
  } catch (error) {
    if (errorCodeOf(error) === "VALUE_TOO_LARGE") throw error;
    const what = systemErrorCodeOf(error) === "ENOENT" ? "does not exist" : `cannot be read: ${reasonOf(error)}`;
    throw new BlixardError("INVALID_ARGUMENT", `the configuration file ${path} ${what}`, {
      cause: error,
      hint: "Check --config or BLIXARD_CONFIG.",
    });
  }
  try {
    return parse(text, { maxAliasCount: 0 });
  } catch (error) {
    // What follows the first line is a picture of the place.
    const [first = ""] = reasonOf(error).split("\n");
    throw new BlixardError("INVALID_ARGUMENT", `${path} is not YAML: ${first.replace(/:$/, "")}`, {
      cause: error,
      hint: "Correct that line. The settings and their values: blixard node --help",
    });
  }
}
