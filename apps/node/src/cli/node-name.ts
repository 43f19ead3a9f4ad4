/** Nodes by their number or by their name. */

import type { BlixardClient } from "@blixard/client";
import { BlixardError } from "@blixard/common";
import { parseInteger } from "./quantities.ts";

/** @throws NODE_NOT_FOUND, INVALID_ARGUMENT */
export async function nodeIdOf(client: BlixardClient, given: string): Promise<number> {
  if (/^\d/.test(given) || given === "") return parseInteger(given, "the node id", 1);
  const node = (await client.nodes.list()).find(({ name }) => name === given);
  if (node !== undefined) return node.id;
  throw new BlixardError("NODE_NOT_FOUND", `there is no node ${given}`, {
    hint: "List the nodes with: blixard nodes list",
  });
}
