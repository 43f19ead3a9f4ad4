/** What the manager and the process that freezes know of each other. */
import { assertBelow } from "@blixard/common";

export const freezeArgument = "--blixard-freeze";
/** A guest writes what it has not written yet before its file systems stand still. */
export const freezeMs = 20_000;
/** Nothing that is written in the guest goes on meanwhile. */
export const frozenMsMax = 10_000;
/** What is done meanwhile. */
export const workMs = 8_000;

assertBelow({ workMs }, { frozenMsMax }, "what is done while they stand still has an end before they go on");
