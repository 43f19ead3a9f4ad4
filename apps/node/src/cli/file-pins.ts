/**
 * Keys of nodes that were talked to, in `blixard/known-nodes.json` of the user's configuration home. Loopback addresses
 * are not remembered: which node listens there changes often, and nobody stands between.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type PinStore, parseNodeAddress } from "@blixard/client";
import { BlixardError, isLoopbackHost, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { configHome } from "./contexts.ts";

export function filePins(env: Readonly<Record<string, string | undefined>>): PinStore {
  const home = configHome(env);
  const session = new Map<string, string>();
  // Of a user without a home for as long as the command runs.
  if (home === undefined) {
    return {
      get: (address) => session.get(address),
      set: (address, endpointId) => void session.set(address, endpointId),
    };
  }
  const path = join(home, "known-nodes.json");
  return {
    get: (address) => session.get(address) ?? readPins(path)[address],
    set: (address, endpointId) => {
      session.set(address, endpointId);
      if (isLoopbackHost(parseNodeAddress(address).host)) return;
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      const draft = `${path}.${process.pid}`;
      writeFileSync(draft, `${JSON.stringify({ ...readPins(path), [address]: endpointId }, null, 2)}\n`, {
        mode: 0o600,
      });
      renameSync(draft, path);
    },
  };
}

/** A file that cannot be understood is refused: taking it for empty would accept any key. */
function readPins(path: string): Readonly<Record<string, string>> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return {};
    throw unreadable(path, error);
  }
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `${path} cannot be read: ${reasonOf(cause)}`, {
    cause,
    hint: "Repair it, or remove it to learn the keys of the nodes anew.",
  });
}
