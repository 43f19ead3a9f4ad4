/**
 * The clusters that this user may call from this machine, without a node here: `blixard/contexts.json` of the
 * configuration home, and a key for each context beside it. A ticket let the key in; the cluster can revoke it.
 */
import { rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { BlixardError, isBlixardError, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { makePrivateDirectory, readOwnFile, writeOwnFile } from "@blixard/common/system";
import { accessRoleSchema, addressSchema, endpointIdSchema, nameSchema } from "@blixard/protocol";
import { z } from "zod";

type Environment = Readonly<Record<string, string | undefined>>;

const contextSchema = z.object({
  clusterId: z.string().min(1),
  /** What `blixard token revoke` takes. */
  tokenId: z.string().min(1),
  role: accessRoleSchema,
  transport: z.enum(["iroh", "grpc"]),
  relay: z.boolean(),
  discovery: z.boolean(),
  /** As they were seen last. */
  nodes: z.array(z.object({ endpointId: endpointIdSchema, addresses: z.array(addressSchema) })).min(1),
});
export type SavedContext = z.infer<typeof contextSchema>;

const fileSchema = z.object({
  formatVersion: z.literal(1),
  current: nameSchema.nullable(),
  contexts: z.record(nameSchema, contextSchema),
});
export type ContextsFile = z.infer<typeof fileSchema>;

/** The directory of this user for what commands remember; undefined for a user without a home: nothing is remembered. */
export function configHome(env: Environment): string | undefined {
  const given = env["XDG_CONFIG_HOME"];
  const home = userHome();
  if (given !== undefined && given !== "") return join(given, "blixard");
  return home === undefined ? undefined : join(home, ".config", "blixard");
}

/** A user id may stand in no list of users, as in many containers. */
function userHome(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** @throws INVALID_ARGUMENT for a user without a home */
function requireHome(env: Environment): string {
  const home = configHome(env);
  if (home !== undefined) return home;
  throw new BlixardError("INVALID_ARGUMENT", "this user has no home directory, where contexts could be kept", {
    hint: "Set HOME or XDG_CONFIG_HOME to a directory of this user, or give --address and --token-file.",
  });
}

/** Where the key of a context is, or will be. Its directory exists when this resolves. */
export async function contextKeyPath(env: Environment, name: string): Promise<string> {
  const path = join(requireHome(env), "keys", `${name}.key`);
  makePrivateDirectory(dirname(path));
  return path;
}

/** @throws INVALID_ARGUMENT for a file that cannot be understood */
export async function readContexts(env: Environment): Promise<ContextsFile> {
  if (configHome(env) === undefined) return { formatVersion: 1, current: null, contexts: {} };
  const path = pathOf(env);
  try {
    return fileSchema.parse(JSON.parse(readOwnFile(path, { code: "INVALID_ARGUMENT" })));
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return { formatVersion: 1, current: null, contexts: {} };
    if (isBlixardError(error)) throw error;
    throw new BlixardError("INVALID_ARGUMENT", `${path} cannot be read: ${reasonOf(error)}`, {
      cause: error,
      hint: "Repair it, or remove it and add the contexts again with new tickets.",
    });
  }
}

export async function writeContexts(env: Environment, file: ContextsFile): Promise<void> {
  const path = pathOf(env);
  try {
    makePrivateDirectory(dirname(path));
    writeOwnFile(path, `${JSON.stringify(file, null, 2)}\n`);
  } catch (error) {
    if (isBlixardError(error)) throw error;
    throw new BlixardError("INVALID_ARGUMENT", `${path} cannot be written: ${reasonOf(error)}`, {
      cause: error,
      hint: "Set XDG_CONFIG_HOME to a directory that this user can write.",
    });
  }
}

/** @throws NOT_FOUND */
export function contextNamed(file: ContextsFile, name: string): SavedContext {
  const found = Object.hasOwn(file.contexts, name) ? file.contexts[name] : undefined;
  if (found !== undefined) return found;
  throw new BlixardError("NOT_FOUND", `there is no context ${name}`, {
    hint: "List them with `blixard context list`; make one with `blixard context add NAME TICKET`.",
  });
}

/** Forgets a context and its key. */
export async function removeContext(env: Environment, file: ContextsFile, name: string): Promise<void> {
  const { [name]: _, ...contexts } = file.contexts;
  await writeContexts(env, { ...file, contexts, current: file.current === name ? null : file.current });
  await rm(await contextKeyPath(env, name), { force: true });
}

function pathOf(env: Environment): string {
  return join(requireHome(env), "contexts.json");
}
