/** Commands of the key-value table. */
import type { Command, CommandBodyOf, KvEntry } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import type { ClusterState, Outcome, Position } from "./types.ts";

const store = (entry: KvEntry) => ({ table: "kv", key: entry.key, value: entry }) as const;

export function applyKvPut(
  state: ClusterState,
  command: Command,
  body: CommandBodyOf<"kv.put">,
  at: Position,
): Outcome {
  const failed = preconditionFailed(command, `key ${body.key}`, state.kv.get(body.key)?.index ?? 0);
  if (failed !== undefined) return failed;
  return done(null, [store({ key: body.key, value: body.value, index: at.index })]);
}

export function applyKvDelete(state: ClusterState, command: Command, body: CommandBodyOf<"kv.delete">): Outcome {
  const present = state.kv.get(body.key);
  const failed = preconditionFailed(command, `key ${body.key}`, present?.index ?? 0);
  if (failed !== undefined) return failed;
  if (present === undefined) return refuse("KEY_NOT_FOUND", `there is no key ${body.key}`, "See: blixard kv list");
  return done(null, [{ table: "kv", key: body.key, value: undefined }]);
}

/** A value that is not the expected one is an answer, not an error: `swapped: false`, and nothing changes. */
export function applyKvCas(
  state: ClusterState,
  command: Command,
  body: CommandBodyOf<"kv.cas">,
  at: Position,
): Outcome {
  const present = state.kv.get(body.key);
  const failed = preconditionFailed(command, `key ${body.key}`, present?.index ?? 0);
  if (failed !== undefined) return failed;
  if ((present?.value ?? null) !== body.from) return done({ swapped: false });
  if (body.to === null) {
    return done({ swapped: true }, present === undefined ? [] : [{ table: "kv", key: body.key, value: undefined }]);
  }
  return done({ swapped: true }, [store({ key: body.key, value: body.to, index: at.index })]);
}
