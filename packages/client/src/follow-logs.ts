/** The output of a VM as it comes, over streams that are opened again where the last one broke. */
import { BlixardError, type Clock, isBlixardError, sleep } from "@blixard/common";
import { errorCodeFacts, type StreamOutputOf, type StreamRequestOf } from "@blixard/protocol";
import type { StreamFunction } from "./groups.ts";

const reopenMs = 500;

export async function* followLogs(
  stream: StreamFunction,
  clock: Clock,
  request: StreamRequestOf<"vm.logs">,
  options: { readonly signal?: AbortSignal },
): AsyncGenerator<StreamOutputOf<"vm.logs">> {
  let { offset } = request;
  for (;;) {
    // The opening has retries and an end of its own: what fails there is for the caller.
    const output = await stream("vm.logs", { ...request, offset }, options);
    try {
      for await (const piece of output) {
        offset = piece.offset + piece.data.length;
        yield piece;
      }
      throw new BlixardError("UNAVAILABLE", "the node ended the stream");
    } catch (error) {
      if (options.signal?.aborted || !isBlixardError(error) || !errorCodeFacts(error.code).retryable) throw error;
    }
    await sleep(clock, reopenMs, options.signal);
  }
}
