/**
 * Freezes the file systems of a guest through its agent, and thaws them when its standard input ends, or after a while: whatever
 * becomes of the node, no guest stays frozen. The agent itself knows of no end.
 *
 * Arguments: `--blixard-freeze SOCKET`. It writes one line each: `frozen N`, or `failed`; and `thawed` when that is so.
 */
import { errorCodeOf, pauseFor, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { AgentClient } from "./agent-client.ts";
import { freezeArgument, freezeMs, frozenMsMax } from "./freeze-limits.ts";

const answerMs = 5_000;
const retryMs = 200;
/** A guest that has ended answers nobody. */
const thawMs = 300_000;

const path = process.argv[process.argv.indexOf(freezeArgument) + 1];
if (path === undefined) throw new Error(`usage: freeze-main ${freezeArgument} SOCKET`);
const client = new AgentClient({ clock: systemClock, path });
const ended = new AbortController();
for (const event of ["end", "close", "error"]) process.stdin.on(event, () => ended.abort());
process.stdin.resume();
process.stdout.on("error", () => {});

let isRefused = false;
try {
  const count = await client.call("guest-fsfreeze-freeze", {}, { timeoutMs: freezeMs });
  process.stdout.write(`frozen ${Number(count)}\n`);
  await pauseFor(systemClock, frozenMsMax, ended.signal);
} catch (error) {
  // It may have frozen some, unless it said that it does no such thing.
  isRefused = errorCodeOf(error) === "CONFLICT";
  process.stdout.write("failed\n");
}
const untilMs = systemClock.monotonicMs() + thawMs;
while (systemClock.monotonicMs() < untilMs) {
  const isThawed = await client.call("guest-fsfreeze-thaw", {}, { timeoutMs: answerMs }).then(
    () => true,
    (error: unknown) => isRefused && errorCodeOf(error) === "CONFLICT",
  );
  if (isThawed) break;
  await sleep(systemClock, retryMs);
}
client.close();
process.stdin.destroy();
process.stdout.write("thawed\n");
