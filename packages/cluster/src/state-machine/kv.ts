/** Commands of the key-value table. */
import type { CommandBodyOf, KvEntry } from "@blixard/protocol";
import { done, refuse } from "./outcomes.ts";
import { preconditionFailed } from "./precondition.ts";
import type { AppliersOf, ClusterState, CommandEntry, Outcome } from "./types.ts";

export const kvAppliers: AppliersOf<"kv"> = {
  "kv.put": applyPut,
  "kv.delete": applyDelete,
  "kv.cas": applyCas,
};

const store = (entry: KvEntry) => ({ table: "kv", key: entry.key, value: entry }) as const;

function applyPut(state: ClusterState, body: CommandBodyOf<"kv.put">, entry: CommandEntry): Outcome {
  const failed = preconditionFailed(entry.command, `key ${body.key}`, state.kv.get(body.key)?.index ?? 0);
  if (failed !== undefined) return failed;
  return done(null, [store({ key: body.key, value: body.value, index: entry.index })]);
}

function applyDelete(state: ClusterState, body: CommandBodyOf<"kv.delete">, entry: CommandEntry): Outcome {
  const present = state.kv.get(body.key);
  const failed = preconditionFailed(entry.command, `key ${body.key}`, present?.index ?? 0);
  if (failed !== undefined) return failed;
  if (present === undefined) return refuse("KEY_NOT_FOUND", `there is no key ${body.key}`, "See: blixard kv list");
  return done(null, [{ table: "kv", key: body.key, value: undefined }]);
}

/** A value that is not the expected one is an answer, not an error: `swapped: false`, and nothing changes. */
function applyCas(state: ClusterState, body: CommandBodyOf<"kv.cas">, entry: CommandEntry): Outcome {
  const present = state.kv.get(body.key);
  const failed = preconditionFailed(entry.command, `key ${body.key}`, present?.index ?? 0);
  if (failed !== undefined) return failed;
  if ((present?.value ?? null) !== body.from) return done({ swapped: false });
  if (body.to === null) {
    return done({ swapped: true }, present === undefined ? [] : [{ table: "kv", key: body.key, value: undefined }]);
  }
  return done({ swapped: true }, [store({ key: body.key, value: body.to, index: entry.index })]);
}
