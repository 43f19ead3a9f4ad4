/**
 * Keys of nodes that were talked to, in `blixard/known-nodes.json` of the user's configuration home. Loopback addresses
 * are not remembered: which node listens there changes often, and nobody stands between.
 */
import { dirname, join } from "node:path";
import { type PinStore, parseNodeAddress } from "@blixard/client";
import { BlixardError, isBlixardError, isLoopbackHost, reasonOf, systemErrorCodeOf } from "@blixard/common";
import { makePrivateDirectory, readOwnFile, writeOwnFile } from "@blixard/common/system";
import { endpointIdSchema } from "@blixard/protocol";
import { z } from "zod";
import { configHome } from "./contexts.ts";

const pinsSchema = z.record(z.string(), endpointIdSchema);

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
      writePins(path, { ...readPins(path), [address]: endpointId });
    },
  };
}

/** A node has another key, as somebody said whose own key was pinned: it takes the place of the one of before. */
export function replacePinned(env: Readonly<Record<string, string | undefined>>, before: string, after: string): void {
  const home = configHome(env);
  if (home === undefined) return;
  const path = join(home, "known-nodes.json");
  const pins = Object.entries(readPins(path));
  if (!pins.some(([, endpointId]) => endpointId === before)) return;
  writePins(path, Object.fromEntries(pins.map(([address, pin]) => [address, pin === before ? after : pin])));
}

function writePins(path: string, pins: Readonly<Record<string, string>>): void {
  try {
    makePrivateDirectory(dirname(path));
    writeOwnFile(path, `${JSON.stringify(pins, null, 2)}\n`);
  } catch (error) {
    throw isBlixardError(error) ? error : failed(`${path} cannot be written`, error);
  }
}

/** A file that cannot be understood is refused: taking it for empty would accept any key. */
function readPins(path: string): Readonly<Record<string, string>> {
  let text: string;
  try {
    text = readOwnFile(path, { code: "INVALID_ARGUMENT" });
  } catch (error) {
    if (systemErrorCodeOf(error) === "ENOENT") return {};
    throw isBlixardError(error) ? error : failed(`${path} cannot be read`, error);
  }
  try {
    return pinsSchema.parse(JSON.parse(text));
  } catch (error) {
    throw failed(`${path} cannot be read`, error);
  }
}

function failed(what: string, cause: unknown): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `${what}: ${reasonOf(cause)}`, {
    cause,
    hint: "Repair it, or remove it to learn the keys of the nodes anew.",
  });
}
