import type { LogIndex } from "../core/types.ts";

/** How far the addition of a member is. */
export type MemberProgress =
  | { readonly stage: "adding" }
  | {
      readonly stage: "catching_up";
      /** Rounds of catching up, from 1 (thesis section 4.2.1); each is as long as the log grew during the last one. */
      readonly round: number;
      /** The new member has the log up to here. */
      readonly matchIndex: LogIndex;
      /** Where this round ends. */
      readonly targetIndex: LogIndex;
      /** Whether a snapshot is on its way, or entries. */
      readonly by: "snapshot" | "entries";
      /** Whether anything was heard of it within an election timeout. */
      readonly active: boolean;
    }
  | { readonly stage: "promoting" }
  | { readonly stage: "done" };
