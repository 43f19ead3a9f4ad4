import { type Clock, messageOf, withDeadline } from "@blixard/common";
import { findProgram, unconfined } from "../confinement/launcher.ts";
import { withLength } from "./frame-reader.ts";
import { passtProgram, startPasst } from "./passt.ts";
import { userAddressesOf } from "./user-network.ts";
import { askForGateway } from "./user-wall.ts";

const trialTimeoutMs = 5_000;

/** Tries passt once: it has to answer a guest that asks for its gateway. Undefined when it does, else why not. */
export async function tryPasst(clock: Clock): Promise<string | undefined> {
  if (findProgram(passtProgram) === undefined) return "passt is not installed";
  const addresses = userAddressesOf();
  const { child, frames, ended } = startPasst(addresses, [], unconfined);
  try {
    return await withDeadline({ clock, timeoutMs: trialTimeoutMs, what: "an answer of passt" }, async () => {
      const answer = new Promise<undefined>((resolve) => frames.once("data", () => resolve(undefined)));
      frames.write(withLength(askForGateway("02:00:00:00:00:0f", addresses)));
      const end = await Promise.race([answer, ended]);
      return end === undefined ? undefined : `passt does not work: ${end}`;
    });
  } catch (error) {
    return `passt does not work: ${messageOf(error)}`;
  } finally {
    frames.destroy();
    child.kill("SIGKILL");
  }
}
