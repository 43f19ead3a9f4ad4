/** Goes on after what passes, where a transfer stopped. */
import { sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import type { CliContext } from "../cli-context.ts";

const pauseMs = 1_000;

/** Each pause is longer than the one before. Rejects with the last error, or with one that does not pass. */
export async function withAttempts<T>(
  { signal }: CliContext,
  { attemptsMax, mayPass }: { readonly attemptsMax: number; readonly mayPass: (error: unknown) => boolean },
  work: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (attempt >= attemptsMax || !mayPass(error)) throw error;
      await sleep(systemClock, pauseMs * attempt, signal);
    }
  }
}
